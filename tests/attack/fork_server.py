"""A process that has loaded everything and forks a child for each attack: start-up alone would take the time.

One JSON request a line on stdin, one answer a line on stdout.

- `run`: a small demo in a folder, killed at a file event or after some seconds, or not at all.
- `claim`: several processes claim one folder at the same time.
"""

from __future__ import annotations

import builtins
import json
import os
import signal
import sys
import time
from pathlib import Path

import torch
from helpers import tiny_bundled_model

from longlora_edu.demo import run as demo
from longlora_edu.runs.claim import claimed_folder

SETTINGS = {"context": 320, "steps": 12, "batch": 1, "threads": 1, "windows": 2, "trials": 1, "seed": 5}
SETTINGS |= {"references": 2, "rank": 4}
EVENTS = {os: ("fsync", "replace", "unlink", "mkdir"), builtins: ("open",)}


def count_events(kill_at: float | None, tell) -> None:
    """Count what touches files; die just before event n where `kill_at` is n, just after it where it is n + 0.5."""
    seen = [0]

    def counted(function):
        def call(*arguments, **options):
            if function is builtin_open and not any(letter in str(options or arguments[1:]) for letter in "xwa"):
                return function(*arguments, **options)
            number = seen[0]
            seen[0] += 1
            if kill_at == number:
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return function(*arguments, **options)
            finally:  # a folder that is there already is an event, too
                if kill_at == number + 0.5:
                    os.kill(os.getpid(), signal.SIGKILL)

        return call

    builtin_open = builtins.open
    for module, names in EVENTS.items():
        for name in names:
            setattr(module, name, counted(getattr(module, name)))
    tell.append(seen)


def forked(function) -> int:
    """Run a function in a child; returns the child's process id."""
    child = os.fork()
    if child:
        return child
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        function()
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


def run(request: dict) -> dict:
    reads, writes = os.pipe()

    def child() -> None:
        counted: list = []
        count_events(request.get("event"), counted)
        settings = demo.DemoSettings(**SETTINGS, corpus=request["corpus"])
        demo.run_demo(settings, Path(request["folder"]), resume=request["resume"])
        os.write(writes, str(counted[0][0]).encode())

    began = time.monotonic()
    child_id = forked(child)
    os.close(writes)
    if (seconds := request.get("seconds")) is not None:
        time.sleep(seconds)
        os.kill(child_id, signal.SIGKILL)  # one that has ended is still there until it is waited for
    status = os.waitstatus_to_exitcode(os.waitpid(child_id, 0)[1])
    with os.fdopen(reads) as pipe:
        events = pipe.read()
    return {"status": status, "events": int(events or 0), "seconds": time.monotonic() - began}


def claim(request: dict) -> dict:
    """Let several processes claim a folder at once; each that gets it holds it until all have tried."""
    start_reads, start_writes = os.pipe()
    said_reads, said_writes = os.pipe()
    end_reads, end_writes = os.pipe()
    count = request["processes"]

    def child() -> None:
        os.close(start_writes), os.close(end_writes)
        os.read(start_reads, 1)  # all begin when the last copy of the other end is closed
        options = {"result": "report.json", "resume": request["resume"], "inputs": {"text": "0"}}
        try:
            with claimed_folder(Path(request["folder"]), {"run": "demo"}, **options):
                os.write(said_writes, b"mine\n")
                os.read(end_reads, 1)
        except ValueError as error:
            known = ("is being run by process", "is being run by another process", "got one with an unfinished run")
            os.write(said_writes, b"refused\n" if any(text in str(error) for text in known) else f"{error}\n".encode())

    children = [forked(child) for _ in range(count)]
    for descriptor in (start_reads, start_writes, said_writes, end_reads):
        os.close(descriptor)
    with os.fdopen(said_reads) as pipe:
        said = [pipe.readline().strip() for _ in range(count)]
        os.close(end_writes)
    for child_id in children:
        os.waitpid(child_id, 0)
    return {"said": said}


if __name__ == "__main__":
    torch.set_num_threads(1)
    demo.bundled_model = tiny_bundled_model
    demo.render_report = lambda report: "pictures would take most of the time"
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps({"run": run, "claim": claim}[asked.pop("do")](asked)), flush=True)
