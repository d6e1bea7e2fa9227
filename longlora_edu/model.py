"""A Llama in one file, small enough for a CPU, with its parameters named as transformers names them.

Notable about it: bytes instead of tokens, rotary positions from a `Rope` value, RMS norms, SwiGLU, grouped
key/value heads, and one switch in each attention layer: a sparse pattern that is used in training only.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from .attention import full_attention, s2_attention
from .geometry import S2Pattern
from .records import read_json, replace_file, write_json
from .rope import Rope

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


@dataclass(frozen=True)
class LlamaConfig:
    """The shape of a TinyLlama; field by field what a transformers `LlamaConfig` calls them.

    Raises:
        ValueError: naming the field, its rule and the value.
    """

    rope: Rope
    hidden_size: int = 192
    intermediate_size: int = 512
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    num_key_value_heads: int = 4
    max_position_embeddings: int = 256
    vocab_size: int = 256
    rms_norm_eps: float = 1e-5
    tie_word_embeddings: bool = False

    def __post_init__(self) -> None:
        _check_sizes(vars(self))
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"num_key_value_heads must divide num_attention_heads = {self.num_attention_heads}, "
                f"got {self.num_key_value_heads}"
            )

    @property
    def head_dim(self) -> int:
        return self.rope.head_dim

    @property
    def context_length(self) -> int:
        """The longest sequence the model is meant for. *dynamic* keeps the trained length in the config."""
        grows = self.rope.factor if self.rope.method == "dynamic" else 1
        return round(self.max_position_embeddings * grows)

    @property
    def trained_context(self) -> int:
        """The length before any stretching."""
        return self.rope.trained_length or round(self.max_position_embeddings / self.rope.factor)

    def as_json(self) -> dict:
        """The `config.json` that transformers reads."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "head_dim": self.head_dim,
            "max_position_embeddings": self.max_position_embeddings,
            "rope_parameters": self.rope.rope_parameters(),
            # transformers keeps and ignores this; it states what rope_parameters cannot: where the stretch began.
            "longlora_rope": dataclasses.asdict(self.rope),
            "rms_norm_eps": self.rms_norm_eps,
            "tie_word_embeddings": self.tie_word_embeddings,
            "attention_bias": False,
            "mlp_bias": False,
            "hidden_act": "silu",
            "bos_token_id": 0,
            "eos_token_id": 0,
            "dtype": "float32",
        }

    @classmethod
    def from_json(cls, values: dict) -> LlamaConfig:
        """The config in a `config.json` that TinyLlama can run.

        Raises:
            ValueError: for another model type, or a field whose value would change the computation.
        """
        if not isinstance(values, dict):
            raise ValueError(f"config must be a JSON object, got {type(values).__name__}")
        if values.get("model_type") != "llama":
            raise ValueError(f"model_type must be 'llama', got {values.get('model_type')!r}")
        fixed = {"attention_bias": False, "mlp_bias": False, "hidden_act": "silu"}
        for name, value in fixed.items():
            if values.get(name, value) != value:
                raise ValueError(f"{name} must be {value!r}, got {values[name]!r}")
        names = [name for name in cls.__dataclass_fields__ if name != "rope"]
        if missing := [name for name in (*names, "rope_parameters") if name not in values]:
            raise ValueError(f"config must have the fields of a Llama, got none for {', '.join(missing)}")
        _check_sizes(values)
        head_dim = values.get("head_dim") or values["hidden_size"] // values["num_attention_heads"]
        rope = Rope.from_rope_parameters(
            values["rope_parameters"],
            head_dim=head_dim,
            max_position_embeddings=values["max_position_embeddings"],
        )
        if "longlora_rope" in values:
            rope = _stated_rope(values["longlora_rope"], rope)
        return cls(rope, **{name: values[name] for name in names})


_SIZES = [name for name, field in LlamaConfig.__dataclass_fields__.items() if field.type == "int"]


def _check_sizes(values: Mapping) -> None:
    for name in _SIZES:
        value = values[name]
        if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
            raise ValueError(f"{name} must be a positive integer, got {value!r}")


def _stated_rope(fields: dict, rope: Rope) -> Rope:
    """The rule with its origin, if it turns every pair of features as `rope`, which transformers reads, does."""
    names = {field.name for field in dataclasses.fields(Rope)}
    if not isinstance(fields, dict) or set(fields) != names:
        raise ValueError(f"longlora_rope must have the fields {', '.join(sorted(names))}, got {fields}")
    stated = Rope(**fields)
    same = (stated.head_dim, stated.rope_parameters()) == (rope.head_dim, rope.rope_parameters())
    if not same or (stated.method == "dynamic" and stated.trained_length != rope.trained_length):
        raise ValueError(f"longlora_rope must agree with what rope_parameters say, {rope}, got {stated}")
    return stated


class LlamaAttention(nn.Module):
    """Attention of one layer. With `sparse` set it computes S²-Attn while training, dense attention otherwise."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        width, head_dim = config.hidden_size, config.head_dim
        self.config = config
        self.sparse: S2Pattern | None = None
        self.q_proj = nn.Linear(width, config.num_attention_heads * head_dim, bias=False)
        self.k_proj = nn.Linear(width, config.num_key_value_heads * head_dim, bias=False)
        self.v_proj = nn.Linear(width, config.num_key_value_heads * head_dim, bias=False)
        self.o_proj = nn.Linear(config.num_attention_heads * head_dim, width, bias=False)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor], segments: Tensor | None = None) -> Tensor:
        """x: (b n width); rotation: cos and sin, each (n, head_dim / 2); segments: (b n) or None."""
        q, k, v = (
            rearrange(project(x), "b n (h d) -> b h n d", d=self.config.head_dim)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = rotate(q, *rotation), rotate(k, *rotation)
        if self.sparse is not None and self.training:
            out = s2_attention(q, k, v, self.sparse.geometry(q.shape[2], q.shape[1]), segments=segments)
        else:
            out = full_attention(q, k, v, segments=segments)
        return self.o_proj(rearrange(out, "b h n d -> b n (h d)"))


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (i, i + d/2) of x (b h n d) by its angle: the layout that Llama checkpoints are stored for."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(x.dtype)


class LlamaMLP(nn.Module):
    """The feed-forward half of a layer, SwiGLU: a gate of the width `intermediate_size`."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class LlamaLayer(nn.Module):
    """Attention, then feed-forward; each reads a normed copy and adds to what it read."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.self_attn = LlamaAttention(config)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.mlp = LlamaMLP(config)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor], segments: Tensor | None) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), rotation, segments)
        return x + self.mlp(self.post_attention_layernorm(x))


class LlamaBody(nn.Module):
    """The modules between token ids and the head, under the names of transformers; `TinyLlama` runs them."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(LlamaLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)


class TinyLlama(nn.Module):
    """A byte-level Llama. Its state dict is that of transformers' `LlamaForCausalLM`, key by key."""

    def __init__(self, config: LlamaConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        self.model = LlamaBody(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02, generator=generator)
        # Each layer adds to the residual stream twice; without this its size would grow with depth.
        for layer in self.model.layers:
            for projection in (layer.self_attn.o_proj, layer.mlp.down_proj):
                nn.init.normal_(
                    projection.weight, std=0.02 / (2 * config.num_hidden_layers) ** 0.5, generator=generator
                )
        if config.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight

    @property
    def attention_layers(self) -> list[LlamaAttention]:
        return [layer.self_attn for layer in self.model.layers]

    def forward(
        self,
        ids: Tensor,
        *,
        segments: Tensor | None = None,
        last: int | None = None,
        beyond_context: bool = False,
    ) -> Tensor:
        """Logits (b, n, vocabulary), or of the `last` positions only, for token ids (b, n).

        `beyond_context=True` permits more tokens than the model was made for: to measure how it fails.

        Raises:
            ValueError: for a sequence longer than the context, ids of another shape, or `last` not from 1 to n.
        """
        if ids.dim() != 2:
            raise ValueError(f"ids must have shape (b, n), got {tuple(ids.shape)}")
        length = ids.shape[1]
        if length > self.config.context_length and not beyond_context:
            raise ValueError(
                f"sequence must fit the context of {self.config.context_length} tokens, got {length}; "
                "extend the model with apply_longlora, or pass beyond_context=True to see it fail"
            )
        if last is not None and not 0 < last <= length:
            raise ValueError(f"last must be from 1 to the {length} tokens there are, got {last}")
        x = self.model.embed_tokens(ids.long())
        rotation = rotation_tables(self.config.rope, length, x.device)
        for layer in self.model.layers:
            x = layer(x, rotation, segments)
        if last is not None:
            x = x[:, -last:]
        return self.lm_head(self.model.norm(x))


def rotation_tables(rope: Rope, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """cos and sin, each float32 (n, d/2), computed in float32 as transformers does, so that logits agree."""
    frequencies = torch.from_numpy(rope.frequencies(length)).to(device, torch.float32)
    angles = torch.outer(torch.arange(length, dtype=torch.float32, device=device), frequencies)
    return angles.cos() * rope.attention_factor, angles.sin() * rope.attention_factor


def save_model(model: TinyLlama, folder: Path) -> None:
    """Write `config.json`, `model.safetensors` and the byte tokenizer: a folder that transformers loads.

    Raises:
        ValueError: for a model with LoRA layers, which no plain Llama has.
    """
    folder = Path(folder)
    if any(".lora_A." in name for name in model.state_dict()):
        raise ValueError("model must be merged before it is saved, got one with LoRA layers: see merge_longlora")
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        state.pop("lm_head.weight")
    replace_file(folder / "model.safetensors", save(state, metadata={"format": "pt"}))
    for name in TOKENIZER_FILES:
        replace_file(folder / name, (files("longlora_edu") / "assets" / "model" / name).read_bytes())
    write_json(folder / "config.json", model.config.as_json())


def load_model(folder: Path) -> TinyLlama:
    """The model in a folder that `save_model` (or transformers, for a Llama of bytes) wrote, in evaluation mode.

    Raises:
        ValueError: saying what was found, for a missing, damaged or foreign config or weights file.
    """
    folder = Path(folder)
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise ValueError(f"model folder must hold {name}, got {folder} without it")
    config = LlamaConfig.from_json(read_json(folder / "config.json"))
    weights = folder / "model.safetensors"
    try:
        state = load(weights.read_bytes())
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(f"{weights} must be a safetensors file, got one that cannot be read: {error}") from None
    with torch.random.fork_rng(devices=[]):  # fresh weights that nobody sees must not use up the caller's numbers
        model = TinyLlama(config)
    if config.tie_word_embeddings:
        state.setdefault("lm_head.weight", state.get("model.embed_tokens.weight"))
    _check_state(weights, state, model.state_dict())
    model.load_state_dict(state)
    return model.eval()


def bundled_model() -> TinyLlama:
    """The small model that travels with the package: trained at 256 bytes on the standard library's source."""
    return load_model(Path(str(files("longlora_edu") / "assets" / "model")))


def _check_state(path: Path, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    if missing or extra:
        raise ValueError(
            f"{path} must hold the weights its config.json describes, got {len(found)} tensors: "
            f"missing {missing[:3] or 'none'}, not expected {extra[:3] or 'none'}"
        )
    for name, tensor in expected.items():
        if found[name].shape != tensor.shape:
            raise ValueError(f"{path}: {name} must have shape {tuple(tensor.shape)}, got {tuple(found[name].shape)}")
