"""What S²-Attn costs on one H100 or H200, in 12 minutes of it: the most valuable first, resumable, one JSON.

    python benchmarks/gpu.py --out gpu.json --minutes 9
    python benchmarks/gpu.py --out gpu.json --minutes 2      # what is left: give it the JSON of before

Units, in this order; one whose result is in the JSON is not done again, and none is begun that may not end in time:

    tests                  `pytest -m gpu`: are the kernels right?
    attention DTYPE N      forward and backward, 16 heads of 128, groups of a quarter: "grouped", "varlen" and
                           "flex" beside dense, the published form, and varlen over groups that lie side by side
    packed N               packed documents: "varlen" beside "grouped", which builds a mask: the row of `choose_impl`
    step N                 a training step of the 135M shape, random weights: S² and dense, with peak memory
    sibling                `longlora-edu study sibling`, in the minutes that are left; it goes on from its checkpoint

`goals` in the JSON says of each attention unit: the faster of "grouped" and "varlen" over contiguous varlen (at most
1.05), dense over it as a share of the pairs ratio (at least 0.9 from 32,768 tokens on), and compiled flex over it (at
least 1).
A way that cannot run, or has no memory, leaves its message in place of a time.

Weights are random, so nothing needs to be brought but this repository (`export PYTHONPATH=$PWD`) and the packages that
the machine lacks. **It has not been run on a GPU yet.** `--toy` does all but `tests` and `sibling` at small sizes on a
CPU, where contiguous varlen is a loop: it says that the script works, and nothing else.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from longlora_edu.attention import varlen
from longlora_edu.cost import ModelShape, attention_pairs
from longlora_edu.geometry import S2Geometry, group_size_from_ratio
from longlora_edu.runs.records import provenance, read_json, write_json
from longlora_edu.runs.timing import Ratio, in_turns, peak_of
from research.bench import implementations as ways
from research.bench.attention_speed import Case, packed_documents

ROOT = Path(__file__).parents[1]
RATIO = 1 / 4
PUBLISHED_UP_TO = 32768  # beyond, its float32 softmax alone takes 64 GB
SMOLLM_135M = ModelShape(576, 30, 9, 3, 64, 1536, 49152, tied=True)


@dataclass(frozen=True)
class Sizes:
    """How much of everything; `seconds` are what units of a kind may take, so that none is cut off in the middle."""

    heads: int = 16
    head_dim: int = 128
    attention: tuple[tuple[str, int], ...] = (
        ("bfloat16", 32768), ("bfloat16", 8192), ("bfloat16", 131072), ("float16", 32768), ("bfloat16", 65536),
        ("bfloat16", 16384), ("float16", 8192), ("float16", 131072), ("float16", 65536), ("float16", 16384),
    )  # fmt: skip
    packed: tuple[int, ...] = (32768, 8192)
    steps: tuple[int, ...] = (32768, 8192, 16384)
    shape: ModelShape = SMOLLM_135M
    repeats: int = 7
    seconds: dict[str, int] = field(
        default_factory=lambda: {"tests": 150, "attention": 60, "packed": 30, "step": 30, "sibling": 45}
    )


TOY = Sizes(
    heads=2, head_dim=16, attention=(("bfloat16", 256), ("float32", 64)), packed=(128,), steps=(64,),
    shape=ModelShape(32, 1, 4, 2, 8, 48, 64, tied=True), repeats=2,
)  # fmt: skip


@dataclass
class Session:
    """One call of the script: where results go, until when units may begin, and on which device."""

    out: Path
    device: str
    sizes: Sizes
    deadline: float
    clock: Callable[[], float] = time.monotonic

    def left(self) -> float:
        return self.deadline - self.clock()

    def units(self) -> dict[str, Callable[[], dict]]:
        """The units by name, most valuable first."""
        sizes, units = self.sizes, {}
        if self.device == "cuda":
            units["tests"] = self.tests
        first, *others = sizes.attention
        for dtype, length in [first]:
            units[f"attention {dtype} {length}"] = lambda d=dtype, n=length: self.attention(d, n)
        for length in sizes.packed:
            units[f"packed {length}"] = lambda n=length: self.packed(n)
        for dtype, length in others[:2]:
            units[f"attention {dtype} {length}"] = lambda d=dtype, n=length: self.attention(d, n)
        for length in sizes.steps:
            units[f"step {length}"] = lambda n=length: self.step(n)
        for dtype, length in others[2:]:
            units[f"attention {dtype} {length}"] = lambda d=dtype, n=length: self.attention(d, n)
        if self.device == "cuda":
            units["sibling"] = self.sibling
        return units

    def run(self) -> dict:
        """Do what is not done and fits into the time; the JSON is written after every unit."""
        record = read_json(self.out) if self.out.exists() else {"units": {}}
        for name, unit in self.units().items():
            if name in record["units"] and not record["units"][name].get("unfinished"):
                continue
            if self.left() < self.sizes.seconds[name.split()[0]]:
                print(f"{name}: not begun, {self.left():.0f} seconds are left", flush=True)
                continue
            began = self.clock()
            found = {"result": tried(unit), "device": self.name()} | dataclasses.asdict(provenance())
            found["seconds"] = self.clock() - began
            found["unfinished"] = bool(found["result"].pop("unfinished", False))
            record["units"][name] = found
            record["goals"] = goals(record["units"])
            write_json(self.out, record)
            print(f"{name}: {found['seconds']:.0f} s {str(found['result'])[:300]}", flush=True)
        return record

    def name(self) -> str:
        return torch.cuda.get_device_name() if self.device == "cuda" else self.device

    def tests(self) -> dict:
        command = [sys.executable, "-m", "pytest", "-m", "gpu", "-n", "4", "-q", "tests/attention", "tests/hf"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=max(self.left() - 20, 30))
        return {"returncode": done.returncode, "end": done.stdout.splitlines()[-30:], "errors": done.stderr[-1000:]}

    def attention(self, dtype: str, length: int) -> dict:
        """Time and peak memory of each way at one length."""
        sizes, kind = self.sizes, getattr(torch, dtype)
        geometry = S2Geometry(length, group_size_from_ratio(length, RATIO), sizes.heads)
        shape = (1, length, sizes.heads, sizes.head_dim)
        *inputs, grad = ways.leaves(shape, kind, torch.device(self.device))
        contiguous = [x.detach().flatten(0, 1).requires_grad_() for x in inputs]
        steps = {name: ways.step_of(ways.s2(geometry, name), inputs, grad) for name in OURS}
        steps["dense"] = ways.step_of(ways.dense(), inputs, grad)
        bound = contiguous_varlen(geometry, self.device)
        steps["contiguous varlen"] = ways.step_of(bound, contiguous, grad.flatten(0, 1))
        if length <= PUBLISHED_UP_TO:
            steps["published"] = ways.step_of(ways.published(geometry), inputs, grad)
        found = self.measured(steps)
        one = ModelShape(1, 1, sizes.heads, sizes.heads, sizes.head_dim, 1, 1)
        found["pairs_of_dense"] = attention_pairs(one, length, causal=True) / geometry.pairs()
        return found | {"dtype": dtype, "length": length, "group": geometry.group_size}

    def packed(self, length: int) -> dict:
        """Time rows of packed documents under both implementations that take them with a gradient."""
        sizes = self.sizes
        geometry = S2Geometry(length, group_size_from_ratio(length, RATIO), sizes.heads)
        ids = packed_documents(Case("bfloat16", 1, length, geometry.group_size))
        segments = torch.from_numpy(ids).to(self.device)
        *inputs, grad = ways.leaves((1, length, sizes.heads, sizes.head_dim), torch.bfloat16, torch.device(self.device))
        steps = {
            name: ways.step_of(ways.s2(geometry, name, segments), inputs, grad)
            for name in ("varlen", "grouped", "flex")
        }
        return self.measured(steps) | {"length": length, "group": geometry.group_size}

    def step(self, length: int) -> dict:
        """Time a training step: adapters, embeddings and norms learn, bfloat16, no gradient checkpointing."""
        from longlora_edu.hf import longlora, use_dense, use_s2
        from longlora_edu.hf.loss import NextTokenLoss
        from longlora_edu.longlora import LongLoRAConfig

        torch.manual_seed(0)
        with torch.device(self.device):
            model = random_model(self.sizes.shape, length)
        model = longlora(model, LongLoRAConfig(length))
        trained = [weight for weight in model.parameters() if weight.requires_grad]
        for weight in trained:
            weight.data = weight.data.float()
        loss = NextTokenLoss(model).to(self.device).train()
        optimizer = torch.optim.AdamW(trained, lr=1e-6)
        ids = torch.randint(self.sizes.shape.vocabulary, (1, length), device=self.device)
        state = {"sparse": True}

        def take(sparse: bool) -> None:
            if sparse != state["sparse"]:
                if sparse:
                    use_s2(model, group_size=group_size_from_ratio(length, RATIO))
                else:
                    use_dense(model)
                state["sparse"] = sparse
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(self.device, torch.bfloat16):
                nats, count = loss(ids, ids)
            (nats / count).backward()
            optimizer.step()

        found = self.measured({"s2": lambda: take(True), "dense": lambda: take(False)})
        return found | {"length": length, "shape": dataclasses.asdict(self.sizes.shape)}

    def sibling(self) -> dict:
        """Pretrain the larger sibling for as long as there is time."""
        folder = self.out.parent / "models"
        command = [sys.executable, "-m", "longlora_edu.cli", "study", "sibling", "--models", str(folder)]
        if folder.exists():
            command.append("--resume")
        try:
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=self.left() - 15)
        except subprocess.TimeoutExpired as error:
            return {"unfinished": True, "end": str(error.stderr or "")[-500:]}
        return {"unfinished": done.returncode != 0, "end": (done.stdout + done.stderr)[-500:]}

    def measured(self, steps: dict[str, Callable[[], object]]) -> dict:
        """Time ways in turns, and the peak bytes of each; a way that cannot run leaves its message."""
        refused, peaks = {}, {}
        for name, step in list(steps.items()):
            found = tried(lambda step=step: {"bytes": peak_of(lambda: (step(), step()), self.device)})
            if "error" in found:
                refused[name] = found["error"]
                del steps[name]
            else:
                peaks[name] = found["bytes"]
        taken = in_turns(steps, repeats=self.sizes.repeats, device=self.device)
        seconds = {name: statistics.median(times) for name, times in taken.items()}
        ours = [name for name in ("s2", "grouped", "varlen") if name in taken]
        best = min(ours, key=seconds.__getitem__) if ours else None
        over = {name: Ratio.of(taken[name], taken[best]) for name in taken if best and name != best}
        return {"seconds": seconds, "peak_bytes": peaks, "fastest": best, "times_the_fastest": over, "refused": refused}


OURS = ("grouped", "varlen", "flex")


def tried(unit: Callable[[], dict]) -> dict:
    """The result of a unit, or why there is none: what comes after it is not lost with it."""
    try:
        return unit()
    except Exception as error:  # of kernels and compilers, too: each has its own kinds
        return {"error": f"{type(error).__name__}: {str(error)[:500]}"}
    finally:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def goals(units: dict[str, dict]) -> dict[str, dict]:
    """Compare each attention unit with the three goals; a number that was not measured is left out."""
    found = {}
    for name, unit in units.items():
        result = unit["result"]
        seconds = result.get("seconds") if name.startswith("attention") else None
        if not isinstance(seconds, dict) or result.get("fastest") is None:
            continue
        best, goal = seconds[result["fastest"]], {}
        if "contiguous varlen" in seconds:
            over = best / seconds["contiguous varlen"]
            goal["over_contiguous_varlen"] = {"value": over, "met": over <= 1.05}
        if "dense" in seconds:
            share = seconds["dense"] / best / result["pairs_of_dense"]
            goal["share_of_pairs_ratio"] = {"value": share, "met": share >= 0.9 if result["length"] >= 32768 else None}
        if "flex" in seconds:
            goal["flex_over_ours"] = {"value": seconds["flex"] / best, "met": seconds["flex"] >= best}
        found[name] = goal
    return found


def contiguous_varlen(geometry: S2Geometry, device: str) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """One call over groups that lie side by side, all heads alike: the least that groups can cost. q, k, v (n h d)."""
    starts = [*range(0, geometry.seq_len, geometry.group_size), geometry.seq_len]
    borders = torch.tensor(starts, dtype=torch.int32, device=device)
    return lambda q, k, v: varlen._attend(q, k, v, borders, geometry.group_size, None)


def looped(q: Tensor, k: Tensor, v: Tensor, borders: Tensor, longest: int, scale: float | None) -> Tensor:
    """What varlen's kernel computes, a document at a time: in its place where there is no GPU."""
    rows = []
    for start, stop in pairwise(borders.tolist()):
        heads = (x[start:stop].transpose(0, 1)[None] for x in (q, k, v))
        rows.append(F.scaled_dot_product_attention(*heads, is_causal=True, scale=scale)[0].transpose(0, 1))
    return torch.cat(rows)


def random_model(shape: ModelShape, length: int) -> torch.nn.Module:
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(
        hidden_size=shape.width, num_hidden_layers=shape.layers, num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads, head_dim=shape.head_dim, intermediate_size=shape.ffn_width,
        vocab_size=shape.vocabulary, tie_word_embeddings=shape.tied, max_position_embeddings=max(1, length // 4),
    )  # fmt: skip
    return AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)


def main(given: list[str] | None = None, **session) -> dict:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "gpu.json")
    options.add_argument("--minutes", type=float, default=9.0, help="no unit begins that may end later")
    options.add_argument("--toy", action="store_true", help="small sizes on a CPU")
    args = options.parse_args(given)
    if not args.toy and not torch.cuda.is_available():
        raise SystemExit("needs a GPU, or --toy")
    clock = session.get("clock", time.monotonic)
    if args.toy:
        varlen.DEVICES, varlen._attend = ("cpu",), looped
    device, sizes = ("cpu", TOY) if args.toy else ("cuda", Sizes())
    return Session(args.out, device, session.get("sizes", sizes), clock() + 60 * args.minutes, clock).run()


if __name__ == "__main__":
    main()
