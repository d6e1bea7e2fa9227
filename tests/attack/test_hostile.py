"""Attacks by folders and terminals: hostile corpora and models, closed streams, signals, absurd options."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from attack_sizes import sizes
from helpers import ROOT, write_text
from torch.nn.attention import SDPBackend, sdpa_kernel
from typer.testing import CliRunner

from longlora_edu.attention import s2_attention
from longlora_edu.cli import app
from longlora_edu.course.build.copies import copy_course
from longlora_edu.geometry import S2Geometry
from longlora_edu.model.folder import bundled_folder
from longlora_edu.runs.records import replace_file
from longlora_edu.training.corpus import read_corpus

POSIX = pytest.mark.skipif(os.name != "posix", reason="needs pipes, signals and permissions of POSIX")
TEXT = b"some text to read\n" * 40


def refusal(call) -> str:
    try:
        call()
    except (ValueError, OSError) as error:
        return str(error)
    return "no refusal"


# What a corpus may hold.


@POSIX
def test_hostile_files_of_a_corpus_are_left_out_by_name(tmp_path, table):
    secret, folder = tmp_path / "secret.txt", tmp_path / "corpus"
    secret.write_bytes(b"secret " * 99)
    folder.mkdir()
    for number in range(40):
        (folder / f"{number}.txt").write_bytes(TEXT)
    hostile = {
        "leads_out.txt": (lambda path: path.symlink_to(secret), "leads out of the folder"),
        "to_nothing.txt": (lambda path: path.symlink_to(tmp_path / "nothing"), "a link to nothing"),
        "to_a_folder": (lambda path: path.symlink_to(tmp_path), "a link to a folder"),
        "to_itself": (lambda path: path.symlink_to(path), "a link to nothing"),
        "pipe.txt": (os.mkfifo, "no regular file"),
        "sparse.bin": (lambda path: (path.touch(), os.truncate(path, 10**10)), ""),
        "late.bin": (lambda path: path.write_bytes(b"x" * 3_000_000 + b"\0"), ""),
        "empty.txt": (lambda path: path.touch(), ""),
    }
    for name, (make, _) in hostile.items():
        make(folder / name)
    odd = os.fsencode(folder) + b"/name-\xff.txt"
    with open(odd, "wb") as file:
        file.write(TEXT)
    corpus = read_corpus(folder)
    assert len(corpus.train + corpus.held_out) == 40
    assert all(b"secret" not in document.data for document in corpus.train + corpus.held_out)
    outcomes = []
    for name, (_, reason) in [*hostile.items(), ("name-", (None, "a name that is no UTF-8"))]:
        told = any(name in left_out and reason in left_out for left_out in corpus.left_out)
        outcomes.append(None if told else f"{name} is not named")
    for path, word in ((folder / "pipe.txt", "which is neither"), (tmp_path / "none", "which does not exist")):
        said = refusal(lambda path=path: read_corpus(path))
        outcomes.append(None if word in said else said)
    (folder / "linked.txt").symlink_to(folder / "0.txt")
    outcomes.append(None if len(read_corpus(folder).train + read_corpus(folder).held_out) == 41 else "linked inside")
    table.row("links, pipes, binaries, odd names in a corpus: left out, named", outcomes)


def test_hostile_weights_are_refused(tmp_path, table):
    pytest.importorskip("transformers")
    import json
    import pickle

    from longlora_edu.hf.loading import load_causal_model

    outcomes, marker = [], tmp_path / "executed"

    class Bomb:
        def __reduce__(self):
            return (marker.write_text, ("boom",))

    shutil.copy(bundled_folder() / "model.safetensors", tmp_path / "outside.safetensors")
    outside = ("../outside.safetensors", str(tmp_path / "outside.safetensors"), "a/b", "..", 3, None)
    for number, shard in enumerate(outside):
        folder = tmp_path / f"index{number}"
        shutil.copytree(bundled_folder(), folder)
        (folder / "model.safetensors").unlink()
        index = {"metadata": {"total_size": 1}, "weight_map": {"lm_head.weight": shard}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        said = refusal(lambda folder=folder: load_causal_model(str(folder)))
        outcomes.append(None if "must name files beside it" in said else f"{shard}: {said}")
    pickles = (pickle.dumps(Bomb()), pickle.dumps({"lm_head.weight": Bomb()}), b"", b"\x80junk")
    for number, content in enumerate(pickles):
        folder = tmp_path / f"pickle{number}"
        shutil.copytree(bundled_folder(), folder)
        (folder / "model.safetensors").unlink()
        (folder / "pytorch_model.bin").write_bytes(content)
        said = refusal(lambda folder=folder: load_causal_model(str(folder)))
        outcomes.append(None if "the weights must be readable" in said else f"pickle {number}: {said}")
        outcomes.append("a pickle was executed" if marker.exists() else None)
    (tmp_path / "index0" / "model.safetensors.index.json").write_text("[]")
    said = refusal(lambda: load_causal_model(str(tmp_path / "index0")))
    outcomes.append(None if "must hold a weight_map" in said else said)
    table.row("shards outside of the folder, pickles as weights: refused", outcomes)


# Permissions, and copies of the course.


@POSIX
def test_new_files_follow_the_umask_and_a_copy_is_whole_or_not_there(tmp_path, monkeypatch, table):
    outcomes, before = [], os.umask(0)
    try:
        for umask in (0o077, 0o022, 0o027, 0o002):
            os.umask(umask)
            replace_file(tmp_path / f"{umask:o}", b"x")
            mode = (tmp_path / f"{umask:o}").stat().st_mode & 0o777
            outcomes.append(None if mode == 0o666 & ~umask else f"mode {mode:o} under umask {umask:o}")
    finally:
        os.umask(before)
    table.row("umask: files get the permissions that it says", outcomes)

    outcomes = []
    obstacles = {
        "a pipe": lambda folder: os.mkfifo(folder / "notebooks" / "00_start_here.ipynb"),
        "a link to nothing": lambda folder: (folder / "notebooks" / "00_start_here.ipynb").symlink_to("nowhere"),
        "a folder": lambda folder: (folder / "notebooks" / "glossary.md").mkdir(),
        "a changed notebook": lambda folder: (folder / "notebooks" / "03_reference.ipynb").write_text("mine"),
        "a file for docs": lambda folder: (folder / "docs").write_text("mine"),
        "a file for notebooks": lambda folder: (
            (folder / "notebooks").rmdir(),
            (folder / "notebooks").touch(),
        ),
        "a full disk": lambda folder: None,
        "Ctrl-C": lambda folder: None,
    }
    for name, make in obstacles.items():
        folder = tmp_path / name
        (folder / "notebooks").mkdir(parents=True)
        make(folder)
        there = sorted(str(path) for path in folder.rglob("*"))
        with monkeypatch.context() as patch:
            if name in ("a full disk", "Ctrl-C"):
                calls, fsync = [], os.fsync

                def full(descriptor, calls=calls, fsync=fsync, name=name):
                    calls.append(1)
                    if len(calls) == 9:
                        raise OSError(28, "No space left on device") if name == "a full disk" else KeyboardInterrupt
                    fsync(descriptor)

                patch.setattr(os, "fsync", full)
            try:
                said = refusal(lambda folder=folder: copy_course(folder))
            except KeyboardInterrupt:
                said = "interrupted"
        if said == "no refusal" or sorted(str(path) for path in folder.rglob("*")) != there:
            outcomes.append(f"{name}: {said}")
        else:
            outcomes.append(None)
    table.row("course copy onto pipes, links, files, a full disk: nothing is written", outcomes)


# Terminals and signals.


@POSIX
@sizes(sample=2, full=8)
def test_closed_streams_are_no_errors(tmp_path, table, count):
    python = f"{sys.executable} -m longlora_edu.cli"
    plan = f"{python} plan --model {bundled_folder()} --context 1024 --tflops 1"
    trials = {
        f"{python} --version >&-": 0,
        f"{python} lab /nowhere 2>&-": 1,
        f"{plan} >&-": 0,
        f"{plan} 2>&-": 0,
        f"{plan} >&- 2>&-": 0,
        f"{plan} | head -1; exit ${{PIPESTATUS[0]}}": (0, 141),
        f"{python} plan --model /nowhere --context 9 2>&-": 1,
        f"({plan}; echo $? >&2) | true": 0,
    }
    outcomes, environment = [], os.environ | {"PYTHONPATH": str(ROOT)}
    for command, codes in list(trials.items())[:count]:
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment, cwd=tmp_path)
        right = done.returncode in (codes if isinstance(codes, tuple) else (codes,))
        quiet = not any(word in done.stderr for word in ("Traceback", "Errno", "BrokenPipe", "Exception ignored"))
        outcomes.append(None if right and quiet else f"{command}: {done.returncode} {done.stderr[-200:]}")
    table.row("closed streams and pipes that nobody reads: quiet, right exit codes", outcomes)


LAB = "import os, sys, time, pathlib; pathlib.Path({!r}).write_text(str(os.getpid())); time.sleep(600)"


@POSIX
@sizes(sample=1, full=3)
def test_jupyterlab_ends_with_the_command_that_opened_it(tmp_path, table, count):
    outcomes = []
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)[:count]:
        home = tmp_path / str(int(number))
        (home / "jupyterlab").mkdir(parents=True)
        (home / "00_start_here.ipynb").touch()
        (home / "jupyterlab" / "__init__.py").touch()
        (home / "jupyterlab" / "__main__.py").write_text(LAB.format(str(home / "pid")))
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(home), str(ROOT)])}
        command = [sys.executable, "-m", "longlora_edu.cli", "lab", str(home), "--no-browser"]
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=home,
            stderr=subprocess.DEVNULL,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # which shells ignore in the background
        )
        try:
            pid, deadline = home / "pid", time.monotonic() + 300
            while not (pid.exists() and pid.read_text()):
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.05)
            child = int(pid.read_text())
            process.send_signal(number)
            code = process.wait(timeout=300)
        finally:
            process.kill()
        alive = Path(f"/proc/{child}").exists() if Path("/proc").exists() else False
        wanted = 130 if number == signal.SIGINT else 128 + number
        outcomes.append(None if code == wanted and not alive else f"{number!r}: exit {code}, alive {alive}")
    table.row("SIGTERM, SIGHUP, Ctrl-C to lab: JupyterLab ends with it", outcomes)


# Options that nobody means.


def test_absurd_options_are_refused_before_anything_is_claimed(tmp_path, monkeypatch, threads, table):
    monkeypatch.chdir(tmp_path)
    text = str(write_text(tmp_path / "text.py"))
    base = ["--model", str(bundled_folder())]
    trials = [
        ["demo", "--seed", str(10**20)],
        ["demo", "--seed", "-1"],
        ["demo", "--threads", str(10**9)],
        ["demo", "--context", str(10**32)],
        ["demo", "--steps", str(10**32)],
        ["demo", "--group-ratio", "nan"],
        ["demo", "--corpus", "text-\udcff.py"],
        ["demo", "--out", "out-\udcff"],
        ["pretrain", "--seed", str(10**20), "--corpus", text],
        ["pretrain", "--threads", str(10**9), "--corpus", text],
        ["pretrain", "--width", str(10**9), "--corpus", text],
        ["pretrain", "--layers", str(10**9), "--corpus", text],
        ["pretrain", "--batch", str(10**9), "--corpus", text],
        ["pretrain", "--context", str(10**32), "--corpus", text],
        ["pretrain", "--rope-base", "inf", "--corpus", text],
        ["train", *base, "--data", text, "--context", "512", "--rank", str(10**20)],
        ["train", *base, "--data", text, "--context", "512", "--seed", str(10**20)],
        ["train", *base, "--data", text, "--context", "512", "--threads", str(10**9)],
        ["train", *base, "--data", text, "--context", str(10**32)],
        ["train", *base, "--data", "text-\udcff.py", "--context", "512"],
        ["train", "--model", "model-\udcff", "--data", text, "--context", "512"],
        ["train", *base, "--data", text, "--context", "512", "--lr", "inf"],
        ["plan", *base, "--context", str(10**32)],
        ["plan", *base, "--context", "4096", "--rank", str(10**20)],
        ["plan", *base, "--context", "4096", "--steps", str(10**400)[:40]],
    ]
    before, outcomes = sorted(path.name for path in tmp_path.iterdir()), []
    for arguments in trials:
        done = CliRunner().invoke(app, arguments)
        lines = [line for line in done.output.splitlines() if line]
        clean = done.exit_code in (1, 2) and isinstance(done.exception, SystemExit)
        left = sorted(path.name for path in tmp_path.iterdir())
        said = lines and (" must " in done.output or "Invalid value" in done.output)
        about = f"{' '.join(arguments)!r:.80}: exit {done.exit_code} {done.output[-200:]} {done.exception!r:.80}"
        outcomes.append(None if clean and said and left == before else about)
    table.row("absurd options: refused in a sentence, no folder made", outcomes)


# Numbers that are none, and second derivatives, on random geometries.


def geometries(count):
    generator = torch.Generator().manual_seed(count)

    def draw(low, high):
        return int(torch.randint(low, high + 1, (), generator=generator))

    for _ in range(count):
        boundary = ("split", "wrap", "masked")[draw(0, 2)]
        group = draw(1, 6)
        length = draw(2, 14) if boundary == "split" else group * draw(1, 3)
        yield S2Geometry(length, group, draw(1, 4), draw(0, group - 1), boundary), generator


def some_qkv(geometry, generator, width=3):
    shapes = [(1, heads, geometry.seq_len, width) for heads in (geometry.num_heads, 1, 1)]
    return [torch.randn(shape, dtype=torch.float64, generator=generator) for shape in shapes]


@sizes(sample=12, full=300)
def test_a_nan_where_a_token_may_not_look_never_changes_it(table, count):
    outcomes = []
    for geometry, generator in geometries(count):
        clean, token = some_qkv(geometry, generator), geometry.seq_len // 2
        dirty = [x.clone() for x in clean]
        which = int(torch.randint(0, 3, (), generator=generator))
        bad = (torch.nan, torch.inf, -torch.inf)[int(torch.randint(0, 3, (), generator=generator))]
        dirty[which][:, :, token] = bad
        sees = torch.zeros(geometry.num_heads, geometry.seq_len, dtype=torch.bool)
        for head in range(geometry.num_heads):  # earlier tokens of the same cell may change
            for cell in geometry.cells(shifted=head in geometry.shifted_heads):
                if any(token in part for part in cell):
                    for part in cell:
                        sees[head, part.start : part.stop] = True
        for impl in ("dense_mask", "grouped"):
            before = s2_attention(*clean, geometry, impl=impl)[0]
            after = s2_attention(*dirty, geometry, impl=impl)[0]
            same = torch.equal(before[~sees], after[~sees])
            outcomes.append(None if same else f"{impl} of {geometry}")
    table.row("NaN and infinities where a token may not look: nothing changes", outcomes)


@sizes(sample=6, full=150)
def test_second_derivatives_agree_with_dense_attention(table, count):
    outcomes = []
    for geometry, generator in geometries(count):
        seed, found = int(torch.randint(0, 10**6, (), generator=generator)), []
        for impl in ("grouped", "dense_mask"):
            qkv = [x.requires_grad_() for x in some_qkv(geometry, torch.Generator().manual_seed(seed), width=2)]
            with sdpa_kernel(SDPBackend.MATH):
                loss = s2_attention(*qkv, geometry, impl=impl).square().sum()
                first = torch.autograd.grad(loss, qkv, create_graph=True)
                found.append(torch.autograd.grad(loss + sum(x.square().sum() for x in first), qkv))
        close = all(torch.allclose(a, b, rtol=1e-9, atol=1e-9) for a, b in zip(*found, strict=True))
        outcomes.append(None if close else f"{geometry}")
    table.row("second derivatives of grouped: those of dense attention", outcomes)
