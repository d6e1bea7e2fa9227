"""Rows of studies: keys, layouts, one row computed and reproduced, a grid that shares, survives and resumes."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import tiny_bundled_model, write_text
from safetensors.torch import load_file
from torch import nn
from typer.testing import CliRunner

from longlora_edu.attention import s2_attention
from longlora_edu.cli import app
from longlora_edu.geometry import S2Geometry
from longlora_edu.model import save_tiny_llama
from longlora_edu.runs.records import read_json, write_json
from longlora_edu.training.corpus import read_corpus
from longlora_edu.training.pretrain import PretrainConfig
from longlora_edu.training.probe import ProbeSettings
from research.study.bands import TURNS, BandRope, in_band, unstretched
from research.study.embedding_lora import LoRAEmbedding
from research.study.extension import Skipping, extend_run, prepare
from research.study.grid import estimated_seconds, make_plan, run_grid, seconds_a_byte, work_of
from research.study.inputs import Inputs, default_digest, default_folder, default_models
from research.study.layouts import AllShifted, MaskGeometry, lay_out, layer_patterns, pairs_of_full
from research.study.locks import load_settings, locked, save_settings, work_folder
from research.study.metrics import lengths_of, window_bits
from research.study.part import PROFILES
from research.study.row import compute, differences, read_record, record_path, save_record
from research.study.sibling import SIBLING, make_sibling
from research.study.spec import Run, config_of, key_of, settings_from

TINY = Run(target=512, steps=2, windows=4, trials=1, span=512, base="tiny")
PROBE = ProbeSettings(seq_len=8, group_size=4, values=2, steps=2, batch=2)
ATTENTIONS = ("full", "short", "s2", "wrap", "masked", "shifted", "layers", "window", "dilated", "strided", "blocks")
MASKED = ("window", "dilated", "strided", "blocks")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A short text and a tiny base, instead of the library and the model of the package."""
    folder = tmp_path_factory.mktemp("ground")
    save_tiny_llama(tiny_bundled_model(), folder / "models" / "tiny")
    return Inputs.open(str(write_text(folder / "text.py", 20_000)), folder / "models")


@pytest.fixture(scope="module")
def recorded(inputs, tmp_path_factory):
    """A folder with the record of one row, and that record."""
    before = torch.get_num_threads()
    record = compute(TINY, inputs, threads=1)
    torch.set_num_threads(before)
    folder = tmp_path_factory.mktemp("records")
    return folder, read_record(save_record(folder, record))


def test_a_key_is_of_the_settings_the_text_and_the_base():
    about = {"base": "b", "corpus": "c"}
    assert key_of(Run(), about) == key_of(Run(steps=60), about) == "b772e573a3c5"  # it names files that are kept
    keys = {
        key_of(Run(), about),
        key_of(Run(seed=1), about),
        key_of(Run(start=Run()), about),
        key_of(Run(start=Run(seed=1)), about),
        key_of(Run(), about | {"base": "other"}),
        key_of(Run(), about | {"corpus": "other"}),
        key_of(ProbeSettings(), {}),
    }
    assert len(keys) == 7


def test_a_field_at_its_default_does_not_count_in_a_key():
    wider = dataclasses.make_dataclass("Run", [("new", int, 3)], bases=(Run,), frozen=True)
    from research.study import spec as settings

    settings.KINDS["wider"] = wider
    try:
        old, new = (settings._changed(kind(seed=2)) for kind in (Run, wider))
    finally:
        del settings.KINDS["wider"]
    assert old == new == {"seed": 2}


@pytest.mark.parametrize("settings", [Run(start=Run(target=512), parts=("norms",), maps_at=(0, 60)), PROBE])
def test_settings_come_back_from_a_record(settings):
    kind = "extension" if isinstance(settings, Run) else "probe"
    assert settings_from(kind, json.loads(json.dumps(config_of(settings)))) == settings


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"target": 0}, "target must be an integer, at least 1, got 0"),
        ({"steps": -1}, "steps must be an integer, at least 0, got -1"),
        ({"attention": "none"}, "attention must be one of full, .*, got 'none'"),
        ({"rope": "none"}, "rope must be one of default, .*, fast, got 'none'"),
        ({"parts": ("heads",)}, "parts must be among embeddings, norms, embedding-lora, got heads"),
        ({"extra": ("all",)}, "extra must be among lengths, pattern, documents, got all"),
        ({"train": "none"}, "train must be 'adapters' or 'all', got 'none'"),
        ({"rate": 0}, "rate must be positive and finite, got 0"),
        ({"target": 768}, "length must divide the 8192 bytes of a step, got 768"),
        ({"groups": 3}, "groups must divide the target of 2048, got 3"),
        ({"skip": True}, "length must be below the target of 2048 where positions leap, got 2048"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(fields, message):
    with pytest.raises(ValueError, match=message):
        Run(**fields)


def test_an_unknown_kind_or_field_of_a_record_is_refused():
    with pytest.raises(ValueError, match="kind must be one of extension, probe, recall, got 'other'"):
        settings_from("other", {})
    with pytest.raises(ValueError, match="config must hold fields of a extension only, got colour"):
        settings_from("extension", {"colour": 1})


def test_a_head_of_an_only_shifted_layer_sees_what_a_shifted_head_sees():
    usual, shifted = S2Geometry(16, 4, 2).mask(), AllShifted(16, 4, 3)
    np.testing.assert_array_equal(shifted.mask(), np.stack([usual[1]] * 3))
    assert shifted.pairs() == shifted.mask().sum()


def test_the_fast_path_computes_an_only_shifted_layer():
    q, k, v = torch.randn(3, 1, 3, 16, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    fast, slow = (s2_attention(q, k, v, AllShifted(16, 4, 3), impl=impl) for impl in ("auto", "dense_mask"))
    torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", MASKED)
def test_patterns_without_cells_see_no_future_and_no_more_keys_than_a_group_has(kind):
    geometry = MaskGeometry(kind, 16, 4, 4)
    mask = geometry.mask()
    assert mask.any(axis=2).all() and mask.sum(axis=2).max() == 4
    assert not np.triu(mask, 1).any()
    assert geometry.pairs() == mask.sum()


def test_patterns_without_cells_are_what_their_words_say():
    def keys(kind, head):
        return np.flatnonzero(MaskGeometry(kind, 16, 4, 4).mask()[head, 13]).tolist()

    assert keys("window", 0) == keys("dilated", 0) == keys("strided", 0) == [10, 11, 12, 13]
    assert keys("dilated", 3) == [7, 9, 11, 13]
    assert keys("strided", 3) == [1, 5, 9, 13]
    assert [keys("blocks", head) for head in range(4)] == [[12, 13], [8, 9, 10, 11], [4, 5, 6, 7], [0, 1, 2, 3]]


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_each_layout_trains_and_leaves_evaluation_dense(attention):
    model, run = tiny_bundled_model(), Run(target=512, attention=attention)
    ids = torch.arange(512)[None] % 256
    dense = model(ids, beyond_context=True)
    prepare(dataclasses.replace(run, rope="default"), model)
    torch.testing.assert_close(model.eval()(ids), dense)
    trained = model.train()(ids)
    assert torch.isfinite(trained).all()
    assert torch.allclose(trained, dense, atol=1e-6) == (attention == "full")


def test_layers_take_turns():
    plain, shifted, again = layer_patterns(Run(attention="layers"), 3)
    assert (plain.shift, type(shifted).__name__, again) == (0, "OnlyShifted", plain)
    assert lay_out(tiny_bundled_model(), Run(attention="blocks")).attention_layers[0].impl == "dense_mask"


def test_the_share_of_pairs_is_that_of_full_causal_attention():
    assert pairs_of_full(Run(target=512, attention="full"), 2, 2) == 1
    assert pairs_of_full(Run(target=512, attention="short"), 2, 2) == pytest.approx(1 / 4, rel=0.01)


def test_each_pair_of_features_is_in_one_band_and_only_its_band_is_stretched():
    for band in TURNS:
        rope = BandRope(48, 10_000.0, "linear", 8.0, 256, band=band)
        ratio = rope.frequencies(2048) / unstretched(rope).frequencies()
        np.testing.assert_allclose(ratio, np.where(in_band(rope, band), 1 / 8, 1.0))
    assert sum(in_band(rope, band).astype(int) for band in TURNS).tolist() == [1] * 24
    with pytest.raises(ValueError, match="band must be one of slow, middle, fast, got 'all'"):
        BandRope(48, 10_000.0, "linear", 8.0, 256, band="all")
    with pytest.raises(ValueError, match="method must be 'linear', with a trained_length, got 'yarn'"):
        BandRope(48, 10_000.0, "yarn", 8.0, 256, band="slow")


def test_a_band_reaches_every_layer_of_the_model():
    model = tiny_bundled_model()
    prepare(Run(target=512, rope="slow"), model)
    assert {type(layer.config.rope) for layer in [model, *model.attention_layers]} == {BandRope}


def test_lora_on_an_embedding_begins_as_nothing_and_merges_to_the_same():
    table = nn.Embedding(8, 4)
    lora = LoRAEmbedding(table, 2, 4.0, generator=torch.Generator().manual_seed(0))
    ids = torch.arange(8)
    torch.testing.assert_close(lora(ids), table(ids))
    nn.init.ones_(lora.A)
    torch.testing.assert_close(lora.merged()(ids), lora(ids))
    assert not torch.allclose(lora(ids), table(ids))
    assert [name for name, parameter in lora.named_parameters() if parameter.requires_grad] == ["A", "B"]


def test_leaping_positions_rise_stay_below_the_target_and_depend_on_seed_and_text():
    ids = torch.arange(16)[None]
    positions = Skipping(None, 64, 0).positions(ids)
    steps = positions.diff()
    assert positions[0] == 0 and positions[-1] < 64 and (steps > 0).all() and (steps > 1).sum() <= 1
    assert torch.equal(positions, Skipping(None, 64, 0).positions(ids))
    found = {int(Skipping(None, 64, seed).positions(ids)[-1]) for seed in range(20)}
    assert len(found) > 5


def test_positions_decide_the_angles_and_must_be_one_a_token():
    model, ids = tiny_bundled_model(), torch.arange(8)[None]
    torch.testing.assert_close(model(ids, positions=torch.arange(8)), model(ids))
    torch.testing.assert_close(model(ids, positions=torch.arange(8) + 5), model(ids))  # only distances count
    leaping = torch.arange(8) + 100 * (torch.arange(8) > 3)
    assert not torch.allclose(model(ids, positions=leaping), model(ids))
    with pytest.raises(ValueError, match=r"positions must have shape \(8,\), one a token, got \(7,\)"):
        model(ids, positions=torch.arange(7))


def test_a_run_at_the_trained_context_trains_all_weights():
    with pytest.raises(ValueError, match="train must be 'all' where the target is the trained context, got 'adapters'"):
        prepare(Run(target=256), tiny_bundled_model())
    again = tiny_bundled_model()
    prepare(Run(target=256, train="all", rope_base=200.0, attention="full"), again)
    assert again.config.rope.base == again.attention_layers[0].config.rope.base == 200.0


def test_two_stages_state_the_original_length(inputs):
    run = dataclasses.replace(TINY, target=1024, start=TINY, steps=1)
    rope = extend_run(run, inputs.base("tiny"), inputs.corpus).model.config.rope
    assert (rope.trained_length, rope.factor) == (256, 4.0)


def test_a_run_without_steps_only_stretches(inputs):
    base = inputs.base("tiny")
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    found = extend_run(dataclasses.replace(TINY, steps=0), base, inputs.corpus)
    assert found.trained_parameters == 0 and found.model.config.rope.method == "yarn"
    assert all(torch.equal(found.model.state_dict()[name], tensor) for name, tensor in before.items())


def test_every_run_is_measured_on_the_same_last_bytes(inputs):
    run = dataclasses.replace(TINY, extra=("lengths", "pattern"), attention="full", span=1024, maps_at=(0, 2))
    results = compute(run, inputs, threads=1)["results"]
    assert lengths_of(run, 256) == [256, 512, 1024]
    assert list(results["bits_per_byte"]) == ["256", "512", "1024"]
    assert results["as_trained"]["bits_per_byte"] == pytest.approx(results["bits_per_byte"]["512"], rel=1e-5)
    assert np.mean(results["bits_per_byte_by_window"]) == pytest.approx(results["bits_per_byte"]["512"], abs=1e-4)
    assert set(results["passkey_maps"]) == {"0", "2"} and set(results["passkey_maps"]["0"]) == {"256", "512"}


def test_bits_do_not_depend_on_how_many_positions_are_asked_for(inputs):
    texts = np.random.default_rng(0).integers(1, 256, size=(2, 256), dtype=np.uint8)
    whole, tail = (window_bits(inputs.base("tiny"), texts, last, lambda tokens: None) for last in (None, 8))
    np.testing.assert_allclose(tail, whole[:, -8:], rtol=1e-5)


def test_a_record_says_what_was_run_and_a_row_is_the_same_again(recorded, inputs, threads):
    folder, record = recorded
    assert record["command"] == f"longlora-edu study run {record['key']} --threads 1 --corpus {inputs.source}"
    assert record["config"]["target"] == 512 and record["machine"]["threads"] == 1
    assert record["ground"] == {**inputs.about(TINY), "text": inputs.corpus.source}
    assert differences(record, compute(TINY, inputs, threads=1)) == []
    other = compute(dataclasses.replace(TINY, seed=1), inputs, threads=1)
    assert differences(record, other)
    record = json.loads(json.dumps(record))
    record["curve"][0]["seconds"] += 1
    assert differences(record, read_record(record_path(folder, record["key"]))) == []


def test_an_interrupted_row_goes_on_and_ends_the_same(recorded, inputs, tmp_path, threads):
    _, whole = recorded
    work = work_folder(tmp_path)
    base = inputs.base("tiny")

    settings = dataclasses.replace(TINY, steps=12)
    path = work / f"{inputs.key(settings)}.safetensors"
    work.mkdir()

    def interrupt(model, step):
        if step == 11:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extend_run(settings, base, inputs.corpus, checkpoint=path, on_step=interrupt)
    assert path.exists()
    resumed = compute(settings, inputs, threads=1, work=work, resume=True)
    assert differences(compute(settings, inputs, threads=1), resumed) == []
    assert not path.exists()
    assert differences(whole, resumed)


def test_a_start_is_computed_once_for_all_who_share_it(inputs, tmp_path, threads):
    run = dataclasses.replace(TINY, target=1024, start=TINY, steps=1)
    first = compute(run, inputs, threads=1, work=tmp_path)
    kept = tmp_path / "starts" / inputs.key(TINY) / "model.safetensors"
    written = kept.stat().st_mtime_ns
    assert differences(first, compute(run, inputs, threads=1, work=tmp_path)) == []
    assert kept.stat().st_mtime_ns == written
    assert differences(first, compute(run, inputs, threads=1)) == []  # as without any folder


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda record: "{", "must be JSON, got .* at line 1"),
        (lambda record: [], "must be the record of a run, got a file without all of it"),
        (lambda record: {k: v for k, v in record.items() if k != "results"}, "got a file without results"),
        (lambda record: record | {"config": record["config"] | {"seed": 7}}, "must be named by its settings, .*, got"),
    ],
)
def test_a_damaged_record_is_refused_by_name(recorded, inputs, tmp_path, damage, message):
    _, record = recorded
    path = record_path(tmp_path, record["key"])
    broken = damage(record)
    path.write_text(broken, encoding="utf-8") if isinstance(broken, str) else write_json(path, broken)
    with pytest.raises(ValueError, match=f"{path}.*{message}"):
        make_plan([TINY], inputs, tmp_path)


def test_a_renamed_record_is_refused(recorded, tmp_path):
    folder, record = recorded
    record_path(folder, record["key"]).read_bytes()
    (tmp_path / "other.json").write_bytes(record_path(folder, record["key"]).read_bytes())
    with pytest.raises(ValueError, match=f"must be named by its settings, {record['key']}, got a record of"):
        read_record(tmp_path / "other.json")


def test_a_base_that_is_not_there_is_refused_by_name(inputs):
    with pytest.raises(ValueError, match="base none must be made before runs can begin with it, got no .*none"):
        inputs.key(Run(base="none"))


def test_a_claim_is_held_once_and_given_back_when_its_process_is_killed(tmp_path):
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom research.study.locks import locked\n"
        "with locked(Path(sys.argv[1]), 'key') as free:\n    print(free, flush=True)\n    time.sleep(60)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "True\n"
        with locked(tmp_path, "key") as free:
            assert not free
        with locked(tmp_path, "other") as free:
            assert free
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with locked(tmp_path, "key") as free:
        assert free


def test_word_of_a_row_is_left_for_its_process(tmp_path):
    save_settings(tmp_path, "key", Run(seed=3))
    assert load_settings(tmp_path, "key") == Run(seed=3)
    assert load_settings(tmp_path, "none") is None


def test_a_grid_computes_what_is_missing_and_shares_what_is_there(recorded, inputs):
    folder, record = recorded
    other = dataclasses.replace(TINY, seed=5)
    plan = make_plan([TINY, other, TINY, PROBE], inputs, folder)
    assert list(plan.done) == [record["key"]] and plan.steps == 4
    assert run_grid(plan, inputs, folder, jobs=2) == []
    assert not make_plan([TINY, other, PROBE], inputs, folder).missing
    assert differences(read_record(record_path(folder, inputs.key(other))), compute(other, inputs, threads=1)) == []
    assert {path.suffix for path in work_folder(folder).iterdir()} == {".lock"}


def test_a_row_that_fails_stops_no_other_and_leaves_its_log(inputs, tmp_path):
    bad = dataclasses.replace(TINY, target=256)  # adapters at the trained context
    plan = make_plan([bad, PROBE], inputs, tmp_path)
    assert run_grid(plan, inputs, tmp_path, jobs=1) == [inputs.key(bad)]
    assert "train must be 'all'" in (work_folder(tmp_path) / f"{inputs.key(bad)}.log").read_text(encoding="utf-8")
    assert record_path(tmp_path, inputs.key(PROBE)).exists()


def test_a_row_that_another_process_computes_is_left_to_it(inputs, tmp_path):
    plan = make_plan([PROBE], inputs, tmp_path)
    with locked(tmp_path, inputs.key(PROBE)):
        assert run_grid(plan, inputs, tmp_path) == []
    assert not record_path(tmp_path, inputs.key(PROBE)).exists()


@pytest.mark.slow
def test_a_grid_that_is_ended_ends_its_rows_and_resumes(inputs, tmp_path):
    long = dataclasses.replace(TINY, steps=20)
    code = (
        "import sys\nfrom pathlib import Path\nfrom research.study.grid import *\n"
        "from research.study.inputs import Inputs\nfrom research.study.spec import settings_from\n"
        "import json\ninputs = Inputs.open(sys.argv[1], Path(sys.argv[2]))\nfolder = Path(sys.argv[3])\n"
        "rows = [settings_from('extension', json.loads(sys.argv[4]))]\n"
        "run_grid(make_plan(rows, inputs, folder), inputs, folder, resume=True)\n"
    )
    arguments = [inputs.source, inputs.models, tmp_path, json.dumps(config_of(long))]
    grid = subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)])
    checkpoint = work_folder(tmp_path) / f"{inputs.key(long)}.safetensors"
    deadline = time.monotonic() + 300
    while not checkpoint.exists():
        assert grid.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    grid.send_signal(signal.SIGTERM)
    assert grid.wait(timeout=30) != 0
    with locked(tmp_path, inputs.key(long)) as free:
        assert free  # the row ended with its grid
    assert not record_path(tmp_path, inputs.key(long)).exists()
    plan = make_plan([long], inputs, tmp_path)
    assert run_grid(plan, inputs, tmp_path, resume=True) == []
    assert differences(compute(long, inputs, threads=1), read_json(record_path(tmp_path, inputs.key(long)))) == []


def test_a_budget_goes_by_recorded_rows_most_like_it(recorded):
    _, record = recorded
    assert estimated_seconds([Run()], {}) is None and estimated_seconds([PROBE], {}) > 0
    speeds = seconds_a_byte([record])
    took = record["cost"]["cpu_seconds"]
    assert 0 < took < 60
    assert estimated_seconds([TINY], speeds) == pytest.approx(took)
    other = dataclasses.replace(TINY, target=1024, attention="full")
    (work,) = work_of([other])
    assert estimated_seconds([other], speeds) == pytest.approx(speeds["tiny", "cpu"] * work.read)
    assert estimated_seconds([TINY, Run()], speeds) is None  # of another base
    assert estimated_seconds([TINY], speeds, device="cuda") is None
    begins = dataclasses.replace(TINY, start=TINY)
    assert seconds_a_byte([record | {"config": config_of(begins)}]) == {}


def test_what_several_rows_begin_with_counts_once():
    first, second = (Run(seed=seed, start=Run(steps=7, start=Run(steps=5))) for seed in (0, 1))
    alone = Run()
    plain, with_start, shared, again = work_of([alone, first, second, alone])
    assert [work.steps for work in (plain, with_start, shared, again)] == [60, 72, 60, 60]
    assert shared == plain == again and with_start.read == plain.read + 3 * 12 * 8192


def call(*arguments):
    return CliRunner().invoke(app, ["study", *map(str, arguments)], env={"COLUMNS": "200"})


def test_a_dry_run_prints_the_budget_and_computes_nothing(tmp_path):
    found = call("shift", "--dry-run", "--out", tmp_path)
    assert found.exit_code == 0, found.output
    assert "27 rows, 0 recorded, 27 to compute with 1,620 steps; 2 at a time on 1 thread each" in found.output
    assert re.search(r"hours: about 0\.\d by the rows in .*runs", found.output)  # of another machine
    assert list(tmp_path.iterdir()) == []


def test_all_studies_are_one_grid_and_one_without_rows_has_nothing_to_compute(tmp_path):
    every, none = (call(name, "--dry-run", "--out", tmp_path).output for name in ("all", "cost"))
    assert "Study all: 338 rows, 0 recorded" in every
    assert (
        "Study cost: 0 rows, 0 recorded, 0 to compute with 0 steps; 2 at a time on 1 thread each; hours: none" in none
    )


def test_a_key_or_part_that_there_is_none_of_is_refused(inputs, tmp_path):
    options = ("--out", tmp_path, "--corpus", inputs.source)
    assert "--only must be the key of a row of shift, got none" in call("shift", "--only", "none", *options).output
    assert "--part must be from 1 to 1, got 2" in call("shift", "--part", 2, *options).output
    found = call("run", "none", *options)
    assert found.exit_code == 1 and "key must be that of a row on this text and these models, got none" in found.output


def test_a_recorded_row_is_computed_again_and_compared(recorded, inputs, tmp_path, threads):
    _, record = recorded
    options = ("--out", tmp_path, "--corpus", inputs.source, "--models", inputs.models)
    path = save_record(tmp_path, record)
    found = call("run", record["key"], *options)
    assert found.exit_code == 0 and "same (results may differ by 0.5 %" in found.output, found.output
    again = work_folder(tmp_path) / "again" / f"{record['key']}.json"
    assert str(again) in found.output.replace("\n", "") and differences(record, read_json(again)) == []
    record["results"]["bits_per_byte"]["512"] *= 1.02
    write_json(path, record)
    found = call("run", record["key"], *options)
    assert found.exit_code == 1 and "\nbits_per_byte.256 " in found.output, found.output
    assert "different (results may differ by 0.5 %" in found.output


def test_a_row_that_is_being_computed_is_left_alone(inputs, tmp_path):
    with locked(tmp_path, "key"):
        found = call("run", "key", "--out", tmp_path, "--corpus", inputs.source)
    assert found.exit_code == 75 and "key is being computed by another process" in found.output


def test_the_page_is_written_by_one_command(tmp_path):
    before = default_digest().read_bytes()
    found = call("report", "--out", tmp_path / "none", "--docs", tmp_path)
    assert default_digest().read_bytes() == before  # records from elsewhere are not the package's
    call("report", "--out", tmp_path / "none", "--docs", tmp_path, "--lessons", tmp_path / "studies.json")
    assert read_json(tmp_path / "studies.json")["about"]["rows"] == 0
    assert found.exit_code == 0, found.output
    assert (tmp_path / "evidence.md").exists() and os.listdir(tmp_path / "evidence")


def test_a_sibling_is_kept_in_half_precision_and_begins_runs(tmp_path, inputs, threads):
    config = PretrainConfig(hidden_size=16, intermediate_size=16, layers=1, steps=2, batch=2, compile=False)
    text = read_corpus(write_text(tmp_path / "text.py", 20_000))
    options = {"config": config, "corpus": text, "threads": 1}
    record = make_sibling(tmp_path / "models" / "sibling", **options)
    assert record["parameters"] == 10_032
    weights = load_file(tmp_path / "models" / "sibling" / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
    assert make_sibling(tmp_path / "models" / "sibling", **options) == record
    base = Inputs(inputs.corpus, models=tmp_path / "models").base("sibling")
    assert {parameter.dtype for parameter in base.parameters()} == {torch.float32}
    with pytest.raises(ValueError, match="got no .*: see longlora-edu study sibling"):
        Inputs(inputs.corpus, models=tmp_path).base("sibling")


def test_a_budget_can_be_seen_before_the_sibling_is_made(tmp_path):
    found = call("shift", "--profile", "gpu", "--dry-run", "--models", tmp_path / "models", "--out", tmp_path)
    assert found.exit_code == 0, found.output
    assert "Base sibling is not there yet and is made first, in 12,000 steps of 65,536 bytes" in found.output
    assert "27 rows, 0 recorded, 27 to compute with 10,800 steps" in found.output
    assert "hours: unknown" in found.output
    assert list(tmp_path.iterdir()) == []


def test_a_grid_of_the_sibling_makes_it_first_and_goes_to_the_gpu(tmp_path, monkeypatch):
    begun = []

    def begin(folder, **options):
        begun.append((folder, options["device"], options["resume"]))
        raise ValueError("that is far enough")

    monkeypatch.setattr("research.study.sibling.make_sibling", begin)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    options = ("--profile", "gpu", "--models", tmp_path / "models", "--out", tmp_path)
    assert "that is far enough" in call("shift", *options, "--resume").output
    call("shift", *options, "--device", "cpu")
    assert begun == [(tmp_path / "models" / "sibling", "cuda", True), (tmp_path / "models" / "sibling", "cpu", False)]


@pytest.mark.parametrize("words", ["shift --device cuda", "shift --profile gpu", "run key --device cuda", "sibling"])
def test_a_gpu_that_is_not_there_is_said_so_before_any_work(tmp_path, monkeypatch, words):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    found = call(*words.split(), "--models", tmp_path)
    assert found.exit_code == 1 and "--device cuda must find a GPU, got none that PyTorch sees" in found.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, and PyTorch sees none")
def test_a_row_is_computed_on_a_gpu(inputs, recorded):
    record = compute(TINY, dataclasses.replace(inputs, device="cuda"), threads=1)
    assert record["cost"]["device"] == "cuda" and record["command"].endswith("--device cuda")
    for length, bits in recorded[1]["results"]["bits_per_byte"].items():
        assert record["results"]["bits_per_byte"][length] == pytest.approx(bits, abs=0.05)


def test_a_wheel_keeps_models_where_it_keeps_records(monkeypatch, tmp_path):
    monkeypatch.setattr("research.study.inputs.BENCHMARKS", tmp_path / "none")
    assert default_models() == default_folder() / "models" == Path("longlora-study") / "models"


def test_the_sibling_of_the_studies_fits_where_it_is_kept():
    weights = sum(parameter.numel() for parameter in SIBLING.model().parameters())
    assert 5e6 < weights < 15e6 and 2 * weights < 16e6
    assert PROFILES["gpu"].trained == SIBLING.context
