from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from longlora_edu import plots
from longlora_edu.demo.report import render_report, scaled_down
from longlora_edu.geometry import S2Geometry
from longlora_edu.runs.records import Proportion, as_json

VOID = {"meta", "img", "br", "link", "hr", "input"}
LENGTHS = (256, 512, 1024, 2048)
DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
STEPS = ("before", "stretched", "after")


def measured(bits, found, rng):
    """What the demo measures, for bits per byte and passkeys found (of 8) that depend on the length."""
    counts = dict(zip(LENGTHS, found, strict=True))
    cells = {n: {depth: Proportion(counts[n], 8) for depth in DEPTHS} for n in LENGTHS}
    overall = {n: Proportion(5 * counts[n], 40) for n in LENGTHS}
    steps = np.repeat([bits[n] for n in LENGTHS], np.diff([1, *LENGTHS]))
    return {
        "bits_per_byte": bits,
        "bits_per_byte_windows": 200,
        "bits_per_byte_by_position": [round(float(value), 4) for value in steps + rng.normal(0, 0.2, len(steps))],
        "passkey": {n: count.rate for n, count in overall.items()},
        "passkey_overall": overall,
        "passkey_by_depth": cells,
        "writes": "x = <1>\n",
        "seconds": 41.5,
    }


def found(*counts):
    return {kind: {"found": count, "of": 200} for kind, count in zip(("<=G", "G-2G", ">2G"), counts, strict=True)}


def finished_run():
    """A report as the demo hands it over before it has been JSON: numbers as keys, records as values."""
    rng = np.random.default_rng(0)
    curve = [
        {
            "step": step,
            "seconds": 0.7 * step,
            "gradient_norm": 0.4,
            "loss": 1.0 + 0.5 / step,
            "bits_per_byte": 1.4 + 0.7 / step,
            "passkey_nats": 2.3 if step % 3 else None,
        }
        for step in range(1, 101)
    ]
    own = {256: 1.4491, 512: 3.551, 1024: 4.853, 2048: 5.4764}
    steps = {
        "before": measured(own, (8, 1, 0, 0), rng),
        "stretched": measured({256: 1.49, 512: 1.47, 1024: 1.48, 2048: 1.6}, (8, 8, 7, 7), rng)
        | {"references": found(1, 0, 0), "references_aligned": found(2, 0, 0), "references_chance": 0.147},
        "after": measured({256: 1.4627, 512: 1.428, 1024: 1.444, 2048: 1.4768}, (8, 8, 7, 7), rng)
        | {"references": found(180, 150, 30), "references_aligned": found(184, 100, 40), "references_chance": 0.147},
    }
    return {
        "model": {
            "name": "TinyLlama, byte-level, in longlora_edu",
            "trained_context": 256,
            "parameters": 1_869_504,
            "layers": 4,
            "width": 192,
            "heads": 4,
        },
        "target_context": 2048,
        "rope": {
            "method": "yarn",
            "factor": 8.0,
            "base": 10_000.0,
            "beta_fast": 8,
            "why": "it keeps <near> distances & maps far ones",
        },
        "recipe": {
            "train": "adapters",
            "rank": 8,
            "alpha": 16,
            "targets": ("q_proj", "k_proj", "v_proj", "o_proj"),
            "also_train": ("embed_tokens", "input_layernorm", "post_attention_layernorm", "norm"),
            "trainable_parameters": 100_032,
            "trainable_share": 100_032 / 1_918_656,
            "passkey_share": 0.25,
            "passkey_weight": 5.0,
            "reference_share": 0.6,
            "reference_weight": 5.0,
            "reference_page": 512,
            "plain_share": 0.15,
        },
        "own_window": {"bits_per_byte": {256: own[256]}},
        **steps,
        "arms": {"short": steps["after"] | {"references": found(120, 60, 4)}},
        "writing": {"prompt_end": "import <os>\n", **{name: f"{name} = <1>\n" for name in steps}},
        "sentence": "Given 2,048 bytes, this happened.",
        "train": {
            "steps": 100,
            "tokens": 819_200,
            "seconds": 70.04,
            "tokens_per_second": 11_696.17,
            "attention": "S2 (split), groups of 512, shift 256; evaluation dense",
            "group_size": 512,
            "shift": 256,
            "boundary": "split",
            "peak_rss_bytes": 712 * 2**20,
            "curve": tuple(curve),
        },
        "settings": {"context": 2048, "group_ratio": 0.25, "steps": 100, "corpus": None, "threads": 2},
        "corpus": {
            "source": "standard library",
            "sha256": "3e9b" * 16,
            "python": "3.11.7",
            "train_documents": 687,
            "train_bytes": 11_448_668,
            "held_out_documents": 44,
            "held_out_bytes": 669_973,
            "shared_lines": {"shortest": 40, "held_out_lines": 5316, "also_in_train": 553},
        },
        "seconds": 153.04,
        "command": "longlora-edu demo --out here",
        "date": "2026-01-02T03:04:05+00:00",
        "machine": {"processor": "A & B", "architecture": "x86_64", "cores": 2, "threads": 2, "system": "Linux"},
        "versions": {"python": "3.11.7", "torch": "2.13.0"},
    }


class Page(HTMLParser):
    """What a reader of the page meets: tags with attributes, tables as rows of text, and all text."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.tables, self.text = [], [], [], ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("th", "td"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, "tags are closed in the order in which they were opened"

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data.replace("\u00a0", " ").replace("\u2060", "")
        if self.open and self.open[-1] in ("th", "td"):
            self.tables[-1][-1][-1] += data.replace("\u00a0", " ").replace("\u2060", "")

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def html():
    return render_report(finished_run())


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def changed(**changes):
    """The page of a run in which some parts are others: `recipe={"train": "all"}`."""
    report = finished_run()
    for name, part in changes.items():
        report[name] = report[name] | part
    return Page(render_report(report))


# The page as a page.


def test_the_page_says_what_it_is(html, page):
    assert page.all("html") == [{"lang": "en"}]
    assert {"charset": "utf-8"} in page.all("meta")
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")
    assert [len(page.all(tag)) for tag in ("title", "main", "h1")] == [1, 1, 1]
    assert "From a context of 256 bytes to 2,048" in page.text
    assert html.startswith("<!DOCTYPE html>\n")


def test_the_page_loads_nothing_and_runs_nothing(html, page):
    assert "@import" not in html and "url(" not in html
    assert {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "embed", "base", "form"} == set()
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name in ("href", "srcset", "style")]
        assert attributes.get("src", "data:image/png;base64,").startswith("data:image/png;base64,")


def test_every_picture_has_words_and_a_caption(page):
    alts = [image["alt"] for image in page.all("img")]
    assert len(alts) == len(page.all("figure")) == len(page.all("figcaption")) == 9
    for alt in alts:
        assert len(alt) > 40
        assert re.search(r"\d", alt)
    assert len(set(alts)) == len(alts)
    assert plots.describe_masks(S2Geometry(16, 4, 2)) in alts


def test_pictures_are_png(page):
    for image in page.all("img"):
        data = base64.b64decode(image["src"].removeprefix("data:image/png;base64,"), validate=True)
        assert data.startswith(b"\x89PNG\r\n\x1a\n")


def test_the_same_run_gives_the_same_page_before_and_after_it_was_json(html):
    assert html == render_report(as_json(finished_run()))


def test_what_a_stranger_wrote_stays_text():
    attack = "</td><script>alert(1)</script><img src=http://x/y onerror=alert(2)> \"'&"
    report = finished_run()
    report["corpus"]["source"] = report["settings"]["corpus"] = report["command"] = attack
    report["machine"]["processor"] = report["model"]["name"] = report["rope"]["why"] = attack
    report["versions"]["torch"] = report["recipe"]["targets"] = (attack,)
    report["settings"][attack] = 1
    html = render_report(report)
    page = Page(html)
    assert "<script" not in html and "<img src=http" not in html
    assert len(page.all("img")) == 9
    assert page.text.count(attack) >= 8


def test_a_part_that_is_missing_is_named():
    report = finished_run()
    del report["corpus"]
    with pytest.raises(KeyError, match="corpus"):
        render_report(report)


# Its numbers.


def test_the_ladder_stands_first(page):
    head, *rows = page.tables[0]
    assert head[1:] == ["bits per byte", *(f"references {d}" for d in ("up to 512 apart", "up to 1,024", "beyond"))]
    assert rows == [
        ["The base with its own window, 256 bytes", "1.449", "–", "–", "–"],
        ["The base as it is, given 2,048", "5.476", "–", "–", "–"],
        ["Positions stretched, nothing trained", "1.600", "0 %", "0 %", "0 %"],
        ["After training with S²", "1.477", "90 %", "75 %", "15 %"],
        ["Trained without a shift", "1.477", "60 %", "30 %", "2 %"],
    ]
    assert "Given 2,048 bytes, this happened." in page.text


def test_references_stand_by_layout_and_step_with_intervals(page):
    head, *rows = page.tables[1]
    assert head == ["references found", "up to 512 apart", "up to 1,024", "beyond"]
    assert [row[0] for row in rows] == [
        f"{step}, {layout}"
        for layout in ("free", "aligned to pages")
        for step in ("Positions stretched, nothing trained", "After training", "Trained without a shift")
    ]
    assert rows[1][1] == "90 % [85–93 %] (180 of 200)"
    assert rows[2][3].endswith("(4 of 200)") and rows[5][3].endswith("(40 of 200)")
    assert "60 % of the training windows carried 20, half of them across the border of two pages of 512" in page.text
    assert "picking one of the numbers set before would find 15 %" in page.text


def test_the_model_writes_and_what_it_writes_stays_text(page):
    for step in ("before", "stretched", "after"):
        assert f"{step} = <1>" in page.text
    assert "import <os>" in page.text


def test_the_numbers_of_the_pictures_stand_in_tables(page):
    report = as_json(finished_run())
    _, _, trained, by_length, by_position, overall, before, stretched, after, loss, facts = page.tables
    assert by_length[1:] == [
        [f"{n:,}", *(f"{report[when]['bits_per_byte'][str(n)]:.3f}" for when in STEPS)] for n in LENGTHS
    ]
    assert [row[0] for row in by_position[1:]] == ["1 to 256", "257 to 512", "513 to 1,024", "1,025 to 2,048"]
    values = report["after"]["bits_per_byte_by_position"]
    assert by_position[2][3] == f"{sum(values[256:512]) / 256:.3f}"
    for (_, cell), when in zip(overall[1:], STEPS, strict=True):
        count = report[when]["passkey_overall"]["2048"]
        rate, low, high, successes, trials = map(int, re.findall(r"\d+", cell))
        assert (successes, trials) == (count["successes"], count["trials"])
        assert rate == pytest.approx(100 * count["rate"], abs=0.51)
        assert [low, high] == pytest.approx([100 * end for end in count["interval_95"]], abs=0.51)
    assert stretched[1:] == after[1:] == [[f"{depth:g}", "100 %", "100 %", "88 %", "88 %"] for depth in DEPTHS]
    assert before[0] == after[0] == ["depth", "256", "512", "1,024", "2,048"]
    assert before[1:] == [[f"{depth:g}", "100 %", "12 %", "0 %", "0 %"] for depth in DEPTHS]
    assert [row[0] for row in loss[1:]][::9] == ["1 to 10", "91 to 100"]
    assert loss[10][1:3] == [f"{np.mean([1.4 + 0.7 / step for step in range(91, 101)]):.3f}", "3.318"]
    assert len(page.all("details")) == len(page.all("summary")) == 1


def test_a_short_run_without_passkeys_has_a_table_of_its_few_steps():
    curve = [{"step": 1, "seconds": 1.0, "loss": 1.0, "bits_per_byte": 1.5, "passkey_nats": None}]
    page = changed(train={"curve": curve}, recipe={"passkey_share": 0.0})
    assert page.tables[9][1:] == [["1 to 1", "1.500", "–", "–", "1.443"]]
    assert "No training window carried one." in page.text
    assert "every group that can reach" not in page.text


def test_the_page_says_how_the_run_was_run(page):
    facts = dict(page.tables[-1])
    assert facts["command"] == "longlora-edu demo --out here"
    assert facts["date"] == "2026-01-02T03:04:05+00:00"
    assert facts["machine"] == "A & B, x86_64, Linux"
    assert facts["threads"] == "2, on 2 cores"
    assert facts["versions"] == "python 3.11.7, torch 2.13.0"
    assert facts["time"] == "70 s of training, 2.6 minutes with all measurements"
    assert facts["peak memory"] == "712 MiB, the whole process"
    assert facts["its sha256"] == "3e9b" * 16
    assert facts["shared lines"].startswith("553 of 5,316 held-out lines of at least 40 bytes")
    assert facts["settings"] == "context 2048, group_ratio 0.25, steps 100, corpus default, threads 2"


def test_the_page_says_what_was_done_and_why(page):
    assert (
        "by the rule “yarn”, factor 8, base 10,000 (pairs that turn more than 8 times in the trained context stay): "
        in page.text
    )
    assert "stay): it keeps <near> distances & maps far ones." in page.text
    assert "Of the training windows 25 % carried one, unless it had references, and each digit of the" in page.text
    assert "answer counted 5 times as much" in page.text
    assert "a line “# passkey 48213”" in page.text
    assert "groups of 512 bytes, the other half inside groups that begin 256 later" in page.text


def test_the_page_says_how_little_of_a_window_reaches_its_end(page):
    # Groups of 512 in 2,048: a layer brings the last group; each of three more brings another 256 tokens.
    assert "hears about 25 % of it through one layer and 62 % through all 4; in use, all." in page.text


# What was trained, and who looked at whom.


def test_what_was_trained_is_a_table_with_its_share(page):
    _, trained, frozen = page.tables[2]
    assert trained[0].startswith(
        "trained: LoRA of rank 8 and alpha 16 beside q_proj, k_proj, v_proj, o_proj; whole: emb"
    )
    assert trained[1:] == ["100,032", "5.2 %"]
    assert frozen[1:] == ["1,818,624", "94.8 %"]
    assert "the model that is left has 1,869,504 parameters" in page.text


def test_a_run_that_trained_everything_says_so():
    nothing = {"rank": None, "alpha": None, "targets": (), "also_train": ()}
    page = changed(recipe=nothing | {"train": "all", "trainable_parameters": 1_869_504, "trainable_share": 1.0})
    _, trained, frozen = page.tables[2]
    assert trained == ["trained: all weights, no LoRA", "1,869,504", "100.0 %"]
    assert frozen[1:] == ["0", "0.0 %"]
    assert "None" not in page.text


@pytest.mark.parametrize(
    ("boundary", "words"),
    [("split", "no token looks at the future"), ("wrap", "counts a leak"), ("masked", "never the other way round")],
)
def test_the_boundary_is_drawn_and_explained(boundary, words):
    page = changed(train={"boundary": boundary})
    assert f"16 tokens in groups of 4 stand for 2,048 in groups of 512. Boundary “{boundary}”" in page.text
    assert words in page.text
    drawn = S2Geometry(16, 4, 2, boundary=boundary)
    assert plots.describe_masks(drawn) in [image["alt"] for image in page.all("img")]


@pytest.mark.parametrize(
    ("long", "small"),
    [
        ((2048, 512, 256, "wrap"), S2Geometry(16, 4, 2, 2, "wrap")),
        ((2048, 512, 0, "split"), S2Geometry(16, 4, 2, 0, "split")),
        ((2048, 512, 500, "split"), S2Geometry(16, 4, 2, 3, "split")),
        ((2048, 512, 1, "split"), S2Geometry(16, 4, 2, 1, "split")),
        ((1000, 300, 150, "split"), S2Geometry(13, 4, 2, 2, "split")),
        ((300, 300, 150, "split"), S2Geometry(4, 4, 2, 2, "split")),
        ((300, 600, 300, "split"), S2Geometry(4, 4, 2, 2, "split")),
        ((4096, 256, 128, "masked"), S2Geometry(32, 2, 2, 1, "masked")),
        ((100_000, 100, 50, "wrap"), S2Geometry(256, 2, 2, 1, "wrap")),
    ],
)
def test_a_long_geometry_is_drawn_with_few_tokens(long, small):
    assert scaled_down(*long) == small


# A run of the demo itself.


@pytest.mark.xdist_group("demo")
def test_the_report_of_a_real_run_is_its_page(finished_demo):
    _, folder, report = finished_demo
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert html == render_report(report)
    assert Page(html).tables[0][2][1] == f"{report['before']['bits_per_byte']['640']:.3f}"
