from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import typer
from demo.test_demo import full_disk, weights_of, without_times
from helpers import tiny_bundled_model, write_little, write_text
from repository.test_architecture import PACKAGE, loaded_after
from typer.testing import CliRunner

from longlora_edu import __version__, cli
from longlora_edu.demo import run as demo_module
from longlora_edu.demo.ladder import ladder_rows
from longlora_edu.demo.run import QUICK, DemoSettings
from longlora_edu.model import load_tiny_llama
from longlora_edu.runs.records import quoted, read_json
from longlora_edu.training import finetune as finetune_module
from longlora_edu.training import pretrain as pretrain_module
from longlora_edu.training.objective import LanguageModelObjective
from longlora_edu.training.pretrain import PretrainConfig

# What `--quick` means here, so that a whole run takes no time.
VERY_QUICK = {"context": 320, "steps": 12, "batch": 1, "windows": 2, "trials": 1, "references": 2, "rank": 4}

pytestmark = pytest.mark.xdist_group("demo")  # one process makes the finished demo for the three files that read it


def run(*arguments):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


@pytest.fixture
def quick(tmp_path, monkeypatch, threads):
    """Arguments of a demo of a model that knows nothing, into `tmp_path / "out"`, whose page has no pictures."""
    monkeypatch.setattr(demo_module, "bundled_model", tiny_bundled_model)
    monkeypatch.setattr(demo_module, "render_report", lambda report: "pictures would take most of the time")
    monkeypatch.setattr(demo_module, "QUICK", VERY_QUICK)
    text = write_text(tmp_path / "text.py")
    return ["demo", "--quick", "--out", tmp_path / "out", "--corpus", text, "--threads", "1"]


def assert_refused(result, message):
    """One clear sentence on stderr, nothing on stdout, no trace."""
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("longlora-edu: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr


# Help.


def test_help_needs_neither_torch_nor_time():
    assert {"torch", "matplotlib", "transformers"}.isdisjoint(loaded_after("import longlora_edu.cli"))
    assert set(loaded_after("import longlora_edu.cli")) >= {"typer"}


def test_the_module_runs_as_a_command():
    done = subprocess.run(
        [sys.executable, "-m", "longlora_edu.cli", "--version"], capture_output=True, text=True, cwd=PACKAGE.parent
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"longlora-edu {__version__}\n", "")


def test_without_arguments_it_says_what_there_is():
    for arguments in ([], ["--help"], ["-h"]):
        result = run(*arguments)
        assert result.exit_code == (0 if arguments else 2)
        assert "demo" in result.output
        assert "pretrain" in result.output


def options(command):
    return {option.name: option for option in typer.main.get_command(cli.app).commands[command].params}


def test_the_help_of_the_demo_states_its_true_defaults():
    helps = {name: option.help for name, option in options("demo").items()}
    stated = {name for name, text in helps.items() if text and " by default." in text}
    assert stated == {"context", "group_ratio", "rope", "boundary", "train", "rank", "leap", "steps", "seed"}
    for name in stated:
        assert helps[name].endswith(f"; {getattr(DemoSettings(), name)} by default.")


@pytest.mark.parametrize(
    ("arguments", "choices"),
    [
        (["--rope", "longrope"], ["default", "linear", "ntk", "dynamic", "yarn"]),
        (["--boundary", "no"], ["split", "wrap", "masked"]),
        (["--train", "some"], ["adapters", "all"]),
        (["--threads", "0"], []),
        (["--context", "2k"], []),
    ],
)
def test_an_argument_that_cannot_be_is_refused_by_its_name(arguments, choices):
    result = run("demo", *arguments)
    assert result.exit_code == 2
    words = " ".join(result.stderr.replace("│", " ").split())
    assert f"Invalid value for '{arguments[0]}'" in words
    assert ", ".join(repr(choice) for choice in choices) in words


# What the options of the demo mean.


@pytest.fixture
def called(monkeypatch, finished_demo):
    """The settings, folder and options that `run_demo` would be called with."""
    calls = []

    def record(settings, folder, *, resume, progress):
        calls.append((settings, folder, resume))
        return finished_demo[2]

    monkeypatch.setattr(demo_module, "run_demo", record)
    return calls


def test_without_options_the_demo_is_the_default(called):
    assert run("demo").exit_code == 0
    ((settings, folder, resume),) = called
    assert (settings, folder.as_posix(), resume) == (DemoSettings(), "longlora-demo", False)


def test_every_option_arrives(called, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = "--context 512 --group-ratio 0.5 --rope ntk --boundary masked --train all --steps 7 --seed 5 --threads 2"
    text += " --rank 4 --compare full --compare short"
    run("demo", *text.split(), "--corpus", "text.py", "--out", "here", "--resume")
    ((settings, folder, resume),) = called
    expected = {"context": 512, "group_ratio": 0.5, "rope": "ntk", "boundary": "masked", "train": "all", "steps": 7}
    expected |= {"rank": 4, "compare": ("full", "short")}
    assert settings == DemoSettings(**expected, seed=5, threads=2, corpus=str(tmp_path / "text.py"))
    assert (folder.as_posix(), resume) == ("here", True)


def test_quick_is_a_smaller_demo_in_which_options_still_count(called):
    run("demo", "--quick", "--context", "512")
    assert called[0][0] == DemoSettings(**QUICK | {"context": 512})


def test_resume_keeps_the_settings_without_their_being_said_again(called, tmp_path):
    settings = DemoSettings(context=512, rope="linear", rate=0.1, threads=1, corpus="text")
    stated = {"run": "demo", **dataclasses.asdict(settings), "text": "0123"}
    (tmp_path / "settings.json").write_text(json.dumps({"longlora_edu": stated}))
    run("demo", "--resume", "--out", tmp_path)
    run("demo", "--resume", "--out", tmp_path, "--context", "1024", "--seed", "1")
    run("demo", "--resume", "--out", tmp_path, "--quick")
    run("demo", "--out", tmp_path)
    assert [call[0] for call in called] == [
        settings,
        dataclasses.replace(settings, context=1024, seed=1),
        dataclasses.replace(settings, **QUICK),
        DemoSettings(),
    ]


# What the demo says.


def test_a_table_at_the_end_shows_the_ladder(finished_demo):
    _, folder, report = finished_demo
    result = run("demo", "--resume", "--out", folder)
    assert result.exit_code == 0
    assert "From 512 to 640 bytes of context" in result.stdout
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in result.stdout.splitlines() if "│" in line]
    assert rows == ladder_rows(report)
    assert [row[1] for row in rows] == [
        f"{report[step]['bits_per_byte'][length]:.3f}"
        for step, length in [("own_window", "512"), *((step, "640") for step in ("before", "stretched", "after"))]
    ]
    assert report["sentence"] in result.stdout
    for step in ("before", "stretched", "after"):
        assert repr(report["writing"][step]) in result.stdout
    assert f"trained {report['recipe']['trainable_share']:.1%} of the weights (adapters) for 24 steps" in result.stdout
    assert result.stdout.splitlines()[-1] == f"open {folder / 'report.html'}"


def test_the_path_of_the_report_is_printed_as_it_is(quick, tmp_path):
    folder = tmp_path / "[red]" / ("long " * 30)
    result = run(*quick, "--out", folder)
    assert result.stdout.splitlines()[-1] == f"open {folder / 'report.html'}"


def test_plain_lines_on_stderr_say_what_is_done(quick):
    result = run(*quick)
    assert result.exit_code == 0
    lines = result.stderr.splitlines()
    assert [line for line in lines if line.endswith(" ...")] == [
        "The base as it is: dense attention, up to 320 bytes ...",
        "Positions stretched, nothing trained: dense attention, up to 320 bytes ...",
        "Training ...",
        "After training: dense attention, up to 320 bytes ...",
    ]
    for words in ("100%", "loss ", " B/s", " s left"):
        assert any(words in line for line in lines)
    assert "\r" not in result.output and "\x1b" not in result.output


def test_a_finished_folder_is_refused_and_shown_again_by_resume(quick, tmp_path):
    first = run(*quick)
    assert_refused(run(*quick), "out must not hold a finished run, got one: choose another folder with --out, or see")
    again = run("demo", "--resume", "--out", tmp_path / "out")
    assert (again.exit_code, again.stdout, again.stderr) == (0, first.stdout, "")


def test_a_resumed_run_refuses_other_flags_by_name(quick, tmp_path):
    run(*quick)
    result = run("demo", "--resume", "--out", tmp_path / "out", "--steps", "13", "--boundary", "wrap")
    message = "started with, got boundary split then, wrap now, steps 12 then, 13 now\n"
    assert_refused(result, message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--context", "256"], "context_length must be above the trained context of 256, got 256"),
        (["--context", "-1"], "context must be an integer, at least 1, got -1"),
        (["--context", "322", "--boundary", "wrap"], "seq_len must be a multiple of group_size under boundary='wrap'"),
        (["--group-ratio", "2"], "ratio must be a number above 0 and at most 1, got 2.0"),
        (["--steps", "0"], "steps must be an integer, at least 1, got 0"),
        (["--seed", "-1"], "seed must be an integer, at least 0, got -1"),
        (["--corpus", "missing.txt"], "missing.txt, which does not exist"),
        (["--corpus", "empty.txt"], "empty.txt with none"),
        (["--corpus", "short.txt"], "corpus must hold a document of at least 321 bytes, got 100 as the longest, of"),
    ],
)
def test_what_cannot_work_is_refused_in_a_sentence_and_blocks_no_later_try(
    quick, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "short.txt").write_bytes(b"x" * 1000)
    assert_refused(run(*quick, *arguments), message)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_refused_in_a_sentence(quick, tmp_path):
    below_a_file = tmp_path / "text.py" / "out"
    assert_refused(run(*quick, "--out", below_a_file), f"cannot write {below_a_file}/settings.json: Not a directory")


def test_a_full_disk_is_told_in_a_sentence_and_the_run_goes_on(quick, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        full_disk(patch, after=3)
        result = run(*quick)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        f"longlora-edu: [Errno 28] cannot write {tmp_path}/out/checkpoint.safetensors: No space left on device"
    )
    assert_refused(run(*quick), "got one with an unfinished run: go on with --resume, or choose another with --out")
    assert run("demo", "--resume", "--out", tmp_path / "out").exit_code == 0


def test_a_loss_that_is_no_number_is_told_in_a_sentence(quick, tmp_path, monkeypatch):
    class Breaks(LanguageModelObjective):
        def __call__(self, step, part):
            loss, metrics = super().__call__(step, part)
            return (loss * float("nan") if step == 11 else loss), metrics

    monkeypatch.setattr(finetune_module, "LanguageModelObjective", Breaks)
    result = run(*quick)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        "longlora-edu: loss must be finite, got nan at step 12; "
        f"the last good checkpoint is {tmp_path}/out/checkpoint.safetensors, of step 10"
    )


def test_damaged_weights_are_told_in_a_sentence(quick, tmp_path, monkeypatch, finished_demo):
    folder = shutil.copytree(finished_demo[1] / "merged", tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"GIF89a" * 100)
    monkeypatch.setattr(demo_module, "bundled_model", lambda: load_tiny_llama(folder))
    assert_refused(run(*quick), f"{folder}/model.safetensors must be a safetensors file, got ")
    assert not (tmp_path / "out").exists()


def test_a_mistake_of_the_program_keeps_its_trace(quick, monkeypatch):
    def mistaken(*_, **__):
        raise RuntimeError("a bug")

    monkeypatch.setattr(demo_module, "run_demo", mistaken)
    assert isinstance(run(*quick).exception, RuntimeError)


def test_ctrl_c_before_anything_is_written_says_so(quick, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo_module, "bundled_model", stopped)
    result = run(*quick)
    assert (result.exit_code, result.stderr) == (130, "\nStopped. Nothing had been done yet.\n")


# Real processes, stopped for real.

CHILD = """
import functools, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job would ignore it
import longlora_edu.demo.run as demo, longlora_edu.demo.ladder as ladder
ladder.continue_greedily = functools.partial(ladder.continue_greedily, count=4)  # as in `finished_demo`
demo.QUICK = {"context": 640, "rank": 8, "steps": 24, "batch": 1, "windows": 4, "trials": 1}
demo.QUICK |= {"references": 3, "passkey_share": 0.5}
demo.save_tiny_llama = lambda model, folder: time.sleep(600)  # whoever stops it comes in time
from longlora_edu.cli import app
app()
"""


def stopped_at_a_new_checkpoint(sign, *arguments):
    """The command in a process of its own, which gets a signal as soon as there is a new checkpoint."""
    folder = arguments[arguments.index("--out") + 1]
    checkpoint = folder / "checkpoint.safetensors"
    before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else None
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])}
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, *map(str, arguments)], env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 240
        while not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before:
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(sign)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, errors


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no kill -9")
def test_a_run_stopped_by_ctrl_c_and_by_kill_9_ends_at_the_same_bits(tmp_path, finished_demo, monkeypatch, threads):
    settings, whole, report = finished_demo
    write_little(monkeypatch)
    folder = tmp_path / "cut here"
    start = ["demo", "--quick", "--out", folder, "--corpus", settings.corpus, "--threads", "1", "--seed", "3"]
    code, errors = stopped_at_a_new_checkpoint(signal.SIGINT, *start)
    assert code == 130
    assert errors.splitlines()[-2:] == [
        "Stopped. Only the steps since the last checkpoint are lost; continue with:",
        f"  longlora-edu demo --resume --out '{folder}'",
    ]
    assert "Traceback" not in errors
    again = ["demo", "--resume", "--out", folder]
    code, errors = stopped_at_a_new_checkpoint(signal.SIGKILL, *again)
    assert code == -signal.SIGKILL
    assert "The base as it is" not in errors, "what had been measured is not measured again"
    assert not (folder / "merged").exists()

    assert run(*again).exit_code == 0
    assert weights_of(folder) == weights_of(whole)
    assert without_times(read_json(folder / "report.json")) == without_times(report)


# Pretraining.


@pytest.fixture
def pretrained(monkeypatch):
    """What `run_pretraining` would be called with."""
    calls = []

    def record(config, corpus, folder, *, threads, resume, device, progress):
        calls.append((config, corpus.source, folder.as_posix(), threads, resume, device))
        return {
            "config": dataclasses.asdict(config),
            "parameters": 1234567,
            "bits_per_byte": 1.2345,
            "passkey": {"rate": 0.995},
        }

    monkeypatch.setattr(pretrain_module, "run_pretraining", record)
    return calls


def test_pretraining_takes_its_options_and_says_what_came_of_it(pretrained, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    text = write_text(tmp_path / "text.py")
    options = "--steps 5 --batch 2 --rope-base 200 --seed 4 --threads 1 --out here --resume --device cuda"
    options += " --context 512 --width 64 --ffn-width 96 --layers 2 --heads 2"
    result = run("pretrain", *options.split(), "--corpus", text)
    assert result.stdout == (
        "here: 1,234,567 parameters, 1.234 bits/byte held out at 512 bytes, passkey found in 99.5% of trials\n"
    )
    shape = {"context": 512, "hidden_size": 64, "intermediate_size": 96, "layers": 2, "heads": 2}
    config = PretrainConfig(steps=5, batch=2, rope_base=200.0, seed=4, **shape)
    assert pretrained == [(config, str(text), "here", 1, True, "cuda")]


def test_pretraining_on_a_gpu_that_is_not_there_is_refused(pretrained, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    result = run("pretrain", "--device", "cuda", "--out", tmp_path / "out")
    assert result.exit_code == 1 and "--device cuda must find a GPU, got none that PyTorch sees" in result.stderr
    assert pretrained == [] and not (tmp_path / "out").exists()


def test_pretraining_goes_on_as_it_was_started(pretrained, tmp_path):
    text = write_text(tmp_path / "text.py")
    config = PretrainConfig(steps=5, context=200)
    stated = {"run": "pretrain", **dataclasses.asdict(config), "threads": 2, "corpus": str(text), "text": "0123"}
    (tmp_path / "settings.json").write_text(json.dumps({"longlora_edu": stated}))
    run("pretrain", "--resume", "--out", tmp_path)
    run("pretrain", "--resume", "--out", tmp_path, "--steps", "6", "--threads", "1")
    out = tmp_path.as_posix()
    assert pretrained == [
        (config, str(text), out, 2, True, "cpu"),
        (dataclasses.replace(config, steps=6), str(text), out, 1, True, "cpu"),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "0"], "steps must be an integer, at least 1, got 0"),
        (["--batch", "0"], "batch must be an integer, at least 1, got 0"),
        (["--seed", "-1"], "seed must be an integer, at least 0, got -1"),
        (["--rope-base", "1"], "base must be finite and above 1, got 1.0"),
        (["--corpus", "missing.txt"], "missing.txt, which does not exist"),
        (["--corpus", "short.txt"], "corpus must hold a document of at least 513 bytes, got 100 as the longest"),
    ],
)
def test_pretraining_that_cannot_work_is_refused_in_a_sentence(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short.txt").write_bytes(b"x" * 1000)
    assert_refused(run("pretrain", "--out", tmp_path / "out", *arguments), message)
    assert not (tmp_path / "out").exists()


def test_pretraining_refuses_a_folder_with_other_files(tmp_path):
    text = write_text(tmp_path / "text.py")
    assert_refused(run("pretrain", "--out", tmp_path, "--corpus", text), "got a folder with other files")


def test_ctrl_c_in_pretraining_says_how_to_go_on(tmp_path, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    text = write_text(tmp_path / "text.py")
    monkeypatch.setattr(pretrain_module, "pretrain", stopped)
    result = run("pretrain", "--out", tmp_path / "out", "--corpus", text)
    assert result.exit_code == 130
    assert result.stderr.endswith(f"continue with:\n  longlora-edu pretrain --resume --out {tmp_path}/out\n")


def test_a_command_to_go_on_with_is_quoted_for_the_shell_it_is_typed_into():
    assert quoted("my run", windows=False) == "'my run'"
    assert quoted("my run", windows=True) == '"my run"'
    assert quoted("run", windows=True) == quoted("run", windows=False) == "run"
