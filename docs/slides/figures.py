"""Numbers that are said aloud, each from a record, a count or a closed form, and the texts that quote them.

`python docs/slides/figures.py` writes them anew into INSTRUCTOR.md, after a record has changed. Slides and handouts are
filled when they are built.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

from longlora_edu.cost import ModelShape, kv_cache_bytes, step_ratio, training_flops
from longlora_edu.geometry import S2Geometry
from longlora_edu.runs.records import recorded

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "INSTRUCTOR.md"
HARD_QUESTIONS = ROOT / "docs" / "hard_questions.md"
QUOTING = (GUIDE, HARD_QUESTIONS)
QUOTED = Path(__file__).with_name("quoted.txt")
STEP_135M = ROOT / "benchmarks" / "results" / "step_135m_adapters.json"
MEASURED_AT = 4096
LLAMA_RANK = 8  # the paper's
WHERE = {"<=G": "near", "G-2G": "wall", ">2G": "far"}
NAMES_IN_A_WINDOW = 8  # training/references.py, COUNT: of a held-out window
NAME = re.compile(r"\{\{(\w+)\}\}")


@cache
def figures() -> dict[str, str]:
    """All numbers by name, as they are said: `bits_before` is "5.46"."""
    return {**_demo(), **_counted(), **_costs()}


def fill(text: str) -> str:
    """Put the numbers where `{{name}}` stands.

    Raises:
        ValueError: for a name that no number has.
    """

    def one(found: re.Match) -> str:
        if found[1] not in figures():
            raise ValueError(f"a number must be one of {', '.join(sorted(figures()))}, got {found[1]!r}")
        return figures()[found[1]]

    return NAME.sub(one, text)


def quoted_sentences() -> list[str]:
    """Read the sentences that quote numbers, with names in their places; in their file a blank line divides them."""
    return [" ".join(part.split()) for part in QUOTED.read_text(encoding="utf-8").split("\n\n") if part.strip()]


def refreshed(text: str) -> tuple[str, set[str]]:
    """Return a text with the numbers of today in every sentence that quotes one, and the sentences that it has."""
    there = set()
    for sentence in quoted_sentences():
        parts = [re.escape(part).replace(r"\ ", r"\s+") for part in NAME.split(sentence)[::2]]
        values = [figures()[name] for name in NAME.findall(sentence)]
        # A number may hold a comma or a point inside, never at its end.
        pattern = re.compile(r"(\d[\d.,]*\d|\d)".join(f"({part})" for part in parts))
        text, found = pattern.subn(lambda match, values=values: _with(match.groups(), values), text)
        there |= {sentence} if found else set()
    return text, there


def refresh(*, write: bool) -> list[str]:
    """Compare every quoted number with its record, or write it; return what is wrong, or was."""
    wrong, there = [], set()
    for path in QUOTING:
        text = path.read_text(encoding="utf-8")
        new, has = refreshed(text)
        there |= has
        if new != text:
            wrong.append(f"{path.name} quotes another number than the record: python docs/slides/figures.py")
            if write:
                path.write_text(new, encoding="utf-8")
    return wrong + [f"no document has the quoted sentence {sentence!r}" for sentence in set(quoted_sentences()) - there]


def _with(pieces: tuple[str, ...], values: list[str]) -> str:
    pieces = list(pieces)
    pieces[1::2] = values
    return "".join(pieces)


def controls() -> str:
    """The ladder of the demo's record as a Markdown table: what the base does alone, and what each step brings."""
    from longlora_edu.demo.ladder import ladder_rows  # and with it torch, which no other number wants

    demo = recorded("demo")
    head = ["What was done", "bits per byte", "found within a group", "one to two groups", "further"]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *ladder_rows(demo)])


def _demo() -> dict[str, str]:
    demo = recorded("demo")
    own, target = demo["model"]["trained_context"], demo["target_context"]
    steps = {name: demo[name] for name in ("before", "stretched", "after")} | demo["arms"]
    said = {
        "own": f"{own:,}",
        "target": f"{target:,}",
        "times": f"{target // own}",
        "group": f"{demo['train']['group_size']:,}",
        "groups": f"{target // demo['train']['group_size']}",
        "layers": f"{demo['model']['layers']}",
        "layers_wanted": f"{2 * target // demo['train']['group_size'] - 1}",
        "steps": f"{demo['train']['steps']:,}",
        "seconds": f"{demo['seconds']:.0f}",
        "train_minutes": f"{-(-demo['train']['seconds'] // 60):.0f}",
        "demo_minutes": f"{-(-demo['seconds'] // 60):.0f}",
        "weights": f"{demo['model']['parameters'] / 1e6:.1f}",
        **_trained(demo),
        "names_in_a_window": str(NAMES_IN_A_WINDOW),
        "bits_own": f"{demo['own_window']['bits_per_byte'][str(own)]:.2f}",
    }
    for name, step in steps.items():
        said[f"bits_{name}"] = f"{step['bits_per_byte'][str(target)]:.2f}"
        said[f"short_text_{name}"] = f"{step['bits_per_byte'][str(own)]:.2f}"
        found = step["passkey_overall"][str(target)]
        said[f"keys_{name}"], said["keys_of"] = str(found["successes"]), str(found["trials"])
        for kind, where in WHERE.items():
            if "references" in step:
                count = step["references"][kind]
                said[f"{where}_{name}"] = f"{100 * count['found'] / count['of']:.0f}"
    return said


def _trained(demo: dict) -> dict[str, str]:
    """What learns in our model, and would in Llama-2-7B with rank 8: shares of all weights, those of LoRA included."""
    recipe, width, llama = demo["recipe"], demo["model"]["width"], ModelShape.llama2_7b()
    shares = trained_shares(demo)
    large = llama.lora_parameters(LLAMA_RANK), llama.parameters.embedding + llama.parameters.norm
    whole = llama.parameters.total + large[0]
    return {
        "rank": str(recipe["rank"]),
        "width": str(width),
        "matrix_numbers": f"{width * width:,}",
        "correction_numbers": f"{2 * width * recipe['rank']:,}",
        "share_lora": f"{100 * shares[0]:.0f}",
        "share_direct": f"{100 * shares[1]:.0f}",
        "llama_lora": f"{100 * large[0] / whole:.1f}",
        "llama_direct": f"{100 * large[1] / whole:.1f}",
    }


def trained_shares(demo: dict) -> tuple[float, float]:
    """Return the shares of LoRA, and of embeddings and norms, in all weights of a trained model, LoRA's included."""
    recipe = demo["recipe"]
    whole = recipe["trainable_parameters"] / recipe["trainable_share"]
    lora = whole - demo["model"]["parameters"]  # the rest of what is trained was there before
    return lora / whole, recipe["trainable_share"] - lora / whole


def _counted() -> dict[str, str]:
    full, paper = S2Geometry(8192, 8192, 32, shift=0), S2Geometry(8192, 2048, 32)
    words, twice, walls = (S2Geometry(n, g, 2, shift=0) for n, g in ((12, 12), (24, 24), (12, 4)))
    return {
        "looks_12": str(words.pairs() // 2),
        "looks_24": str(twice.pairs() // 2),
        "looks_walls": str(walls.pairs() // 2),
        "times_pairs": f"{full.pairs() / paper.pairs():.1f}",
    }


def _costs() -> dict[str, str]:
    llama = ModelShape.llama2_7b()
    at = {length: S2Geometry(length, length // 4, llama.heads) for length in (8192, 32768, 65536)}
    share = training_flops(llama, 8192, rank=LLAMA_RANK, causal=True).attention_share
    rows = json.loads(STEP_135M.read_text(encoding="utf-8"))["rows"]
    measured = next(row for row in rows if row["context"] == MEASURED_AT)
    return {
        "attention_percent": f"{100 * share:.0f}",
        "rest_percent": f"{100 - round(100 * share):.0f}",
        **{f"step_{length}": f"{step_ratio(llama, geometry, rank=LLAMA_RANK):.1f}" for length, geometry in at.items()},
        "step_8192_exact": f"{step_ratio(llama, at[8192], rank=LLAMA_RANK):.2f}",
        "measured_at": f"{MEASURED_AT:,}",
        "step_135m_clock": f"{measured['times_faster']['median']:.2f}",
        "step_135m_flops": f"{measured['promised']:.2f}",
        "cache_gib": str(kv_cache_bytes(llama, 32768) // 2**30),
    }


if __name__ == "__main__":
    print("\n".join(refresh(write=True)) or "all numbers are those of the records")
