"""One small file with a base and its adapter: 8-bit or half-precision weights, the positions before and after.

The browser reads it (`weights.js`), and Python reads it back, so that what the page computes can be compared with
torch on the very numbers that are stored.

    4 bytes   length of the header, little-endian
    header    JSON: shape of the model, positions, LoRA scale, and per tensor its kind, shape and offset
    numbers   q8: int8 row by row, then one half-precision scale for each 32 numbers of a row; f16; f32

In q8 a block of 32 numbers is stored as multiples of its largest size divided by 127: at most 0.4 % of that size off.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch

from ...geometry import group_size_from_ratio
from ...lora import load_adapter, merge_lora
from ...model import LlamaConfig, TinyLlama, load_tiny_llama
from ...rope import Rope
from ...runs.records import read_json

Kind = Literal["q8", "f16"]
Variant = Literal["before", "stretched", "after"]
VARIANTS: tuple[str, ...] = get_args(Variant)
BLOCK = 32
FORMAT = "longlora_edu model page 1"


def pack(base: Path, adapter: Path, *, kind: Kind = "q8", group_size: int | None = None) -> bytes:
    """The base in a model folder and the adapter in another, which holds its stretched `config.json`, as one file.

    `kind` is that of the base's matrices; the adapter is stored in half precision and norms in 32 bits. `group_size`
    is what the adapter trained with, for the page to begin with: by default a quarter of the stretched context.

    Raises:
        ValueError: for another kind, an adapter that does not fit the base, a config that is no stretch of it, or
            positions that depend on the length of the text (*dynamic*), with which no key can be kept.
    """
    if kind not in get_args(Kind):
        raise ValueError(f"kind must be one of {', '.join(get_args(Kind))}, got {kind!r}")
    model = load_tiny_llama(base)
    config = model.config
    stretched = LlamaConfig.from_json(read_json(Path(adapter) / "config.json"))
    if stretched.rope.method == "dynamic":
        raise ValueError(f"rope must not depend on the length of the text, got {stretched.rope.method!r}")
    if _shape(stretched) != _shape(config):
        raise ValueError(f"{adapter} must stretch the model in {base}, got another shape: {_shape(stretched)}")
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}  # before the adapter changes any
    if config.tie_word_embeddings:
        state.pop("lm_head.weight")
    report = load_adapter(model, adapter)
    trained = {name: tensor for name, tensor in model.named_parameters() if tensor.requires_grad}
    numbers = bytearray()
    header = {
        "format": FORMAT,
        "kind": kind,
        "shape": _shape(config),
        "context": stretched.context_length,
        "trained": config.trained_context,
        "group": group_size or group_size_from_ratio(stretched.context_length, 1 / 4),
        "lora_scale": report.alpha / report.rank,
        "positions": {"before": _positions(config.rope), "stretched": _positions(stretched.rope)},
        "tensors": {name: _store(numbers, tensor, kind) for name, tensor in state.items()},
        "adapter": {name: _store(numbers, tensor, "f16") for name, tensor in trained.items()},
        "configs": {"before": config.as_json(), "stretched": stretched.as_json()},
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)  # the numbers begin at a multiple of four bytes
    return len(text).to_bytes(4, "little") + text + bytes(numbers)


@dataclass(frozen=True)
class Packed:
    """Contents of a file of `pack`: its description, and its numbers."""

    header: dict
    numbers: bytes

    @classmethod
    def read(cls, data: bytes) -> Packed:
        """The pack in `data`.

        Raises:
            ValueError: when it does not begin as one.
        """
        length = int.from_bytes(data[:4], "little")
        try:
            header = json.loads(data[4 : 4 + length])
        except ValueError:
            header = None
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            raise ValueError(f"pack must begin with a header of the format {FORMAT!r}, got {data[4:40]!r}")
        return cls(header, data[4 + length :])

    def model(self, variant: Variant) -> TinyLlama:
        """The model that the page runs under this name, in torch, on the stored numbers: for comparison.

        Raises:
            ValueError: for a name that is none of before, stretched, after.
        """
        if variant not in VARIANTS:
            raise ValueError(f"variant must be one of {', '.join(VARIANTS)}, got {variant!r}")
        state = {name: self._tensor(about) for name, about in self.header["tensors"].items()}
        if variant == "after":
            self._adapt(state)
        state.setdefault("lm_head.weight", state["model.embed_tokens.weight"])
        model = TinyLlama(
            LlamaConfig.from_json(self.header["configs"]["before" if variant == "before" else "stretched"])
        )
        model.load_state_dict(state)
        return model.eval()

    def _adapt(self, state: dict[str, torch.Tensor]) -> None:
        adapter = {name: self._tensor(about) for name, about in self.header["adapter"].items()}
        for name, tensor in adapter.items():
            if name.endswith(".lora_A.weight"):
                stem = name.removesuffix(".lora_A.weight")
                change = adapter[f"{stem}.lora_B.weight"] @ tensor
                state[f"{stem}.weight"] = state[f"{stem}.weight"] + self.header["lora_scale"] * change
            elif not name.endswith(".lora_B.weight"):
                state[name] = tensor

    def _tensor(self, about: dict) -> torch.Tensor:
        kind, shape, offset = about["kind"], about["shape"], about["offset"]
        count = int(np.prod(shape))
        if kind != "q8":
            dtype = {"f16": np.float16, "f32": np.float32}[kind]
            values = np.frombuffer(self.numbers, dtype, count, offset).astype(np.float32)
            return torch.from_numpy(values.reshape(shape))
        rows, columns = shape
        blocks = -(-columns // BLOCK)
        small = np.frombuffer(self.numbers, np.int8, count, offset).reshape(shape)
        scales = np.frombuffer(self.numbers, np.float16, rows * blocks, offset + count + count % 2)
        each = np.repeat(scales.reshape(rows, blocks).astype(np.float32), BLOCK, axis=1)[:, :columns]
        return torch.from_numpy(small * each)


def exact_models(base: Path, adapter: Path) -> dict[str, TinyLlama]:
    """The three models as they were before packing, by the names of the page: what packing must stay close to."""
    stretched = LlamaConfig.from_json(read_json(Path(adapter) / "config.json"))
    models = {"before": load_tiny_llama(base), "stretched": load_tiny_llama(base), "after": load_tiny_llama(base)}
    load_adapter(models["after"], adapter)
    merge_lora(models["after"])
    for name in ("stretched", "after"):
        models[name].config = stretched
        for attention in models[name].attention_layers:
            attention.config = stretched
    return {name: model.eval() for name, model in models.items()}


def _shape(config: LlamaConfig) -> dict:
    return {
        "width": config.hidden_size,
        "ffnWidth": config.intermediate_size,
        "layers": config.num_hidden_layers,
        "heads": config.num_attention_heads,
        "kvHeads": config.num_key_value_heads,
        "headDim": config.head_dim,
        "vocabulary": config.vocab_size,
        "epsilon": config.rms_norm_eps,
    }


def _positions(rope: Rope) -> dict:
    # float32, as rotation_tables of the model makes them.
    frequencies = [float(value) for value in np.float32(rope.frequencies())]
    return {"frequencies": frequencies, "scale": rope.attention_factor, "method": rope.method, "factor": rope.factor}


def _store(numbers: bytearray, tensor: torch.Tensor, kind: str) -> dict:
    """Append a tensor and say where it is. What is no matrix has few numbers and keeps all its bits."""
    values = tensor.detach().cpu().numpy().astype(np.float32)
    if values.ndim != 2:
        kind = "f32"
    numbers.extend(b"\0" * (-len(numbers) % 4))
    about = {"kind": kind, "shape": list(values.shape), "offset": len(numbers)}
    if kind != "q8":
        numbers.extend(values.astype({"f16": np.float16, "f32": np.float32}[kind]).tobytes())
        return about
    rows, columns = values.shape
    blocks = np.pad(values, ((0, 0), (0, -columns % BLOCK))).reshape(rows, -1, BLOCK)
    scales = (np.abs(blocks).max(axis=2) / 127).astype(np.float16)
    # The scale as stored, so that rounding it does not add to the error; 127 of it may fall just short of the largest.
    each = scales.astype(np.float32)[..., None]
    small = np.divide(blocks, each, out=np.zeros_like(blocks), where=each > 0).round().clip(-127, 127)
    numbers.extend(small.astype(np.int8).reshape(rows, -1)[:, :columns].tobytes())
    numbers.extend(b"\0" * (len(numbers) % 2))
    numbers.extend(scales.tobytes())
    return about
