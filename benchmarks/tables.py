"""Writes the tables of benchmarks/README.md that are made of records: the demo, speed, real models, and so on.

Run it after a record has changed; a test holds the page equal to the records.
"""

from __future__ import annotations

from pathlib import Path

from longlora_edu.demo.ladder import TITLES
from longlora_edu.plots.speed import crossover
from longlora_edu.runs.marked import fill_marked
from longlora_edu.runs.records import read_json, replace_file
from longlora_edu.training.longqa import KINDS
from longlora_edu.training.references import CLASSES

HERE = Path(__file__).parent
PAGE = HERE / "README.md"
STEPS = ("step_small_adapters", "step_small_all", "step_135m_adapters", "step_135m_all")
ARMS = ("stretched", "short", "after", "full")
LAYOUTS = {"references": "", "references_aligned": ", across a border"}
WHO = {"small": "the small model", "smollm2-135m.gguf": "the 135M model (9 query heads, 3 key/value heads)"}
WHAT = {"adapters": "adapters, embeddings and norms", "all": "all weights"}


def page(text: str) -> str:
    """`text` with each of its sections written anew."""
    return fill_marked(text, {name: section() for name, section in SECTIONS.items()})


def demo() -> str:
    """The small model, and what each arm of the demo reaches from it, seed by seed."""
    base = read_json(HERE.parent / "longlora_edu" / "assets" / "model" / "pretraining.json")
    seeds = _record("demo_seeds")["seeds"]
    rows = []
    for name in ARMS:
        steps = [{**seed, **seed["arms"]}[name] for seed in seeds.values()]
        last = [list(step["bits_per_byte"].values())[-1] for step in steps]
        own = [next(iter(seed["own_window"]["bits_per_byte"].values())) for seed in seeds.values()]
        text = ", ".join(f"{(bits / window - 1) * 100:+.1f}" for bits, window in zip(last, own, strict=True))
        found = [_shares([step[layout][kind] for step in steps]) for layout in LAYOUTS for kind in CLASSES]
        rows.append([TITLES[name] + " with S²" * (name == "after"), text, *found])
    head = ["", "text, %", *(f"{kind}{words}" for words in LAYOUTS.values() for kind in CLASSES)]
    seconds = ", ".join(f"{seed['seconds']:.0f}" for seed in seeds.values())
    first = next(iter(seeds.values()))
    source = first | {"file": "results/demo_seeds.json", "command": "python benchmarks/demo_seeds.py"}
    return (
        f"**The small model**: {base['parameters']:,} parameters, {base['bits_per_byte']:.3f} bits/byte on "
        f"{base['bits_per_byte_windows']:,} held-out windows of {base['config']['context']} bytes, passkey "
        f"{base['passkey']['successes']} of {base['passkey']['trials']}; {base['tokens'] / 1e6:.0f} MB of text in "
        f"{base['seconds'] / 60:.0f} minutes beside other work ({base['date'][:10]}).\n\n"
        f"**The demo**, seeds {', '.join(seeds)}: how much more the last bytes of {first['settings']['context']:,} "
        "cost than on the base's own window, and how many of 100 references are found, by distance in groups, of at "
        "least 200 each and seed; dense attention.\n\n"
        f"{_table(head, rows)}\n\n{_source(source)} Seconds without the other arms: {seconds}; all but the first "
        "beside other work."
    )


def _shares(counts: list[dict]) -> str:
    return ", ".join(f"{100 * count['found'] / count['of']:.0f}" for count in counts)


def speed() -> str:
    """Attention alone, by length, and in a whole step."""
    parts = [_attention(_record("attention_cpu")), _scaling(_record("scaling_cpu"))]
    parts.append(_steps([_record(name) for name in STEPS]))
    return "\n\n".join(parts)


def real() -> str:
    """The 135M model: past its own context, ten steps at 4,096 tokens, and questions about long files."""
    parts = (_longer("extend_135m"), _ten_steps(_record("train_135m")), _questions(_record("longqa_135m")))
    return "\n\n".join(parts)


def lessons() -> str:
    """Time and memory of each notebook, in this environment and in Binder's."""
    records = {"here": _record("notebooks"), "Binder's list, 2 GB": _record("notebooks_binder")}
    columns = ("s", "longest cell", "training cell", "GB")
    head = ["lesson", *(f"{column}: {where}" for where in records for column in columns)]
    rows = []
    for name in records["here"]["notebooks"]:
        cells = [record["notebooks"][name] for record in records.values()]
        rows.append([name, *(text for cell in cells for text in _lesson(cell))])
    sources = "\n\n".join(_source(record) for record in records.values())
    return (
        "**What a lesson costs** in its solution edition, in seconds and in gigabytes at most, on one thread: in the "
        "environment of the tests, and in that of Binder's list, where a kernel that wants more than 2 GB is ended.\n\n"
        f"{_table(head, rows)}\n\n{sources}"
    )


def attacks() -> str:
    """Rows of attacks, tried and survived."""
    record = _record("attacks")
    rows = [[row["attack"], f"{row['tried']:,}", f"{row['survived']:,}"] for row in record["rows"]]
    return (
        f"**Attacks**, all of them, one after the other: {record['seconds'] / 60:.1f} minutes beside other work, "
        f"{record['cpu_seconds'] / 60:.1f} of the processor.\n\n"
        f"{_table(['attack', 'tried', 'survived'], rows)}\n\n{_source(record)}"
    )


def _longer(name: str) -> str:
    record = _record(name)
    settings, training = record["settings"], record["training"]
    rows = [[state, *(f"{nats[half]:.3f}" for half in ("known", "new"))] for state, nats in record["held_out"].items()]
    windows = record["held_out"]["trained"]["windows"]
    return (
        f"**A real model past its own context**: 135M weights, from {settings['context'] // 2:,} tokens to "
        f"{settings['context']:,}, {settings['steps']} steps of one window with S² on the standard library's source, "
        f"rate {settings['rate']:g}, {training['seconds'] / 60:.0f} minutes beside other work. Nats a token of "
        f"{windows} held-out windows, dense, in the half that it knew and in the new one:\n\n"
        f"{_table(['', 'known half', 'new half'], rows)}\n\n{_source(record)}"
    )


def _ten_steps(record: dict) -> str:
    losses = [step["loss"] for step in record["curve"]]
    before, after = (record["held_out"][when] for when in ("before", "after"))
    training, settings = record["training"], record["settings"]
    return (
        f"**A real model of 135M weights** at {settings['context']:,} tokens, {len(losses)} steps of "
        f"{settings['accumulate']} windows with S² on the standard library's source, rate {settings['rate']:g}: "
        f"nats a token of the same {record['held_out']['windows']} held-out windows under S² {before['s2']:.3f} before "
        f"and {after['s2']:.3f} after, dense {before['dense']:.3f} and {after['dense']:.3f}; loss of the steps "
        f"{', '.join(f'{loss:.2f}' for loss in losses)} (each of other text); {training['tokens_per_second']:.0f} "
        f"tokens/s.\n\n{_source(record)}"
    )


def _questions(record: dict) -> str:
    rows = [
        [words, *(_found(record["exact"][when][kind]) for when in ("before", "after"))]
        for kind, words in (KINDS | {"all": "all"}).items()
    ]
    settings, training = record["settings"], record["training"]
    return (
        f"**Questions about long files**, answered to the letter by the 135M model, in files that it was never trained "
        f"on, before and after {settings['steps']} steps of {settings['accumulate']} questions with "
        f"{training['attention']} attention ({training['seconds'] / 60:.0f} minutes of training; excerpts of up to "
        f"{record['length_in_bytes']:,} bytes; 95 % intervals in brackets).\n\n"
        f"{_table(['question', 'before', 'after'], rows)}\n\n{_source(record)}"
    )


def _found(found: dict) -> str:
    low, high = found["interval_95"]
    return f"{found['successes']} of {found['trials']} ({low:.0%} to {high:.0%})"


def _lesson(cell: dict) -> list[str]:
    times = (cell[f"{what}seconds"] for what in ("", "longest_cell_", "training_cell_"))
    return [*map(_cell, times), f"{cell['peak_rss_bytes'] / 1e9:.2f}"]


def _record(name: str) -> dict:
    """A record that lies beside the benchmarks, or in the package, where a lesson shows it."""
    places = ("results", "../longlora_edu/assets/results")
    file = next(f"{place}/{name}.json" for place in places if (HERE / place / f"{name}.json").exists())
    return read_json(HERE / file) | {"file": file}


def _attention(record: dict) -> str:
    others = list(record["rows"][0]["times_faster"])
    head = ["dtype", "b × n", "group", "ms", "over the bound", "packed over plain"]
    head += [f"times faster than {name}" for name in others] + ["dense pairs over S² pairs", "largest error"]
    rows = [
        [
            row["dtype"],
            f"{row['batch']} × {row['length']:,}",
            f"{row['group']:,}",
            f"{row['seconds']['s2'] * 1e3:.0f}",
            _ratio(row["to_lower_bound"], 3),
            _ratio(row["packed_to_plain"]),
            *(_ratio(row["times_faster"][name]) for name in others),
            f"{row['pairs_of_dense']:.2f}",
            f"{row['largest_error']:.0e}",
        ]
        for row in record["rows"]
    ]
    long = [row["times_faster"] for row in record["rows"] if row["length"] == 8192]
    means = ", ".join(f"{sum(row[name]['median'] for row in long) / len(long):.2f} times {name}" for name in others)
    return (
        f"**Attention alone**, forward and backward from projections laid out `(b n h d)`, {record['heads']} heads of "
        f"{record['head_dim']}. The bound is one plain causal call over the same number of groups that already lie "
        "side by side, timed in turns with the rest; the middle half of the pairs in brackets. Over the bound: "
        f"geometric mean {record['geometric_mean_to_lower_bound']:.3f}, largest "
        f"{record['largest_to_lower_bound']:.3f}. At 8,192 tokens as fast as {means}, means of both dtypes. *Packed*: "
        "the same number of tokens in documents of a quarter of a group to two groups, which cut the cells, so that "
        "there are fewer pairs.\n\n"
        f"{_table(head, rows)}\n\n{_source(record)}"
    )


def _scaling(record: dict) -> str:
    rows = []
    for row in record["fixed_group"]:
        time, held = row["nanoseconds_a_token"], row["bytes_a_token"]
        cells = [_cell(table.get(name)) for table in (time, held) for name in ("s2", "dense")]
        rows.append([f"{row['length']:,}", *cells])
    points = {int(length): ratio["median"] for length, ratio in record["dense_over_s2"].items()}
    even = crossover(points)
    pays = f"from about {even:,.0f} tokens on" if even else "at none of these lengths"
    ratios = ", ".join(f"{ratio:.2f} at {length:,}" for length, ratio in points.items())
    head = ["tokens", "ns a token, S²", "ns a token, dense", "bytes a token, S²", "bytes a token, dense"]
    return (
        f"**By length**, one sequence, groups of {record['group']}, {record['dtype']}: time and memory a token stay "
        "flat with S². Bytes are the most that a fresh process held above q, k, v and the gradient of the output. When "
        "this was recorded S² held the output twice, once in pieces; now it holds it once: `cpu_attention.json`.\n\n"
        f"{_table(head, rows)}\n\n"
        f"With groups of a quarter of the length S² is faster than dense attention {pays} (times faster: {ratios}).\n\n"
        f"{_source(record)}"
    )


def _steps(records: list[dict]) -> str:
    head = ["model, what learns", "context", "tokens/s, S²", "dense", "times faster", "by FLOPs", "GiB, S²", "dense"]
    rows = [
        [
            f"{WHO[record['model']]}, {WHAT[record['train']]}{', bf16' if record['bf16'] else ''}",
            f"{row['context']:,}",
            *(f"{row['tokens_a_second'][name]:,.0f}" for name in ("s2", "dense")),
            _ratio(row["times_faster"]),
            f"{row['promised']:.2f}",
            *(
                "–" if row["peak_bytes"][name] is None else f"{row['peak_bytes'][name] / 2**30:.2f}"
                for name in ("s2", "dense")
            ),
        ]
        for record in records
        for row in record["rows"]
    ]
    sources = "\n\n".join(_source(record) for record in records)
    return (
        "**A whole training step** of one sequence: zero gradients, forward, loss, backward, AdamW. *By FLOPs* is what "
        "`cost.step_ratio` says of causal kernels. GiB are the most that a fresh process held, weights and all.\n\n"
        f"{_table(head, rows)}\n\n{sources}"
    )


def _ratio(ratio: dict, digits: int = 2) -> str:
    return f"{ratio['median']:.{digits}f} ({ratio['low']:.2f} to {ratio['high']:.2f})"


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _source(record: dict) -> str:
    threads = record["machine"]["threads"]
    machine = f"{record['machine']['processor']}, {threads} thread{'s' * (threads > 1)}"
    return (
        f"[`{Path(record['file']).name}`]({record['file']}): `{record['command']}`, {machine}, torch "
        f"{record['versions']['torch']}, {record['date'][:10]}."
    )


SECTIONS = {"demo": demo, "speed": speed, "real": real, "lessons": lessons, "attacks": attacks}

if __name__ == "__main__":
    replace_file(PAGE, page(PAGE.read_text(encoding="utf-8")).encode())
