"""The folder of a run: whose it is, what it was started with, and one process at a time in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import pytest

from longlora_edu.runs.claim import check_folder, claimed_folder, started_settings

SETTINGS, INPUTS = {"run": "demo", "steps": 3}, {"text": "ab"}


def claim(folder, settings=None, *, resume=False, inputs=None, scratch=()):
    settings, inputs = settings or SETTINGS, inputs or INPUTS
    return claimed_folder(folder, settings, result="report.json", resume=resume, inputs=inputs, scratch=scratch)


def begin(folder):
    with claim(folder) as finished:
        assert not finished


def test_a_run_leaves_its_settings_with_hashes_of_its_inputs(tmp_path):
    begin(tmp_path / "out")
    assert started_settings(tmp_path / "out") == {"run": "demo", "steps": 3, "inputs": {"text": "ab"}}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".lock", "settings.json"]


def test_a_second_run_is_refused_while_the_first_is_there(tmp_path):
    with claim(tmp_path):
        with pytest.raises(ValueError, match="must be a new folder, got one with an unfinished run"):
            claim(tmp_path).__enter__()
        with pytest.raises(ValueError, match=f"{tmp_path.name} must have one run at a time, and is being run by proc"):
            claim(tmp_path, resume=True).__enter__()
        with pytest.raises(ValueError, match=f"by process {os.getpid()}: wait for its end, or choose another"):
            claim(tmp_path, resume=True).__enter__()
    with claim(tmp_path, resume=True) as finished:
        assert not finished


def test_an_owner_that_cannot_be_read_is_another_process(tmp_path):
    with claim(tmp_path):
        (tmp_path / ".process").write_text("12x")
        with pytest.raises(ValueError, match="is being run by another process: wait"):
            claim(tmp_path, resume=True).__enter__()


def test_a_lock_is_given_back_when_a_run_fails(tmp_path):
    with pytest.raises(ZeroDivisionError), claim(tmp_path):
        raise ZeroDivisionError
    with claim(tmp_path, resume=True):
        pass


def test_of_many_claims_at_once_one_succeeds(tmp_path):
    start, done, found = threading.Barrier(8), threading.Event(), []

    def note(what):
        found.append(what)
        if len(found) == 8:  # whoever is last: the claim is held until all have tried
            done.set()

    def attempt():
        start.wait()
        try:
            with claim(tmp_path / "out"):
                note("mine")
                done.wait(timeout=60)
        except ValueError as error:
            note("is being run by" if "is being run by" in str(error) else "unfinished")

    threads = [threading.Thread(target=attempt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found.count("mine") == 1
    assert len(found) == 8


def test_a_killed_process_gives_its_lock_back(tmp_path):
    code = f"""
import os, signal
from longlora_edu.runs.claim import claimed_folder
with claimed_folder({str(tmp_path)!r}, {SETTINGS!r}, result="report.json", resume=False, inputs={INPUTS!r}):
    os.kill(os.getpid(), signal.SIGTERM)
"""
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, check=False)
    assert done.returncode != 0
    with claim(tmp_path, resume=True) as finished:
        assert not finished


def test_a_resumed_run_clears_what_was_left_half_written(tmp_path):
    begin(tmp_path)
    (tmp_path / "merged").mkdir()
    for path in (tmp_path / ".checkpoint.safetensors.0123abcd.part", tmp_path / "merged" / ".x.0123abcd.part"):
        path.write_bytes(b"half")
    (tmp_path / "checkpoint").write_bytes(b"whole")
    with pytest.raises(ValueError, match="must be a new folder"):
        begin(tmp_path)
    assert (tmp_path / "merged" / ".x.0123abcd.part").exists()
    with claim(tmp_path, resume=True, scratch=("checkpoint",)) as finished:
        assert not finished
    assert not list(tmp_path.rglob(".*.part"))
    assert (tmp_path / "checkpoint").exists()


def test_a_finished_run_loses_the_checkpoint_that_a_kill_left(tmp_path):
    begin(tmp_path)
    (tmp_path / "report.json").write_text("{}")
    (tmp_path / "checkpoint").write_bytes(b"whole")
    with claim(tmp_path, resume=True, scratch=("checkpoint",)) as finished:
        assert finished
    assert not (tmp_path / "checkpoint").exists()


def test_other_settings_and_other_inputs_are_refused_by_name(tmp_path):
    begin(tmp_path)
    with pytest.raises(ValueError, match="with the settings it was started with, got steps 3 then, 4 now$"):
        claim(tmp_path, SETTINGS | {"steps": 4}, resume=True).__enter__()
    with pytest.raises(ValueError, match="with the inputs it was started with, got text ab then, cd now$"):
        claim(tmp_path, resume=True, inputs={"text": "cd"}).__enter__()
    assert not check_folder(tmp_path, SETTINGS, result="report.json", resume=True)


def test_an_unfinished_run_of_an_older_version_is_refused_and_a_finished_one_shown(tmp_path):
    (tmp_path / "settings.json").write_text(json.dumps({"longlora_edu": SETTINGS}))
    with pytest.raises(ValueError, match="must hold the hashes of what its run reads, got a run of an older version: "):
        claim(tmp_path, resume=True).__enter__()
    (tmp_path / "report.json").write_text("{}")
    with claim(tmp_path, resume=True) as finished:
        assert finished


def test_a_refused_folder_stays_as_it_is(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ValueError, match="must be empty or new, got a folder with other files"):
        claim(tmp_path).__enter__()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(ValueError, match="thesis.tex must be a folder, got a file"):
        claim(tmp_path / "thesis.tex").__enter__()
    with pytest.raises(OSError, match=r"cannot write .*deeper.settings.json: Not a directory"):
        claim(tmp_path / "thesis.tex" / "deeper").__enter__()
