"""The explorer of S²-Attn: its module under Node against the geometry and the costs, its face in Python, its page."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import need, widget_of
from matplotlib.colors import to_hex

from longlora_edu.cost import ModelShape, attention_bytes, forward_flops
from longlora_edu.geometry import S2Geometry
from longlora_edu.plots import layers_needed, style
from longlora_edu.widgets.explorer import explorer, module, page
from longlora_edu.widgets.explorer.still import HEAD_DIM, Still, link

ROOT = Path(__file__).parents[2]
BOUNDARIES = ("split", "wrap", "masked")
# Settings come as rows of JSON; what is said of them goes back as JSON, the masks as bits in a file beside it.
PRELUDE = """
import * as m from "./module.mjs";
import { readFileSync, writeFileSync } from "node:fs";
const given = JSON.parse(readFileSync("given.json"));
const setting = ([n, g, shift, heads, boundary]) => ({ n, g, shift, heads, boundary });
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """A function that runs lines of JavaScript on `given`, with the module as `m`; `answer` comes back."""
    need("node", shutil.which("node"), "needs Node.js: apt-get install nodejs")
    folder = tmp_path_factory.mktemp("node")
    (folder / "module.mjs").write_text(module(), encoding="utf-8")

    def run(lines, given=None):
        (folder / "given.json").write_text(json.dumps(given))
        code = PRELUDE + lines + "\nwriteFileSync('answer.json', JSON.stringify(answer));"
        (folder / "main.mjs").write_text(code, encoding="utf-8")
        done = subprocess.run(["node", "main.mjs"], cwd=folder, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return json.loads((folder / "answer.json").read_text(encoding="utf-8"))

    run.folder = folder
    return run


def valid_settings(longest, head_counts):
    """Every valid setting up to a length: each group size up to `longest`, each shift, boundary and head count."""
    for n in range(1, longest + 1):
        for g in range(1, longest + 1):
            for boundary in BOUNDARIES if n % g == 0 else BOUNDARIES[:1]:
                for shift in range(g):
                    for heads in head_counts:
                        yield n, g, shift, heads, boundary


def geometry_of(setting):
    n, g, shift, heads, boundary = setting
    return S2Geometry(n, g, heads, shift, boundary)


def test_the_mask_is_that_of_the_geometry_for_every_setting_up_to_32_tokens(node):
    settings = list(valid_settings(32, (1, 2, 3, 4)))
    wrong = node(
        """
        const bytes = [];
        for (const s of given.map(setting)) {
          const bits = [];
          for (let head = 0; head < s.heads; head++) for (const kind of m.mask(s, head)) bits.push(kind > 0 ? 1 : 0);
          for (let at = 0; at < bits.length; at += 8)
            bytes.push(bits.slice(at, at + 8).reduce((byte, bit, place) => byte | (bit << place), 0));
        }
        writeFileSync("masks.bin", Uint8Array.from(bytes));
        const answer = given.length;
        """,
        settings,
    )
    assert wrong == len(settings)
    drawn = np.fromfile(node.folder / "masks.bin", dtype=np.uint8)
    meant = [np.packbits(geometry_of(setting).mask(), bitorder="little") for setting in settings]
    ends = np.cumsum([len(bits) for bits in meant])
    assert ends[-1] == len(drawn)
    differ = np.flatnonzero(np.concatenate(meant) != drawn)
    assert [settings[np.searchsorted(ends, at, side="right")] for at in differ[:3]] == []


def test_a_change_in_the_rule_would_be_seen(node):
    wrong = node(
        """
        const answer = given.map(setting).filter((s) => {
          const shiftedToo = (head, query, key) => m.allows({ ...s, heads: 1 }, head, query, key);
          return m.mask(s, 0).some((kind, at) => (kind > 0) !== shiftedToo(0, Math.floor(at / s.n), at % s.n));
        }).length;
        """,
        [(8, 4, 2, 2, "split"), (8, 4, 0, 2, "split")],
    )
    assert wrong == 1


def test_pairs_leak_cells_flops_and_bytes_are_those_of_the_library(node):
    settings = list(valid_settings(32, (1, 3)))
    said = node(
        """
        const answer = given.map(setting).map((s) => {
          const [f, b] = [m.flops(s), m.bytes(s)];
          const cells = [false, true].map((shifted) => m.cells(s, shifted));
          const [flops, bytes] = [[f.dense, f.plain + f.shifted], [b.masked, b.plain + b.shifted, b.flash]];
          return [m.pairs(s), m.futurePairs(s), m.densePairs(s), flops, bytes, cells];
        });
        """,
        settings,
    )
    for setting, row in zip(settings, said, strict=True):
        geometry = geometry_of(setting)
        n, heads = geometry.seq_len, geometry.num_heads
        layer = ModelShape(heads * HEAD_DIM, 1, heads, heads, HEAD_DIM, ffn_width=1, vocabulary=1)
        flops = [forward_flops(layer, n, g, causal=True).attention for g in (None, geometry)]
        size = attention_bytes(layer, geometry)
        cells = [
            [[[part.start, part.stop] for part in cell] for cell in geometry.cells(shifted=shifted)]
            for shifted in (False, True)
        ]
        dense = heads * n * (n + 1) // 2
        meant = [
            geometry.pairs(),
            geometry.future_pairs(),
            dense,
            flops,
            [size.masked, size.grouped, size.flash],
            cells,
        ]
        assert row == meant, setting


def test_who_hears_whom_is_that_of_the_geometry(node):
    settings = [s for s in valid_settings(13, (1, 2, 3)) if s[0] % 3 == 1] + [(32, 8, 3, 2, b) for b in BOUNDARIES]
    said = node(
        """
        const answer = given.map(setting).map((s) => [[1, 2, 3, 4].map((layers) => [...m.reach(s, layers)].join("")),
          [...m.layersNeeded(s, 4)], Math.max(...m.layersNeeded(s))]);
        """,
        settings,
    )
    for setting, (reach, needed, most) in zip(settings, said, strict=True):
        geometry = geometry_of(setting)
        heard = [geometry.reach(layers) for layers in (1, 2, 3, 4)]
        assert reach == ["".join(map(str, rows.ravel().astype(int))) for rows in heard], setting
        assert needed == layers_needed(geometry, 4).ravel().tolist(), setting
        assert np.array_equal(geometry.reach(most), geometry.reach(most + 1)), setting


def test_a_long_sequence_is_followed_to_its_end(node):
    # More than one word of bits a row, and 31 layers: the last of r = 16 groups hears the first token after 2r - 1.
    last = node("const s = setting(given); const answer = m.layersNeeded(s)[127 * 128];", (128, 8, 4, 2, "split"))
    assert last == 31


@pytest.mark.parametrize(
    ("before", "patch", "after", "note"),
    [
        ({}, {"g": 8}, {"g": 8, "shift": 4}, ""),
        ({"shift": 3}, {"g": 8}, {"g": 8, "shift": 3}, ""),
        ({"shift": 3}, {"g": 2}, {"g": 2, "shift": 1}, ""),
        ({}, {"shift": 9}, {"shift": 3}, ""),
        ({}, {"n": 500, "heads": 99, "layers": 0}, {"n": 128, "heads": 8, "layers": 1}, ""),
        ({"n": 30, "g": 8}, {"boundary": "wrap"}, {"n": 32, "boundary": "wrap"}, "size, 8: 30 tokens became 32."),
        (
            {"boundary": "masked"},
            {"n": 17},
            {"n": 16},
            "With masked the tokens must be a multiple of the group size, 4",
        ),
        ({"boundary": "masked"}, {"g": 5}, {"g": 5, "n": 15, "shift": 2}, "group size, 5: 16 tokens became 15."),
        ({"n": 3, "g": 50}, {"boundary": "wrap"}, {"n": 50, "boundary": "wrap"}, "size, 50: 3 tokens became 50."),
        ({"boundary": "wrap"}, {"n": 20}, {"n": 20}, ""),
    ],
)
def test_a_setting_that_moves_takes_the_others_along_and_says_so(node, before, patch, after, note):
    start, (state, said) = node(
        "const s = { ...m.DEFAULTS, ...given[0] }; const answer = [s, m.change(s, given[1])];", [before, patch]
    )
    assert state == start | after
    assert note in said and bool(note) == bool(said)


def test_a_group_that_grows_and_shrinks_again_gives_the_length_back(node):
    lengths = node(
        """
        let state = { ...m.DEFAULTS, n: 32, g: 8, boundary: "wrap" };
        const answer = given.map((g) => ([state] = m.change(state, { g }, 32), state.n));
        """,
        [7, 6, 5, 6, 7, 8],
    )
    assert lengths == [35, 30, 30, 30, 35, 32]


def test_whatever_is_asked_the_answer_is_a_geometry(node):
    asked = [
        (n, g, shift, heads, boundary)
        for n in (0, 1, 7, 30, 128, 999)
        for g in (0, 1, 3, 64, 127, 128, 200)
        for shift in (0, 2, 63, 500)
        for heads in (0, 3, 9)
        for boundary in BOUNDARIES
    ]
    states = node("const answer = given.map((row) => m.change(m.DEFAULTS, setting(row))[0]);", asked)
    for state in states:
        assert S2Geometry(state["n"], state["g"], state["heads"], state["shift"], state["boundary"])


@pytest.mark.parametrize(
    ("hash_", "state", "problem"),
    [
        ("#n=32&g=8&shift=4&boundary=wrap", {"n": 32, "g": 8, "shift": 4, "boundary": "wrap"}, ""),
        ("#g=8", {"g": 8, "shift": 4}, ""),
        ("", {}, ""),
        ("#projector=1&tour=1", {"projector": True, "tour": True}, ""),
        ("#projector=1&ask=1", {"projector": True, "ask": True}, ""),
        (
            "#challenge=1&score=412&g=3",
            {"n": 32, "g": 32, "shift": 16, "layers": 4, "challenge": True, "score": 412},
            "",
        ),
        ("#words=a%26b%20c%3D", {"words": "a&b c="}, ""),
        ("#words=100%", {"words": "100%"}, ""),
        ("#score=many", {}, "The link says score=many, which is no setting here."),
        ("#n=999", {"n": 128}, "tokens must be from 1 to 128, but the link says 999."),
        ("#shift=7", {"shift": 3}, "shift must be from 0 to 3, but the link says 7."),
        ("#n=-3", {}, "tokens must be a number, but the link says -3."),
        ("#heads=two", {}, "heads must be a number, but the link says two."),
        ("#boundary=round", {}, "The boundary must be split, wrap, masked, but the link says round."),
        ("#colour=red", {}, "The link says colour=red, which is no setting here."),
        ("#constructor=3", {}, "The link says constructor=3, which is no setting here."),
        ("#n=30&g=8&boundary=wrap", {"n": 32, "g": 8, "shift": 4, "boundary": "wrap"}, "30 tokens became 32."),
    ],
)
def test_a_link_is_followed_or_says_what_could_not_be(node, hash_, state, problem):
    defaults, read = node("const answer = [m.DEFAULTS, m.fromHash(given)];", hash_)
    fresh = {"projector": False, "ask": False, "tour": False, "challenge": False, "score": 0, "words": ""}
    assert read["state"] == defaults | fresh | state
    assert problem in " ".join(read["problems"]) and bool(problem) == bool(read["problems"])


def test_python_and_the_module_write_the_same_link(node):
    settings = [(16, 4, 2, 4, "split"), (32, 8, 0, 1, "wrap"), (30, 7, 6, 3, "split")]
    said = node("const answer = given.map((row) => m.toHash({ ...setting(row), layers: 5 }));", settings)
    assert [link(geometry_of(setting), 5) for setting in settings] == [f"explorer.html#{text}" for text in said]
    back = node("const answer = given.map((text) => m.toHash(m.fromHash(text).state));", said)
    assert back == said


def test_colours_are_those_of_every_other_picture(node):
    colours, ramp, layers, head_dim = node(
        """
        const answer = [m.COLOURS, m.CIVIDIS, m.layerColours(7), m.HEAD_DIM];
        """
    )
    names = ("PLAIN", "SHIFTED", "FUTURE", "DENSE", "EMPTY", "INK")
    assert colours == {name.lower(): getattr(style, name) for name in names}
    assert [text.lower() for text in ramp] == [to_hex(style.MAGNITUDE(at / 16)) for at in range(17)]
    meant = 255 * style.MAGNITUDE(1 - 0.85 * 0.75 ** np.arange(7))[:, :3]
    np.testing.assert_allclose([[int(text[at : at + 2], 16) for at in (1, 3, 5)] for text in layers], meant, atol=4)
    assert head_dim == HEAD_DIM


def test_words_say_what_a_token_looks_at(node):
    # Three groups of 4 with the ends sharing a cell: heads 1 and 2 are shifted by 1, head 0 is plain.
    said = node(
        """
        const s = { ...setting(given), layers: 1 };
        const answer = [m.sayQuery(s, m.measure(s), 0), m.sayQuery(s, m.measure(s), 6), ...m.sayAll(s, m.measure(s))];
        """,
        (12, 4, 1, 3, "wrap"),
    )
    assert said == [
        "Token 0: on a plain head it looks at 0; on a shifted head it looks at 0 and, in its future, 9 to 11. "
        "Within 1 layer it hears 0 and 9 to 11.",
        "Token 6: on a plain head it looks at 4 to 6; on a shifted head it looks at 5 and 6. "
        "Within 1 layer it hears 4 to 6.",
        "12 tokens in groups of 4, shift 1, 3 heads, boundary wrap.",
        "90 of the 234 (query, key) pairs of full attention, 38\u00a0%: 30 on each of 1 plain head, "
        "30 on each of 2 shifted heads.",
        "6 pairs look at a later token: the future leaks.",
        "Within 1 layer a token hears 46\u00a0% of what stands before it and itself; "
        "the last token hears the first only after 5 layers.",
        "23,040 FLOPs instead of 59,904.",
        "864 bytes for the whole matrix, 288 for the cells only, 144 where a flash kernel keeps one number a query.",
    ]


def test_without_a_shift_no_word_tells_plain_heads_from_shifted_ones(node):
    said = node(
        """
        const s = { ...setting(given), layers: 1 };
        const answer = [m.sayQuery(s, m.measure(s), 6), m.sayPairs(s, m.measure(s))];
        """,
        (12, 4, 0, 2, "split"),
    )
    assert said == [
        "Token 6 looks at 4 to 6. Within 1 layer it hears 4 to 6.",
        "60 of the 156 (query, key) pairs of full attention, 38\u00a0%: 30 on each of 2 heads.",
    ]


def test_each_step_of_the_tour_waits_for_its_action_and_says_what_came_of_it(node):
    actions = [{"query": 6}, {"shift": 2}, {"boundary": "wrap"}, {"boundary": "masked"}, {"layers": 7}, {"n": 64}]
    parts, steps = node(
        """
        const parts = m.face("x").match(/data-part="\\w+"/g).map((part) => part.slice(11, -1));
        const answer = [parts, m.STEPS.map((step, at) => {
          const start = { ...step.start };
          const here = (patch) => {
            const { query = -1, ...rest } = patch;
            const state = m.change(start, rest)[0];
            return { state, facts: m.measure(state), query, before: m.measure(start) };
          };
          return [step.done(here({})), step.done(here(given[at])), step.outcome(here(given[at])), step.parts, start];
        })];
        """,
        actions,
    )
    assert [(waits, goes_on) for waits, goes_on, *_ in steps] == [(False, True)] * len(actions)
    for *_, start in steps:
        assert S2Geometry(start["n"], start["g"], start["heads"], start["shift"], start["boundary"])
    assert {part for step in steps for part in step[3]} <= set(parts)
    assert [step[2] for step in steps] == [
        "On a plain head token 6 looks at 4 to 6. Token 3 stands behind the wall of its group.",
        "Half of the heads now begin their groups 2 tokens later, so the walls of one half stand in the middle of the "
        "groups of the other. On a shifted head token 4 looks at 2 to 4.",
        "8 pairs over all heads look into the future: the hatched ones. Point at their rows. Which tokens look there, "
        "and at which?",
        "0 pairs ahead. The last token now looks at 0, 1, 14 and 15: back to the beginning, never the other way round.",
        "7 layers for 4 groups. And for 2 groups, or for 8? Change the tokens, and look for the rule.",
        "With 64 tokens full attention has 8,320 pairs instead of 2,112, 3.9 times as many; S²-Attn has 1,120 instead "
        "of 544, 2.1 times.",
    ]


def test_the_page_holds_the_very_module_and_nothing_from_elsewhere():
    text, code = page(), module()
    assert code in text
    assert (ROOT / "docs" / "explorer.html").read_text(encoding="utf-8") == text, (
        "python -m longlora_edu.widgets.explorer docs/explorer.html"
    )
    for outside in ("http:", "https:", "src=", "href=", "@import", "<!--"):
        assert outside not in text.replace("link.href = URL.createObjectURL(blob)", ""), outside
    assert text.count("</script") == 1 and not any(line.startswith("import ") for line in code.splitlines())


def test_the_page_is_written_by_one_command(tmp_path):
    command = [sys.executable, "-m", "longlora_edu.widgets.explorer", tmp_path / "page.html"]
    subprocess.run(command, check=True, cwd=ROOT, timeout=120)
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == page()


def test_the_still_picture_says_its_numbers():
    geometry = S2Geometry(12, 4, 3, 1, "wrap")
    still = Still(geometry, 2)
    assert still.alt.startswith("12 tokens in groups of 4: of the 78 pairs of full attention a head plain computes 30")
    assert "3 pairs of a shifted head look at the future" in still.alt and "after 2" in still.alt
    assert "23,040 FLOPs instead of 59,904" in still.caption
    assert "864 bytes as the whole matrix, 288 as cells only, 144 where" in still.caption
    assert "docs/explorer.html#n=12&amp;g=4&amp;shift=1&amp;heads=3&amp;boundary=wrap&amp;layers=2" in still.html
    assert still.html.startswith("<figure") and still.html.endswith("</figcaption></figure>")
    assert len(still.html) < 60_000
    large = Still(geometry, 2, style=style.PROJECTOR)
    assert (large.alt, large.caption) == (still.alt, still.caption) and large.png != still.png
    assert Still(S2Geometry(5, 2, 1), 1).alt.startswith("5 tokens in groups of 2: of the 15 pairs")


def test_without_anywidget_the_explorer_is_its_still_picture():
    code = "import sys; sys.modules['anywidget'] = None\nfrom longlora_edu.widgets.explorer import S2Explorer\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    missing = "ImportError: the explorer needs anywidget: python -m pip install anywidget, or open docs/explorer.html"
    assert missing in done.stderr
    code = (
        "import sys; sys.modules['anywidget'] = None\n"
        "from longlora_edu.widgets.explorer import explorer, page\n"
        "page()\n"
        "still = explorer(n=12, g=4, heads=2, boundary='wrap', layers=1)\n"
        "print(type(still).__name__, still.caption)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Still ")
    assert "explorer.html#n=12&g=4&shift=2&heads=2&boundary=wrap&layers=1" in done.stdout


def test_the_explorer_begins_as_asked():
    pytest.importorskip("anywidget")
    widget = explorer(n=24, g=7, heads=3, layers=2, projector=True)
    assert widget.geometry == S2Geometry(24, 7, 3)
    assert (widget.layers, widget.projector, widget.tour) == (2, True, False)
    assert widget.link == "explorer.html#n=24&g=7&shift=3&heads=3&boundary=split&layers=2"
    assert (widget._esm, widget.still().alt) == (module(), Still(widget.geometry, 2).alt)


def test_limits_and_first_settings_are_the_same_in_python_and_in_the_module(node):
    pytest.importorskip("anywidget")
    from longlora_edu.widgets.explorer.widget import LIMITS

    limits, defaults = node("const answer = [m.LIMITS, m.DEFAULTS];")
    assert {name: list(ends) for name, ends in LIMITS.items()} == limits
    widget = explorer()
    assert {name: getattr(widget, name) for name in defaults} == defaults


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n": 30, "boundary": "wrap"}, "seq_len must be a multiple of group_size under boundary='wrap', got 30 and 4"),
        ({"shift": 4}, "shift must be from 0 to group_size - 1 = 3, got 4"),
        ({"boundary": "round"}, "boundary must be one of split, wrap, masked, got 'round'"),
        ({"heads": 9}, "heads must be from 1 to 8, got 9"),
        ({"n": 129}, "n must be from 1 to 128, got 129"),
        ({"heads": 0}, "heads must be from 1 to 8, got 0"),
        ({"layers": 33}, "layers must be from 1 to 32, got 33"),
        ({"g": 2.5}, "expected an int, not the float 2.5"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    pytest.importorskip("anywidget")
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        explorer(**settings)


def test_settings_move_together_and_a_contradiction_moves_nothing():
    pytest.importorskip("anywidget")
    from traitlets import TraitError

    widget = explorer(n=32, g=8)
    widget.geometry = S2Geometry(40, 10, 2, 0, "wrap")
    assert widget.geometry == S2Geometry(40, 10, 2, 0, "wrap")
    with pytest.raises(
        TraitError, match="seq_len must be a multiple of group_size under boundary='wrap', got 41 and 10"
    ):
        widget.n = 41
    with pytest.raises(TraitError, match="shift must be from 0 to group_size - 1 = 9, got 10"):
        widget.shift = 10
    assert widget.geometry == S2Geometry(40, 10, 2, 0, "wrap")


def test_what_the_browser_sends_arrives_as_one_geometry():
    pytest.importorskip("anywidget")
    widget = explorer()
    widget.set_state({"n": 30, "g": 10, "shift": 5, "boundary": "wrap"})
    assert widget.geometry == S2Geometry(30, 10, 4, 5, "wrap")


def test_a_cell_that_ends_with_the_explorer_leaves_a_picture_behind(monkeypatch):
    pytest.importorskip("anywidget")
    IPython = pytest.importorskip("IPython")
    from longlora_edu.widgets.display import still_alone

    published = []
    monkeypatch.setattr(IPython.display, "display", lambda data, **_: published.append(data))
    widget = explorer(n=8)
    widget._ipython_display_()
    bundle, view = published
    assert widget_of(view) is widget
    assert still_alone(bundle["text/html"]) == widget.still().html
    assert bundle["text/plain"] == widget.still().alt


def test_the_explorer_has_no_other_names():
    import longlora_edu.widgets.explorer as folder

    with pytest.raises(AttributeError, match="has no attribute Explorer"):
        folder.Explorer  # noqa: B018


def test_a_message_takes_the_shortest_way_back_to_the_first_token(node):
    settings = [(*s, layers) for s in valid_settings(12, (1, 2, 3)) for layers in (1, 2, 3, 5, 40)][::7]
    said = node(
        """
        const answer = given.map((row) => {
          const state = { ...setting(row), layers: row[5] };
          return { ...m.hopsBack(state), first: m.layersNeeded(state)[(state.n - 1) * state.n] };
        });
        """,
        settings,
    )
    arrived = 0
    for (*setting, layers), way in zip(settings, said, strict=True):
        geometry = geometry_of(setting)
        hops, n = way["hops"], geometry.seq_len
        assert len(hops) <= layers
        places = [n - 1, *(hop["to"] for hop in hops)]
        assert [hop["from"] for hop in hops] == places[:-1]
        for hop in hops:
            head = geometry.num_heads - 1 if hop["shifted"] else 0
            assert geometry.allows(head, hop["from"], hop["to"])
        if n > 1:
            assert way["arrives"] == (0 < way["first"] <= layers) == (places[-1] == 0)
            if way["arrives"]:
                assert len(hops) == way["first"]
                arrived += 1
            else:  # as near as it comes
                assert places[-1] == min(np.flatnonzero(geometry.reach(layers)[n - 1]))
    assert 100 < arrived < len(settings) - 100


def test_the_way_is_told_hop_by_hop(node):
    said = node(
        """
        const state = { ...setting(given), layers: 7, words: "" };
        const way = m.hopsBack(state);
        const short = { ...state, layers: 2 };
        const stuck = { ...state, shift: 0 };
        const tell = (state) => m.sayHops(m.hopsBack(state), m.nameOf(state));
        const words = { ...state, words: "a b c d e f g h i j k l m n o p" };
        const upTo = [m.sayHops(way, m.nameOf(state), 0), m.sayHops(way, m.nameOf(words), 1)];
        const answer = [...upTo, tell(state), tell(short), tell(stuck)];
        """,
        (16, 4, 2, 4, "split"),
    )
    assert said == [
        "The last token asks what the first one said.",
        "Layer 1, on a plain head: “p” hears “m”.",
        "Layer 7, on a plain head: token 2 hears token 0. Arrived, after 7 layers.",
        "Layer 2, on a shifted head: token 12 hears token 10. The message stops here. No layer is left.",
        "Layer 1, on a plain head: token 15 hears token 12. The message stops here. No head looks further back, "
        "however many layers there are.",
    ]


def test_the_fewest_pairs_of_the_challenge_are_the_fewest(node):
    fixed, fewest, said = node(
        """
        const better = m.measure({ ...m.CHALLENGE, g: 16, shift: 8 });
        const answer = [m.CHALLENGE, m.fewestPairs(), [
          m.sayChallenge(m.measure(m.CHALLENGE), 0, 0), m.sayChallenge(better, better.pairs, 600),
          m.sayChallenge(m.measure({ ...m.CHALLENGE, g: 4, shift: 2 }), m.fewestPairs(), 0),
        ]];
        """
    )
    assert (fixed["n"], fixed["layers"], fixed["boundary"]) == (32, 4, "split")
    every = [S2Geometry(32, g, fixed["heads"], shift) for g in range(1, 33) for shift in range(g)]
    assert fewest == min(geometry.pairs() for geometry in every if geometry.reach(4)[31, 0])
    assert said == [
        "1,600 pairs, and the last token hears the first after 1 layer.",
        "960 pairs, and the last token hears the first after 3 layers. Your best: 960 pairs. "
        "The link you opened: 600 pairs.",
        f"312 pairs, but the last token does not hear the first in time. Your best: {fewest:,} pairs. "
        "Nobody can do it with fewer.",
    ]


def test_a_word_says_whom_it_hears(node):
    said = node(
        """
        const state = { ...setting(given), layers: 1, words: "The dog  sat down" };
        const facts = m.measure(state);
        const heard = [3, 0].map((token) => m.sayHeard(state, facts, token));
        const answer = [m.wordsOf(state.words), ...heard, m.nameOf(state)(5)];
        """,
        (6, 4, 2, 2, "split"),
    )
    assert said == [["The", "dog", "sat", "down"], "“down” hears: The dog sat.", "“The” hears nobody else.", "token 5"]


def test_a_layer_keeps_its_colour_while_layers_are_added(node):
    few, many = node("const answer = [m.layerColours(3), m.layerColours(9)];")
    assert many[:3] == few and len(set(many)) == 9


def test_a_challenge_is_sent_without_its_solution(node):
    sent = node("const answer = m.toHash({ ...m.CHALLENGE, g: 13, shift: 5, challenge: true, score: 700 });")
    assert sent == "challenge=1&score=700"
