from __future__ import annotations

import copy
import dataclasses
import json
import math

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load, save_file
from torch import nn

from longlora_edu.lora import LoRALinear, add_lora, free_modules, load_adapter, merge_lora, save_adapter

QKVO = ("q_proj", "k_proj", "v_proj", "o_proj")
LLAMA_NAMES = ("embed_tokens", "input_layernorm", "post_attention_layernorm", "norm")
TOY_NAMES = ("embed_tokens", "input_layernorm", "norm")
PREFIX = "base_model.model."


class Attention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.q_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width // 2, bias=False)

    def forward(self, x):
        return self.q_proj(x) * torch.sigmoid(self.v_proj(x)).repeat(1, 1, 2)


class Layer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.input_layernorm = nn.LayerNorm(width)
        self.self_attn = Attention(width)
        self.rotary = nn.Identity()

    def forward(self, x):
        return x + self.self_attn(self.input_layernorm(x))


class Decoder(nn.Module):
    """The names of a Llama, small enough to see through."""

    def __init__(self, width=8, vocabulary=11, layers=2, tied=False):
        super().__init__()
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(vocabulary, width)
        self.model.layers = nn.ModuleList(Layer(width) for _ in range(layers))
        self.model.norm = nn.LayerNorm(width)
        self.lm_head = nn.Linear(width, vocabulary, bias=False)
        if tied:
            self.lm_head.weight = self.model.embed_tokens.weight

    def forward(self, ids):
        x = self.model.embed_tokens(ids)
        for layer in self.model.layers:
            x = layer(x)
        return self.lm_head(self.model.norm(x))


IDS = torch.tensor([[1, 5, 2, 10, 0, 3]])


def decoder(seed=0, dtype=torch.float64, **sizes):
    torch.manual_seed(seed)
    return Decoder(**sizes).to(dtype)


def shake(model, seed=1):
    """Move everything that trains, as training would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator).to(parameter)
    return model


def trained(model, targets=("q_proj", "v_proj"), names=TOY_NAMES, rank=3, alpha=5, seed=1):
    add_lora(model, targets, rank=rank, alpha=alpha)
    free_modules(model, names)
    return shake(model, seed)


def training_names(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


# The layer


def test_the_side_path_is_the_formula_of_the_paper():
    torch.manual_seed(0)
    layer = LoRALinear(nn.Linear(5, 4).double(), rank=2, alpha=6)
    shake(layer)
    x = torch.randn(3, 5, dtype=torch.float64)
    expected = torch.zeros(3, 4, dtype=torch.float64)
    for row in range(3):
        for out in range(4):
            value = layer.base.bias[out].item()
            for i in range(5):
                value += layer.base.weight[out, i].item() * x[row, i].item()
            for r in range(2):
                inner = sum(layer.lora_A.weight[r, i].item() * x[row, i].item() for i in range(5))
                value += 6 / 2 * layer.lora_B.weight[out, r].item() * inner
            expected[row, out] = value
    assert layer.scaling == 3
    torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)


def test_a_starts_as_in_peft_and_depends_on_the_generator_alone():
    peft = pytest.importorskip("peft")
    base = nn.Sequential(nn.Linear(64, 8))
    torch.manual_seed(7)
    theirs = peft.get_peft_model(copy.deepcopy(base), peft.LoraConfig(r=4, target_modules=["0"]))
    expected = theirs.base_model.model[0].lora_A["default"].weight.std()
    state = torch.get_rng_state()
    layers = [LoRALinear(copy.deepcopy(base[0]), 64, 8, generator=torch.Generator().manual_seed(3)) for _ in range(2)]
    torch.testing.assert_close(torch.get_rng_state(), state)
    torch.testing.assert_close(layers[0].lora_A.weight, layers[1].lora_A.weight, rtol=0, atol=0)
    torch.testing.assert_close(layers[0].lora_A.weight.std(), expected, rtol=0.1, atol=0)
    assert layers[0].lora_A.weight.abs().max() <= 1 / math.sqrt(64)
    assert not layers[0].lora_B.weight.any()


def test_the_side_path_starts_where_its_base_is_whatever_the_default_device():
    base = nn.Linear(6, 4)
    with torch.device("meta"):
        layer = LoRALinear(base, rank=2, alpha=4)
    assert {parameter.device.type for parameter in layer.parameters()} == {"cpu"}
    assert layer.lora_A.weight.any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_side_path_has_the_dtype_of_its_base(dtype):
    layer = LoRALinear(nn.Linear(6, 4).to(dtype), rank=2, alpha=4)
    assert {parameter.dtype for parameter in layer.parameters()} == {dtype}
    assert layer.merged().weight.dtype == dtype
    assert layer(torch.ones(2, 6, dtype=dtype)).dtype == dtype


def test_gradients_reach_both_factors_and_neither_weight_nor_bias():
    layer = LoRALinear(nn.Linear(4, 3).double(), rank=2, alpha=2)
    shake(layer)
    x = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    layer(x).square().sum().backward()
    assert layer.base.weight.grad is None
    assert layer.base.bias.grad is None
    assert layer.lora_A.weight.grad.abs().min() > 0
    assert layer.lora_B.weight.grad.abs().min() > 0
    assert torch.autograd.gradcheck(layer, (x,))


@pytest.mark.parametrize(("rank", "tokens", "summed"), [(8, 40, True), (8, 11, False), (8, 6, False), (1, 40, False)])
def test_a_large_rank_is_added_to_the_weight_first_and_changes_nothing(rank, tokens, summed):
    layer = shake(LoRALinear(nn.Linear(12, 10).double(), rank=rank, alpha=3))
    x = torch.randn(tokens, 12, dtype=torch.float64, requires_grad=True)
    side = layer.base(x) + layer.scaling * layer.lora_B(layer.lora_A(x))
    assert layer._is_cheaper_summed(x) is summed
    trained = (x, layer.lora_A.weight, layer.lora_B.weight)
    torch.testing.assert_close(layer(x), side, rtol=1e-12, atol=1e-12)
    for one, other in zip(*(torch.autograd.grad(y.sin().sum(), trained) for y in (layer(x), side)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    assert layer.base.weight.grad is None


def test_half_precision_and_autocast_keep_the_side_path():
    """BA is added in the products' own format: in a half-precision weight a small update would round away."""
    layer, x = LoRALinear(nn.Linear(12, 10), rank=8, alpha=3), torch.randn(40, 12)
    assert layer._is_cheaper_summed(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert not layer._is_cheaper_summed(x)
    assert not layer.to(torch.bfloat16)._is_cheaper_summed(x)
    ones = LoRALinear(nn.Linear(12, 10, bias=False).to(torch.bfloat16), rank=8, alpha=8)
    with torch.no_grad():
        ones.base.weight.fill_(1)
        ones.lora_A.weight.zero_()[:, 0] = 1
        ones.lora_B.weight.fill_(2**-13)
    x = torch.zeros(40, 12, dtype=torch.bfloat16)
    x[:, 0], x[:, 1] = 1, -1  # the base gives 0, and 1 + 8 / 8192 is 1 in bfloat16
    assert (ones(x) == 8 * 2**-13).all()


def test_a_merged_layer_is_a_frozen_linear_of_its_own_that_computes_the_same():
    torch.manual_seed(0)
    base = nn.Linear(6, 4).double()
    layer = shake(LoRALinear(base, rank=8, alpha=3)).eval()  # a rank above both sizes is allowed
    before = base.weight.clone()
    merged = layer.merged()
    x = torch.randn(7, 6, dtype=torch.float64)
    assert type(merged) is nn.Linear
    assert not merged.training
    assert not any(parameter.requires_grad for parameter in merged.parameters())
    torch.testing.assert_close(merged(x), layer(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(layer.merged().weight, merged.weight, rtol=0, atol=0)
    torch.testing.assert_close(base.weight, before, rtol=0, atol=0)
    merged.bias += 1
    torch.testing.assert_close(merged.bias, base.bias + 1)


def test_half_precision_is_merged_with_one_rounding():
    layer = shake(LoRALinear(nn.Linear(32, 32, bias=False).bfloat16(), rank=16, alpha=16))
    exact = layer.base.weight.double() + layer.lora_B.weight.double() @ layer.lora_A.weight.double()
    torch.testing.assert_close(layer.merged().weight, exact.float().bfloat16(), rtol=0, atol=0)


# Adding


def test_at_the_start_the_model_computes_exactly_what_it_did():
    model = decoder().eval()
    before = model(IDS)
    report = add_lora(model, ["q_proj", "v_proj"], rank=2, alpha=4)
    torch.testing.assert_close(model(IDS), before, rtol=0, atol=0)
    assert not any(module.training for module in model.modules())
    assert report.targets == ("q_proj", "v_proj")
    assert report.replaced == tuple(f"model.layers.{i}.self_attn.{side}_proj" for i in range(2) for side in "qv")
    assert (report.rank, report.alpha, report.freed) == (2, 4, ())
    assert report.added_parameters == 2 * (2 * (8 + 8) + 2 * (8 + 4))
    assert report.added_parameters == sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_reports_stay_as_they_were_returned():
    model = decoder()
    for report in (add_lora(model, ["q_proj"], rank=2, alpha=4), merge_lora(model)):
        with pytest.raises(dataclasses.FrozenInstanceError):
            report.rank = 3


def test_the_base_is_the_very_module_and_everything_else_is_frozen():
    model = decoder()
    linear = model.model.layers[1].self_attn.q_proj
    add_lora(model, ["q_proj"], rank=2, alpha=4)
    assert model.model.layers[1].self_attn.q_proj.base is linear
    assert linear.bias is not None
    sides = {f"model.layers.{i}.self_attn.q_proj.lora_{side}.weight" for i in range(2) for side in "AB"}
    assert training_names(model) == sides


@pytest.mark.parametrize(
    ("target", "count"), [("q_proj", 2), ("self_attn.q_proj", 2), ("layers.1.self_attn.q_proj", 1), ("lm_head", 1)]
)
def test_a_target_is_whole_segments_at_the_end_of_a_name(target, count):
    assert len(add_lora(decoder(), [target, target], rank=1, alpha=1).replaced) == count


def test_a_step_moves_only_lora_and_what_was_freed():
    model = decoder()
    add_lora(model, ["q_proj", "v_proj"], rank=2, alpha=4)
    freed = free_modules(model, ["embed_tokens", "norm"])
    assert freed == ("model.embed_tokens", "model.norm")
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):  # A moves from the second step on, when B is no longer zero
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(IDS)[0, :-1], IDS[0, 1:]).backward()
        optimizer.step()
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    lora = {name for name in before if "lora_" in name}
    assert moved == lora | {"model.embed_tokens.weight", "model.norm.weight", "model.norm.bias"}


def test_what_cannot_be_added_is_refused_and_the_model_stays_as_it_was():
    model = decoder()
    before = copy.deepcopy(model)
    add = {"rank": 2, "alpha": 4}
    for targets, message in (
        (["qproj"], r"targets must .*, got 'qproj' \(near it: q_proj.*; in the model: lm_head, q_proj, v_proj\)"),
        (["roj"], r"targets must name modules of the model, got 'roj'"),
        ([""], "targets must name modules of the model, got ''"),
        (["q_proj", "norm"], "targets must name plain nn.Linear modules, got model.norm, which is LayerNorm"),
        ([], "targets must name at least one module, got none"),
        ("q_proj", "targets must be a list of names, got the text 'q_proj'"),
    ):
        with pytest.raises(ValueError, match=message):
            add_lora(model, targets, **add)
    for rank in (0, -1, 2.0, True, None):
        with pytest.raises(ValueError, match=f"rank must be a positive integer, got {rank}"):
            add_lora(model, ["q_proj"], rank=rank, alpha=4)
    for alpha in (0, -2.0, math.nan, math.inf, True, "16"):
        with pytest.raises(ValueError, match=f"alpha must be a number above 0, got {alpha!r}"):
            add_lora(model, ["q_proj"], rank=2, alpha=alpha)
    assert str(model) == str(before)
    assert training_names(model) == training_names(before)
    add_lora(model, ["q_proj"], **add)
    with pytest.raises(ValueError, match=r"model must have no LoRA layers yet, got model.layers.0.self_attn.q_proj, "):
        add_lora(model, ["v_proj"], **add)


def test_a_subclass_of_linear_and_a_tied_weight_are_no_targets():
    class Quantized(nn.Linear):
        pass

    with pytest.raises(ValueError, match="base must be a plain nn.Linear, got Quantized"):
        LoRALinear(Quantized(2, 2), 1, 1)
    with pytest.raises(ValueError, match="plain nn.Linear modules, got proj, which is Quantized"):
        add_lora(nn.ModuleDict({"proj": Quantized(2, 2)}), ["proj"], rank=1, alpha=1)
    with pytest.raises(ValueError, match=r"weight of their own, got one shared by model.embed_tokens.weight, lm_head"):
        add_lora(decoder(tied=True), ["lm_head"], rank=1, alpha=1)
    same = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"weight of their own, got one shared by here.weight, there.weight"):
        add_lora(nn.ModuleDict({"here": same, "there": same}), ["here"], rank=1, alpha=1)
    with pytest.raises(ValueError, match=r"weight of their own, got one shared by here.weight, there.weight"):
        add_lora(nn.ModuleDict({"here": same, "there": same}), ["there"], rank=1, alpha=1)


# Freeing


def test_norm_means_the_last_norm_only():
    model = decoder().requires_grad_(False)
    assert free_modules(model, ["norm"]) == ("model.norm",)
    assert training_names(model) == {"model.norm.weight", "model.norm.bias"}
    assert free_modules(model, ["layers.0.input_layernorm"]) == ("model.layers.0.input_layernorm",)
    assert free_modules(model, []) == ()


def test_freeing_a_tied_embedding_trains_the_head():
    model = decoder(tied=True)
    add_lora(model, ["q_proj"], rank=1, alpha=1)
    free_modules(model, ["embed_tokens"])
    assert model.lm_head.weight.requires_grad


def test_what_cannot_be_freed_is_refused():
    model = decoder()
    add_lora(model, ["q_proj"], rank=1, alpha=1)
    before = training_names(model)
    with pytest.raises(
        ValueError, match=r"names must .* got 'layernorm' \(near it: .*input_layernorm.*; in the model: "
    ):
        free_modules(model, ["norm", "layernorm"])
    with pytest.raises(ValueError, match="names must name modules of the model, got 'rotary'"):
        free_modules(model, ["rotary"])
    with pytest.raises(ValueError, match="names must name modules of the model, got 'base'"):
        free_modules(model, ["base"])
    with pytest.raises(ValueError, match=r"without LoRA layers inside, got model.layers.0.self_attn"):
        free_modules(model, ["norm", "self_attn"])
    with pytest.raises(ValueError, match="names must be a list of names, got the text 'norm'"):
        free_modules(model, "norm")
    assert training_names(model) == before


# Merging


def test_a_merged_model_is_plain_again_and_computes_the_same():
    model = trained(decoder())
    before = model(IDS)
    kinds = [type(module) for module in decoder().modules()]
    report = merge_lora(model)
    torch.testing.assert_close(model(IDS), before, rtol=1e-12, atol=1e-12)
    assert [type(module) for module in model.modules()] == kinds
    assert report.merged == tuple(f"model.layers.{i}.self_attn.{side}_proj" for i in range(2) for side in "qv")
    assert report.removed_parameters == 2 * (3 * (8 + 8) + 3 * (8 + 4))
    assert model.state_dict().keys() == decoder().state_dict().keys()
    with pytest.raises(ValueError, match="model must have LoRA layers to merge, got none"):
        merge_lora(model)


def test_a_merged_model_is_the_base_of_a_second_stage():
    model = trained(decoder())
    merge_lora(model)
    before = model(IDS)
    add_lora(model, ["q_proj"], rank=1, alpha=1)
    torch.testing.assert_close(model(IDS), before, rtol=0, atol=0)


# Saving and loading


def read_config(folder):
    return json.loads((folder / "adapter_config.json").read_text())


def change_config(folder, **entries):
    (folder / "adapter_config.json").write_text(json.dumps(read_config(folder) | entries))


def test_the_folder_holds_exactly_what_trained(tmp_path):
    model = trained(decoder())
    keys = save_adapter(model, tmp_path / "new" / "adapter", base_model_name="tiny", also_trained=TOY_NAMES)
    folder = tmp_path / "new" / "adapter"
    assert sorted(path.name for path in folder.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    assert set(keys) == {PREFIX + name for name in training_names(model)}
    with safe_open(folder / "adapter_model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
        assert sorted(file.keys()) == sorted(keys)
        for name in training_names(model):
            torch.testing.assert_close(file.get_tensor(PREFIX + name), model.get_parameter(name).detach())
    assert read_config(folder) == {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "tiny",
        "inference_mode": True,
        "r": 3,
        "lora_alpha": 5,
        "lora_dropout": 0.0,
        "target_modules": ["q_proj", "v_proj"],
        "modules_to_save": ["embed_tokens", "input_layernorm", "norm"],
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "use_rslora": False,
        "use_dora": False,
    }


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("names", [TOY_NAMES, ("norm",), ("layers.1.input_layernorm", "embed_tokens"), ()])
def test_what_is_saved_comes_back_into_a_fresh_base(tmp_path, names, tied):
    model = trained(decoder(tied=tied), names=names, alpha=2.5)
    save_adapter(model, tmp_path, also_trained=names)
    fresh = decoder(tied=tied)
    state = torch.get_rng_state()
    report = load_adapter(fresh, tmp_path)
    torch.testing.assert_close(torch.get_rng_state(), state)
    torch.testing.assert_close(fresh(IDS), model(IDS), rtol=0, atol=0)
    assert training_names(fresh) == training_names(model)
    assert (report.rank, report.alpha) == (3, 2.5)
    assert set(report.freed) == {name.rpartition(".")[0] for name in training_names(model) if "lora_" not in name}
    assert (fresh.lm_head.weight is fresh.model.embed_tokens.weight) == tied


def test_weights_that_lie_transposed_in_memory_are_saved(tmp_path):
    model = trained(decoder())
    for layer in model.model.layers:
        down = layer.self_attn.q_proj.lora_A
        down.weight = nn.Parameter(down.weight.detach().t().contiguous().t())
        assert not down.weight.is_contiguous()
    save_adapter(model, tmp_path, also_trained=TOY_NAMES)
    fresh = decoder()
    load_adapter(fresh, tmp_path)
    torch.testing.assert_close(fresh(IDS), model(IDS))


@pytest.mark.parametrize(
    ("targets", "names", "target_modules", "modules_to_save"),
    [
        (["self_attn.q_proj"], TOY_NAMES, ["q_proj"], sorted(TOY_NAMES)),
        (["layers.1.self_attn.q_proj"], (), ["model.layers.1.self_attn.q_proj"], None),
        (["q_proj"], ("norm",), ["q_proj"], ["model.norm"]),  # PEFT would take "norm" for input_layernorm too
        (["q_proj"], ("input_layernorm",), ["q_proj"], ["input_layernorm"]),
        (["q_proj"], ("layers.0.input_layernorm",), ["q_proj"], ["model.layers.0.input_layernorm"]),
    ],
)
def test_names_are_as_short_as_pefts_rule_allows(tmp_path, targets, names, target_modules, modules_to_save):
    save_adapter(trained(decoder(), targets, names), tmp_path, also_trained=names)
    config = read_config(tmp_path)
    assert config["target_modules"] == target_modules
    assert config["modules_to_save"] == modules_to_save


def test_what_would_be_lost_or_misread_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match="LoRA layers of one rank and alpha to save, got none"):
        save_adapter(decoder(), tmp_path)
    model = trained(decoder())
    with pytest.raises(
        ValueError, match="every module that trains, got nothing for model.norm.weight, model.norm.bias"
    ):
        save_adapter(model, tmp_path, also_trained=["embed_tokens", "input_layernorm"])
    with pytest.raises(ValueError, match="also_trained must name modules of the model, got 'embeddings'"):
        save_adapter(model, tmp_path, also_trained=["embeddings"])
    with pytest.raises(ValueError, match="also_trained must name modules without LoRA layers inside"):
        save_adapter(model, tmp_path, also_trained=["self_attn"])
    two = nn.ModuleDict({name: LoRALinear(nn.Linear(2, 2), 1, alpha) for name, alpha in (("a", 1), ("b", 2))})
    with pytest.raises(ValueError, match=r"one rank and alpha to save, got \[\(1, 1.0\), \(1, 2.0\)\]"):
        save_adapter(two, tmp_path)
    flat = nn.ModuleDict({"norm": nn.LayerNorm(2), "input_norm": nn.LayerNorm(2), "proj": nn.Linear(2, 2)})
    add_lora(flat, ["proj"], rank=1, alpha=1)
    free_modules(flat, ["norm"])
    with pytest.raises(ValueError, match="names that PEFT can tell apart, got norm, which are also input_norm"):
        save_adapter(flat, tmp_path, also_trained=["norm"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "entries",
    [
        *({"init_lora_weights": start} for start in (True, False, "gaussian", "orthogonal")),
        {"auto_mapping": {"base_model_class": "Llama"}},
        {"lora_dropout": 0},
        {"lora_dropout": 0.5},
    ],
)
def test_a_config_that_means_the_same_is_read(tmp_path, entries):
    model = trained(decoder(), alpha=2.5)
    save_adapter(model, tmp_path, also_trained=TOY_NAMES)
    change_config(tmp_path, **entries)
    fresh = decoder()
    load_adapter(fresh, tmp_path)
    torch.testing.assert_close(fresh(IDS), model(IDS), rtol=0, atol=0)


def test_rank_stabilised_lora_divides_by_the_root_of_the_rank(tmp_path):
    save_adapter(trained(decoder(), alpha=2.5), tmp_path, also_trained=TOY_NAMES)
    change_config(tmp_path, use_rslora=True)
    fresh = decoder()
    report = load_adapter(fresh, tmp_path)
    assert report.alpha / report.rank == pytest.approx(2.5 / math.sqrt(3))


def test_lora_starts_as_kaiming_has_it_with_a_of_root_five():
    """PEFT's start: uniform within 1 / sqrt(in), for W of (out, in)."""
    layer = LoRALinear(nn.Linear(400, 8), 64, 1.0, generator=torch.Generator().manual_seed(0))
    bound, size = 1 / math.sqrt(400), layer.lora_A.weight.detach().abs()
    assert size.max() <= bound and size.max() > 0.99 * bound
    assert not layer.lora_B.weight.any()


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"peft_type": "IA3"}, "must have peft_type 'LORA', got 'IA3'"),
        ({"use_dora": True}, "must leave use_dora off, which changes what the weights mean, got True"),
        ({"use_dora": True}, "must leave use_dora off"),
        ({"fan_in_fan_out": True}, "must leave fan_in_fan_out off"),
        ({"bias": "all"}, "must leave bias off, .* got 'all'"),
        ({"rank_pattern": {"q_proj": 2}}, "must leave rank_pattern off, .* got {'q_proj': 2}"),
        ({"alpha_pattern": {"q_proj": 2}}, "must leave alpha_pattern off"),
        ({"layers_to_transform": [0]}, "must leave layers_to_transform off"),
        ({"trainable_token_indices": [1]}, "must leave trainable_token_indices off"),
        ({"not_invented_yet": 1}, "must leave not_invented_yet off"),
        *(({"lora_dropout": x}, "must have a lora_dropout from 0 to below 1") for x in (True, "0.1", 1.0, -0.1)),
        ({"init_lora_weights": "pissa"}, "must have init_lora_weights that leave the base as it is, got 'pissa'"),
        ({"target_modules": ".*q_proj"}, "must have a list of names as target_modules, got '.*q_proj'"),
        ({"target_modules": None}, "must have a list of names as target_modules, got None"),
        ({"modules_to_save": "norm"}, "must have a list of names as modules_to_save, got 'norm'"),
        ({"modules_to_save": [""]}, r"must have a list of names as modules_to_save, got \[''\]"),
        ({"r": None}, "must fit the model: rank must be a positive integer, got None"),
        ({"lora_alpha": 0}, "must fit the model: alpha must be a number above 0, got 0"),
        ({"target_modules": ["query"]}, "must fit the model: targets must name modules of the model, got 'query'"),
        ({"target_modules": []}, "must fit the model: targets must name at least one module"),
        ({"modules_to_save": ["wte"]}, "must fit the model: modules_to_save must name modules of the model, got 'wte'"),
        (
            {"modules_to_save": ["self_attn"]},
            "must fit the model: modules_to_save must not hold targets, got model.layers.0",
        ),
        (
            {"r": 2},
            r"must hold .*0.self_attn.q_proj.lora_A.weight of .* \(\(2, 8\), 'float'\), got \(\(3, 8\), 'float'\)",
        ),
        (
            {"target_modules": ["q_proj"]},
            "must hold the 11 tensors of its config, got unexpected .*v_proj.lora_A.weight, ",
        ),
        ({"modules_to_save": None}, "must hold the 8 tensors of its config, got unexpected .* and 3 more"),
        (
            {"modules_to_save": ["embed_tokens", "norm", "lm_head"]},
            "must hold the 16 tensors .*, got no .*lm_head.weight",
        ),
    ],
)
def test_a_config_that_means_something_else_is_refused(tmp_path, entries, message):
    save_adapter(trained(decoder()), tmp_path, also_trained=TOY_NAMES)
    change_config(tmp_path, **entries)
    fresh = decoder()
    before = copy.deepcopy(fresh)
    with pytest.raises(ValueError, match=rf"^.*adapter_(config.json|model.safetensors) {message}"):
        load_adapter(fresh, tmp_path)
    assert str(fresh) == str(before)
    assert training_names(fresh) == training_names(before)


def test_a_damaged_or_foreign_folder_is_refused(tmp_path):
    save_adapter(trained(decoder()), tmp_path, also_trained=TOY_NAMES)
    config, weights = tmp_path / "adapter_config.json", tmp_path / "adapter_model.safetensors"
    whole, tensors, text = weights.read_bytes(), load(weights.read_bytes()), config.read_text()
    key = PREFIX + "model.layers.0.self_attn.q_proj.lora_A.weight"

    def refuses(message, model=None):
        with pytest.raises(ValueError, match=message):
            load_adapter(decoder() if model is None else model, tmp_path)

    weights.write_bytes(whole[:-5])
    refuses("adapter_model.safetensors must be a safetensors file, got ")
    weights.write_bytes(b"no tensors")
    refuses("adapter_model.safetensors must be a safetensors file, got ")
    save_file({name: tensor for name, tensor in tensors.items() if name != key}, weights)
    refuses(rf"adapter_model.safetensors must hold the 15 tensors of its config, got no {key}$")
    save_file(tensors | {"stray": torch.ones(1)}, weights)
    refuses("must hold the 15 tensors of its config, got unexpected stray$")
    save_file({name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}, weights)
    refuses("must hold the 15 tensors of its config, got no base_model.* and 11 more, unexpected model.* and 11 more$")
    save_file(tensors | {key: tensors[key].T.contiguous()}, weights)
    refuses(rf"must hold {key} of shape and kind \(\(3, 8\), 'float'\), got \(\(8, 3\), 'float'\)")
    save_file(tensors | {key: tensors[key].long()}, weights)
    refuses(rf"must hold {key} of shape and kind \(\(3, 8\), 'float'\), got \(\(3, 8\), 'other'\)")
    weights.write_bytes(whole)
    refuses(r"embed_tokens.weight of shape and kind \(\(11, 16\), .*, got \(\(11, 8\)", model=decoder(width=16))
    refuses("must fit the model: model must have no LoRA layers yet", model=trained(decoder()))
    config.write_text(text[:20])
    refuses("adapter_config.json must be JSON, got ")
    config.write_text("[1]")
    refuses("adapter_config.json must hold a JSON object, got list")
    config.write_text("{}")
    refuses("adapter_config.json must have peft_type 'LORA', got None")
    config.write_text(text)
    weights.rename(tmp_path / "adapter_model.bin")
    refuses("must hold adapter_model.safetensors, got adapter_config.json, adapter_model.bin")
    config.unlink()
    refuses("must hold adapter_config.json, got adapter_model.bin")
    with pytest.raises(ValueError, match="nowhere must hold adapter_config.json, got nothing"):
        load_adapter(decoder(), tmp_path / "nowhere")


def test_tied_weights_must_be_saved_as_tied_and_equal(tmp_path):
    save_adapter(trained(decoder(tied=True), names=["embed_tokens"]), tmp_path, also_trained=["embed_tokens"])
    assert read_config(tmp_path)["ensure_weight_tying"] is True
    weights = tmp_path / "adapter_model.safetensors"
    tensors = load(weights.read_bytes())
    head = PREFIX + "lm_head.weight"
    save_file(tensors | {head: tensors[head] + 1}, weights)
    with pytest.raises(
        ValueError, match="equal weights for tied names, got others for model.embed_tokens.weight and lm_head"
    ):
        load_adapter(decoder(tied=True), tmp_path)
    change_config(tmp_path, ensure_weight_tying=False)
    with pytest.raises(
        ValueError, match="must set ensure_weight_tying .* PEFT trained model.embed_tokens apart from lm_head"
    ):
        load_adapter(decoder(tied=True), tmp_path)


def test_weights_take_the_dtype_of_the_model_they_enter(tmp_path):
    save_adapter(trained(decoder()), tmp_path, also_trained=TOY_NAMES)
    fresh = decoder(dtype=torch.float32)
    load_adapter(fresh, tmp_path)
    assert {parameter.dtype for parameter in fresh.parameters()} == {torch.float32}


def test_a_freed_module_travels_with_its_buffers(tmp_path):
    def build():
        torch.manual_seed(0)
        return nn.ModuleDict({"proj": nn.Linear(3, 3), "norm": nn.BatchNorm1d(3)})

    model = trained(build(), ["proj"], ["norm"])
    model["norm"](torch.arange(12.0).reshape(4, 3))
    save_adapter(model, tmp_path, also_trained=["norm"])
    fresh = build()
    load_adapter(fresh, tmp_path)
    assert fresh["norm"].num_batches_tracked == 1
    torch.testing.assert_close(fresh["norm"].running_mean, model["norm"].running_mean, rtol=0, atol=0)


# PEFT itself


@pytest.fixture(scope="module")
def stock():
    """A function that builds the same random Llama each time."""
    pytest.importorskip("peft")
    transformers = pytest.importorskip("transformers")
    base = {}

    def build(tied=False):
        if tied not in base:
            torch.manual_seed(0)
            config = transformers.LlamaConfig(
                vocab_size=23,
                hidden_size=32,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                intermediate_size=40,
                max_position_embeddings=32,
                tie_word_embeddings=tied,
            )
            base[tied] = transformers.LlamaForCausalLM(config).eval()
        return copy.deepcopy(base[tied])

    return build


def logits(model):
    with torch.no_grad():
        return model.eval()(IDS).logits


def modules_that_peft_freed(model):
    from peft.utils.other import ModulesToSaveWrapper

    inner = model.base_model.model
    return {name for name, part in inner.named_modules() if isinstance(part, ModulesToSaveWrapper)}


@pytest.mark.parametrize(
    ("tied", "names"),
    [
        (False, LLAMA_NAMES),
        (False, ("norm",)),
        (False, ("layers.1.input_layernorm",)),
        (False, ()),
        (True, LLAMA_NAMES),
    ],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_peft_loads_what_we_save(tmp_path, stock, tied, names):
    peft = pytest.importorskip("peft")
    model = stock(tied)
    before = logits(model)
    add_lora(model, QKVO, rank=4, alpha=6)
    freed = set(free_modules(model, names))
    shake(model)
    save_adapter(model, tmp_path, also_trained=names)
    theirs = peft.PeftModel.from_pretrained(stock(tied), tmp_path)
    torch.testing.assert_close(logits(theirs), logits(model))
    assert (logits(model) - before).abs().max() > 0.1
    assert modules_that_peft_freed(theirs) == freed | ({"lm_head"} if tied else set())
    assert theirs.peft_config["default"].r == 4


@pytest.mark.parametrize(
    ("tied", "names"), [(False, list(LLAMA_NAMES)), (False, ["norm"]), (False, None), (True, ["embed_tokens", "norm"])]
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_we_load_what_peft_trains_and_saves(tmp_path, stock, tied, names):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(
        r=4,
        lora_alpha=6,
        lora_dropout=0.0,
        target_modules=list(QKVO),
        modules_to_save=names,
        ensure_weight_tying=tied,
        task_type="CAUSAL_LM",
    )
    theirs = shake(peft.get_peft_model(stock(tied), config))
    optimizer = torch.optim.SGD([p for p in theirs.parameters() if p.requires_grad], lr=0.1)
    theirs(IDS, labels=IDS).loss.backward()
    optimizer.step()
    theirs.save_pretrained(tmp_path)
    ours = stock(tied)
    report = load_adapter(ours, tmp_path)
    torch.testing.assert_close(logits(ours), logits(theirs))
    assert (report.rank, report.alpha) == (4, 6)
    assert set(report.freed) == modules_that_peft_freed(theirs) - ({"lm_head"} if tied else set())
    merge_lora(ours)
    torch.testing.assert_close(logits(ours), logits(theirs.merge_and_unload()), rtol=1e-4, atol=1e-5)
