"""Transformers models that can have S²-Attn: pick a family, see it switched or refused by name.

Needs transformers. Every model here is built on the spot with random weights, a few thousand of them: nothing is
downloaded.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from functools import cache

import ipywidgets
import torch
import transformers

from ..hf import use_s2
from .display import show

_LLAMA_LIKE = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
_OTHERS = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 64,
}  # fmt: skip
_ODD = {"hidden_size": 72, "num_attention_heads": 9, "num_key_value_heads": 3}
_T5 = {"vocab_size": 64, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}

FAMILIES: dict[str, Callable[[], transformers.PreTrainedModel]] = {
    "Llama": lambda: _built("Llama", _LLAMA_LIKE),
    "Llama, 9 heads on 3 of keys": lambda: _built("Llama", _LLAMA_LIKE | _ODD),
    "Mistral, window switched off": lambda: _built("Mistral", _LLAMA_LIKE | {"sliding_window": None}),
    "Mistral, window of 8 tokens": lambda: _built("Mistral", _LLAMA_LIKE | {"sliding_window": 8}),
    "Qwen2": lambda: _built("Qwen2", _LLAMA_LIKE),
    "Qwen3": lambda: _built("Qwen3", _LLAMA_LIKE | {"head_dim": 8}),
    "Phi-3": lambda: _built("Phi3", _LLAMA_LIKE),
    "GPT-NeoX": lambda: _built("GPTNeoX", _OTHERS),
    "Gemma 2": lambda: _built("Gemma2", _LLAMA_LIKE | {"head_dim": 8}),
    "BERT": lambda: _built("Bert", _OTHERS, head="ForMaskedLM"),
    "T5": lambda: _built("T5", _T5, head="ForConditionalGeneration"),
    "Mamba": lambda: _built("Mamba", {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}),
}


def _built(family: str, sizes: dict, head: str = "ForCausalLM") -> transformers.PreTrainedModel:
    config = getattr(transformers, f"{family}Config")(**sizes)
    with torch.random.fork_rng(devices=[]):
        return getattr(transformers, f"{family}{head}")(config)


@cache
def verdict(name: str) -> tuple[bool, str]:
    """Return whether `use_s2` takes a model of this family, and its report or refusal as a sentence.

    Raises:
        ValueError: for a name that is not among `FAMILIES`.
    """
    if name not in FAMILIES:
        raise ValueError(f"family must be one of {', '.join(FAMILIES)}, got {name!r}")
    try:
        report = use_s2(FAMILIES[name](), group_size=16)
    except ValueError as refusal:
        return False, str(refusal)
    return True, f"{report.model}: {report.layers} attention layers, from {report.before!r} to {report.after!r}"


def describe(name: str) -> str:
    """The verdict as safe HTML."""
    taken, reason = verdict(name)
    return f"<b>{'✓ taken' if taken else '✗ refused'}</b>: {html.escape(reason, quote=False)}"


def family_table() -> str:
    """All families as an HTML table, folded: what stands for the panel where nothing moves."""
    left = 'style="text-align:left"'
    rows = "".join(
        f'<tr><th scope="row" {left}>{html.escape(name)}</th><td {left}>{describe(name)}</td></tr>' for name in FAMILIES
    )
    head = f'<tr><th scope="col" {left}>family</th><th scope="col" {left}>use_s2 says</th></tr>'
    table = f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"
    return f"<details><summary>All {len(FAMILIES)} families, and what use_s2 says of each</summary>{table}</details>"


def family_panel() -> ipywidgets.VBox:
    """A list of families and, for the chosen one, what `use_s2` says of it."""
    chosen = ipywidgets.Dropdown(
        options=list(FAMILIES), description="Family", layout=ipywidgets.Layout(width="max-content")
    )
    readout = ipywidgets.HTML(value=describe(chosen.value))
    readout.add_class("longlora-edu-readout")

    def follow(change) -> None:
        readout.value = describe(change["new"])

    chosen.observe(follow, names="value")
    return ipywidgets.VBox([chosen, readout], layout=ipywidgets.Layout(min_height="110px"))


def show_panel() -> None:
    """Publish `family_panel` with `family_table` as its still form."""
    show(family_panel(), family_table())
