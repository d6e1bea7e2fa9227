"""The LongLoRA recipe on a transformers model: LoRA by PEFT, embeddings, norms and positions in one adapter folder."""

from __future__ import annotations

import copy
import dataclasses
import warnings
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, PeftModelForCausalLM, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.constants import EMBEDDING_LAYER_NAMES
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from ..longlora import ATTENTION_PROJECTIONS, EMBEDDINGS_AND_NORMS, LongLoRAConfig, stretched_rope
from ..lora.files import CONFIG_FILE, WEIGHTS_FILE, _check_tensors, _existing, _names_for_peft, _read_weights
from ..lora.layers import checked_rank_and_alpha, ends_with, modules_to_free, named_parts, some
from ..records import read_json
from ..rope import Rope
from .attention import use_dense, use_s2
from .positions import Positions, new_positions, rope_of

SIZES = (
    "model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
    "num_attention_heads", "num_key_value_heads", "head_dim", "tie_word_embeddings",
)  # fmt: skip


class LongLoRAModel(PeftModelForCausalLM):
    """A PEFT model whose `save_pretrained` writes the stretched `config.json` beside PEFT's files.

    PEFT's files alone lose the positions (LongLoRA thread #181): loaded on the base they compute something
    else and say nothing. Everything that saves through this method, `transformers.Trainer` too, keeps them.
    """

    def save_pretrained(self, save_directory: str | Path, **options) -> None:
        """As PEFT's, and `config.json`, which goes first: weights never stand without their positions."""
        if options.get("is_main_process", True):
            self.get_base_model().config.save_pretrained(save_directory)
        # "auto" would ask the hub whether the embedding changed; it is in the adapter where it trains.
        super().save_pretrained(str(save_directory), **{"save_embedding_layers": False} | options)
