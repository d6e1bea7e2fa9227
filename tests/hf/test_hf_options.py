"""What engineers ask of a training: packing, half precision, quantised bases, other targets, passes, logs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import accelerate
import numpy as np
import pytest
import torch
import transformers
from helpers import write_text
from safetensors.torch import load_file
from small_models import byte_level_tokenizer, small_llama
from torch import nn
from transformers import DataCollatorWithFlattening

import longlora_edu.hf.processes as processes
import longlora_edu.hf.token_cache as token_cache
from longlora_edu.hf import load_longlora, longlora, merge_longlora, use_s2
from longlora_edu.hf import run_training as training
from longlora_edu.hf.data import draw_in_passes, read_data, tokenised
from longlora_edu.hf.loading import load_causal_model
from longlora_edu.hf.measure import trained_in_bf16
from longlora_edu.hf.run_log import RunLog
from longlora_edu.hf.run_training import run_training
from longlora_edu.hf.settings import TrainingSettings
from longlora_edu.longlora import LongLoRAConfig
from longlora_edu.lora import load_adapter
from longlora_edu.lora.layers import lora_layers
from longlora_edu.model import load_tiny_llama
from longlora_edu.training.corpus import read_corpus
from longlora_edu.training.train import TrainSettings, train

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The folder of a small model with its tokenizer."""
    folder = tmp_path_factory.mktemp("model")
    small_llama().save_pretrained(folder)
    byte_level_tokenizer(model_max_length=64).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def text(tmp_path):
    folder = tmp_path / "text"
    folder.mkdir()
    for number in range(20):
        write_text(folder / f"{number}.py", 1000 + 37 * number)
    return folder


def settings_for(model, data, **options):
    quick = {"model": model, "data": str(data), "context": 128, "steps": 4, "accumulate": 2, "warmup": 1}
    return TrainingSettings(**quick | {"rate": 2e-3, "checkpoint_every": 1, "threads": 1} | options)


def weights_of(folder):
    return load_file(folder / "adapter" / "adapter_model.safetensors")


# Packed documents whose borders are said twice.


def packed(lengths=(5, 9, 7)):
    rows = [{"input_ids": list(range(3, 3 + length))} for length in lengths]
    return dict(DataCollatorWithFlattening(return_flash_attn_kwargs=True, return_seq_idx=True)(rows))


def test_borders_that_a_collator_gives_beside_positions_change_nothing():
    model = small_llama()
    use_s2(model.train(), group_size=8)
    inputs = packed()
    assert inputs["cu_seq_lens_q"].tolist() == [0, 5, 14, 21]
    both = model(**inputs, use_cache=False).logits
    alone = model(input_ids=inputs["input_ids"], position_ids=inputs["position_ids"], use_cache=False).logits
    torch.testing.assert_close(both, alone, rtol=0, atol=0)
    # A document behind another computes what it does alone: none hears another.
    ids = inputs["input_ids"].clone()
    ids[0, :5] = 40
    other = model(**inputs | {"input_ids": ids}, use_cache=False).logits
    torch.testing.assert_close(other[:, 5:], both[:, 5:], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"cu_seq_lens_q": torch.tensor([0, 5, 13, 21])},
            r"cu_seq_lens_q must have .* \[0, 5, 14, 21\], got \[0, 5, 13",
        ),
        ({"cu_seq_lens_k": torch.tensor([0, 21])}, r"cu_seq_lens_k must have the borders .* got \[0, 21\]"),
        ({"seq_idx": torch.arange(21)[None]}, r"seq_idx must have the borders .* got \[0, 1, 2, 3, 4, 5, 6, 7, …\]"),
        ({"position_ids": None}, "cu_seq_lens_q must come with position_ids"),
    ],
)
def test_borders_that_contradict_the_positions_are_refused(change, message):
    model = small_llama()
    use_s2(model.train(), group_size=8)
    with pytest.raises(ValueError, match=message):
        model(**packed() | change, use_cache=False)


SFT = """
import sys, torch
from datasets import Dataset
from trl import SFTConfig, SFTTrainer
from small_models import byte_level_tokenizer, small_llama
from longlora_edu.hf import longlora
from longlora_edu.longlora import LongLoRAConfig

model = longlora(small_llama(), LongLoRAConfig(128))
rows = Dataset.from_dict({"text": [("word %d " % i) * (5 + i % 7) for i in range(32)]})
options = {"packing": {"packing": True, "max_length": 128}, "free": {"padding_free": True, "max_length": None}}
arguments = SFTConfig(
    sys.argv[1], max_steps=2, per_device_train_batch_size=2, logging_steps=1, report_to="none", use_cpu=True,
    bf16=False, disable_tqdm=True, save_strategy="no", learning_rate=1e-3, **options[sys.argv[2]],
)
tokenizer = byte_level_tokenizer(pad_token="<eos>")
trainer = SFTTrainer(model, arguments, train_dataset=rows, processing_class=tokenizer)
trainer.train()
print("loss", trainer.state.log_history[0]["loss"], flush=True)
if torch.distributed.is_initialized():
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["packing", "free"])
def test_the_trainer_of_trl_packs_for_it_on_two_processes(how, tmp_path):
    pytest.importorskip("trl")
    script = tmp_path / "sft.py"
    script.write_text(SFT)
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    several = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*several, str(script), str(tmp_path / "out"), how],
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HF_HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    losses = [float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("loss ")]
    assert losses
    assert all(4 < loss < 8 for loss in losses)  # random weights over 280 words: log 280 is 5.6


SHARDED = """
import os, torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from small_models import small_llama
from longlora_edu.hf import longlora
from longlora_edu.longlora import LongLoRAConfig

rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
torch.manual_seed(0)
model = longlora(small_llama(), LongLoRAConfig(128)).train()
if world > 1:
    dist.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (world,))
    for layer in model.base_model.model.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    assert all(weight.to_local().numel() < weight.numel() for weight in model.parameters() if weight.shape[0] > 1)
optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=1e-2)
ids = torch.randint(3, model.config.vocab_size, (4, 128), generator=torch.Generator().manual_seed(0))
for _ in range(4):
    loss = model(ids[rank::world], labels=ids[rank::world]).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    mean = loss.detach() / world
    if world > 1:
        dist.all_reduce(mean)
    if rank == 0:
        print("loss", mean.item(), flush=True)
if world > 1:
    dist.barrier()
    dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_that_share_the_weights_have_the_curve_of_one(tmp_path):
    script = tmp_path / "sharded.py"
    script.write_text(SHARDED)
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    several = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    curves = []
    for launcher in ([], several):
        done = subprocess.run(
            [sys.executable, *launcher, str(script)],
            capture_output=True,
            text=True,
            timeout=600,
            env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr[-3000:]
        curves.append([float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("loss ")])
    assert len(curves[0]) == 4 and curves[0][3] < curves[0][0] - 0.01
    np.testing.assert_allclose(curves[1], curves[0], rtol=0, atol=1e-4)


def test_accelerate_reads_the_file_for_sharding_in_the_docs(tmp_path):
    from accelerate.commands.config.config_args import load_config_from_file

    (text,) = re.findall(
        r"```yaml\n(distributed_type: FSDP\n.*?)```", (ROOT / "docs/real_models.md").read_text(), re.DOTALL
    )
    (tmp_path / "fsdp.yaml").write_text(text)
    config = load_config_from_file(str(tmp_path / "fsdp.yaml"))
    assert config.distributed_type == "FSDP" and config.num_processes == 4 and config.mixed_precision == "bf16"
    assert config.fsdp_config["fsdp_version"] == 2
    known = (Path(accelerate.__file__).parent / "commands" / "launch.py").read_text()
    assert all(f'"--{name}"' in known for name in config.fsdp_config)


def limit_of_vllm(config):
    """How long vLLM lets a text become (`_get_and_verify_max_len`), from the keys that it reads."""
    limit, rule = config["max_position_embeddings"], config.get("rope_scaling") or {}
    if rule.get("rope_type", "default") not in ("default", "su", "longrope", "llama3"):
        limit = rule["original_max_position_embeddings"] if rule["rope_type"] == "yarn" else limit
        limit *= rule.get("factor", 1.0)
    return limit


@pytest.mark.parametrize("rope, limit", [("yarn", 128), ("ntk", 128), ("dynamic", 128), ("linear", 512)])
def test_what_vllm_makes_of_a_merged_model(rope, limit, tmp_path):
    base = small_llama(max_position_embeddings=32)
    merge_longlora(longlora(base, LongLoRAConfig(128, rope=rope))).save_pretrained(tmp_path)
    assert limit_of_vllm(json.loads((tmp_path / "config.json").read_text())) == limit


# The implementation.


@pytest.mark.parametrize("impl", ["dense_mask", "grouped", "products", "varlen", "flex"])
def test_a_model_computes_by_the_implementation_that_is_asked_for(impl, monkeypatch):
    import longlora_edu.attention as attention

    asked, grouped = [], attention._IMPLS["grouped"]
    monkeypatch.setitem(attention._IMPLS, impl, lambda *given: asked.append(impl) or grouped(*given))
    model = small_llama()
    use_s2(model.train(), group_size=8, impl=impl)
    model(torch.arange(3, 40)[None], use_cache=False)
    assert asked == [impl] * 2
    known = "auto, dense_mask, grouped, products, varlen, flex"
    with pytest.raises(ValueError, match=f"impl must be one of {known}, got 'fast'"):
        use_s2(model, group_size=8, impl="fast")


# Several processes.


def test_a_process_takes_its_gpu_before_it_joins_the_others(monkeypatch):
    seen = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: seen.append(("device", device)))
    for name in ("init_process_group", "barrier", "destroy_process_group"):
        monkeypatch.setattr(
            torch.distributed, name, partial(lambda *given, **options: seen.append((*given, options)), name)
        )
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    with processes.process_group() as found:
        assert found == (1, 2)
    own = torch.device("cuda", 1)
    assert seen[:2] == [("device", own), ("init_process_group", "nccl", {"device_id": own})]


class Counted(nn.Module):
    """A loss under DDP, which counts the passes that would not sum gradients over the processes."""

    def __init__(self):
        super().__init__()
        self.weight, self.held, self.free, self.inside = nn.Parameter(torch.ones(())), 0, 0, False

    @contextmanager
    def no_sync(self):
        self.inside = True
        yield
        self.inside = False

    def forward(self, ids, labels):
        self.held, self.free = self.held + self.inside, self.free + (not self.inside)
        return self.weight * ids.double().mean().float(), labels.numel()


def test_gradients_and_numbers_are_summed_over_processes_once_a_step(model, text, monkeypatch):
    settings = settings_for(model, text, accumulate=8, steps=2)
    loaded = training._load(settings, None, None)
    counted, reduced = Counted(), []
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda numbers, op: reduced.append(numbers.shape))
    objective = training._Objective(counted, loaded, 0, 2, torch.device("cpu"))
    schedule = TrainSettings(2, accumulate=4)
    optimizer = torch.optim.SGD(counted.parameters(), lr=1e-3)
    train(dict(counted.named_parameters()), [optimizer], objective, schedule, over_processes=objective.over_processes)
    assert (counted.held, counted.free) == (6, 2)
    assert len(reduced) == 2


# float16.


def test_float16_is_scaled_and_a_resumed_run_ends_at_the_same_weights(model, text, tmp_path, killed_at, threads):
    settings = settings_for(model, text, fp16=True)
    whole = run_training(settings, tmp_path / "whole")
    assert [point["loss_scale"] for point in whole["curve"]] == [2.0**16] * 4 or whole["curve"][0]["loss_scale"] < 2**16
    with killed_at(2):
        run_training(settings, tmp_path / "half")
    resumed = run_training(settings, tmp_path / "half", resume=True)
    for name in ("loss_scale", "steps_at_scale", "nats_per_token"):
        assert [point[name] for point in resumed["curve"]] == [point[name] for point in whole["curve"]]
    torch.testing.assert_close(weights_of(tmp_path / "half"), weights_of(tmp_path / "whole"), rtol=0, atol=0)


def test_a_step_whose_scaled_gradients_overflow_is_left_out_and_the_scale_falls():
    weight, seen = nn.Parameter(torch.ones(())), []

    def objective(step, part):
        return weight * (1e38 if step == 1 else 1.0), {}

    train(
        {"weight": weight},
        [torch.optim.SGD([weight], lr=0.1)],
        objective,
        TrainSettings(3),
        on_step=lambda step, point: seen.append((weight.item(), point["loss_scale"], point["gradient_norm"])),
        scaler=torch.amp.GradScaler("cpu", init_scale=2.0**10),
    )
    assert seen[1][0] == seen[0][0]
    assert seen[2][0] < seen[1][0]
    assert [scale for _, scale, _ in seen] == [1024, 512, 512]
    assert seen[1][2] is None


# Other targets, dropout, rsLoRA.


def test_targets_are_groups_of_any_family_or_names():
    def linears(*targets):
        wrapped = longlora(small_llama(), LongLoRAConfig(128, targets=targets))
        return {name.rpartition(".")[2] for name, part in wrapped.named_modules() if hasattr(part, "lora_A")}

    attention, mlp = {"q_proj", "k_proj", "v_proj", "o_proj"}, {"gate_proj", "up_proj", "down_proj"}
    assert linears("attention") == attention
    assert linears("mlp") == mlp
    assert linears("attention", "mlp") == attention | mlp
    assert linears("mlp", "q_proj") == mlp | {"q_proj"}


def test_rank_stabilised_lora_is_loaded_by_both_and_merges_alike(tmp_path):
    base = small_llama()
    base.save_pretrained(tmp_path / "base")
    wrapped = longlora(base, LongLoRAConfig(128, rank=4, alpha=8), dropout=0.1, rslora=True)
    for name, weight in wrapped.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight)
    layers = [part for part in wrapped.modules() if hasattr(part, "lora_A")]
    assert {layer.scaling["default"] for layer in layers} == {8 / 4**0.5}
    assert {layer.lora_dropout["default"].p for layer in layers} == {0.1}
    wrapped.save_pretrained(tmp_path / "adapter")
    again = load_longlora(small_llama(), tmp_path / "adapter")
    ids = torch.arange(3, 40)[None]
    torch.testing.assert_close(again(ids).logits, wrapped.eval()(ids).logits, rtol=0, atol=0)
    small = load_tiny_llama(tmp_path / "base")
    load_adapter(small, tmp_path / "adapter")
    assert {layer.scaling for layer in lora_layers(small).values()} == {8 / 4**0.5}
    expected = again(ids).logits
    torch.testing.assert_close(merge_longlora(again)(ids).logits, expected, rtol=1e-4, atol=1e-4)


# A base in bfloat16, and one in 4 or 8 bits.


def test_an_adapter_says_that_its_base_was_in_bfloat16(model, text, tmp_path, threads):
    run_training(settings_for(model, text, bf16=True, steps=1, warmup=0), tmp_path / "half")
    run_training(settings_for(model, text, steps=1, warmup=0), tmp_path / "full")
    assert trained_in_bf16(tmp_path / "half" / "adapter")
    assert not trained_in_bf16(tmp_path / "full" / "adapter")
    assert not trained_in_bf16(None)


@pytest.mark.parametrize("bits", ["4bit", "8bit"])
def test_a_quantised_base_trains_its_adapter_and_is_not_merged(bits, text, tmp_path, threads):
    pytest.importorskip("bitsandbytes")
    model = str(tmp_path / "wide")  # bitsandbytes takes blocks of 64 numbers
    small_llama(hidden_size=128, intermediate_size=128).save_pretrained(model)
    byte_level_tokenizer(model_max_length=64).save_pretrained(model)
    record = run_training(settings_for(model, text, load_in=bits, bf16=True), tmp_path / "run")
    losses = [point["nats_per_token"] for point in record["curve"]]
    assert losses[-1] < losses[0]
    coded = load_causal_model(model, dtype=torch.bfloat16, load_in=bits)
    assert next(part for name, part in coded.named_modules() if name.endswith("q_proj")).weight.dtype != torch.bfloat16
    with pytest.raises(ValueError, match="train must be 'adapters' on a base quantised by .*, got 'all'"):
        longlora(coded, LongLoRAConfig(128, train="all"))
    wrapped = longlora(coded, LongLoRAConfig(128))
    before = {name: value.clone() for name, value in wrapped.state_dict().items()}
    with pytest.raises(ValueError, match="model must not be quantised to be merged, got .*: save the adapter"):
        merge_longlora(wrapped)
    assert all(torch.equal(value, before[name]) for name, value in wrapped.state_dict().items())
    merged = merge_longlora(load_longlora(load_causal_model(model), tmp_path / "run" / "adapter"))
    assert merged(torch.arange(3, 40)[None]).logits.isfinite().all()


def test_without_bitsandbytes_it_is_said_what_to_install(model, monkeypatch):
    monkeypatch.setattr("longlora_edu.hf.loading.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="load_in must find bitsandbytes, got none: python -m pip install"):
        load_causal_model(model, load_in="4bit")


def test_packed_weights_of_a_gguf_file_are_not_packed_again(monkeypatch):
    monkeypatch.setattr("longlora_edu.hf.loading.find_spec", lambda name: True)
    with pytest.raises(ValueError, match=r"load_in must be left out for a .gguf file, got 4bit"):
        from longlora_edu.hf.loading import _codes

        _codes("model.gguf", torch.float32, "4bit")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bf16": True, "fp16": True}, "bf16 and fp16 must not both be given"),
        ({"load_in": "4bit", "train": "all"}, "train must be 'adapters' on a base in 4bit, whose weights are codes"),
        ({"load_in": "2bit"}, "load_in must be one of 4bit, 8bit"),
        ({"dropout": 1}, "dropout must be"),
        ({"epochs": 0}, "epochs must be"),
        ({"validate_every": -1}, "validate_every must be"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TrainingSettings("", "", 128, **options)


# Passes, validation, logs, kept tokens.


def test_a_pass_takes_every_window_once_in_an_order_of_its_own(model, text, threads):
    tokenizer = byte_level_tokenizer()
    data = read_data(settings_for(model, text), tokenizer)
    rows, _ = draw_in_passes(data, 0, 0, 2 * data.in_a_pass)
    first, second = (sorted(map(tuple, part.tolist())) for part in np.split(rows, 2))
    assert first == second == sorted(tuple(data.item(place)[0][0].tolist()) for place in range(data.in_a_pass))
    assert not (rows[: data.in_a_pass] == rows[data.in_a_pass :]).all()


def test_epochs_make_the_steps_and_every_pair_is_trained_on_once(model, tmp_path, threads):
    pairs = [{"instruction": f"question {i}", "output": f"answer {i}"} for i in range(6)]
    (tmp_path / "pairs.json").write_text(json.dumps(pairs))
    record = run_training(settings_for(model, tmp_path / "pairs.json", epochs=1.5), tmp_path / "run")
    assert record["settings"]["steps"] == len(record["curve"]) == 5  # 9 pairs, two a step
    with pytest.raises(
        ValueError, match="validate_every must be 0 for instruction pairs, none of them held out, got 2"
    ):
        run_training(settings_for(model, tmp_path / "pairs.json", validate_every=2), tmp_path / "other")


def test_the_loss_on_held_out_text_joins_the_curve_and_changes_no_weight(model, text, tmp_path, threads):
    plain = run_training(settings_for(model, text), tmp_path / "plain")
    watched = run_training(settings_for(model, text, validate_every=3), tmp_path / "watched")
    found = [point.get("validation_nats_per_token") for point in watched["curve"]]
    assert [value is not None for value in found] == [False, False, True, True]
    assert all(4 < value < 7 for value in found if value is not None)
    assert [p["nats_per_token"] for p in plain["curve"]] == [p["nats_per_token"] for p in watched["curve"]]
    torch.testing.assert_close(weights_of(tmp_path / "watched"), weights_of(tmp_path / "plain"), rtol=0, atol=0)
    lines = [json.loads(line) for line in (tmp_path / "watched" / "log.jsonl").read_text().splitlines()]
    assert [line["nats_per_token"] for line in lines] == [point["nats_per_token"] for point in watched["curve"]]


def test_without_a_long_held_out_text_nothing_can_be_validated(model, tmp_path):
    write_text(tmp_path / "one.py", 1200)
    with pytest.raises(ValueError, match="validate_every must be 0 without held-out text: data must hold a text of"):
        run_training(settings_for(model, tmp_path / "one.py", context=800, validate_every=1), tmp_path / "run")


def test_a_log_drops_the_lines_of_steps_that_are_taken_again(tmp_path):
    log = RunLog(tmp_path)
    for step in range(4):
        log(step, {"step": step + 1, "loss": 1.0})
    again = RunLog(tmp_path)
    for step in (2, 3, 4):
        again(step, {"step": step + 1, "loss": 2.0})
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(line["step"], line["loss"]) for line in lines] == [(1, 1.0), (2, 1.0), (3, 2.0), (4, 2.0), (5, 2.0)]
    with pytest.raises(ValueError, match="report_to must be one of tensorboard, got 'paper'"):
        RunLog(tmp_path, ["paper"])


def test_a_reader_of_curves_that_is_not_installed_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("longlora_edu.hf.run_log.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="report_to must name an installed package, got tensorboard: python -m pip"):
        RunLog(tmp_path, ["tensorboard"])


def test_tensorboard_reads_the_curve(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = RunLog(tmp_path, ["tensorboard"])
    for step in range(3):
        log(step, {"step": step + 1, "loss": 3.0 - step, "passkey": None})
    found = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in found.Scalars("loss")] == [(1, 3.0), (2, 2.0), (3, 1.0)]


def test_tokens_of_a_large_corpus_are_kept_and_found_by_their_hash(text, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    corpus, tokenizer, calls = read_corpus(text), byte_level_tokenizer(), []

    def counted(documents, tokenizer):
        calls.append(documents)
        return tokenised(documents, tokenizer)

    expected = [tokenised(side, tokenizer) for side in (corpus.train, corpus.held_out)]
    assert not token_cache.cache_folder().exists()
    token_cache.corpus_tokens(corpus, tokenizer, counted)
    assert not token_cache.cache_folder().exists()  # small
    monkeypatch.setattr(token_cache, "SMALLEST", 1000)
    for _ in range(2):
        found = token_cache.corpus_tokens(corpus, tokenizer, counted)
        for side, other in zip(found, expected, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(side, other, strict=True))
    assert len(calls) == 2 * 20  # once without a cache, once to fill it
    token_cache.corpus_tokens(corpus, byte_level_tokenizer(merges=[("a", "b")]), counted)
    assert len(calls) == 3 * 20  # another tokenizer
    for path in token_cache.cache_folder().iterdir():
        path.write_bytes(path.read_bytes()[:-40])
    token_cache.corpus_tokens(corpus, tokenizer, counted)
    assert len(calls) == 4 * 20  # damaged


# Why `train` is a loop of its own.


def test_a_checkpoint_of_the_stock_trainer_that_was_cut_off_is_taken_for_whole(tmp_path):
    """The promise that stock `Trainer` does not keep: killed while it writes, it does not go on."""
    model = longlora(small_llama(), LongLoRAConfig(64, trained_length=32))
    rows = [{"input_ids": row, "labels": row} for row in 3 + (torch.arange(64) + torch.arange(4)[:, None]) % 40]
    arguments = transformers.TrainingArguments(
        str(tmp_path), max_steps=2, save_steps=1, report_to="none", use_cpu=True, disable_tqdm=True
    )
    transformers.Trainer(model, arguments, train_dataset=rows).train()
    (tmp_path / "checkpoint-2" / "trainer_state.json").unlink()  # it is written last
    with pytest.raises(Exception, match="trainer_state"):
        transformers.Trainer(model, arguments, train_dataset=rows).train(True)
