"""The number format for a device: bfloat16 where the hardware has it, and what to take where it has not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from .validate import check_choice

if TYPE_CHECKING:
    import torch

Work = Literal["train", "measure"]


def has_bf16(device: str | torch.device) -> bool:
    """Whether a device computes in bfloat16 itself.

    A T4 (sm_75) does not. PyTorch emulates it there, correct and several times slower, and
    `torch.cuda.is_bf16_supported()` says True of that: so the question is put to the hardware's version.
    """
    import torch

    if torch.device(device).type != "cuda":
        return False
    return torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)


def half_option(device: str | torch.device) -> str:
    """Return the option of the command line that halves a training run's memory here: `--bf16`, on a T4 `--fp16`."""
    import torch

    return "--fp16" if torch.device(device).type == "cuda" and not has_bf16(device) else "--bf16"


def number_format(device: str | torch.device, work: Work) -> torch.dtype:
    """Choose the dtype of matrix products on `device`.

    | device                | train    | measure  | why                                                           |
    |-----------------------|----------|----------|---------------------------------------------------------------|
    | CUDA from sm_80, ROCm | bfloat16 | bfloat16 | half the bytes, with the range of float32                     |
    | older CUDA (T4: 7.5)  | float32  | float16  | its small numbers become 0: training wants a scaled loss      |
    | CPU and others        | float32  | float32  | bfloat16 is not faster on every processor                     |

    Raises:
        ValueError: for a `work` that is neither.
    """
    import torch

    check_choice("work", work, get_args(Work))
    if has_bf16(device):
        return torch.bfloat16
    return torch.float16 if work == "measure" and torch.device(device).type == "cuda" else torch.float32
