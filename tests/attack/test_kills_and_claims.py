"""Attacks from outside: processes killed at any moment, and several that want one folder."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from contextlib import closing

import pytest
from attack_sizes import sizes
from helpers import ROOT, write_text

from longlora_edu.runs.records import read_json

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
UNLIKE = ("seconds", "tokens_per_second", "peak_rss_bytes", "date", "command")


class Server:
    """The fork server of `fork_server.py`, in a process of its own."""

    def __init__(self) -> None:
        paths = [str(ROOT), str(ROOT / "tests"), os.path.dirname(__file__)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, os.path.join(os.path.dirname(__file__), "fork_server.py")]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, env=environment, **pipes)
        assert self.process.stdout.readline() == "ready\n"

    def ask(self, what: str, **request) -> dict:
        print(json.dumps({"do": what, **request}), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=600)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def server():
    with closing(Server()) as server:
        yield server


def result_of(folder):
    """Everything that two runs of the same settings have in common, bit for bit, and the names of all files."""
    report = read_json(folder / "report.json")
    steps = (report[step] for step in ("before", "stretched", "after"))
    for record in (report, *steps, report["train"], *report["train"]["curve"]):
        for name in UNLIKE:
            record.pop(name, None)
    weights = [
        (folder / name).read_bytes() for name in ("merged/model.safetensors", "adapter/adapter_model.safetensors")
    ]
    return report, weights, sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@sizes(sample=5, full=120)
def test_killed_runs_end_at_the_same_bits_and_leave_nothing_behind(server, tmp_path, table, count):
    text = str(write_text(tmp_path / "text.py"))
    whole = server.ask("run", folder=str(tmp_path / "whole"), corpus=text, resume=False)
    assert whole["status"] == 0
    expected, rng = result_of(tmp_path / "whole"), random.Random(count)
    # Half at file events, just before or just after, evenly over all of them; half at random moments.
    half = -(-count // 2)
    events = [(2 * number + 1) * whole["events"] / (2 * half) // 0.5 * 0.5 for number in range(half)]
    outcomes = []
    for number, event in enumerate([*events, *[None] * (count - half)]):
        folder = tmp_path / f"killed{number}"
        options = {"folder": str(folder), "corpus": text}
        status, longest = 0, whole["seconds"]
        while status == 0:  # a run can end before its moment, where the machine is busier at one time than at another
            shutil.rmtree(folder, ignore_errors=True)
            longest = rng.uniform(0, longest)
            kill = {"seconds": longest} if event is None else {"event": event}
            status = server.ask("run", resume=False, **options, **kill)["status"]
            if event is not None:
                break
        if status != -signal.SIGKILL:
            outcomes.append(f"{kill} did not kill it: {status}")
            continue
        if number % 3 == 0:  # some are killed again on the way
            server.ask("run", resume=True, **options, seconds=rng.uniform(0, whole["seconds"]))
        done = server.ask("run", resume=True, **options)["status"]
        if done:
            outcomes.append(f"{kill} was not resumed: {done}")
        else:
            outcomes.append(None if result_of(folder) == expected else f"{kill} ended elsewhere")
    table.row("kill -9 at file events and random moments, then --resume: same bits", outcomes)


@sizes(sample=4, full=60)
def test_of_several_claims_of_one_folder_one_succeeds(server, tmp_path, table, count):
    outcomes = []
    for number in range(count):
        options = {"folder": str(tmp_path / str(number)), "processes": 2 + number % 3}
        said = server.ask("claim", resume=False, **options)["said"]
        said += server.ask("claim", resume=True, **options)["said"]
        right = said.count("mine") == 2 and said.count("refused") == len(said) - 2
        outcomes.append(None if right else str(said))
    table.row("two to four processes claim one folder: one has it", outcomes)
