"""Which causal language models of transformers S²-Attn takes, each family tried with tiny random weights.

    python benchmarks/families.py            # all families, about ten minutes on one core

A class is built small and left as it is otherwise, positions included. What `use_s2` computes in training, outputs and
gradients, is compared with the class's own eager attention under a mask for every head that is ticked off pair by
pair (`tests/oracles.py`); nothing of ours runs there. Verdicts:

    right       equal, and evaluation is stock `sdpa` to the bit
    refused     `use_s2` says what it would have to ignore, before anything is computed; `late` if in the first step.
                A class that cannot be built small is asked about at its own size, without weights
    wrong       it ran and is not equal
    crash       something else was raised
    unjudged    the class could not be built small, stock or not, or its eager attention ignores such a mask

The record is `benchmarks/results/families.json`; `--only llama` tries one family and writes none.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import re
import signal
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING, CONFIG_MAPPING_NAMES
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from longlora_edu.hf import use_s2
from longlora_edu.runs.records import provenance, read_json, write_json

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from oracles import allowed_pairs  # noqa: E402

RECORD = ROOT / "benchmarks" / "results" / "families.json"
VERDICTS = ("right", "refused", "refused late", "wrong", "crash", "unjudged")
LENGTH, GROUP, SECONDS, MOST_WEIGHTS = 13, 4, 60, 5_000_000
ROUNDING = 1e-5  # eager attention computes its softmax in float32
# By whatever name a family calls them; a config is given those that it has.
SMALL = {
    **dict.fromkeys(("vocab_size", "text_vocab_size"), 64),
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "dim", "embedding_size", "word_embed_proj_dim"), 48),
    **dict.fromkeys(
        ("intermediate_size", "ffn_dim", "n_inner", "d_ff", "decoder_ffn_dim", "encoder_ffn_dim", "ffn_hidden_size"), 32
    ),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size", "expert_ffn_hidden_size"), 16),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "num_layers", "n_layers", "decoder_layers", "encoder_layers"), 2),
    **dict.fromkeys(
        ("num_attention_heads", "n_head", "num_heads", "n_heads", "decoder_attention_heads", "encoder_attention_heads"),
        6,
    ),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads", "n_head_kv"), 3),
    **dict.fromkeys(("head_dim", "attention_head_dim", "v_head_dim", "qk_nope_head_dim", "qk_rope_head_dim"), 8),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank"), 16),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx"), 64),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k"), 2),
    **dict.fromkeys(("n_group", "topk_group", "n_shared_experts", "num_shared_experts"), 1),
    "is_decoder": True, "first_k_dense_replace": 1, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
# Tried in turn, until one builds: some families fix what others let choose. None is left at the family's own.
CHANGES = (
    {}, {"head_dim": None}, {"num_key_value_heads": 6}, {"num_key_value_heads": 6, "head_dim": None},
    {"num_key_value_heads": None}, {"num_key_value_heads": None, "head_dim": None},
)  # fmt: skip


class CannotJudge(BaseException):
    """The class itself, or the oracle, is in the way. No `Exception`: it must not count as a crash of the class."""


def main(given: list[str] | None = None) -> dict:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", action="append", help="a model type, or a class without one; several times")
    options.add_argument("--out", type=Path, default=RECORD)
    options.add_argument("--resume", action="store_true", help="keep what the record holds already")
    args = options.parse_args(given)
    transformers.logging.set_verbosity_error()
    warnings.simplefilter("ignore")
    rows = read_json(args.out)["families"] if args.resume and args.out.exists() else {}
    record = {}
    for family, name in families().items():
        if args.only and family not in args.only:
            continue
        rows[family] = rows.get(family) or {"class": name} | judged(name, family)
        print(family, *rows[family].values(), flush=True)
        about = dataclasses.asdict(provenance(threads=torch.get_num_threads()))
        record = {"counts": counts(rows), "families": rows} | about
        if not args.only:
            write_json(args.out, record)
    print(record["counts"])
    return record


def families() -> dict[str, str]:
    """Map each model type that transformers' auto class knows to its class, and other classes to themselves."""
    named = {
        kind: name if isinstance(name, str) else name[0] for kind, name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.items()
    }
    shown = (name for name in dir(transformers) if name.endswith(("ForCausalLM", "LMHeadModel")))
    return named | {name: name for name in shown if name not in named.values() and not name.startswith("Auto")}


def counts(rows: dict[str, dict]) -> dict[str, int]:
    """Count the verdicts, all families included."""
    found = Counter(row["verdict"] for row in rows.values())
    return {"families": len(rows)} | {verdict: found[verdict] for verdict in VERDICTS}


def judged(name: str, family: str = "", seconds: int = SECONDS) -> dict[str, str]:
    """Try one class with the config of a model type; a class that hangs is unjudged."""

    def too_long(*_):
        raise CannotJudge(f"it took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(seconds)
    try:
        return verdict(lambda: tiny(name, family))
    except CannotJudge as reason:
        return refused_unseen(name, family) or {"verdict": "unjudged", "why": one_line(reason)}
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def refused_unseen(name: str, family: str) -> dict[str, str] | None:
    """Ask `use_s2` about a class at its own size, without weights: a refusal needs none. None where it is taken."""
    try:
        kind, config_class = kind_of(name, family)
        with torch.device("meta"):
            model = kind(config_class())
    except (Exception, CannotJudge):
        return None
    try:
        use_s2(model, group_size=GROUP)
    except ValueError as error:
        return {"verdict": "refused", "why": mechanism(error)}
    except Exception as error:
        return {"verdict": "crash", "why": one_line(error)}
    return None


def verdict(build: Callable[[], torch.nn.Module]) -> dict[str, str]:
    """Judge a model: see the head of this file."""
    model = build()
    ids = torch.randint(3, 64, (2, LENGTH), generator=torch.Generator().manual_seed(0))
    stock = attempt(lambda: logits(model.eval(), ids), "stock")
    try:
        report = use_s2(model, group_size=GROUP)
    except ValueError as error:
        return {"verdict": "refused", "why": mechanism(error)}
    except Exception as error:
        return {"verdict": "crash", "why": one_line(error)}
    model.train()
    heads = model.config.get_text_config().num_attention_heads
    try:
        ours = with_gradients(model, ids)
    except ValueError as error:
        return {"verdict": "refused late", "why": mechanism(error)}
    except Exception as error:
        return {"verdict": "crash", "why": one_line(error)}
    if not torch.equal(logits(model.eval(), ids), stock):
        return {"verdict": "wrong", "why": "evaluation is not stock"}
    right = oracle(build, ids, allowed_pairs(LENGTH, GROUP, heads, GROUP // 2, "split"))
    if (difference := apart(ours, right)) > ROUNDING:
        return {"verdict": "wrong", "why": f"largest difference {difference:.1e}"}
    return {"verdict": "right", "why": f"{report.layers} layers, {heads} heads"}


def oracle(build: Callable[[], torch.nn.Module], ids: torch.Tensor, allowed) -> list[torch.Tensor]:
    """Outputs and gradients of stock eager attention under a mask for every head.

    Raises:
        CannotJudge: where eager attention is not dense attention under such a mask, or does not heed it.
    """

    def under(mask: torch.Tensor) -> list[torch.Tensor]:
        model = build().train()
        attempt(lambda: model.set_attn_implementation("eager"), "eager attention")
        additive = torch.zeros(mask.shape, dtype=torch.float64).masked_fill(~mask, torch.finfo(torch.float64).min)
        rows = {"attention_mask": additive.expand(len(ids), -1, -1, -1)}
        try:
            return attempt(lambda: with_gradients(model, ids, **rows), "eager attention")
        except CannotJudge:  # some count positions in the mask, unless they are given
            rows["position_ids"] = torch.arange(LENGTH).expand(len(ids), -1)
            return attempt(lambda: with_gradients(model, ids, **rows), "eager attention")

    mask = torch.from_numpy(allowed)[None]
    causal = torch.ones(1, mask.shape[1], LENGTH, LENGTH, dtype=torch.bool).tril()
    dense = attempt(lambda: with_gradients(build().train(), ids), "stock")
    if apart(under(causal), dense) > ROUNDING:
        raise CannotJudge("eager attention under a causal mask of 4 axes is not its dense attention")
    found = under(mask)
    if apart(found, dense) < 100 * ROUNDING:
        raise CannotJudge("eager attention does not heed a mask for every head")
    return found


def kind_of(name: str, family: str) -> tuple[type, type]:
    """Find a class and the class of its config: that of the model type, where it is one."""
    kind = getattr(transformers, name, None)
    if kind is None or getattr(kind, "config_class", None) is None:
        raise CannotJudge("transformers does not show it")
    own = CONFIG_MAPPING[family] if family in CONFIG_MAPPING_NAMES else kind.config_class
    return kind, own if issubclass(own, kind.config_class) else kind.config_class  # not that of a model around it


def tiny(name: str, family: str = "") -> torch.nn.Module:
    """Build a class small, in float64, with weights so large that attention is far from uniform.

    Raises:
        CannotJudge: if it cannot be built.
    """
    kind, config_class = kind_of(name, family)
    reasons = []
    for change in CHANGES:
        try:
            known = config_class()
            sizes = {key: size for key, size in (SMALL | change).items() if size is not None and hasattr(known, key)}
            config = config_class(**sizes)
            config._experts_implementation = "eager"  # the others have no float64
            if getattr(config, "layer_types", None):
                with suppress(AttributeError):  # some are computed from other settings
                    config.layer_types = list(config.layer_types)[:2]
            with torch.device("meta"):
                weights = sum(weight.numel() for weight in kind(copy.deepcopy(config)).parameters())
            if weights > MOST_WEIGHTS:
                raise ValueError(f"{weights:,} weights at the smallest")
            torch.manual_seed(0)
            model = kind(config).double()
            with torch.no_grad():
                for weight in model.parameters():
                    weight.add_(torch.randn_like(weight), alpha=0.2)
            without_dropout(model)
            logits(model.eval(), torch.full((1, 4), 5))
            return model
        except Exception as error:
            reasons.append(error)
    raise CannotJudge(f"it could not be built small: {one_line(reasons[0])}")


def without_dropout(model: torch.nn.Module) -> None:
    """Two runs in training mode are compared, so nothing may be drawn."""
    for part in model.modules():
        for name, value in list(vars(part).items()):
            if "dropout" in name and isinstance(value, float):
                setattr(part, name, 0.0)
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0


def logits(model: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=ids, use_cache=False).logits


def with_gradients(model: torch.nn.Module, ids: torch.Tensor, **inputs) -> list[torch.Tensor]:
    """Logits, and the gradient of every weight of something that no symmetry hides."""
    model.zero_grad()
    found = model(input_ids=ids, use_cache=False, **inputs).logits
    (found * torch.linspace(-1, 1, found.numel()).reshape(found.shape)).mean().backward()
    none = torch.zeros(())
    return [found.detach(), *(none if weight.grad is None else weight.grad.clone() for weight in model.parameters())]


def apart(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> float:
    """The largest difference, each as a share of the largest value of its tensor, or of 1e-3 where that is less."""
    pairs = zip(ours, theirs, strict=True)
    return max(((one - two).abs().max() / two.abs().max().clamp(min=1e-3)).item() for one, two in pairs)


def attempt(function: Callable, what: str):
    try:
        return function()
    except Exception as error:
        raise CannotJudge(f"{what}: {one_line(error)}") from None


def mechanism(error: ValueError) -> str:
    """What a refusal names, without the class and its numbers."""
    text = one_line(error)
    found = re.search(r"must have causal self-attention and nothing else for S²-Attn, got (.*)", text)
    return found[1] if found else text.partition(" must ")[2] and "must " + text.partition(" must ")[2]


def one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())[:160]
    return text if isinstance(error, (CannotJudge, ValueError)) else f"{type(error).__name__}: {text}"


if __name__ == "__main__":
    main()
