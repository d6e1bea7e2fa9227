"""The ladder of the demo: what the base reaches by itself, what stretched positions bring, what training brings.

Each step is measured on the same last bytes of the same held-out windows, with dense attention. Without the first
and the third step, training would get the credit for what the base can do without it.
"""

from __future__ import annotations

import time
from typing import Any

from ..model import TinyLlama
from ..runs.progress import Progress
from ..training.continuation import COUNT, continue_greedily, held_out_prompt
from ..training.corpus import Corpus
from ..training.evaluate import (
    doubled_lengths,
    evaluation_tokens,
    reference_windows,
    score_passkeys,
    score_references,
    score_text,
)
from ..training.objective import NATS_PER_BIT
from ..training.references import CLASSES, NEAREST

TITLES = {
    "before": "The base as it is",
    "stretched": "Positions stretched, nothing trained",
    "after": "After training",
    "short": "Trained without a shift",
    "full": "Trained with full attention",
}


def page_of(context: int, group: int) -> int:
    """Return the length of the pages in which references are laid: the group, where four of them fit."""
    return max(2 * NEAREST, min(group, context // 4))


def measure_step(
    model: TinyLlama, corpus: Corpus, settings: Any, progress: Progress, when: str, *, trained: int, references: bool
) -> dict:
    """Measure one step as `report.json` holds it: bits per byte, passkeys, a continuation and, if asked, references.

    `settings` are the demo's; `when` is a key of `TITLES`, shown beside the progress.
    """
    text, began = corpus.held_out, time.perf_counter()
    # Text at the two ends only: the curve by position tells what happens between them.
    lengths, ends = doubled_lengths(trained, settings.context), (trained, settings.context)
    page = page_of(settings.context, settings.recipe().pattern.group_size)
    layouts = {"references": "free", "references_aligned": "aligned"} if references else {}
    options = {"trials": settings.references, "seed": settings.seed}
    total = evaluation_tokens(ends, windows=settings.windows, trials=0)
    total += evaluation_tokens(lengths, windows=0, trials=settings.trials)
    for layout in layouts.values():
        total += reference_windows(text, settings.context, page, layout=layout, **options)[0].size
    with progress.stage(f"{TITLES[when]}: dense attention, up to {settings.context} bytes", total, "B") as advance:
        bits = score_text(model, text, ends, windows=settings.windows, seed=settings.seed, on_batch=advance)
        keys = score_passkeys(model, text, lengths, trials=settings.trials, seed=settings.seed, on_batch=advance)
        found = {
            name: score_references(model, text, settings.context, page, layout=layout, on_batch=advance, **options)
            for name, layout in layouts.items()
        }
    prompt = held_out_prompt(text, prompt_length(trained, settings.context), seed=settings.seed)
    return {
        "bits_per_byte": bits.by_length,
        "bits_per_byte_windows": bits.windows,
        "bits_per_byte_by_position": [round(float(value), 4) for value in bits.by_position],
        "passkey": {length: keys.at(length).rate for length in lengths},
        "passkey_overall": {length: keys.at(length) for length in lengths},
        "passkey_by_depth": keys.cells,
        **{
            name: {kind: {"found": count.successes, "of": count.trials} for kind, count in score.found.items()}
            for name, score in found.items()
        },
        **{f"{name}_chance": score.chance for name, score in found.items()},
        **{f"{name}_bits_per_digit": score.nats / NATS_PER_BIT for name, score in found.items()},
        "writes": _readable(continue_greedily(model, prompt)),
        "seconds": time.perf_counter() - began,
    }


def prompt_length(trained: int, context: int) -> int:
    """Return the number of bytes of the prompt: twice the trained context, or as many as the target has room for."""
    return min(2 * trained, context - COUNT)


def prompt_end(corpus: Corpus, trained: int, context: int, seed: int) -> str:
    """Return the last lines of the prompt that each step continues, as text."""
    return _readable(held_out_prompt(corpus.held_out, prompt_length(trained, context), seed=seed)[-160:])


def ladder_rows(report: dict) -> list[list[str]]:
    """Return the demo's ladder, from the base as it is to the trained model, as rows of text.

    A row is a step, its bits per byte, and the shares of references found within a group, one to two groups away, and
    further (their places drawn freely). `report` is what `report.json` holds. A dash means that nothing was measured.
    """
    trained, target = str(report["model"]["trained_context"]), str(report["target_context"])
    own = f"The base with its own window, {int(trained):,} bytes"
    rows = [[own, f"{report['own_window']['bits_per_byte'][trained]:.3f}", *["–"] * len(CLASSES)]]
    steps = {name: report[name] for name in ("before", "stretched", "after")} | report.get("arms", {})
    for name, step in steps.items():
        title = f"{TITLES[name]}, given {int(target):,}" if name == "before" else TITLES[name]
        if name == "after":
            title += " with S²" if report["train"]["shift"] else " with groups"
        rows.append([title, f"{step['bits_per_byte'][target]:.3f}", *map(_share, _found(step))])
    return rows


def ladder_sentence(report: dict) -> str:
    """Say in numbers what each step of the ladder brought; every word follows from the report."""
    trained, target = str(report["model"]["trained_context"]), str(report["target_context"])
    own = report["own_window"]["bits_per_byte"][trained]
    before, stretched, after = (report[name]["bits_per_byte"][target] for name in ("before", "stretched", "after"))
    steps = report["train"]["steps"]
    learned = ", ".join(
        f"{_share(count)} {words} (before them {_share(earlier)})"
        for earlier, count, words in zip(
            _found(report["stretched"]),
            _found(report["after"]),
            ("within a group", "between one and two", "beyond two"),
            strict=True,
        )
    )
    return (
        f"Given {int(target):,} bytes instead of its own {int(trained):,}, the base goes from {own:.3f} to "
        f"{before:.3f} bits per byte. Stretching the positions, with nothing trained, gives {stretched:.3f}, "
        f"{_against(stretched, own)} its own window. {steps:,} steps of training give {after:.3f}, "
        f"{_against(after, own)} it, and find references: {learned}."
    )


def _against(value: float, own: float) -> str:
    change = 100 * (value / own - 1)
    return f"{abs(change):.1f} % {'above' if change > 0 else 'below'}"


def _found(step: dict) -> list[dict | None]:
    return [step["references"][kind] if "references" in step else None for kind in CLASSES]


def _share(count: dict | None) -> str:
    return "–" if count is None else f"{100 * count['found'] / count['of']:.0f} %"


def _readable(data: bytes) -> str:
    """Bytes as text; what is no UTF-8 shows as a replacement character."""
    return data.decode("utf-8", errors="replace")
