"""Folders that others read: merged models, their tokenizers, and adapters that say what they are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import venv

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from small_models import byte_level_tokenizer, small_llama
from typer.testing import CliRunner

from longlora_edu.cli import app
from longlora_edu.hf import load_longlora, longlora, merge_longlora
from longlora_edu.hf.measure import merge_into
from longlora_edu.longlora import LongLoRAConfig
from longlora_edu.lora import add_lora, load_adapter
from longlora_edu.model import LlamaConfig, TinyLlama
from longlora_edu.rope import Rope

LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 64, "rope_theta": 700.0}  # fmt: skip
NEOX = {
    "vocab_size": 64, "hidden_size": 64, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 64, "bos_token_id": 0, "eos_token_id": 0,
}  # fmt: skip


def neox():
    rule = {"rope_type": "default", "rope_theta": 700.0, "partial_rotary_factor": 0.5}
    return transformers.GPTNeoXForCausalLM(transformers.GPTNeoXConfig(rope_parameters=rule, **NEOX))


def phi():
    rule = {"rope_type": "default", "rope_theta": 700.0, "partial_rotary_factor": 0.5}
    return transformers.PhiForCausalLM(transformers.PhiConfig(rope_parameters=rule, **NEOX))


def llama(**rule):
    rule = {"rope_type": "default", "rope_theta": 700.0} | rule
    return small_llama(max_position_embeddings=512 if rule["rope_type"] == "llama3" else 64, rope_parameters=rule)


# A base, the rule it is stretched by, and what an older reader must find: (builder, method, target).
MERGED = {
    "linear": (llama, "linear", 256),
    "ntk": (llama, "ntk", 256),
    "dynamic": (llama, "dynamic", 256),
    "yarn": (llama, "yarn", 256),
    "llama3": (lambda: llama(**LLAMA3), "llama3", 1024),
    "llama3 kept": (lambda: llama(**LLAMA3), "default", 128),
    "plain kept": (llama, "default", 48),
    "neox linear": (neox, "linear", 256),
    "phi yarn": (phi, "yarn", 256),
}


def sharpened(model):
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if any(part in name for part in ("q_proj", "k_proj", "query_key")):
                weight.mul_(20)
    return model


@pytest.fixture(scope="module")
def merged(tmp_path_factory):
    """Each of them in a folder, with the logits that it has here."""
    root, logits = tmp_path_factory.mktemp("merged"), {}
    for name, (build, method, target) in MERGED.items():
        torch.manual_seed(0)
        model = merge_longlora(longlora(sharpened(build()), LongLoRAConfig(target, rope=method))).eval()
        model.save_pretrained(root / name)
        with torch.no_grad():
            logits[name] = model(torch.arange(1, 45)[None].repeat(1, 5)).logits
    save_file(logits, root / "logits.safetensors")
    return root, logits


@pytest.mark.parametrize("name", MERGED)
def test_a_merged_config_says_the_same_in_old_words_and_new(merged, name):
    config = json.loads((merged[0] / name / "config.json").read_text())
    rule = dict(config["rope_parameters"])
    share = rule.pop("partial_rotary_factor", None)
    assert config["rope_theta"] == rule.pop("rope_theta")
    assert config.get("partial_rotary_factor") == share
    if rule == {"rope_type": "default"}:
        assert "rope_scaling" not in config
    else:
        assert config["rope_scaling"] == rule | {"type": rule["rope_type"]}
    assert not {"longlora", "longlora_rope", "transformers_weights"} & set(config)


@pytest.mark.parametrize("name", MERGED)
def test_a_merged_model_is_read_back_without_stretching_twice(merged, name):
    root, logits = merged
    for _ in range(2):  # the second time as this transformers writes it
        stock = transformers.AutoModelForCausalLM.from_pretrained(root / name).eval()
        with torch.no_grad():
            torch.testing.assert_close(stock(torch.arange(1, 45)[None].repeat(1, 5)).logits, logits[name])
        root = root.parent / "again"
        stock.save_pretrained(root / name)


@pytest.mark.slow
def test_transformers_4_reads_the_same_positions(merged, tmp_path):
    """In an environment of its own; `LONGLORA_EDU_TRANSFORMERS_4` names the Python of one that is there already."""
    python = os.environ.get("LONGLORA_EDU_TRANSFORMERS_4")
    if python is None:
        venv.create(tmp_path / "env", with_pip=True)
        python = str(tmp_path / "env" / "bin" / "python")
        wanted = [f"torch=={torch.__version__.partition('+')[0]}", "transformers==4.57.*"]
        subprocess.run([python, "-m", "pip", "install", "-q", *wanted], check=True, timeout=1800)
    code = """
import sys, torch, transformers
from pathlib import Path
from safetensors.torch import save_file
assert transformers.__version__.startswith("4.57"), transformers.__version__
logits = {}
for folder in Path(sys.argv[1]).iterdir():
    if folder.is_dir():
        model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
        with torch.no_grad():
            logits[folder.name] = model(torch.arange(1, 45)[None].repeat(1, 5)).logits
save_file(logits, sys.argv[2])
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"HF_HUB_OFFLINE": "1"}
    command = [python, "-c", code, str(merged[0]), str(tmp_path / "old.safetensors")]
    subprocess.run(command, check=True, timeout=600, env=environment)
    old = load_file(tmp_path / "old.safetensors")
    assert set(old) == set(MERGED)
    for name, logits in merged[1].items():
        torch.testing.assert_close(
            old[name], logits, rtol=1e-3, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize("before", [64, 100, 256, 10_000, int(1e30)])
def test_the_tokenizer_of_a_merged_model_cuts_nothing_that_the_model_reads(before, tmp_path):
    small_llama().save_pretrained(tmp_path / "base")
    byte_level_tokenizer(model_max_length=before).save_pretrained(tmp_path / "base")
    base = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    longlora(base, LongLoRAConfig(256)).save_pretrained(tmp_path / "adapter")
    merge_into(str(tmp_path / "base"), tmp_path / "adapter", tmp_path / "merged")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "merged")
    assert tokenizer.model_max_length == max(before, 256)
    assert len(tokenizer("x" * 256, truncation=True)["input_ids"]) == 256
    written = json.loads((tmp_path / "merged" / "tokenizer_config.json").read_text())
    assert not {"is_local", "local_files_only"} & set(written)


@pytest.mark.parametrize("rope", ["default", "linear", "ntk", "dynamic", "yarn"])
def test_an_adapter_folder_that_is_taken_for_a_model_says_what_to_call(rope, tmp_path):
    longlora(small_llama(), LongLoRAConfig(256, rope=rope)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"call longlora_edu.hf.load_longlora\(base, folder\)"):
        transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    load_longlora(small_llama(), tmp_path)


@pytest.mark.parametrize("size", [10, 279, 281, 300, 512])
def test_another_vocabulary_after_wrapping_is_refused_and_before_it_is_saved(size, tmp_path):
    with pytest.raises(ValueError, match="the vocabulary must be resized before longlora wraps the model"):
        longlora(small_llama(), LongLoRAConfig(128)).resize_token_embeddings(size)
    base = small_llama()
    base.resize_token_embeddings(size)
    longlora(base, LongLoRAConfig(128)).save_pretrained(tmp_path)
    again = small_llama()
    again.resize_token_embeddings(size)
    assert load_longlora(again, tmp_path).get_input_embeddings().num_embeddings == size


# What would make numbers of none of it.


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("where", ["lora_B", "norm", "embed_tokens", "lora_A"])
def test_merged_weights_are_finite_or_refused_by_name(value, where):
    model = longlora(small_llama(), LongLoRAConfig(128))
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            weight.data.fill_(0.5)
            if where in name:
                weight.data.view(-1)[3] = value
    with pytest.raises(ValueError, match="merged weights must be finite, got NaN or infinity in model."):
        merge_longlora(model)


REFUSED = [
    ({"lora_alpha": float("nan")}, "alpha must be a number above 0, got nan"),
    ({"lora_alpha": -1}, "alpha must be a number above 0, got -1"),
    ({"lora_alpha": "8"}, "alpha must be a number above 0, got '8'"),
    ({"r": 0}, "rank must be a positive integer, got 0"),
    ({"lora_dropout": "x"}, "must have a lora_dropout from 0 to below 1, got 'x'"),
    ({"lora_dropout": 1}, "must have a lora_dropout from 0 to below 1, got 1"),
    ({"use_dora": True}, "must leave use_dora off, which changes what the weights mean, got True"),
    ({"use_dora": True}, "must leave use_dora off"),
    ({"rank_pattern": {"q_proj": 2}}, "must leave rank_pattern off"),
    ({"layers_to_transform": [0]}, "must leave layers_to_transform off"),
    ({"a_later_switch": 1}, "must leave a_later_switch off"),
    ({"init_lora_weights": "pissa"}, "must have init_lora_weights that leave the base as it is"),
    ({"target_modules": "q_proj|k_proj"}, "must have a list of names as target_modules"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED, ids=str)
def test_both_loaders_refuse_the_same_of_an_adapter_config(change, message, tmp_path):
    base = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=256, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=4,
            num_key_value_heads=4, max_position_embeddings=64,
        )
    )  # fmt: skip
    longlora(base, LongLoRAConfig(128)).save_pretrained(tmp_path)
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    plain = {"max_position_embeddings": 64, "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0}}
    fresh = transformers.LlamaForCausalLM(transformers.LlamaConfig.from_dict(base.config.to_dict() | plain))
    tiny = TinyLlama(
        LlamaConfig(Rope(8, trained_length=64), hidden_size=32, intermediate_size=48, num_hidden_layers=1,
                    num_key_value_heads=4, max_position_embeddings=64)
    )  # fmt: skip
    for load in (lambda: load_longlora(fresh, tmp_path), lambda: load_adapter(tiny, tmp_path)):
        with pytest.raises(ValueError, match=message):
            load()
    assert add_lora(tiny, ["q_proj"], rank=1, alpha=1.0)  # nothing was changed


# A sentence instead of a trace.


def invoke(*options):
    return CliRunner().invoke(app, [str(option) for option in options])


TEMPLATES = [
    "{{ raise_exception('needs a system message') }}", "{{ messages[5].content }}", "{{ nothing.at.all }}",
    "{% for m in messages %}{{ m['content'] + 1 }}{% endfor %}", "{{ unclosed", "{{ messages | no_such_filter }}",
]  # fmt: skip


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_that_raises_ends_in_a_sentence(template, tmp_path):
    tokenizer = byte_level_tokenizer()
    tokenizer.chat_template = template
    small_llama(max_position_embeddings=512).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    done = invoke("generate", "--model", tmp_path, "--question", "hi")
    assert (done.exit_code, type(done.exception)) == (1, SystemExit)
    assert "longlora-edu: the chat template must accept a question and its answer, got" in done.stderr


@pytest.mark.parametrize("question", ["", " ", "\n", "\t \n", "\u2003"])
def test_an_empty_question_ends_in_a_sentence(question, tmp_path):
    small_llama().save_pretrained(tmp_path)
    byte_level_tokenizer().save_pretrained(tmp_path)
    done = invoke("generate", "--model", tmp_path, "--question", question)
    assert (done.exit_code, "the question must have at least one token, got an empty text" in done.stderr) == (1, True)


@pytest.mark.parametrize("command", ["train", "evaluate", "generate", "merge"])
def test_a_file_that_is_no_model_ends_in_a_sentence(command, tmp_path):
    small_llama().save_pretrained(tmp_path)
    byte_level_tokenizer().save_pretrained(tmp_path)
    (tmp_path / "text.txt").write_text("words " * 500)
    options = {
        "train": ["--data", tmp_path / "text.txt", "--context", 128, "--out", tmp_path / "run"],
        "evaluate": ["--data", tmp_path / "text.txt"],
        "generate": ["--question", "hi"],
        "merge": ["--adapter", tmp_path, "--out", tmp_path / "new"],
    }[command]
    done = invoke(command, "--model", tmp_path / "config.json", *options)
    assert (done.exit_code, type(done.exception)) == (1, SystemExit)
    assert "model must be a folder, a .gguf file or an ID on the hub, got the file" in done.stderr


ODD = [
    ({"num_attention_heads": 0}, "num_attention_heads must be a positive integer, got 0"),
    ({"num_hidden_layers": 0}, "num_hidden_layers must be a positive integer, got 0"),
    ({"hidden_size": "32"}, "hidden_size must be a positive integer, got '32'"),
    ({"vocab_size": True}, "vocab_size must be a positive integer, got True"),
    ({"max_position_embeddings": "many"}, "max_position_embeddings must be a positive integer, got 'many'"),
    ({"intermediate_size": -1.5}, "intermediate_size must be a positive integer, got -1.5"),
    ({"layer_types": 5}, "layer_types must be a list of names, got 5"),
    ({"rope_parameters": 3}, "rope_parameters must be an object with a rope_type, got 3"),
    ({"rope_parameters": None, "rope_scaling": "x"}, "rope_scaling must be an object with a rope_type, got 'x'"),
    (
        {"rope_parameters": {"rope_type": "no such", "rope_theta": 1e4}},
        "the rope_type of rope_parameters must be one of default, dynamic, linear, llama3, longrope, ",
    ),
    (
        {"rope_parameters": {"rope_type": "default", "rope_theta": "x"}},
        "rope_theta must be a number above 0, got 'x'",
    ),
    ({"rope_parameters": {"rope_type": "linear", "factor": [2], "rope_theta": 1e4}}, "got [2]"),
    ({"rms_norm_eps": "a"}, "Field 'rms_norm_eps' expected float, got str (value: 'a')"),
    ({"tie_word_embeddings": "yes"}, "Field 'tie_word_embeddings' expected bool, got str (value: 'yes')"),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A base with its tokenizer, an adapter for it, and a text."""
    folder = tmp_path_factory.mktemp("whole")
    small_llama().save_pretrained(folder / "base")
    byte_level_tokenizer().save_pretrained(folder / "base")
    longlora(small_llama(), LongLoRAConfig(256)).save_pretrained(folder / "adapter")
    (folder / "text.txt").write_text("words " * 1000)
    return folder


@pytest.mark.parametrize(("change", "said"), ODD, ids=[str(change) for change, _ in ODD])
def test_an_odd_entry_of_a_config_is_named_by_every_command(change, said, whole, tmp_path):
    shutil.copytree(whole / "base", tmp_path / "odd")
    path = tmp_path / "odd" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    data, adapter = ["--data", whole / "text.txt"], ["--adapter", whole / "adapter"]
    for command, *options in (
        ("plan", "--context", 256, "--tflops", 1),
        ("train", *data, "--context", 256, "--out", tmp_path / "run"),
        ("evaluate", *data, "--trials", 0),
        ("evaluate", *data, *adapter, "--trials", 0),
        ("generate", "--question", "hi"),
        ("merge", *adapter, "--out", tmp_path / "new"),
    ):
        done = invoke(command, "--model", tmp_path / "odd", *options)
        assert (done.exit_code, type(done.exception)) == (1, SystemExit), (command, done.exception)
        assert said in done.stderr, command
        assert len(done.stderr.strip().splitlines()) == 1


ODD_ADAPTERS = [
    ({"hidden_size": "x"}, "must be a config that transformers reads: hidden_size must be a positive integer, got 'x'"),
    ({"num_attention_heads": 0}, "num_attention_heads must be a positive integer, got 0"),
    ({"layer_types": 5}, "layer_types must be a list of names, got 5"),
    ({"rope_parameters": 3}, "rope_parameters must be an object with a rope_type, got 3"),
    ({"max_position_embeddings": "x"}, "max_position_embeddings must be a positive integer, got 'x'"),
    ({"longlora": 5}, "must say in longlora what was trained, a base and its s2, got 5"),
    ({"longlora": {"base": 3, "s2": {}}}, "must say in longlora what was trained, a base and its s2, got {'base': 3"),
    ({"longlora": {"base": {}, "s2": {}}}, "must say in longlora what was trained"),
    ({"longlora_rope": 3}, "must have the fields base, beta_fast, factor, head_dim, method, trained_length, got 3"),
    ({"rms_norm_eps": "x"}, "Field 'rms_norm_eps' expected float, got str (value: 'x')"),
]


@pytest.mark.parametrize(("change", "said"), ODD_ADAPTERS, ids=[str(change) for change, _ in ODD_ADAPTERS])
def test_an_odd_config_of_an_adapter_is_named(change, said, whole, tmp_path):
    shutil.copytree(whole / "adapter", tmp_path / "odd")
    path = tmp_path / "odd" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    done = invoke("merge", "--model", whole / "base", "--adapter", tmp_path / "odd", "--out", tmp_path / "new")
    assert (done.exit_code, type(done.exception)) == (1, SystemExit), done.exception
    assert said in done.stderr


@pytest.mark.parametrize("change", [{"task_type": 3}, {"task_type": "X"}, {"target_modules": ["no_such"]}], ids=str)
def test_what_peft_refuses_is_refused_with_the_file(change, whole, tmp_path):
    shutil.copytree(whole / "adapter", tmp_path / "odd")
    path = tmp_path / "odd" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match="adapter_config.json must (be a config that PEFT reads|fit the base): "):
        load_longlora(small_llama(), tmp_path / "odd")


def test_a_file_in_another_encoding_is_refused_where_a_question_is_about_it(tmp_path):
    small_llama().save_pretrained(tmp_path)
    byte_level_tokenizer().save_pretrained(tmp_path)
    (tmp_path / "note.txt").write_bytes("café".encode("latin-1"))
    done = invoke("generate", "--model", tmp_path, "--question", "hi", "--file", tmp_path / "note.txt")
    assert (done.exit_code, "note.txt, line 1, must be UTF-8, got byte 0xe9" in done.stderr) == (1, True)
