"""The part of the page that says how: the training, what was trained, who looked at whom, on which machine."""

from __future__ import annotations

from .. import plots
from ..geometry import S2Geometry
from ..plots import percent
from .report_page import duration, facts, figure, heading, paragraph, table

BOUNDARIES = {
    "split": "nothing wraps; shifted heads have a short group at each end, and no token looks at the future",
    "wrap": "in shifted heads the first and the last tokens share a group, and the first look at the last, which are "
    "their future, so the loss in training counts a leak",
    "masked": "in shifted heads the first and the last tokens share a group; the last may look at the first, never "
    "the other way round",
}
LARGEST_DRAWING = 256


def scaled_down(context: int, group_size: int, shift: int, boundary: str) -> S2Geometry:
    """A plain and a shifted head over few tokens, with as many groups and the same boundary as a long context."""
    group = 4 if context <= 8 * group_size else 2
    groups = min(context / group_size, LARGEST_DRAWING // group)
    small_shift = min(max(1, round(shift * group / group_size)), group - 1) if shift else 0
    return S2Geometry(max(group, round(group * groups)), group, 2, small_shift, boundary)


def training(report: dict) -> str:
    """The loss, and why the passkey's part of it says little; the rule of positions."""
    train, rope = report["train"], report["rope"]
    caption = f"{train['tokens']:,} bytes in windows of {report['target_context']:,}; everything is in bits."
    if "passkey" in plots.loss_series(train["curve"]):
        drawn, layers = _drawn(train, report["target_context"]), report["model"]["layers"]
        one, through_all = (percent(drawn.reach(count)[-1].mean()) for count in (1, layers))
        caption += (
            " The passkey's digits can cost as much as guessing here although the model finds passkeys in use: under "
            "shifted sparse attention the key often stands outside every group that can reach the question. The end of "
            f"a window hears about {one} of it through one layer and {through_all} through all {layers}; in use, all."
        )
    position = (
        f"Positions were stretched by the rule “{rope['method']}”, factor {rope['factor']:g}, "
        f"base {rope['base']:,.0f}: {rope['why']}."
    )
    picture = figure(plots.plot_loss(train["curve"]), plots.describe_loss(train["curve"]), caption)
    return "\n".join([heading("How it was trained"), paragraph(position), picture])


def trained_parts(report: dict) -> str:
    """What was trained and what stayed frozen."""
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


def attention(report: dict) -> str:
    """Who looked at whom in training, drawn small."""
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


def provenance(report: dict) -> str:
    """Command, machine, versions, date, text: what is needed to get the same numbers again."""
    machine, corpus, train, model = report["machine"], report["corpus"], report["train"], report["model"]
    shared = corpus["shared_lines"]
    rows = [
        ["command", report["command"]],
        ["date", report["date"]],
        ["machine", ", ".join([machine["processor"], machine["architecture"], machine["system"]])],
        ["threads", f"{machine['threads']}, on {machine['cores']} cores"],
        ["versions", ", ".join(f"{name} {version}" for name, version in report["versions"].items())],
        ["time", f"{duration(train['seconds'])} of training, {duration(report['seconds'])} with both measurements"],
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
        ["settings", ", ".join(f"{name} {_said(value)}" for name, value in report["settings"].items())],
    ]
    return f"{heading('How it was run')}\n{facts(rows)}"


def _drawn(train: dict, context: int) -> S2Geometry:
    return scaled_down(context, train["group_size"], train["shift"], train["boundary"])


def _said(value) -> str:
    return "default" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
