"""A run of the demo as one HTML page: it loads nothing, runs nothing, and every number in it is computed.

Each picture has two twins in text: a sentence in its `alt`, and tables near the end. First the page, then its
sections in order, then the pieces that they are made of.
"""

from __future__ import annotations

from html import escape

import numpy as np

from .. import plots
from ..geometry import S2Geometry
from ..plots import percent
from ..runs.records import Proportion, as_json
from ..training.passkey import DIGITS, STATEMENT
from ..training.references import COUNT, GET, SET, TAUGHT, references_in
from .ladder import TITLES, ladder_rows
from .report_html import document, fact_table, figure, heading, paragraph, side_by_side, table

WHEN = ("before", "stretched", "after")
LAYOUTS = {"references": "free", "references_aligned": "aligned to pages"}
BOUNDARIES = {
    "split": "nothing wraps; shifted heads have a short group at each end, and no token looks at the future",
    "wrap": "in shifted heads the first and the last tokens share a group, and the first look at the last, which are "
    "their future, so the loss in training counts a leak",
    "masked": "in shifted heads the first and the last tokens share a group; the last may look at the first, never "
    "the other way round",
}
LARGEST_DRAWING = 256


def render_report(report: dict) -> str:
    """Render what `run_demo` returns, before or after it has been JSON, as one self-contained HTML page.

    Raises:
        KeyError: naming a part that the report does not have.
    """
    report = as_json(report)
    title = f"From a context of {report['model']['trained_context']:,} bytes to {report['target_context']:,}"
    sections = (
        *(_summary, _writing, _long_text, _references, _passkeys),
        *(_training, _attention, _trained_parts, _numbers, _provenance),
    )
    return document(title, (section(report) for section in sections))


def scaled_down(context: int, group_size: int, shift: int, boundary: str) -> S2Geometry:
    """Return a geometry to draw: as many groups and the same share shifted as in `context`, over at most 256 tokens."""
    group = 4 if context <= 8 * group_size else 2
    groups = min(context / group_size, LARGEST_DRAWING // group)
    small_shift = min(max(1, round(shift * group / group_size)), group - 1) if shift else 0
    return S2Geometry(max(group, round(group * groups)), group, 2, small_shift, boundary)


def _summary(report: dict) -> str:
    """Show each step of the demo as a row of a table, and in one sentence what it brought."""
    head = [
        "full attention, the same last bytes",
        "bits per byte",
        *(f"references {name}" for name in _distances(report)),
    ]
    note = (
        "Bits per byte measure how badly the model predicts the next byte: lower is better, 8 is guessing. The first "
        "row is what a sceptic asks for: the same bytes, predicted by the base from its own window, without any "
        "extension. References are explained below."
    )
    return "\n".join([paragraph(report["sentence"], kind="lead"), table(head, ladder_rows(report)), paragraph(note)])


def _writing(report: dict) -> str:
    """Show how the model continues the same held-out text at each step."""
    writing = report["writing"]
    words = (
        "The same held-out text, longer than the base's context, was continued by the likeliest byte, again and again. "
        "Its last lines:"
    )
    steps = (f"{paragraph(TITLES[when] + ':')}\n<pre>{escape(writing[when])}</pre>" for when in WHEN)
    return "\n".join(
        [heading("What it writes"), paragraph(words), f"<pre>{escape(writing['prompt_end'])}</pre>", *steps]
    )


def _long_text(report: dict) -> str:
    """Plot bits per byte by length and by position."""
    trained = report["model"]["trained_context"]

    def of_steps(name: str) -> dict:
        return {when: report[when][name] for when in WHEN} | {"trained_context": trained}

    by_length, by_position = of_steps("bits_per_byte"), of_steps("bits_per_byte_by_position")
    figures = (
        figure(
            plots.plot_bits_by_length(**by_length),
            plots.describe_bits_by_length(**by_length),
            f"The same last bytes of {report['after']['bits_per_byte_windows']:,} held-out windows, given more and "
            "more of the text before them: only the context differs.",
        ),
        figure(
            plots.plot_bits_by_position(**by_position),
            plots.describe_bits_by_position(**by_position),
            "Every byte of the longest windows, given all bytes before it. To the right of the dotted line stand "
            "positions that the model had never met before this run.",
        ),
    )
    return f"{heading('Does it read long text?')}\n{side_by_side(*figures)}"


def _references(report: dict) -> str:
    """Explain named references and how they are laid, and show the share found, by distance."""
    recipe, page = report["recipe"], report["recipe"]["reference_page"]
    taught = "No training window carried any."
    if recipe["reference_share"]:
        taught = (
            f"Until the last {percent(recipe['plain_share'])} of the steps, which saw none, "
            f"{percent(recipe['reference_share'])} of the training windows carried "
            f"{references_in(report['target_context'], TAUGHT)}, half of them across the "
            f"border of two pages of {page:,} bytes, half at distances up to the whole window; each digit asked for "
            f"counted {recipe['reference_weight']:g} times as much as another byte."
        )
    words = (
        f"A reference is a line “{_line(SET)}” and, further on, “{_line(GET)}” "
        f"in held-out source code. {COUNT} stand in a window, so the model must match the name and look back as far as "
        f"its number stands. A reference counts only where another number is set in between, and as found only if all "
        f"five digits are ranked first; picking one of the numbers set before would find "
        f"{percent(report['after']['references_chance'])}. Names and numbers are never those of the training. {taught}"
    )
    steps = {name: report[name] for name in ("stretched", "after")} | report["arms"]
    free = {name: step["references"] for name, step in steps.items()}
    digits = ", ".join(
        f"{TITLES[name][0].lower()}{TITLES[name][1:]} {step['references_bits_per_digit']:.2f}"
        for name, step in steps.items()
        if "references_bits_per_digit" in step
    )
    digits = f"A digit asked for costs so many bits: {digits}; a guess costs 3.32. No table counts them as text."
    layouts = (
        "Laid freely, a distance is drawn first and the place after it. Aligned, a number is set in the last half of "
        f"one page of {page:,} bytes, a group, and asked for in the first half of a later one: the next, the one after "
        "it, or further on. Groups without a shift see nothing across a border."
    )
    rows = [
        [f"{TITLES[name]}, {words}", *(_share_of(cell) for cell in step[layout].values())]
        for layout, words in LAYOUTS.items()
        for name, step in steps.items()
    ]
    return "\n".join(
        [
            heading("Does it find what is asked for by name?"),
            paragraph(words),
            figure(
                plots.plot_references(free),
                plots.describe_references(free),
                "References found, laid freely, by the distance between the number and its question. The lines are "
                "95\N{NO-BREAK SPACE}% intervals (Wilson).",
            ),
            paragraph(digits),
            paragraph(layouts),
            table(["references found", *_distances(report)], rows),
        ]
    )


def _line(form: bytes) -> str:
    return (form % (b"kqz", b"48213")).decode().strip()


def _distances(report: dict) -> list[str]:
    page = report["recipe"]["reference_page"]
    return [f"up to {page:,} apart", f"up to {2 * page:,}", "beyond"]


def _passkeys(report: dict) -> str:
    """Explain passkeys and their share of the training text, and plot where they were found."""
    recipe = report["recipe"]
    taught = "No training window carried one."
    if recipe["passkey_share"]:
        taught = (
            f"Of the training windows {percent(recipe['passkey_share'])} carried one, unless it had references, and "
            f"each digit of the answer counted {recipe['passkey_weight']:g} times as much as another byte."
        )
    example = f"{STATEMENT.decode().strip()} 48213"
    words = (
        f"A passkey is a random number of {DIGITS} digits that is hidden in held-out text as a line “{example}”, and "
        f"asked for again at the end. There is one number to find, so a model whose positions work finds it: that is a "
        f"test of the positions, not of the training. {taught} The base met passkeys in its pretraining."
    )
    figures = [
        figure(
            plots.plot_passkeys(report[when]["passkey_by_depth"], title=when.capitalize()),
            f"{TITLES[when]}. {plots.describe_passkeys(report[when]['passkey_by_depth'])}",
            f"{TITLES[when]}: the share of passkeys found, by the length of the text and by where in it the key stood.",
        )
        for when in WHEN
    ]
    return "\n".join([heading("Does it find what stands far back?"), paragraph(words), side_by_side(*figures)])


def _training(report: dict) -> str:
    """Plot the loss, explain why its passkey part says little, and state the position rule."""
    train, rope = report["train"], report["rope"]
    caption = f"{train['tokens']:,} bytes in windows of {report['target_context']:,}; everything is in bits."
    if {"passkey", "reference"} & set(plots.loss_series(train["curve"])):
        drawn, layers = _drawn(train, report["target_context"]), report["model"]["layers"]
        one, through_all = (percent(drawn.reach(count)[-1].mean()) for count in (1, layers))
        caption += (
            " Digits asked for can cost as much as guessing here although the model finds them in use: under shifted "
            "sparse attention a number often stands outside every group that can reach the question. The end of "
            f"a window hears about {one} of it through one layer and {through_all} through all {layers}; in use, all."
        )
    settings = f"factor {rope['factor']:g}, base {rope['base']:,.0f}"
    if rope["method"] == "yarn":
        settings += f" (pairs that turn more than {rope['beta_fast']:g} times in the trained context stay)"
    position = f"Positions were stretched by the rule “{rope['method']}”, {settings}: {rope['why']}."
    picture = figure(plots.plot_loss(train["curve"]), plots.describe_loss(train["curve"]), caption)
    return "\n".join([heading("How it was trained"), paragraph(position), picture])


def _attention(report: dict) -> str:
    """Draw the training attention, scaled down."""
    train, context = report["train"], report["target_context"]
    drawn = _drawn(train, context)
    words = (
        f"In training half of the heads looked inside groups of {train['group_size']:,} bytes, the other half inside "
        f"groups that begin {train['shift']:,} later. All measurements, and all use, are with ordinary full attention."
    )
    caption = (
        f"Scaled down: {drawn.seq_len} tokens in groups of {drawn.group_size} stand for {context:,} in groups of "
        f"{train['group_size']:,}. Boundary “{train['boundary']}”: {BOUNDARIES[train['boundary']]}."
    )
    picture = figure(plots.plot_masks(drawn), plots.describe_masks(drawn), caption)
    return "\n".join([heading("Who looked at whom"), paragraph(words), picture])


def _trained_parts(report: dict) -> str:
    """Write the section on trained and frozen parameters: two rows and a picture."""
    recipe = report["recipe"]
    trained, frozen = plots.parameter_counts(recipe)
    what = "all weights, no LoRA"
    caption = "All weights were trained; nothing was added to the model."
    if recipe["train"] == "adapters":
        what = f"LoRA of rank {recipe['rank']} and alpha {recipe['alpha']:g} beside {', '.join(recipe['targets'])}"
        what += f"; whole: {', '.join(recipe['also_train'])}" if recipe["also_train"] else ""
        caption = (
            "While training. LoRA is folded into the weights afterwards: the model that is left has "
            f"{report['model']['parameters']:,} parameters, as many as before."
        )
    rows = [
        [f"trained: {what}", f"{trained:,}", percent(trained / (trained + frozen), 1)],
        ["frozen: everything else", f"{frozen:,}", percent(frozen / (trained + frozen), 1)],
    ]
    picture = figure(plots.plot_trainable(recipe), plots.describe_trainable(recipe), caption)
    return "\n".join([heading("What was trained"), table(["what", "parameters", "share"], rows), picture])


def _numbers(report: dict) -> str:
    """Repeat the pictures' numbers as tables, folded away."""
    scores = [report[when]["bits_per_byte"] for when in WHEN]
    lengths = sorted(scores[0], key=int)
    by_length = [[f"{int(length):,}", *(_bits(score[length]) for score in scores)] for length in lengths]
    edges = [0, *map(int, lengths)]
    means = [plots.means_between(report[when]["bits_per_byte_by_position"], edges) for when in WHEN]
    by_position = [[f"{a + 1:,} to {b:,}", *(_bits(mean[a, b]) for mean in means)] for a, b in means[0]]
    tables = [
        table(["context, bytes", *WHEN], by_length, caption="Bits per byte by length"),
        table(["position", *WHEN], by_position, caption="Bits per byte by position, means"),
    ]
    target = str(report["target_context"])
    found = [[TITLES[when], _proportion(report[when]["passkey_overall"][target])] for when in WHEN]
    tables.append(table([f"passkeys at {int(target):,} bytes", "found"], found))
    for when in WHEN:
        lengths, depths, rates = plots.passkey_rates(report[when]["passkey_by_depth"])
        rows = [[f"{depth:g}", *map(percent, row)] for depth, row in zip(depths, rates, strict=True)]
        head = ["depth", *(f"{length:,}" for length in lengths)]
        tables.append(table(head, rows, caption=f"Passkeys found by depth and length, {when}"))
    tables.append(_loss_table(report["train"]["curve"]))
    return "<details>\n<summary>The numbers of the pictures</summary>\n" + "\n".join(tables) + "\n</details>"


def _loss_table(curve: list[dict]) -> str:
    names = ("text", "passkey", "reference", "loss")
    rows = []
    for part in np.array_split(np.array(curve, dtype=object), min(10, len(curve))):
        series = plots.loss_series(list(part))
        means = [float(series[name][1].mean()) if name in series else None for name in names]
        rows.append([f"{part[0]['step']:,} to {part[-1]['step']:,}", *map(_bits, means)])
    head = ["steps", "text, per byte", "passkey, per digit", "reference, per digit", "weighted loss"]
    return table(head, rows, caption="Training, bits, means")


def _provenance(report: dict) -> str:
    """List command, machine, versions, date and text: all it takes to repeat the run."""
    machine, corpus, train, model = report["machine"], report["corpus"], report["train"], report["model"]
    shared = corpus["shared_lines"]
    rows = [
        ["command", report["command"]],
        ["date", report["date"]],
        ["machine", ", ".join([machine["processor"], machine["architecture"], machine["system"]])],
        ["threads", f"{machine['threads']}, on {machine['cores']} cores"],
        ["versions", ", ".join(f"{name} {version}" for name, version in report["versions"].items())],
        ["time", f"{_duration(train['seconds'])} of training, {_duration(report['seconds'])} with all measurements"],
        ["speed", f"{train['tokens_per_second']:,.0f} bytes per second of training"],
        ["peak memory", f"{train['peak_rss_bytes'] / 2**20:,.0f} MiB, the whole process"],
        [
            "model",
            f"{model['name']}: {model['layers']} layers, width {model['width']}, {model['heads']} heads, "
            f"{model['parameters']:,} parameters",
        ],
        [
            "text",
            f"{corpus['source']}: {corpus['train_documents']:,} documents of {corpus['train_bytes']:,} bytes trained "
            f"on, {corpus['held_out_documents']:,} of {corpus['held_out_bytes']:,} held out",
        ],
        ["its sha256", corpus["sha256"]],
        [
            "shared lines",
            f"{shared['also_in_train']:,} of {shared['held_out_lines']:,} held-out lines of at least "
            f"{shared['shortest']} bytes also stand in the text that was trained on",
        ],
        ["settings", ", ".join(f"{name} {_setting(value)}" for name, value in report["settings"].items())],
    ]
    return f"{heading('How it was run')}\n{fact_table(rows)}"


def _drawn(train: dict, context: int) -> S2Geometry:
    return scaled_down(context, train["group_size"], train["shift"], train["boundary"])


def _setting(value) -> str:
    return "default" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _bits(value: float | None) -> str:
    """Format with three decimals; a dash where nothing was measured."""
    return "–" if value is None else f"{value:.3f}"


def _proportion(count: dict) -> str:
    """Turn a `Proportion`, as JSON holds it, into words: rate, interval and counts."""
    low, high = count["interval_95"]
    interval = f"[{100 * low:.0f}\N{WORD JOINER}–\N{WORD JOINER}{percent(high)}]"
    return f"{percent(count['rate'])} {interval} ({count['successes']} of {count['trials']})"


def _share_of(cell: dict) -> str:
    """Format references found as JSON holds them, with their interval."""
    return _proportion(Proportion(cell["found"], cell["of"]).as_json())


def _duration(seconds: float) -> str:
    """Format seconds, as minutes from two minutes on."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} minutes"
