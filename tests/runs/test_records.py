from __future__ import annotations

import errno
import json
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from longlora_edu.runs import records
from longlora_edu.runs.records import (
    Proportion,
    hash_files,
    peak_memory,
    provenance,
    read_json,
    read_sealed,
    remove_leftovers,
    replace_file,
    write_json,
    write_sealed,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def failing(error):
    def fail(*_, **__):
        raise error

    return fail


def test_a_file_is_written_with_its_folders(tmp_path):
    path = tmp_path / "new" / "deep" / "file.bin"
    replace_file(path, b"\0\1\n\r")
    assert path.read_bytes() == b"\0\1\n\r"
    assert names(path.parent) == ["file.bin"]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_a_file_is_replaced_whole_and_readable_by_whom_the_umask_says(tmp_path, umask):
    path, before = tmp_path / "file", os.umask(umask)
    try:
        replace_file(path, b"a longer old text")
        replace_file(path, b"new")
    finally:
        os.umask(before)
    assert path.read_bytes() == b"new"
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_what_a_killed_process_left_half_written_is_known_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "replace", lambda new, old: None)  # as if it had been killed just before
    for path in (tmp_path / "file", tmp_path / "deep" / "weights.bin"):
        replace_file(path, b"new")
    others = [".hidden", ".notes.part", ".a.0123456.part", "a.01234567.part"]
    for name in others:
        (tmp_path / name).write_bytes(b"mine")
    assert sorted(path.name.rpartition(".")[2] for path in remove_leftovers(tmp_path)) == ["part", "part"]
    assert names(tmp_path) == sorted([*others, "deep"])
    assert names(tmp_path / "deep") == []


def test_a_sealed_value_is_given_back_and_a_changed_one_noticed(tmp_path):
    path = tmp_path / "x.json"
    write_sealed(path, {"bits": [1.5, Proportion(1, 2)], 3: None})
    assert read_sealed(path)["bits"][0] == 1.5
    assert read_sealed(path)["3"] is None
    text = path.read_text()
    for damaged in (text.replace("1.5", "1.25"), "{}", "[1]", text[:-5], '{"sha256": "0", "value": 1}', ""):
        path.write_text(damaged)
        with pytest.raises(ValueError, match="must be as this run wrote it, got a damaged or another file: delete"):
            read_sealed(path)


def test_a_hash_of_files_changes_with_a_byte_and_a_name_and_not_with_their_order(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(b"1")
    second.write_bytes(b"2")
    whole = hash_files([first, second])
    assert hash_files([second, first]) == whole
    assert hash_files([first]) != whole
    second.write_bytes(b"3")
    assert hash_files([first, second]) != whole
    second.write_bytes(b"2")
    second.rename(tmp_path / "c")
    assert hash_files([first, tmp_path / "c"]) != whole


def test_text_that_no_file_can_hold_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a record must be text that UTF-8 can write, got '\\udcff' for "):
        write_json(tmp_path / "x.json", {"corpus": "text-\udcff"})
    assert names(tmp_path) == []


@pytest.mark.parametrize("place", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_no_temporary(tmp_path, monkeypatch, place):
    path = tmp_path / "file"
    replace_file(path, b"old")
    monkeypatch.setattr(os, place, failing(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(OSError, match=f"cannot write {re.escape(str(path))}: No space left on device") as caught:
        replace_file(path, b"new")
    assert caught.value.errno == errno.ENOSPC
    assert (path.read_bytes(), names(tmp_path)) == (b"old", ["file"])


def test_an_interrupted_write_leaves_the_old_file_and_no_temporary(tmp_path, monkeypatch):
    path = tmp_path / "file"
    replace_file(path, b"old")
    monkeypatch.setattr(os, "fsync", failing(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        replace_file(path, b"new")
    assert (path.read_bytes(), names(tmp_path)) == (b"old", ["file"])


def test_the_old_file_stands_until_the_new_one_is_complete_beside_it(tmp_path, monkeypatch):
    path = tmp_path / "file"
    replace_file(path, b"old")
    seen = []
    monkeypatch.setattr(os, "replace", lambda new, old: seen.append((Path(new).read_bytes(), Path(old).read_bytes())))
    replace_file(path, b"new")
    assert seen == [(b"new", b"old")]


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    refused = failing(PermissionError(errno.EACCES, "Permission denied"))
    monkeypatch.setattr(records, "open", refused, raising=False)
    with pytest.raises(PermissionError, match=f"cannot write {re.escape(str(tmp_path / 'file'))}: Permission denied"):
        replace_file(tmp_path / "file", b"new")


def test_a_path_through_a_file_or_onto_a_folder_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "below", tmp_path / "folder"):
        with pytest.raises(OSError, match=f"cannot write {re.escape(str(path))}: "):
            replace_file(path, b"new")
    assert names(tmp_path) == ["file", "folder"]


def test_json_keeps_text_numbers_arrays_and_records(tmp_path):
    @dataclass(frozen=True)
    class Inner:
        path: Path
        share: Proportion

    value = {
        "name": "S² – Ā",
        "inner": [Inner(Path("a") / "b", Proportion(1, 2))],
        "array": np.arange(3),
        "scalar": np.float32(0.5),
        "pair": (1, None),
        4: True,
    }
    write_json(tmp_path / "x.json", value)
    assert read_json(tmp_path / "x.json") == {
        "name": "S² – Ā",
        "inner": [{"path": "a/b", "share": json.loads(json.dumps(Proportion(1, 2).as_json()))}],
        "array": [0, 1, 2],
        "scalar": 0.5,
        "pair": [1, None],
        "4": True,
    }
    assert "S² – Ā" in (tmp_path / "x.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("value", [math.nan, math.inf, np.float64("nan"), np.array([1.0, math.nan])])
def test_numbers_that_json_has_no_word_for_are_refused(tmp_path, value):
    write_json(tmp_path / "x.json", {"loss": 1.0})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"loss": value})
    assert read_json(tmp_path / "x.json") == {"loss": 1.0}


def test_what_is_no_record_is_refused(tmp_path):
    with pytest.raises(ValueError, match="a record must be made of numbers, text, lists and records, got set"):
        write_json(tmp_path / "x.json", {"a": {1}})
    assert names(tmp_path) == []


def test_a_broken_json_file_is_named_with_line_and_column(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('{\n  "a": 1,\n  "b": oops\n}\n')
    with pytest.raises(ValueError, match=f"{re.escape(str(path))} must be JSON, got .* at line 3 column 8"):
        read_json(path)


def test_a_cut_json_file_is_named_with_line_and_column(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"a": [1, 2]})
    path.write_text(path.read_text()[:12])
    with pytest.raises(ValueError, match="must be JSON, got .* at line 3 column"):
        read_json(path)


def test_bytes_that_are_no_text_are_named(tmp_path):
    (tmp_path / "x.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(ValueError, match=r"x.json must be JSON, got bytes that are no UTF-8"):
        read_json(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # Newcombe (1998), Table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_wilsons_as_published(successes, trials, low, high):
    np.testing.assert_allclose(Proportion(successes, trials).interval, (low, high), atol=5e-5)


@pytest.mark.parametrize(("successes", "trials"), [(1, 7), (20, 40), (199, 200)])
def test_the_ends_of_the_interval_are_rates_from_which_the_outcome_is_1_96_deviations_away(successes, trials):
    for end in Proportion(successes, trials).interval:
        deviation = math.sqrt(end * (1 - end) / trials)
        np.testing.assert_allclose(abs(successes / trials - end) / deviation, 1.959964, rtol=1e-6)


def test_the_interval_of_all_or_nothing_ends_there():
    assert Proportion(0, 40).interval[0] == 0.0
    assert Proportion(40, 40).interval[1] == 1.0
    assert Proportion(0, 40).interval[1] == pytest.approx(1 - Proportion(40, 40).interval[0])


def test_proportions_add_as_their_trials_do():
    assert Proportion(1, 4) + Proportion(3, 4) == Proportion(4, 8)
    assert Proportion(4, 8).as_json() == {
        "successes": 4,
        "trials": 8,
        "rate": 0.5,
        "interval_95": Proportion(4, 8).interval,
    }


@pytest.mark.parametrize(("successes", "trials"), [(-1, 3), (4, 3), (0, 0), (0, -1)])
def test_a_proportion_that_cannot_be_is_refused(successes, trials):
    with pytest.raises(ValueError, match=f"successes must be from 0 to trials > 0, got {successes} of {trials}"):
        Proportion(successes, trials)


def test_provenance_says_what_ran_where_and_with_which_versions(tmp_path):
    record = provenance(threads=3, command="lab 1")
    write_json(tmp_path / "x.json", record)
    read = read_json(tmp_path / "x.json")
    assert read["command"] == "lab 1"
    assert read["machine"]["threads"] == 3
    assert read["machine"]["processor"]
    assert read["versions"]["numpy"] == np.__version__
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", read["date"])
    assert provenance().command


def test_peak_memory_is_in_bytes_and_outlives_what_was_freed():
    block = np.ones(8_000_000)
    held = peak_memory()
    assert block.nbytes < held < 1e12
    del block
    # Linux counts pages in batches, so that the figure may sway by some of them.
    np.testing.assert_allclose(peak_memory(), held, rtol=0.05)
