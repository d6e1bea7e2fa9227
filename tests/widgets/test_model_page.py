"""The model page: its packed weights against torch, its engine under Node against torch and the geometry, its text."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import need
from page_models import folders, logits

from longlora_edu.geometry import S2Geometry
from longlora_edu.runs.records import write_json
from longlora_edu.training.passkey import hide_passkey
from longlora_edu.training.references import GET, SET, _names
from longlora_edu.widgets.display import still_alone
from longlora_edu.widgets.model_page import Packed, Sample, exact_models, model_page, pack, parts_of
from longlora_edu.widgets.model_page.bundle import ENGINE, FACE, engine, module, sources, worker

ROOT = Path(__file__).parents[2]
PATTERNS = ("dense", "s2", "short", "wrap")
PRELUDE = """
import * as m from "./module.mjs";
import { readFileSync, writeFileSync } from "node:fs";
const given = JSON.parse(readFileSync("given.json"));
const open = (name) => m.openPack(Uint8Array.from(readFileSync(name)).buffer);
const begin = (opened) => m.newSession({ header: opened.header, models: m.readModels(opened) });
const start = (name) => begin(open(name));
const run = (session, model, pattern, ids) => m.finish(session.run({ model, pattern, ids: Uint8Array.from(ids) }));
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """A function that runs lines of JavaScript on `given`, with the engine and the texts' modules as `m`."""
    need("node", shutil.which("node"), "needs Node.js: apt-get install nodejs")
    folder = tmp_path_factory.mktemp("node")
    (folder / "module.mjs").write_text(sources((*ENGINE, "bytes", "hidden")), encoding="utf-8")

    def run(lines, given=None):
        (folder / "given.json").write_text(json.dumps(given))
        code = PRELUDE + lines + "\nwriteFileSync('answer.json', JSON.stringify(answer));"
        (folder / "main.mjs").write_text(code, encoding="utf-8")
        done = subprocess.run(["node", "main.mjs"], cwd=folder, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return json.loads((folder / "answer.json").read_text(encoding="utf-8"))

    run.folder = folder
    return run


@pytest.mark.parametrize("kind", ["q8", "f16"])
@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"heads": 4, "kv_heads": 2, "width": 37},
        {"heads": 3, "kv_heads": 3, "tied": True},
        {"heads": 1, "kv_heads": 1},
    ],
    ids=str,
)
def test_the_engine_says_what_torch_says_on_the_stored_weights(node, tmp_path, shape, kind):
    data = pack(*folders(tmp_path, **shape), kind=kind)
    (node.folder / "pack.bin").write_bytes(data)
    ids = np.random.default_rng(0).integers(0, 256, 64)
    node(
        """
        const session = start("pack.bin");
        for (const [model, name, group] of given.runs) {
          const { cache, used } = run(session, model, { name, group }, given.ids);
          writeFileSync(`${model}-${name}-${group}.bin`, cache.logits.subarray(0, used * 256));
        }
        const answer = 0;
        """,
        {"ids": ids.tolist(), "runs": runs()},
    )
    packed = Packed.read(data)
    models = {variant: packed.model(variant) for variant in ("before", "stretched", "after")}
    for variant, name, group in runs():
        found = np.fromfile(node.folder / f"{variant}-{name}-{group}.bin", np.float32).reshape(-1, 256)
        used = 64 - 64 % group if name == "wrap" else 64
        meant = logits(models[variant], ids[:used], name, group)
        assert found.shape == meant.shape
        np.testing.assert_allclose(found, meant, atol=2e-4, rtol=1e-4, err_msg=f"{variant} {name} {group}")


def runs():
    return [
        (variant, name, group)
        for variant in ("before", "stretched", "after")
        for name in PATTERNS
        for group in ((16,) if name == "dense" else (16, 11))
    ]


def test_the_models_differ_and_so_do_the_patterns(tmp_path):
    # Else the comparison above would pass for an engine that ignores its switches.
    packed = Packed.read(pack(*folders(tmp_path)))
    ids = np.random.default_rng(0).integers(0, 256, 64)
    said = [logits(packed.model(v), ids, name, 16) for v in ("before", "stretched", "after") for name in PATTERNS]
    for at, one in enumerate(said):
        assert all(np.abs(one - other).max() > 0.05 for other in said[:at])


def test_who_looks_at_whom_is_the_geometry_for_every_setting(node):
    settings = [
        (n, group, heads, name)
        for n in range(1, 25)
        for group in range(1, 25)
        for heads in (1, 2, 3)
        for name in PATTERNS
        if name != "wrap" or n % group == 0
    ]
    said = node(
        """
        const answer = given.map(([n, group, heads, name]) => {
          const rows = [];
          for (let head = 0; head < heads; head++)
            for (let query = 0; query < n; query++) {
              const row = Array(n).fill(0);
              for (const [start, stop] of m.keyRanges({ name, group }, n, heads, head, query)) row.fill(1, start, stop);
              rows.push(row.join(""));
            }
          return rows.join("");
        });
        """,
        settings,
    )
    for (n, group, heads, name), row in zip(settings, said, strict=True):
        if name == "dense":
            mask = np.broadcast_to(np.tri(n, dtype=bool), (heads, n, n))
        else:
            shift, boundary = (0 if name == "short" else None), ("wrap" if name == "wrap" else "split")
            mask = S2Geometry(n, group, heads, shift, boundary).mask()
        assert row == "".join(map(str, mask.astype(int).ravel())), (n, group, heads, name)


def test_runs_of_queries_are_every_query_once_with_its_own_keys(node):
    wrong = node(
        """
        let answer = 0;
        for (const [n, group, name, from, to, most] of given) for (const head of [0, 1]) {
          const seen = [];
          for (const { first, last, start, earlier } of m.runs({ name, group }, n, 2, head, from, to, most))
            for (let query = first; query <= last; query++) {
              seen.push(query);
              const keys = JSON.stringify([...earlier, [start, query + 1]]);
              if (keys !== JSON.stringify(m.keyRanges({ name, group }, n, 2, head, query))) answer++;
            }
          seen.sort((a, b) => a - b);
          if (seen.join() !== Array.from({ length: to - from }, (_, at) => from + at).join()) answer++;
        }
        """,
        [
            (64, 16, "s2", 5, 50, 7),
            (60, 20, "wrap", 0, 60, 64),
            (33, 8, "short", 32, 33, 4),
            (33, 8, "dense", 1, 33, 9),
        ],
    )
    assert wrong == 0


@pytest.mark.parametrize("name", ["dense", "s2", "short"])
def test_a_text_in_pieces_is_the_text_at_once_to_the_bit(node, tmp_path, name):
    (node.folder / "pack.bin").write_bytes(pack(*folders(tmp_path, context=256, heads=3, kv_heads=3)))
    ids = np.random.default_rng(1).integers(0, 256, 200).tolist()
    same, fresh = node(
        """
        const [ids, name] = given;
        const pattern = { name, group: 16 };
        const whole = run(start("pack.bin"), "after", pattern, ids);
        const session = start("pack.bin");
        // Typed, a word replaced in the middle, typed on: what stays the same is not computed again.
        const fresh = [ids.slice(0, 90), ids.slice(0, 91), [...ids.slice(0, 40), 1, 2, 3], ids.slice(0, 130), ids]
          .map((text) => run(session, "after", pattern, text).fresh);
        const pieces = run(session, "after", pattern, ids);
        const bits = ({ cache, used }) => Buffer.from(cache.logits.buffer, 0, used * 1024);
        const answer = [bits(whole).equals(bits(pieces)) && whole.nats.join() === pieces.nats.join(), fresh];
        """,
        [ids, name],
    )
    assert same and fresh == [90, 1, 3, 90, 70]


def test_a_change_behind_does_not_reach_back_but_under_wrap(node, tmp_path):
    (node.folder / "pack.bin").write_bytes(pack(*folders(tmp_path)))
    ids = np.random.default_rng(2).integers(0, 256, 64).tolist()
    first = node(
        """
        const session = start("pack.bin");
        const changed = [...given.slice(0, 62), 7, 8];
        const answer = m.PATTERNS.map((name) => {
          const pattern = { name, group: 16 };
          const anew = (ids) => m.finish(session.run({ model: "after", pattern, ids, anew: true }));
          const texts = [given, changed].map((ids) => anew(ids).cache.logits.slice());
          return texts[0].findIndex((value, at) => value !== texts[1][at]) >> 8;
        });
        """,
        ids,
    )
    assert first == [62, 62, 62, 0]


def test_where_a_byte_looks_is_its_softmax(node, tmp_path):
    data = pack(*folders(tmp_path, layers=1, heads=3, kv_heads=1))
    (node.folder / "pack.bin").write_bytes(data)
    ids = np.random.default_rng(3).integers(0, 256, 48)
    said = node(
        """
        const session = start("pack.bin");
        const answer = m.PATTERNS.map((name) => {
          const pattern = { name, group: 16 };
          const { cache } = run(session, "after", pattern, given);
          const looks = (query) => session.lookingFrom("after", pattern, cache, query)[0];
          return [0, 9, 47].map((query) => looks(query).map((row) => [...row]));
        });
        """,
        ids.tolist(),
    )
    model = Packed.read(data).model("after")
    weights = attention_of(model, ids)
    for name, rows in zip(PATTERNS, said, strict=True):
        for query, heads in zip((0, 9, 47), rows, strict=True):
            if name == "dense":
                mask = np.broadcast_to(np.arange(48) <= query, (3, 48))
            else:
                shift, boundary = (0 if name == "short" else None), ("wrap" if name == "wrap" else "split")
                mask = S2Geometry(48, 16, 3, shift, boundary).mask()[:, query]
            meant = np.where(mask, np.exp(weights[:, query]), 0)
            meant /= meant.sum(axis=1, keepdims=True)
            np.testing.assert_allclose(heads, meant, atol=2e-6)


def attention_of(model, ids):
    """The scores (h n n) of the first layer, from its own modules."""
    from longlora_edu.model import rotate, rotation_tables

    with torch.inference_mode():
        layer = model.model.layers[0]
        x = layer.input_layernorm(model.model.embed_tokens(torch.tensor([list(ids)])))
        tables = rotation_tables(model.config.rope, len(ids), x.device)
        d = model.config.head_dim
        q, k = (
            rotate(project(x).unflatten(-1, (-1, d)).transpose(1, 2), *tables)
            for project in (layer.self_attn.q_proj, layer.self_attn.k_proj)
        )
        return (q @ k.transpose(-1, -2) / d**0.5)[0].numpy()


def test_every_half_precision_number_is_read_as_numpy_reads_it(node):
    found = node(
        """
        const finite = (x) => (Number.isFinite(x) ? x : null);
        const answer = Array.from({ length: 65536 }, (_, bits) => finite(m.halfToNumber(bits)));
        """
    )
    meant = np.arange(65536, dtype=np.uint16).view(np.float16).astype(float)
    finite = np.isfinite(meant)
    assert [value is not None for value in found] == finite.tolist()
    assert np.array_equal(np.array(found, dtype=float)[finite], meant[finite])


@pytest.mark.parametrize("kind", ["q8", "f16"])
def test_both_readers_of_a_pack_read_the_same_numbers(node, tmp_path, kind):
    data = pack(*folders(tmp_path, width=37), kind=kind)
    (node.folder / "pack.bin").write_bytes(data)
    names = node(
        """
        const { header, numbers } = open("pack.bin");
        const all = Object.entries({ ...header.tensors, ...header.adapter });
        all.forEach(([, about], at) => writeFileSync(`tensor${at}.bin`, m.readTensor(numbers, about)));
        const answer = all.map(([name]) => name);
        """
    )
    packed = Packed.read(data)
    abouts = packed.header["tensors"] | packed.header["adapter"]
    for at, name in enumerate(names):
        meant = packed._tensor(abouts[name]).numpy()
        assert np.array_equal(np.fromfile(node.folder / f"tensor{at}.bin", np.float32), meant.ravel()), name


def test_packing_loses_no_more_than_it_says(tmp_path):
    base, adapter = folders(tmp_path, width=37)
    exact = exact_models(base, adapter)
    for kind, block_share in (("q8", 0.5 / 127 + 1e-3), ("f16", 2**-11)):
        packed = Packed.read(pack(base, adapter, kind=kind))
        for variant, model in exact.items():
            stored = packed.model(variant).state_dict()
            assert (model.config, list(stored)) == (packed.model(variant).config, list(model.state_dict()))
            for name, tensor in model.state_dict().items():
                largest = tensor.abs().max()
                assert (stored[name] - tensor).abs().max() <= (block_share + 2e-3) * largest, name
                if tensor.dim() == 1 and variant != "after":
                    assert torch.equal(stored[name], tensor)


def test_the_three_models_are_base_stretched_base_and_merged_adapter(tmp_path):
    base, adapter = folders(tmp_path)
    models = exact_models(base, adapter)
    assert [m.config.rope.method for m in models.values()] == ["default", "yarn", "yarn"]
    assert {a.config.rope.factor for m in list(models.values())[1:] for a in m.attention_layers} == {4.0}
    before, stretched, after = (model.state_dict() for model in models.values())
    assert all(torch.equal(before[name], stretched[name]) for name in before)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert all(part in "".join(changed) for part in ("q_proj", "o_proj", "embed_tokens", "layernorm", "model.norm"))
    assert not any("mlp" in name for name in changed)


def test_what_cannot_be_packed_is_refused(tmp_path):
    base, adapter = folders(tmp_path / "one")
    with pytest.raises(ValueError, match="kind must be one of q8, f16, got 'q4'"):
        pack(base, adapter, kind="q4")
    other, _ = folders(tmp_path / "two", layers=3)
    with pytest.raises(ValueError, match="must stretch the model in .*, got another shape: .*'layers': 2"):
        pack(other, adapter)
    base, adapter = folders(tmp_path / "three", method="dynamic")
    with pytest.raises(ValueError, match="rope must not depend on the length of the text, got 'dynamic'"):
        pack(base, adapter)
    with pytest.raises(ValueError, match="pack must begin with a header of the format 'longlora_edu model page 1'"):
        Packed.read(b"\x04\0\0\0nullabc")
    base, adapter = folders(tmp_path / "four")
    with pytest.raises(ValueError, match="variant must be one of before, stretched, after, got 'merged'"):
        Packed.read(pack(base, adapter)).model("merged")


def test_nats_are_the_surprise_of_each_next_byte(node, tmp_path):
    data = pack(*folders(tmp_path))
    (node.folder / "pack.bin").write_bytes(data)
    ids = np.random.default_rng(4).integers(0, 256, 30)
    found = node('const answer = [...run(start("pack.bin"), "after", { name: "dense" }, given).nats];', ids.tolist())
    scores = torch.from_numpy(logits(Packed.read(data).model("after"), ids, "dense", 0))
    meant = torch.nn.functional.cross_entropy(scores[:-1], torch.from_numpy(ids[1:]), reduction="none")
    np.testing.assert_allclose(found, meant.numpy(), atol=1e-4)


def test_wrap_takes_whole_groups_and_keeps_nothing(node, tmp_path):
    (node.folder / "pack.bin").write_bytes(pack(*folders(tmp_path)))
    answer = node(
        """
        const session = start("pack.bin");
        const pattern = { name: "wrap", group: 8 };
        const text = Array.from({ length: 37 }, (_, at) => at);
        const answer = [text, text, text.slice(0, 36), [...text, 1, 2, 3], text.slice(0, 5)].map((ids) => {
          const { used, fresh } = run(session, "before", pattern, ids);
          return [used, fresh];
        });
        """
    )
    assert answer == [[32, 32], [32, 0], [32, 0], [40, 40], [0, 0]]


def test_a_text_beyond_the_cache_is_refused(node, tmp_path):
    (node.folder / "pack.bin").write_bytes(pack(*folders(tmp_path)))
    said = node(
        """
        let answer = "";
        const long = Array(65).fill(1);
        try { run(start("pack.bin"), "before", { name: "dense" }, long); } catch (error) { answer = error.message; }
        """
    )
    assert said == "text must have at most 64 bytes, got 65"


def test_chances_and_draws(node):
    chances, cold, best, bytes_, counts = node(
        """
        const scores = Float32Array.from([1, 3, 2, 3]);
        const random = m.seeded(5);
        const drawn = Array.from({ length: 4000 }, () => m.drawn(scores, 1, random));
        const again = m.seeded(5);
        const same = drawn.slice(0, 9).join() === Array.from({ length: 9 }, () => m.drawn(scores, 1, again)).join();
        const answer = [
          [...m.chances(scores)], m.likeliest(scores, 2), m.argmax(scores),
          [m.drawn(scores, 0, random), same],
          [0, 1, 2, 3].map((byte) => drawn.filter((one) => one === byte).length / 4000),
        ];
        """
    )
    meant = np.exp([1, 3, 2, 3]) / np.exp([1, 3, 2, 3]).sum()
    np.testing.assert_allclose(chances, meant, rtol=1e-6)
    assert [byte for byte, _ in cold] == [1, 3] and best == 1 and bytes_ == [1, True]
    np.testing.assert_allclose(counts, meant, atol=0.03)


@pytest.mark.parametrize("depth", [0, 0.1, 0.5, 1])
def test_a_passkey_is_hidden_as_in_training(node, depth):
    window = np.frombuffer(b"abcdefgh" * 12, dtype=np.uint8)
    meant = hide_passkey(window, depth, np.random.default_rng(0))
    answer = bytes(meant[-5:]).decode()
    found = node(
        """
        const [text, key, depth] = given;
        const answer = [...m.hide(Uint8Array.from(text), m.KINDS.passkey.make(key), depth, text.length).ids];
        """,
        [window.tolist(), answer, depth],
    )
    assert bytes(found) == bytes(meant[:-5])


@pytest.mark.parametrize("depth", [0, 0.3, 1])
def test_a_reference_is_hidden_among_seven_others_in_the_format_of_training(node, depth):
    text = bytes(range(97, 123)) * 20
    found, at = node(
        """
        const [text, depth] = given;
        const made = m.hide(Uint8Array.from(text), m.KINDS.reference.make("48213"), depth, 2048);
        const answer = [[...made.ids], made.at];
        """,
        [list(text), depth],
    )
    hidden = bytes(found)
    pairs = re.findall(rb"\n# set ([a-z]{3})=(\d{5})\n", hidden)
    own = SET % (b"kqz", b"48213")
    assert len(dict(pairs)) == len(pairs) == 8 and dict(pairs)[b"kqz"] == b"48213"
    assert hidden[at : at + len(own)] == own
    assert hidden.endswith((GET % (b"kqz", b"48213"))[:-6])
    assert re.sub(rb"\n# set [a-z]{3}=\d{5}\n", b"", hidden)[: len(text)] == text
    assert {name for name, _ in pairs} <= set(_names(True)), "never seen in training"


def test_a_line_that_does_not_fit_is_refused(node):
    said = node(
        """
        let answer = "";
        try { m.hide(new Uint8Array(5), m.KINDS.passkey.make("1"), 0, 20); } catch (error) { answer = error.message; }
        """
    )
    assert said == "the hidden line and its question must fit 20 bytes"


@pytest.mark.parametrize(
    ("text", "word", "other"),
    [("say hello", "hello", "ifmmp"), ("x = fuzz_9)\n", "fuzz_9", "gvqqx0"), ("Zoo", "Zoo", "Qpp"), ("...", "", "")],
)
def test_the_last_word_becomes_another_of_its_length(node, text, word, other):
    changed, start, stop = node(
        "const w = m.otherLastWord(m.toBytes(given)); const answer = [m.toText(w.changed), w.start, w.stop];",
        text,
    )
    assert text[start:stop] == word and changed == text[:start] + other + text[stop:]


def test_the_page_says_how_much_it_read(node):
    said = node(
        "const answer = given.map(([used, fresh, seconds, n]) => m.readingSaid({ used, fresh, seconds }, n));",
        [[1024, 1024, 2.25, 1024], [240, 1, 0.0352, 240], [240, 12, 0.2, 240], [240, 0, 0.0001, 240], [8, 8, 0, 11]],
    )
    assert said == [
        "Read 1,024 bytes in 2.3 s.",
        "Read 1 new byte in 35 ms.",
        "Read 12 new bytes in 200 ms.",
        "Read before: nothing new to compute.",
        "Read 8 bytes in 1 ms. Wrap takes whole groups: the last 3 bytes are left out.",
    ]


def test_bytes_have_a_sign_and_a_text_is_cut_at_what_fits(node):
    signs, spoken, fitted = node(
        """
        const answer = [[10, 9, 32, 65, 200].map(m.sign), [10, 65].map(m.spoken), m.fitted("aé", 2)];
        """
    )
    assert (signs, spoken) == (["↵", "⇥", "␣", "A", "xc8"], ["new line", "A"])
    assert fitted == {"ids": {"0": 97, "1": 195}, "left": 1}


def test_the_group_to_begin_with_is_a_quarter_of_the_text(node):
    groups, sizes = node(
        "const answer = [given.map((n) => m.startGroup(n, 512)), m.groupsUpTo(96)];", [3, 40, 64, 1000, 2048, 9999]
    )
    assert groups == [8, 8, 16, 128, 512, 512] and sizes == [8, 16, 32, 64, 96]


@pytest.fixture(scope="module")
def tiny_page(tmp_path_factory):
    data = pack(*folders(tmp_path_factory.mktemp("tiny")))
    return data, model_page(data, (Sample("a.py", "print('</script>')\n"), Sample("b.py", "x = 1\n")))


def test_the_page_holds_everything_and_calls_nobody(tiny_page):
    _, text = tiny_page
    assert module() in text and "default-src 'none'" in text and "connect-src" not in text
    for outside in ("http:", "https:", "src=", "@import", "<!--", "fetch(", "XMLHttp", "WebSocket", "import("):
        assert outside not in text, outside
    assert text.count("</script") == 3
    assert not any(line.startswith("import ") for line in (*module().splitlines(), *worker().splitlines()))
    assert "export" not in worker()


def test_a_page_gives_its_parts_back_and_is_made_again_from_them(tiny_page, tmp_path):
    data, text = tiny_page
    assert parts_of(text) == (data, (Sample("a.py", "print('</script>')\n"), Sample("b.py", "x = 1\n")))
    (tmp_path / "old.html").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "longlora_edu.widgets.model_page", tmp_path / "old.html", tmp_path / "new.html"]
    subprocess.run(command, check=True, cwd=ROOT, timeout=120)
    assert (tmp_path / "new.html").read_text(encoding="utf-8") == text
    with pytest.raises(ValueError, match="page must hold the scripts pack and samples, got '<p>'"):
        parts_of("<p>")


def test_the_page_that_is_shipped_is_made_with_the_code_of_now():
    text = (ROOT / "docs" / "model.html").read_text(encoding="utf-8")
    again = "python -m longlora_edu.widgets.model_page docs/model.html docs/model.html"
    assert model_page(*parts_of(text)) == text, again
    header = Packed.read(parts_of(text)[0]).header
    assert header["context"] == 2048 and len(text.encode()) <= 6_000_000
    assert all(len(sample.text) == 2048 for sample in parts_of(text)[1])


def test_what_the_page_about_the_demo_says_to_press_is_there():
    page = (ROOT / "docs" / "demo.md").read_text(encoding="utf-8")
    steps = re.search(r"Ask it for your own number:\n\n((?:\d\. .*\n)+)", page)[1]
    labels = re.findall(r"\*([A-Z][^*]+)\*", steps)
    assert len(labels) == 3 and all(label in module() for label in labels)


def test_a_page_above_the_limit_is_refused(tiny_page, monkeypatch):
    monkeypatch.setattr("longlora_edu.widgets.model_page.model_html.LIMIT", 1000)
    with pytest.raises(ValueError, match="page must have at most 1,000 bytes, got .*: pack with kind='q8'"):
        model_page(tiny_page[0], ())


def test_the_page_is_written_from_a_folder_of_the_demo(tmp_path):
    base, adapter = folders(tmp_path)
    write_json(tmp_path / "report.json", {"train": {"group_size": 24}})
    command = [sys.executable, "-m", "longlora_edu.widgets.model_page", tmp_path, tmp_path / "page.html"]
    subprocess.run([*command, "--base", base], check=True, cwd=ROOT, timeout=120)
    data, samples = parts_of((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert Packed.read(data).header["group"] == 24
    assert len(samples) == 3 and all(len(sample.text) == 64 for sample in samples)


def test_modules_of_one_text_share_no_name(node, tmp_path):
    # Two declarations of one name are an error of syntax, in the text that a browser gets.
    for name, text in (("engine", engine()), ("worker", worker()), ("module", module()), ("face", sources(FACE))):
        (tmp_path / f"{name}.mjs").write_text(text, encoding="utf-8")
        done = subprocess.run(["node", "--check", tmp_path / f"{name}.mjs"], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr


def desk(tmp_path, group_size=None, **settings):
    from longlora_edu.widgets.model_page import model_desk

    packed = pack(*folders(tmp_path), group_size=group_size)
    return model_desk(packed, (Sample("a.py", "x = 1\n" * 8),), **settings)


def test_the_desk_sends_its_weights_when_it_is_asked_and_keeps_them_out_of_a_notebook(tmp_path):
    pytest.importorskip("anywidget")
    widget, sent = desk(tmp_path, variant="stretched", attention="s2", group=16, group_size=24), []
    assert widget._esm == module() and (widget.variant, widget.attention, widget.group) == ("stretched", "s2", 16)
    assert widget.packed.header["group"] == 24
    state = json.dumps(widget.get_state(), default=str)
    assert "pack" not in widget.get_state() and len(state) < len(module()) * 1.3 + 10_000
    widget.send = lambda content, buffers=None: sent.append((content, buffers))
    for message in ({"ask": "pack"}, {"ask": "else"}):
        widget._handle_custom_msg(message, [])
    (answer,) = sent
    assert answer[0] == {"answer": "pack"} and Packed.read(bytes(answer[1][0])).header == widget.packed.header


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"variant": "merged"}, "variant must be one of before, stretched, after, got 'merged'"),
        ({"attention": "full"}, "attention must be one of dense, s2, short, wrap, got 'full'"),
        ({"group": 65}, "group must be from 0 to 64, got 65"),
    ],
)
def test_what_the_desk_does_not_know_is_refused(tmp_path, settings, message):
    pytest.importorskip("anywidget")
    with pytest.raises(ValueError, match=message):
        desk(tmp_path, **settings)


def test_a_desk_needs_a_text():
    from longlora_edu.widgets.model_page import model_desk

    with pytest.raises(ValueError, match="samples must hold at least one text, got none"):
        model_desk(b"", ())


def test_the_still_says_what_each_model_made_of_the_text(tmp_path, published):
    pytest.importorskip("anywidget")
    widget = desk(tmp_path)
    still = widget.still()
    ids = np.frombuffer(b"x = 1\n" * 8, np.uint8)
    for variant in ("before", "stretched", "after"):
        scores = torch.from_numpy(logits(widget.packed.model(variant), ids, "dense", 0))
        nats = torch.nn.functional.cross_entropy(scores[:-1], torch.tensor(ids[1:].tolist()), reduction="none")
        assert f"{float(nats[16:].mean()) / np.log(2):.2f} {variant}" in still.alt
    assert "docs/model.html" in still.html and still.html.endswith("</figcaption></figure>")
    widget._ipython_display_()
    shown, _ = published
    assert still_alone(shown["text/html"]) == still.html and shown["text/plain"] == still.alt


def test_without_anywidget_the_desk_is_its_still_picture(tmp_path):
    base, adapter = folders(tmp_path)
    code = (
        "import sys; sys.modules['anywidget'] = None\n"
        "from pathlib import Path\n"
        "from longlora_edu.widgets.model_page import Sample, model_desk, pack\n"
        "still = model_desk(pack(Path(sys.argv[1]), Path(sys.argv[2])), (Sample('a', 'y = 2\\n' * 9),))\n"
        "print(type(still).__name__, still.caption)\n"
        "from longlora_edu.widgets.model_page import ModelDesk\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, base, adapter], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.startswith("ModelStill To type, switch and ask without a kernel, open docs/model.html")
    assert "ImportError: the living model needs anywidget: python -m pip install anywidget, or open docs" in done.stderr
