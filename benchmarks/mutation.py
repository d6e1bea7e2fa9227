"""Do the tests notice? Plants one small fault at a time in the modules that define attention, and runs their tests.

A mutant, one of those that `mutants.py` finds, lives in a temporary copy of the package, never in the working tree. One
that turns the tests red, or hangs, is killed; one that leaves them green survived: a gap in the tests, or a fault that
changes nothing. Only reading it tells which.

A sample of 300 takes about a quarter of an hour on one core. An interrupted run goes on with `--resume`.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from mutants import Mutant, mutants_of
from tqdm import tqdm

from longlora_edu.runs.records import Proportion, provenance, read_json, write_json

ROOT = Path(__file__).resolve().parents[1]
# The tests of a module, its own first: the first red test ends a run.
ATTENTION = ("tests/attention/test_attention.py", "tests/attention/test_attention_limits.py")
KERNELS = "tests/attention/test_attention_gpu_kernels.py"
TESTS = {
    "longlora_edu/geometry.py": ("tests/test_geometry.py", "tests/test_reference.py", *ATTENTION),
    "longlora_edu/reference.py": ("tests/test_reference.py", *ATTENTION),
    "longlora_edu/attention/__init__.py": (*ATTENTION, KERNELS),
    "longlora_edu/attention/arguments.py": ATTENTION,
    "longlora_edu/attention/grouped.py": ATTENTION,
    "longlora_edu/attention/dense_mask.py": ATTENTION,
    "longlora_edu/attention/products.py": ATTENTION,
    "longlora_edu/attention/sdpa.py": (*ATTENTION, KERNELS),
    "longlora_edu/attention/tiles.py": ATTENTION,
    "longlora_edu/attention/tilewise.py": ATTENTION,
    "longlora_edu/attention/varlen.py": (KERNELS,),
    "longlora_edu/attention/flex.py": (KERNELS, *ATTENTION),
    "longlora_edu/rope.py": ("tests/test_rope.py",),
    "longlora_edu/lora/layers.py": ("tests/lora/test_lora.py",),
    "longlora_edu/lora/files.py": ("tests/lora/test_lora.py",),
    "longlora_edu/lora/rank.py": ("tests/lora/test_lora.py",),
}
ALL_TESTS = tuple(dict.fromkeys(test for tests in TESTS.values() for test in tests))
HELPERS = ("tests/conftest.py", "tests/helpers.py", "tests/oracles.py")


def sampled(mutants: dict[str, list[Mutant]], size: int, seed: int) -> list[Mutant]:
    """`size` mutants, of each file its share. A larger sample of the same seed begins with a smaller one."""
    ranked = []
    for file, found in mutants.items():
        order = random.Random(f"{seed} {file}").sample(found, len(found))
        ranked += [((rank + 0.5) / len(order), mutant) for rank, mutant in enumerate(order)]
    return [mutant for _, mutant in sorted(ranked, key=lambda pair: pair[0])][:size]


def run_tests(folder: Path, tests: tuple[str, ...], timeout: float | None) -> tuple[str, str]:
    """Outcome, and the first red test: `tests` in a process that sees the package in `folder` and no other."""
    # Importing the other plugins would take a third of the time.
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider"]
    command += ["-p", "_hypothesis_pytestplugin", "--hypothesis-profile=mutation"]
    command += ["-o", "addopts=--strict-markers", "-m", "not slow", *tests]
    settings = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    environment = os.environ | settings | {"PYTHONPATH": str(folder)}
    try:
        run = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            timeout=timeout,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    except subprocess.TimeoutExpired:
        return "timed out", ""
    if run.returncode == 0:
        return "survived", ""
    if run.returncode in (4, 5):  # pytest found nothing that it could run
        sys.exit(f"pytest must be able to run {' '.join(tests)}, got:\n{run.stdout[-2000:]}")
    red = re.findall(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", run.stdout, flags=re.MULTILINE)
    return "killed", red[0] if red else f"exit status {run.returncode}"


def judged(mutant: Mutant, template: Path, timeout: float) -> dict:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        shutil.copytree(template, folder, dirs_exist_ok=True)
        source = (template / mutant.file).read_bytes()
        Path(folder, mutant.file).write_bytes(mutant.applied(source))
        outcome, red = run_tests(Path(folder), TESTS[mutant.file], timeout)
    seconds = round(time.monotonic() - began, 1)
    return mutant.described(source) | {"outcome": outcome, "red": red, "seconds": seconds}


def copied_to(folder: Path) -> dict[str, str]:
    """Copies what the tests need, so that edits during a run change nothing: SHA-256 of each file that counts."""
    leave = shutil.ignore_patterns("__pycache__", "assets")
    for name in ("longlora_edu", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=leave)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return {file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in (*TESTS, *ALL_TESTS, *HELPERS)}


def summary(results: list[dict]) -> dict[str, dict]:
    """By file and over all: counts, and the rate of the killed with its interval. Who timed out counts as killed."""
    table = {}
    for file in (*TESTS, "all"):
        counts = Counter(result["outcome"] for result in results if file in ("all", result["file"]))
        if mutants := counts.total():
            killed = Proportion(mutants - counts["survived"], mutants)
            table[file] = {"survived": counts["survived"], "timed_out": counts["timed out"], "killed": killed}
    return table


def show(results: list[dict]) -> None:
    print(f"{'file':36} mutants  killed  survived  timed out  rate (95 % interval)")
    for file, row in summary(results).items():
        killed, (low, high) = row["killed"], row["killed"].interval
        counts = f"{killed.trials:7}  {killed.successes:6}  {row['survived']:8}  {row['timed_out']:9}"
        print(f"{file:36} {counts}  {killed.rate:.1%} ({low:.1%} to {high:.1%})")
    for result in sorted(results, key=lambda result: (result["file"], result["start"])):
        if result["outcome"] == "survived":
            print(f"\n{result['file']}:{result['line']}  {result['kind']}")
            print(f"  - {result['original']}\n  + {result['mutated']}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "mutation.json")
    options.add_argument("--sample", type=int, default=300, help="how many mutants, spread over the files by size")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--jobs", type=int, default=1, help="test processes at a time")
    options.add_argument("--timeout", type=float, default=120, help="seconds after which a mutant counts as killed")
    options.add_argument("--resume", action="store_true", help="keep what --json holds, if no file has changed")
    arguments = options.parse_args()
    if min(arguments.sample, arguments.jobs, arguments.timeout) <= 0:
        options.error("--sample, --jobs and --timeout must be positive")
    if arguments.json.exists() and not arguments.resume:
        options.error(f"--json must name a new file, or --resume be given, got {arguments.json}")

    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        template, results = Path(folder), []
        about = {"seed": arguments.seed, "sha256": copied_to(template)}
        if arguments.json.exists():
            before = read_json(arguments.json)
            if changed := [file for file, digest in about["sha256"].items() if before["sha256"].get(file) != digest]:
                options.error(f"--resume must find the files as they were, got changes in {', '.join(changed)}")
            if before["seed"] != arguments.seed:
                options.error(f"--resume must be given the seed of {arguments.json}, got {arguments.seed}")
            results = before["mutants"]
        outcome, red = run_tests(template, ALL_TESTS, None)
        if outcome != "survived":
            sys.exit(f"the tests must be green before anything is planted, got red: {red}")

        possible = {file: mutants_of(file, (template / file).read_bytes()) for file in TESTS}
        about["possible"] = {file: len(found) for file, found in possible.items()}
        command = f"python benchmarks/mutation.py --sample {arguments.sample} --seed {arguments.seed}"
        about |= dataclasses.asdict(provenance(threads=1, command=command))
        fields = [field.name for field in dataclasses.fields(Mutant)]
        done = {Mutant(**{name: result[name] for name in fields}) for result in results}
        todo = [mutant for mutant in sampled(possible, arguments.sample, arguments.seed) if mutant not in done]
        pool = ThreadPoolExecutor(arguments.jobs)
        try:
            futures = [pool.submit(judged, mutant, template, arguments.timeout) for mutant in todo]
            for future in tqdm(as_completed(futures), "mutants", len(todo) + len(done), initial=len(done)):
                results.append(future.result())
                write_json(arguments.json, about | {"files": summary(results), "mutants": results})
        except KeyboardInterrupt:
            sys.exit(f"interrupted after {len(results)} mutants: go on with --resume")
        finally:
            pool.shutdown(cancel_futures=True)
    show(results)
    each = sum(result["seconds"] for result in results) / len(results) / arguments.jobs
    print(f"\n{each:.1f} s a mutant: {each * 300 / 60:.0f} minutes for 300, {sum(about['possible'].values())} possible")


if __name__ == "__main__":
    main()
