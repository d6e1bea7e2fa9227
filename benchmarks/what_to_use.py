"""Writes the tables of docs/what_to_use.md from records and closed forms. A test holds the page equal to them."""

from __future__ import annotations

from pathlib import Path

from longlora_edu.cost import ModelShape
from longlora_edu.plan import plan
from longlora_edu.runs.marked import fill_marked
from longlora_edu.runs.records import recorded, recorded_line, replace_file

PAGE = Path(__file__).parents[1] / "docs" / "what_to_use.md"
TRAINED = 4096
CLAIMS = (
    "S² stays within 1 % of full attention (dense bits/byte at the target).",
    "After 240 steps S² is within 1 % of full attention trained as long.",
    "A last quarter of full attention brings it within 1 % of full.",
)
SAID = ("60 steps under S²", "240 steps under S²", "240 steps, the last quarter with full attention")


def page(text: str) -> str:
    """`text` with each of its tables written anew."""
    return fill_marked(text, {"stretched": stretched(), "gains": gains(), "gap": gap()})


def stretched() -> str:
    """Loss, passkeys and references after YaRN alone, by factor."""
    record = recorded("stretch_only")
    rows = [
        "| factor | bytes | loss beside its own | passkeys found | references up to a group |",
        "|---|---|---|---|---|",
    ]
    for row in record["rows"]:
        near = row["references"]["<=G"]
        keys = f"{row['passkey']['successes']} of {row['passkey']['trials']}"
        loss = f"{100 * (row['loss_ratio'] - 1):+.1f} %"
        rows.append(f"| × {row['factor']:g} | {row['target']:,} | {loss} | {keys} | {near['found']} of {near['of']} |")
    return "\n".join(rows) + f"\n\n{recorded_line('stretch_only')}"


def gains() -> str:
    """What S² gains in a step of Llama-2-7B, and what `plan` advises."""
    rows = ["| from 4,096 tokens to | times fewer FLOPs with S² | `plan` says |", "|---|---|---|"]
    for context in (8192, 16384, 32768, 65536):
        found = plan(ModelShape.llama2_7b(), context, trained_context=TRAINED)
        rows.append(f"| {context:,} | {found.gain:.2f} | {found.advice.use} |")
    return "\n".join(rows)


def gap() -> str:
    """How far S² stays behind full attention in use, three ways."""
    parts = recorded("studies")["studies"]["attention"]["parts"]
    # Several parts judge the same statement; the first is the study at eight times.
    because = {claim["statement"]: claim["because"] for part in reversed(parts) for claim in part.get("claims", ())}
    rows = ["| trained | loss in use, against full attention trained as long |", "|---|---|"]
    for name, statement in zip(SAID, CLAIMS, strict=True):
        number = because[statement].partition(";")[0].removeprefix("S² against full ")
        rows.append(f"| {name} | {number} |")
    return "\n".join(rows)


if __name__ == "__main__":
    replace_file(PAGE, page(PAGE.read_text(encoding="utf-8")).encode())
