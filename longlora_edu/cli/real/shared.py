"""What the commands on real models share: their options, memory that is full, other libraries' notes."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer

Model = Annotated[str, typer.Option(help="A folder, a .gguf file, or an ID on the hub.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
HalfPrecision = Annotated[bool, typer.Option("--bf16", help="Compute in bfloat16: half the memory.")]


@contextmanager
def enough_memory(lower: Sequence[str]) -> Iterator[None]:
    """Running out of memory, on the GPU or beside it, as a sentence that says what to lower, in order."""
    try:
        yield
    except Exception as error:
        from ...hf.loading import is_out_of_memory

        if not is_out_of_memory(error):
            raise
        wanted = re.search(r"tried to allocate [\d.]+ \w+", str(error), re.IGNORECASE)
        what = f"out of memory ({wanted[0].lower()})" if wanted else "out of memory"
        raise ValueError(f"{what}; in this order, try {', '.join(lower)}") from None


@contextmanager
def no_notes() -> Iterator[None]:
    """No other library's bars and notes among our lines where they go to a file or a pipe."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*deprecated and will be removed in v6", category=FutureWarning)
        if not sys.stderr.isatty():
            from transformers.utils import logging

            logging.disable_progress_bar()
        yield
