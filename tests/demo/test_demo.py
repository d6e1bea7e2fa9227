from __future__ import annotations

import dataclasses
import datetime
import json
import math
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import tiny_bundled_model, write_text

from longlora_edu.demo import ladder as ladder_module
from longlora_edu.demo import run as demo_module
from longlora_edu.demo.ladder import ladder_rows, ladder_sentence
from longlora_edu.demo.report import render_report
from longlora_edu.demo.run import FAST_TURNS, QUICK, RATES, WHY_ROPE, DemoSettings, run_demo
from longlora_edu.longlora import apply_longlora
from longlora_edu.model import bundled_model, load_tiny_llama
from longlora_edu.runs.records import as_json, read_json
from longlora_edu.training import finetune as finetune_module
from longlora_edu.training.corpus import Windows, read_corpus, standard_library
from longlora_edu.training.evaluate import doubled_lengths, score_references, score_text
from longlora_edu.training.finetune import FinetuneSettings, finetune
from longlora_edu.training.objective import LanguageModelObjective

ROOT = Path(__file__).resolve().parents[2]

SMALL = {"context": 320, "steps": 12, "batch": 1, "threads": 1, "windows": 2, "trials": 1, "references": 2, "rank": 4}
STEPS = ("before", "stretched", "after")
pytestmark = pytest.mark.xdist_group("demo")  # one process makes the finished demo for the three files that read it
METHODS = ["default", "linear", "ntk", "dynamic", "yarn"]


@pytest.fixture
def small(tmp_path, monkeypatch, threads):
    """Settings of a run that takes no time, of a model that knows nothing, whose page has no pictures."""
    monkeypatch.setattr(demo_module, "bundled_model", tiny_bundled_model)
    monkeypatch.setattr(demo_module, "render_report", lambda report: "pictures would take most of the time")
    return DemoSettings(**SMALL, corpus=str(write_text(tmp_path / "text.py")))


@pytest.fixture
def small_with_pictures(small, monkeypatch):
    """The same, with the pictures of its page."""
    monkeypatch.setattr(demo_module, "render_report", render_report)
    return small


def ids_of(length):
    return torch.randint(256, (1, length), generator=torch.Generator().manual_seed(0))


def weights_of(folder):
    return (folder / "merged" / "model.safetensors").read_bytes()


def without_times(report):
    """A report without what no two runs have in common."""
    report = json.loads(json.dumps(report))
    for record in (report, *(report[step] for step in STEPS), report["train"], *report["train"]["curve"]):
        for name in ("seconds", "tokens_per_second", "peak_rss_bytes", "date", "command"):
            record.pop(name, None)
    return report


# What it leaves behind.


def test_the_folder_holds_report_adapter_and_merged_model(finished_demo):
    _, folder, report = finished_demo
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()) == [
        ".lock",
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
        "adapter/config.json",
        "after.json",
        "before.json",
        "merged/config.json",
        "merged/model.safetensors",
        "merged/tokenizer.json",
        "merged/tokenizer_config.json",
        "report.html",
        "report.json",
        "settings.json",
        "stretched.json",
    ]
    assert (folder / "report.html").read_text(encoding="utf-8").lower().startswith("<!doctype html>")
    assert report == read_json(folder / "report.json")


PROMISED = {
    "model.trained_context": int,
    "model.parameters": int,
    "target_context": int,
    "rope.method": str,
    "rope.factor": float,
    "recipe.train": str,
    "recipe.rank": int,
    "recipe.alpha": (int, float),
    "recipe.targets": list,
    "recipe.also_train": list,
    "recipe.trainable_share": float,
    "before.bits_per_byte": dict,
    "before.passkey": dict,
    "own_window.bits_per_byte": dict,
    "stretched.bits_per_byte": dict,
    "stretched.passkey": dict,
    "stretched.references": dict,
    "stretched.references_aligned": dict,
    "after.bits_per_byte": dict,
    "after.passkey": dict,
    "after.references": dict,
    "after.references_aligned": dict,
    "writing.prompt_end": str,
    "sentence": str,
    "train.steps": int,
    "train.tokens": int,
    "train.seconds": float,
    "train.tokens_per_second": float,
    "train.attention": str,
    "train.peak_rss_bytes": int,
    "machine": dict,
    "versions": dict,
    "command": str,
    "date": str,
}


@pytest.mark.parametrize("key", PROMISED)
def test_the_report_has_what_was_promised(finished_demo, key):
    value = finished_demo[2]
    for part in key.split("."):
        value = value[part]
    assert isinstance(value, PROMISED[key])
    assert value


def test_the_report_says_what_was_done(finished_demo):
    settings, folder, report = finished_demo
    merged = load_tiny_llama(folder / "merged")
    assert report["model"]["trained_context"] == bundled_model().config.trained_context
    assert report["model"]["parameters"] == sum(parameter.numel() for parameter in merged.parameters())
    assert report["target_context"] == 640
    assert (report["rope"]["method"], report["rope"]["factor"]) == ("yarn", 1.25)
    recipe = report["recipe"]
    assert (recipe["train"], recipe["rank"], recipe["alpha"]) == ("adapters", 8, 16)
    assert recipe["targets"] == ["q_proj", "k_proj", "v_proj", "o_proj"]
    assert recipe["also_train"] == ["embed_tokens", "input_layernorm", "post_attention_layernorm", "norm"]
    assert 0 < recipe["trainable_share"] < 0.5
    assert report["train"]["attention"] == "S2 (split), groups of 160, shift 80; evaluation dense"
    assert (report["train"]["steps"], report["train"]["tokens"]) == (24, 24 * 640)
    assert [point["step"] for point in report["train"]["curve"]] == list(range(1, 25))
    assert report["train"]["tokens_per_second"] == pytest.approx(24 * 640 / report["train"]["seconds"])
    assert 50e6 < report["train"]["peak_rss_bytes"] < 4e9
    assert report["settings"] == as_json(dataclasses.asdict(settings))
    assert report["machine"]["threads"] == 1
    assert {"python", "torch", "longlora_edu"} <= set(report["versions"])
    assert datetime.datetime.fromisoformat(report["date"]).tzinfo is not None
    stages = report["train"]["seconds"] + sum(report[step]["seconds"] for step in STEPS)
    assert report["seconds"] == pytest.approx(stages)


@pytest.mark.parametrize("when", STEPS)
def test_maps_go_from_length_as_text_to_a_number(finished_demo, when):
    found = finished_demo[2][when]
    for name in ("bits_per_byte", "passkey"):
        assert list(found[name]) == ["512", "640"]
        assert all(isinstance(value, float) and 0 <= value < 20 for value in found[name].values())
    assert len(found["bits_per_byte_by_position"]) == 639
    for length, rate in found["passkey"].items():
        cells = found["passkey_by_depth"][length]
        assert list(cells) == ["0.0", "0.25", "0.5", "0.75", "1.0"]
        assert rate == sum(cell["successes"] for cell in cells.values()) / 5
        assert found["passkey_overall"][length]["trials"] == 5


def test_training_changed_the_model(finished_demo):
    _, folder, report = finished_demo
    base, merged = bundled_model().state_dict(), load_tiny_llama(folder / "merged").state_dict()
    moved = {name for name in base if (base[name] != merged[name]).any()}
    kept = {name for name in base if ".mlp." in name} | {"lm_head.weight"}
    assert moved == set(base) - kept
    assert report["before"]["bits_per_byte"] != report["after"]["bits_per_byte"]


def test_the_merged_model_is_one_that_transformers_loads(finished_demo):
    from transformers import AutoModelForCausalLM

    _, folder, _ = finished_demo
    theirs = AutoModelForCausalLM.from_pretrained(folder / "merged").eval()
    parameters = theirs.config.rope_parameters
    assert (parameters["rope_type"], parameters["factor"]) == ("yarn", 1.25)
    assert parameters["original_max_position_embeddings"] == 512
    assert theirs.config.max_position_embeddings == 640
    ours = load_tiny_llama(folder / "merged")
    with torch.no_grad():
        expected, ids = ours(ids_of(640)), ids_of(640)
        torch.testing.assert_close(theirs(ids).logits, expected, rtol=1e-4, atol=1e-3)
        assert (bundled_model()(ids, beyond_context=True) - expected).abs().max() > 0.1


def test_the_adapter_is_one_that_peft_loads_on_the_base_with_the_stretched_config(finished_demo):
    from importlib.resources import files

    from peft import PeftModel
    from transformers import AutoModelForCausalLM, LlamaConfig

    _, folder, _ = finished_demo
    config = LlamaConfig.from_pretrained(folder / "adapter")
    base = AutoModelForCausalLM.from_pretrained(str(files("longlora_edu") / "assets" / "model"), config=config)
    model = PeftModel.from_pretrained(base, folder / "adapter").eval()
    ids = ids_of(640)
    with torch.no_grad():
        torch.testing.assert_close(model(ids).logits, load_tiny_llama(folder / "merged")(ids), rtol=1e-4, atol=1e-3)
        with model.disable_adapter():
            assert (model(ids).logits - load_tiny_llama(folder / "merged")(ids)).abs().max() > 0.1


# The ladder.


def test_the_steps_of_the_ladder_are_measured_on_the_same_bytes(finished_demo):
    settings, _, report = finished_demo
    assert report["own_window"]["bits_per_byte"] == {"512": report["before"]["bits_per_byte"]["512"]}
    assert "references" not in report["before"], "the base never saw the format"
    base, corpus = bundled_model(), read_corpus(settings.corpus)
    own = score_text(base, corpus.held_out, [512, 640], windows=4, seed=3).by_length[512]
    assert report["own_window"]["bits_per_byte"]["512"] == pytest.approx(own)
    apply_longlora(base, settings.recipe())
    stretched = score_text(base, corpus.held_out, [512, 640], windows=4, seed=3).by_length
    assert report["stretched"]["bits_per_byte"] == {str(n): pytest.approx(bits) for n, bits in stretched.items()}


def test_references_are_counted_by_distance_in_both_layouts(finished_demo):
    report = finished_demo[2]
    for step in ("stretched", "after"):
        for layout in ("references", "references_aligned"):
            assert list(report[step][layout]) == ["<=G", "G-2G", ">2G"]
            for cell in report[step][layout].values():
                assert 0 <= cell["found"] <= cell["of"] >= 3
    assert 1 / 8 < report["after"]["references_chance"] < 1
    assert report["recipe"]["reference_page"] == 160


def test_each_arm_trains_on_the_same_windows_and_stands_beside(small_with_pictures, tmp_path):
    alone = run_demo(small_with_pictures, tmp_path / "alone")
    report = run_demo(dataclasses.replace(small_with_pictures, compare=("short", "full")), tmp_path / "out")
    assert alone["arms"] == {} and list(report["arms"]) == ["short", "full"]
    assert weights_of(tmp_path / "out") == weights_of(tmp_path / "alone"), "an arm beside changes nothing"
    losses = {name: arm["curve"][0]["loss"] for name, arm in report["arms"].items()}
    losses["s2"] = report["train"]["curve"][0]["loss"]
    assert len(set(losses.values())) == 3, "each attends to something else"
    assert max(losses.values()) - min(losses.values()) < 0.1, "to the same bytes, with the same weights"
    assert [row[0] for row in ladder_rows(report)[-2:]] == ["Trained without a shift", "Trained with full attention"]


def test_the_sentence_follows_from_the_numbers(finished_demo):
    report = json.loads(json.dumps(finished_demo[2]))
    assert report["sentence"] == ladder_sentence(report)
    report["own_window"]["bits_per_byte"]["512"] = 2.0
    report["stretched"]["bits_per_byte"]["640"] = 2.5
    report["after"]["bits_per_byte"]["640"] = 1.9
    report["after"]["references"]["G-2G"] = {"found": 3, "of": 4}
    said = ladder_sentence(report)
    assert "gives 2.500, 25.0 % above its own window" in said
    assert "give 1.900, 5.0 % below it" in said and "75 % between one and two" in said


def test_the_base_finds_no_references_before_training():
    """A base that knew the format would take the credit: at most 2 % in any class, of 60 and more."""
    settings, model = DemoSettings(), bundled_model()
    text = standard_library().held_out
    apply_longlora(model, settings.recipe())
    for layout in ("free", "aligned"):
        score = score_references(model, text, 2048, 512, layout=layout, trials=60)
        assert all(found.rate <= 0.02 for found in score.found.values()), score.found


# What can be chosen.


def test_a_silent_run_prints_nothing(small, tmp_path, capfd):
    run_demo(small, tmp_path / "out")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("method", METHODS)
def test_every_rule_of_positions_runs_and_is_stated(small_with_pictures, tmp_path, method):
    report = run_demo(dataclasses.replace(small_with_pictures, rope=method, steps=1), tmp_path / "out")
    assert report["rope"]["method"] == method
    assert report["rope"]["factor"] == (1.0 if method == "default" else 1.25)
    assert report["rope"]["why"] == WHY_ROPE[method]
    assert report["rope"]["beta_fast"] == (FAST_TURNS if method == "yarn" else 32)
    merged = load_tiny_llama(tmp_path / "out" / "merged")
    assert (merged.config.rope.method, merged.config.context_length) == (method, 320)


@pytest.mark.parametrize("boundary", ["split", "wrap", "masked"])
def test_every_boundary_runs_and_is_stated(small_with_pictures, tmp_path, boundary):
    report = run_demo(
        dataclasses.replace(small_with_pictures, boundary=boundary, group_ratio=0.5, steps=1), tmp_path / "out"
    )
    assert report["train"]["attention"] == f"S2 ({boundary}), groups of 160, shift 80; evaluation dense"
    assert (report["train"]["boundary"], report["train"]["group_size"]) == (boundary, 160)


def test_the_rates_are_those_that_a_sweep_chose_on_other_windows():
    sweep = read_json(ROOT / "benchmarks" / "results" / "demo_rates.json")
    assert sweep["best"] == RATES
    for arm in RATES:
        rows = [row for row in sweep["rows"] if row["arm"] == arm]
        assert len({row["rate"] for row in rows}) == 3
        kept = [row for row in rows if row["bits_per_byte"]["2048"] <= 1.03 * sweep["own_window"]]
        found = {row["rate"]: sum(c["found"] / c["of"] for c in row["references"].values()) for row in kept}
        assert max(found, key=found.get) == RATES[arm]
    for row in sweep["rows"]:  # nothing else has changed since
        settings = DemoSettings(rate=row["rate"], seed=900, threads=row["settings"]["threads"])
        assert as_json(dataclasses.asdict(settings) | {"arm": row["arm"]}) == row["settings"]


def test_all_weights_can_be_trained(small, tmp_path):
    settings = dataclasses.replace(small, train="all", steps=3)
    report = run_demo(settings, tmp_path / "out")
    recipe = report["recipe"]
    assert (recipe["train"], recipe["trainable_share"]) == ("all", 1.0)
    assert (recipe["rank"], recipe["alpha"], recipe["targets"], recipe["also_train"]) == (None, None, [], [])
    assert not (tmp_path / "out" / "adapter").exists()
    base, merged = tiny_bundled_model().state_dict(), load_tiny_llama(tmp_path / "out" / "merged").state_dict()
    assert [name for name in base if (base[name] == merged[name]).all()] == []
    assert settings.finetune().rate == 8e-4
    assert small.finetune().rate == 2e-3
    assert small.finetune("short").rate == 3e-3
    assert dataclasses.replace(settings, rate=0.5).finetune().rate == 0.5


def test_the_default_is_the_recipe_of_the_paper_at_four_times_the_context():
    settings = DemoSettings()
    recipe = settings.recipe()
    assert (settings.context, settings.train, recipe.rank, recipe.pattern.group_size) == (2048, "adapters", 96, 512)
    assert recipe.alpha == 192
    assert doubled_lengths(256, settings.context) == [256, 512, 1024, 2048]
    assert doubled_lengths(256, 700) == [256, 512, 700]
    assert doubled_lengths(256, 257) == [256, 257]
    assert DemoSettings(**QUICK).context < settings.context


def test_the_text_is_the_standard_library_unless_another_is_given(small, tmp_path, monkeypatch):
    # A short stand-in: reading eleven megabytes takes its time.
    library = dataclasses.replace(read_corpus(small.corpus), source="standard library")
    monkeypatch.setattr(demo_module, "standard_library", lambda: library)
    report = run_demo(dataclasses.replace(small, corpus=None, steps=1), tmp_path / "out")
    assert (report["corpus"]["source"], report["corpus"]["sha256"]) == ("standard library", library.hash)


def test_a_folder_of_ones_own_text_will_do(small, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("one.md", "two.md"):
        write_text(folder / name)
    report = run_demo(dataclasses.replace(small, corpus=str(folder), steps=1), tmp_path / "out")
    assert report["corpus"]["source"] == str(folder)
    assert report["corpus"]["train_bytes"] + report["corpus"]["held_out_bytes"] == 16_000


def test_the_same_seed_gives_the_same_and_another_another(small, tmp_path):
    first, again = run_demo(small, tmp_path / "a"), run_demo(small, tmp_path / "b")
    assert without_times(first) == without_times(again)
    assert weights_of(tmp_path / "a") == weights_of(tmp_path / "b")
    run_demo(dataclasses.replace(small, seed=1), tmp_path / "c")
    assert weights_of(tmp_path / "a") != weights_of(tmp_path / "c")


# Finished, interrupted, resumed.


def test_a_finished_folder_is_refused_and_resume_shows_its_result_again(small, tmp_path, monkeypatch):
    report = run_demo(small, tmp_path / "out")
    with pytest.raises(ValueError, match=r"out must not hold a finished run, .* --out, or see .* with --resume$"):
        run_demo(small, tmp_path / "out")
    monkeypatch.setattr(demo_module, "extend_model", None)
    monkeypatch.setattr(demo_module, "render_report", None)
    assert run_demo(small, tmp_path / "out", resume=True) == report


def interrupted(monkeypatch, where):
    """Ctrl-C at some place of the run."""

    def stop(*_, **__):
        raise KeyboardInterrupt

    class StopsAtStepEleven(LanguageModelObjective):
        def __call__(self, step, part):
            return stop() if step == 11 else super().__call__(step, part)

    if where == "training":
        monkeypatch.setattr(finetune_module, "LanguageModelObjective", StopsAtStepEleven)
    else:
        monkeypatch.setattr(ladder_module if where == "score_passkeys" else demo_module, where, stop)


@pytest.mark.parametrize(
    "where", ["score_passkeys", "apply_longlora", "training", "save_adapter", "save_tiny_llama", "render_report"]
)
def test_a_run_interrupted_anywhere_ends_at_the_same_bits(small, tmp_path, monkeypatch, where):
    expected = run_demo(small, tmp_path / "whole")
    with monkeypatch.context() as patch:
        interrupted(patch, where)
        with pytest.raises(KeyboardInterrupt):
            run_demo(small, tmp_path / "cut")
    with pytest.raises(ValueError, match="cut must be a new folder, got one with an unfinished run: go on with --res"):
        run_demo(small, tmp_path / "cut")
    report = run_demo(small, tmp_path / "cut", resume=True)
    assert without_times(report) == without_times(expected)
    assert weights_of(tmp_path / "cut") == weights_of(tmp_path / "whole")
    names = [{path.name for path in (tmp_path / folder).rglob("*")} for folder in ("cut", "whole")]
    assert names[0] == names[1]


def test_what_is_done_is_not_done_again(small, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        interrupted(patch, "save_adapter")
        with pytest.raises(KeyboardInterrupt):
            run_demo(small, tmp_path / "out")
    monkeypatch.setattr(finetune_module, "LanguageModelObjective", lambda *_, **__: None)
    scored = []
    score_text = ladder_module.score_text
    monkeypatch.setattr(ladder_module, "score_text", lambda *a, **k: scored.append(1) or score_text(*a, **k))
    run_demo(small, tmp_path / "out", resume=True)
    assert len(scored) == 1, "the measurements before training were there"


def test_a_run_is_resumed_with_its_own_settings_only(small, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        interrupted(patch, "apply_longlora")
        with pytest.raises(KeyboardInterrupt):
            run_demo(small, tmp_path / "out")
    other = dataclasses.replace(small, steps=13, rope="linear")
    message = "out must be resumed with the settings it was started with, got rope yarn then, linear now, steps 12 then"
    with pytest.raises(ValueError, match=message):
        run_demo(other, tmp_path / "out", resume=True)
    write_text(tmp_path / "text.py", 8001)
    with pytest.raises(ValueError, match=r"started with, got text [0-9a-f]{16} then, [0-9a-f]{16} now$"):
        run_demo(small, tmp_path / "out", resume=True)
    write_text(tmp_path / "text.py")
    stated = tmp_path / "out" / "settings.json"
    text = stated.read_text()
    stated.write_text(text.replace('"run": "demo"', '"run": "demo", "of_a_later_version": 1'))
    with pytest.raises(ValueError, match="started with, got of_a_later_version 1 then, None now$"):
        run_demo(small, tmp_path / "out", resume=True)
    stated.write_text(text)
    run_demo(small, tmp_path / "out", resume=True)


def test_resume_begins_where_there_is_nothing_yet(small, tmp_path):
    assert run_demo(small, tmp_path / "out", resume=True)["train"]["steps"] == 12


# What is refused, before any work and leaving nothing behind.


@pytest.fixture
def no_work(monkeypatch):
    for name in ("measure_step", "extend_model", "apply_longlora"):
        monkeypatch.setattr(demo_module, name, None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"context": 256}, "context_length must be above the trained context of 256, got 256"),
        ({"context": 64}, "context_length must be above the trained context of 256, got 64"),
        ({"context": 10**9}, "corpus must hold a document of at least 1000000001 bytes, got 7200 as the longest"),
    ],
)
def test_a_run_that_cannot_work_is_refused(small, no_work, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        run_demo(dataclasses.replace(small, **changes), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"context": 0}, "context must be an integer, at least 1, got 0"),
        ({"context": 320.0}, "context must be an integer, at least 1, got 320.0"),
        ({"context": 322, "boundary": "wrap"}, "seq_len must be a multiple of group_size .*'wrap', got 322 and 81"),
        ({"context": 322, "boundary": "masked"}, "seq_len must be a multiple of group_size .*'masked', got 322 and 81"),
        ({"boundary": "none"}, "boundary must be one of split, wrap, masked, got 'none'"),
        ({"group_ratio": 0.0}, "ratio must be .*above 0 and at most 1, got 0.0"),
        ({"train": "some"}, "train must be 'adapters' or 'all', got 'some'"),
        ({"steps": 0}, "steps must be an integer, at least 1, got 0"),
        ({"batch": 0}, "batch must be an integer, at least 1, got 0"),
        ({"rate": 0}, "rate must be positive and finite, got 0"),
        ({"rate": math.nan}, "rate must be positive and finite, got nan"),
        ({"seed": -1}, "seed must be an integer, at least 0, got -1"),
        ({"threads": 0}, "threads must be an integer, at least 1, got 0"),
        ({"windows": 0}, "windows must be an integer, at least 1, got 0"),
        ({"trials": True}, "trials must be an integer, at least 1, got True"),
        ({"passkey_share": 2.0}, "share must be from 0 to 1, got 2.0"),
        ({"passkey_weight": 0.0}, "weight must be positive and finite, got 0.0"),
        ({"reference_share": 2.0}, "share must be from 0 to 1, got 2.0"),
        ({"reference_weight": math.inf}, "weight must be positive and finite, got inf"),
        ({"plain_share": -0.1}, "plain_share must be from 0 to 1, got -0.1"),
        ({"references": 0}, "references must be an integer, at least 1, got 0"),
        ({"rank": 0}, "rank must be an integer, at least 1, got 0"),
        ({"rope": "longrope"}, "rope must be one of default, linear, ntk, dynamic, yarn, got 'longrope'"),
        ({"rope": np.array([1, 2])}, r"rope must be one of default, linear, ntk, dynamic, yarn, got array\(\[1, 2\]\)"),
        ({"compare": ("long",)}, "compare must be among short, full, got 'long'"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        DemoSettings(**changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "corpus must be a file or a folder, got .*, which does not exist"),
        (b"", "corpus must hold at least one text file, got .* with none"),
        (b"\0binary", "corpus must hold at least one text file, got .* with none"),
        (b"x" * 200, "at least 321 bytes, got 180 as the longest, of the text that is trained on"),
        (
            b"x" * 2000,
            r"at least 321 bytes, got 200 as the longest, of the text that is held out \(of a single file, a tenth is ",
        ),
    ],
)
def test_a_text_that_will_not_do_is_refused(small, no_work, tmp_path, text, message):
    path = tmp_path / "other"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(ValueError, match=message):
        run_demo(dataclasses.replace(small, corpus=str(path)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("out", [".", "longlora-demo", "deep/er"])
def test_a_run_must_not_write_into_its_own_text(small, no_work, tmp_path, out):
    message = f"must lie outside of the corpus {re.escape(str(tmp_path))}, got a folder in it"
    with pytest.raises(ValueError, match=message):
        run_demo(dataclasses.replace(small, corpus=str(tmp_path)), tmp_path / out)
    assert [path.name for path in tmp_path.iterdir()] == ["text.py"]


def test_a_folder_with_other_files_is_refused(small, no_work, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("precious")
    for resume in (False, True):
        with pytest.raises(ValueError, match="out must be empty or new, got a folder with other files: choose another"):
            run_demo(small, tmp_path / "out", resume=resume)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("content", ["{}", "[1]", '{"longlora_edu": 3}', '{"editor.fontSize": 12}'])
def test_a_folder_with_settings_of_another_program_is_refused(small, no_work, tmp_path, content):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "settings.json").write_text(content)
    with pytest.raises(ValueError, match=r"settings.json must be of a run of longlora_edu, got another file: choose"):
        run_demo(small, tmp_path / "out", resume=True)


def test_a_folder_of_another_command_is_refused(small, no_work, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "settings.json").write_text('{"longlora_edu": {"run": "pretrain"}}')
    with pytest.raises(ValueError, match="settings it was started with, got run pretrain then, demo now, context None"):
        run_demo(small, tmp_path / "out", resume=True)


def test_an_empty_folder_or_one_with_hidden_files_will_do(small, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".DS_Store").write_text("")
    run_demo(small, tmp_path / "out")


def test_a_file_in_place_of_the_folder_is_refused(small, no_work, tmp_path):
    (tmp_path / "out").write_text("precious")
    with pytest.raises(ValueError, match="out must be a folder, got a file: choose another with --out"):
        run_demo(small, tmp_path / "out")
    with pytest.raises(OSError, match=r"cannot write .*out/deeper/settings.json: Not a directory"):
        run_demo(small, tmp_path / "out" / "deeper")
    assert (tmp_path / "out").read_text() == "precious"


def test_damaged_weights_of_the_package_are_refused(small, no_work, tmp_path, monkeypatch, finished_demo):
    folder = tmp_path / "damaged"
    shutil.copytree(finished_demo[1] / "merged", folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    monkeypatch.setattr(demo_module, "bundled_model", lambda: load_tiny_llama(folder))
    with pytest.raises(ValueError, match=r"model.safetensors must be a safetensors file, got "):
        run_demo(small, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# What can go wrong on the way.


def full_disk(monkeypatch, after):
    """No room on the disk once `after` files have been written."""
    fsync, written = os.fsync, []

    def full(descriptor):
        written.append(descriptor)
        if len(written) > after:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)


@pytest.mark.parametrize(
    ("after", "file"),
    [
        (0, "settings.json"),
        (1, "before.json"),
        (2, "stretched.json"),
        (3, "checkpoint.safetensors"),
        (5, "adapter/adapter_model.safetensors"),
    ],
)
def test_a_full_disk_is_named_and_the_run_goes_on_when_there_is_room(small, tmp_path, monkeypatch, after, file):
    with monkeypatch.context() as patch:
        full_disk(patch, after)
        with pytest.raises(OSError, match=re.escape(f"cannot write {tmp_path}/out/{file}: No space left on device")):
            run_demo(small, tmp_path / "out")
    # A run that could not even begin does not stand in the way of the next.
    run_demo(small, tmp_path / "out", resume=after > 0)
    assert [path.name for path in (tmp_path / "out").rglob(".*")] == [".lock"]


def test_a_loss_that_is_no_number_stops_at_the_last_good_checkpoint(small, tmp_path, monkeypatch):
    class Breaks(LanguageModelObjective):
        def __call__(self, step, part):
            loss, metrics = super().__call__(step, part)
            return (loss * math.nan if step == 10 else loss), metrics

    with monkeypatch.context() as patch:
        patch.setattr(finetune_module, "LanguageModelObjective", Breaks)
        message = r"loss must be finite, got nan at step 11; the last good checkpoint is .*out/checkpoint.*, of step 10"
        with pytest.raises(FloatingPointError, match=message):
            run_demo(small, tmp_path / "out")
    expected = run_demo(small, tmp_path / "whole")
    assert without_times(run_demo(small, tmp_path / "out", resume=True)) == without_times(expected)


# The training step.


def test_fine_tuning_lowers_the_loss_and_leaves_the_model_in_evaluation_mode(small):
    model = tiny_bundled_model()
    apply_longlora(model, small.recipe())
    frozen = {name: p.detach().clone() for name, p in model.named_parameters() if not p.requires_grad}
    windows = Windows(read_corpus(small.corpus).train, 321)
    curve = finetune(model, windows, FinetuneSettings(30, batch=1, rate=1e-2)).curve
    assert curve[-1]["loss"] < curve[0]["loss"] - 0.1
    assert not model.training
    for name, parameter in model.named_parameters():
        if name in frozen:
            torch.testing.assert_close(parameter.detach(), frozen[name], rtol=0, atol=0)
