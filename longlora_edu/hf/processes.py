"""The processes that train together under torchrun or accelerate, and the device of each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed


@contextmanager
def process_group() -> Iterator[tuple[int, int]]:
    """Join the processes of torchrun, if there are any: this one's rank and their number."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield 0, 1
        return
    torch.distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    yield torch.distributed.get_rank(), world
    # The first process still writes; leaving now would end the others' threads, and them, with an abort.
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def own_device() -> str:
    """`"cuda"`, of several GPUs the one of this process; `"cpu"` without any."""
    if not torch.cuda.is_available():
        return "cpu"
    torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    return "cuda"
