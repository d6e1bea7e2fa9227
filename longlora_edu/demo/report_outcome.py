"""The part of the page that says what happened: before against after, in words, numbers and pictures."""

from __future__ import annotations

import numpy as np

from .. import plots
from ..plots import percent
from ..training.passkey import DIGITS, STATEMENT
from .report_page import bits, duration, figure, heading, paragraph, proportion, side_by_side, table

WHEN = ("before", "after")


def summary(report: dict) -> str:
    """One sentence of what happened, and the table that everything else explains."""
    trained, target = str(report["model"]["trained_context"]), str(report["target_context"])
    scores = [report[when]["bits_per_byte"] for when in WHEN]
    found = [report[when]["passkey_overall"][target] for when in WHEN]
    train = report["train"]
    lead = (
        f"{train['steps']:,} steps of training with shifted sparse attention took {duration(train['seconds'])}. "
        f"With full attention and {int(target):,} bytes of text that it was not trained on, the model went from "
        f"{bits(scores[0][target])} to {bits(scores[1][target])} bits per byte, and from {found[0]['successes']} to "
        f"{found[1]['successes']} of {found[1]['trials']} hidden passkeys found."
    )
    rows = [[f"bits per byte at {int(n):,} bytes", *(bits(score[n]) for score in scores)] for n in (trained, target)]
    rows.append([f"passkeys found at {int(target):,} bytes", *(proportion(count) for count in found)])
    note = (
        "Bits per byte say how much the model still has to be told to know the next byte: lower is better, 8 is "
        "knowing nothing. In square brackets: the 95\N{NO-BREAK SPACE}% interval (Wilson)."
    )
    return "\n".join([paragraph(lead, kind="lead"), table(["full attention", *WHEN], rows), paragraph(note)])


def long_text(report: dict) -> str:
    """Bits per byte by length and by position."""
    trained = report["model"]["trained_context"]
    lengths = [report[when]["bits_per_byte"] for when in WHEN]
    positions = [report[when]["bits_per_byte_by_position"] for when in WHEN]
    by_length = figure(
        plots.plot_bits_by_length(*lengths, trained_context=trained),
        plots.describe_bits_by_length(*lengths, trained_context=trained),
        f"The same last bytes of {report['after']['bits_per_byte_windows']:,} held-out windows, given more and more "
        "of the text before them: only the context differs.",
    )
    by_position = figure(
        plots.plot_bits_by_position(*positions, trained_context=trained),
        plots.describe_bits_by_position(*positions, trained_context=trained),
        "Every byte of the longest windows, given all bytes before it. To the right of the dotted line stand "
        "positions that the model had never met before this run.",
    )
    return f"{heading('Does it read long text?')}\n{side_by_side(by_length, by_position)}"


def passkeys(report: dict) -> str:
    """What a passkey is, how much the training text told of them, and where they were found."""
    recipe = report["recipe"]
    taught = "No training window carried one."
    if recipe["passkey_share"]:
        taught = (
            f"Of the training windows {percent(recipe['passkey_share'])} carried one, and each digit of the answer "
            f"counted {recipe['passkey_weight']:g} times as much as another byte."
        )
    example = f"{STATEMENT.decode().strip()} 48213"
    words = (
        f"A passkey is a random number of {DIGITS} digits that is hidden in held-out text as a line “{example}”, and "
        f"asked for again at the end. It counts as found if the model ranks each of the {DIGITS} digits first. {taught}"
    )
    figures = [
        figure(
            plots.plot_passkeys(report[when]["passkey_by_depth"], title=when.capitalize()),
            f"{when.capitalize()}. {plots.describe_passkeys(report[when]['passkey_by_depth'])}",
            f"{when.capitalize()} the training: the share of passkeys found, by the length of the text and by where "
            "in it the key stood.",
        )
        for when in WHEN
    ]
    return "\n".join([heading("Does it find what stands far back?"), paragraph(words), side_by_side(*figures)])


def numbers(report: dict) -> str:
    """The pictures' numbers as tables, folded away."""
    scores = [report[when]["bits_per_byte"] for when in WHEN]
    lengths = sorted(scores[0], key=int)
    by_length = [[f"{int(length):,}", *(bits(score[length]) for score in scores)] for length in lengths]
    edges = [0, *map(int, lengths)]
    means = [plots.means_between(report[when]["bits_per_byte_by_position"], edges) for when in WHEN]
    by_position = [[f"{a + 1:,} to {b:,}", *(bits(mean[a, b]) for mean in means)] for a, b in means[0]]
    tables = [
        table(["context, bytes", *WHEN], by_length, caption="Bits per byte by length"),
        table(["position", *WHEN], by_position, caption="Bits per byte by position, means"),
    ]
    for when in WHEN:
        lengths, depths, rates = plots.passkey_rates(report[when]["passkey_by_depth"])
        rows = [[f"{depth:g}", *map(percent, row)] for depth, row in zip(depths, rates, strict=True)]
        head = ["depth", *(f"{length:,}" for length in lengths)]
        tables.append(table(head, rows, caption=f"Passkeys found by depth and length, {when}"))
    tables.append(_loss_table(report["train"]["curve"]))
    return "<details>\n<summary>The numbers of the pictures</summary>\n" + "\n".join(tables) + "\n</details>"


def _loss_table(curve: list[dict]) -> str:
    names = ("text", "passkey", "loss")
    rows = []
    for part in np.array_split(np.array(curve, dtype=object), min(10, len(curve))):
        series = plots.loss_series(list(part))
        means = [float(series[name][1].mean()) if name in series else None for name in names]
        rows.append([f"{part[0]['step']:,} to {part[-1]['step']:,}", *map(bits, means)])
    head = ["steps", "text, per byte", "passkey, per digit", "weighted loss"]
    return table(head, rows, caption="Training, bits, means")
