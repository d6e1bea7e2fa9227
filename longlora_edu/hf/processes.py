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
    world, device = int(os.environ.get("WORLD_SIZE", "1")), own_device()
    if world == 1:
        yield 0, 1
        return
    if device.type == "cuda":  # named at once, or every process would open a context on the first GPU as well
        torch.distributed.init_process_group("nccl", device_id=device)
    else:
        torch.distributed.init_process_group("gloo")
    yield torch.distributed.get_rank(), world
    # The first process still writes; leaving now would end the others' threads, and them, with an abort.
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def own_device() -> torch.device:
    """The device of this process, made the current one: of several GPUs its own, the CPU without any."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device
