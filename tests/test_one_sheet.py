"""`notebooks/one_sheet.py` against the package: the sheet imports nothing of it, so each is the other's witness."""

from __future__ import annotations

import ast
import hashlib
import json
import math
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import ROOT
from record_sheet import base, form, gradient_errors, own_name, torch_loss, with_lora, with_output
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from longlora_edu import reference
from longlora_edu.course.play.sheet import BREAKS, excerpt, leak, lines_by_step, lines_of_code, load_sheet, sheet_file
from longlora_edu.geometry import S2Geometry
from longlora_edu.longlora import LongLoRAConfig, apply_longlora, merge_to_dense
from longlora_edu.model import LlamaConfig, TinyLlama, load_tiny_llama, save_tiny_llama
from longlora_edu.rope import Rope
from longlora_edu.runs.records import recorded

SOURCE = sheet_file().read_text(encoding="utf-8")
TREE = ast.parse(SOURCE)


@pytest.fixture
def sheet():
    """A fresh copy, so that a test may set its constants."""
    return load_sheet()


@pytest.fixture
def tiny(tmp_path):
    """A folder with a small random model: 2 layers, 3 heads (an odd count) of 8, trained at 64 bytes."""
    config = LlamaConfig(
        Rope(8, trained_length=64),
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=3,
        num_key_value_heads=3,
        max_position_embeddings=64,
    )
    generator = torch.Generator().manual_seed(0)
    model = TinyLlama(config, generator=generator)
    with torch.no_grad():
        for parameter in model.parameters():  # sharp attention, norms that are not all 1
            scale = parameter.shape[-1] ** -0.5 if parameter.dim() == 2 else 0.3
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    save_tiny_llama(model, tmp_path / "tiny")
    return tmp_path / "tiny"


def relative_error(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def some_window(sheet, n, g, seed=0):
    """A window of the package's own source, with references in it."""
    code = np.frombuffer(SOURCE.encode() * 2, np.uint8)[: n + 1]
    return sheet.hide_references(code, g, np.random.default_rng(seed), held_out=True)


# ---- the form: a page that a person can read


def test_it_fits_on_a_sheet():
    assert len(lines_of_code(SOURCE)) <= 250
    assert len(SOURCE.splitlines()) <= 400
    assert max(map(len, SOURCE.splitlines())) <= 100


def test_lines_of_code_are_those_that_are_not_blank_no_comment_and_no_docstring():
    text = '"""A title\n\nin three lines."""\n\nimport os  # counts\n\n# not\n'
    text += 'def f(x):\n    """No."""\n    return (\n        x\n    )\n'
    assert lines_of_code(text) == {5, 8, 10, 11, 12}


def test_one_statement_a_line():
    statements = [node.lineno for node in ast.walk(TREE) if isinstance(node, ast.stmt)]
    assert len(statements) == len(set(statements))


def test_it_imports_numpy_and_the_standard_library_only():
    modules = set()
    for node in ast.walk(TREE):
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module)
    assert {module.split(".")[0] for module in modules} - sys.stdlib_module_names == {"numpy"}


def test_its_headings_are_the_steps_of_the_pseudo_code_in_their_order():
    headings = [line for line in SOURCE.splitlines() if line.startswith("# ---- ")]
    steps = [
        "1. Initialize LongLoRA with the base LLM parameters.",
        "2. For each training data instance: a. Extract the long context and",
        "2. b. Apply sparse local attention to the context during fine-tuning.",
        "3. Retain the original standard self-attention mechanism for inference.",
        "4. Introduce trainable embedding and normalization layers for long context learning.",
        "5. Fine-tune the model using the LongQA dataset or other relevant long-context datasets.",
        "6. Once fine-tuning is complete, use dense global attention for inference tasks.",
    ]
    assert len(headings) == len(steps)
    for heading, step in zip(headings, steps, strict=True):
        assert heading.startswith(f"# ---- Step {step}")


def test_every_function_says_what_it_does(sheet):
    functions = [node for node in TREE.body if isinstance(node, ast.FunctionDef)]
    assert [node.name for node in functions if not ast.get_docstring(node)] == []


# ---- the attention: equal to the reference


@pytest.mark.parametrize(("heads", "groups", "group"), [(1, 3, 4), (2, 2, 6), (3, 4, 5), (4, 4, 8), (5, 1, 9)])
def test_attention_and_its_gradient_equal_the_reference(sheet, heads, groups, group):
    rng = np.random.default_rng(heads)
    n = groups * group
    q, k, v, d_y = rng.standard_normal((4, n, heads, 6))
    geometry = S2Geometry(n, group, heads, shift=0 if groups == 1 else None)
    ours = [x.swapaxes(0, 1)[None] for x in (q, k, v, d_y)]  # (n h d) to (b h n d)
    y, back = sheet.attention(q, k, v, group)
    np.testing.assert_allclose(y.swapaxes(0, 1)[None], reference.s2_attention(*ours[:3], geometry), atol=1e-12)
    expected = reference.s2_attention_backward(ours[3], *ours[:3], geometry)
    for found, gradient in zip(back(d_y), expected, strict=True):
        np.testing.assert_allclose(found.swapaxes(0, 1)[None], gradient, atol=1e-12)


def test_one_group_is_full_attention(sheet):
    q, k, v = np.random.default_rng(0).standard_normal((3, 12, 2, 4))
    expected = reference.full_attention(*(x.swapaxes(0, 1)[None] for x in (q, k, v)))
    np.testing.assert_allclose(sheet.attention(q, k, v, 12)[0].swapaxes(0, 1)[None], expected, atol=1e-12)


@pytest.mark.parametrize("group", [8, 16, 64])
def test_no_byte_changes_what_was_foretold_before_it(sheet, tiny, group):
    m = sheet.read_model(tiny)
    ids = np.random.default_rng(0).integers(256, size=64)
    before = sheet.forward(m, ids, group)[0]
    for place in (5, 31, 63):
        changed = ids.copy()
        changed[place] ^= 1
        difference = abs(sheet.forward(m, changed, group)[0] - before).max(axis=1)
        assert difference[:place].max() == 0
        assert difference[place] > 0


# ---- the model: equal to the package's


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_logits_equal_the_small_llama(sheet, factor):
    m = sheet.read_model(sheet.BASE)
    model = load_tiny_llama(sheet.BASE)
    n = factor * m.config["max_position_embeddings"]
    if factor > 1:
        m.config = sheet.stretch(m.config, factor)
        apply_longlora(model, LongLoRAConfig(n))
    ids = some_window(sheet, n, n // 4)[0][:-1]
    with torch.no_grad():
        expected = model.eval()(torch.as_tensor(ids)[None])[0].numpy()
    assert abs(sheet.forward(m, ids, n)[0] - expected).max() < 1e-4


def check_gradients(sheet, m, model, window, group, tolerance):
    errors = gradient_errors(sheet, m, model, window, group)
    assert set(errors) == set(m.grads)
    worst = max(errors, key=errors.get)
    assert errors[worst] < tolerance, worst


def test_each_gradient_equals_torchs_in_float64(sheet, tiny):
    m, model = with_lora(sheet, tiny, 4, np.float64)
    check_gradients(sheet, m, model, some_window(sheet, 256, 64), 64, 1e-5)


def test_each_gradient_of_the_real_model_equals_torchs_in_float32(sheet):
    m, model = with_lora(sheet, sheet.BASE, 2)
    n = m.config["max_position_embeddings"]
    check_gradients(sheet, m, model, some_window(sheet, n, n // 4), n // 4, 1e-4)


def test_the_loss_equals_torchs(sheet, tiny):
    m, model = with_lora(sheet, tiny, 4, np.float64)
    window = some_window(sheet, 256, 64)
    expected = torch_loss(sheet, model.train(), *window).item()
    assert sheet.add_gradients(m, *window, 64) == pytest.approx(expected, rel=1e-6)


def test_gradients_of_several_windows_add_up(sheet, tiny):
    m, _ = with_lora(sheet, tiny, 4, np.float64)
    windows = [some_window(sheet, 256, 64, seed) for seed in (0, 1)]
    apart = []
    for window in windows:
        sheet.add_gradients(m, *window, 64)
        apart.append({name: gradient.copy() for name, gradient in m.grads.items()})
        for gradient in m.grads.values():
            gradient[:] = 0
    for window in windows:
        sheet.add_gradients(m, *window, 64)
    for name, gradient in m.grads.items():
        np.testing.assert_allclose(gradient, apart[0][name] + apart[1][name], atol=1e-12)


def test_training_takes_the_steps_of_torchs_adam(sheet, tiny, capsys):
    sheet.BATCH = 2
    m, model = with_lora(sheet, tiny, 4, np.float64)
    batches = [[some_window(sheet, 256, 64, 10 * step + part) for part in range(2)] for step in range(4)]
    start = {name: array.copy() for name, array in m.w.items()}
    sheet.train(m, batches, 64)
    trained = {own_name(n): p for n, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.Adam(trained.values(), betas=(0.9, 0.95))
    model.train()
    for step, batch in enumerate(batches, start=1):
        optimizer.param_groups[0]["lr"] = sheet.RATE * step / 10 * (1 + math.cos(math.pi * step / 4)) / 2
        optimizer.zero_grad()
        for window in batch:
            torch_loss(sheet, model, *window).backward()
        optimizer.step()
    for name, array in m.w.items():
        if name in trained:
            moved = trained[name].detach().numpy() - start[name]
            assert abs(moved).max() > 0
            assert relative_error(array - start[name], moved) < 1e-4, name
        else:
            np.testing.assert_array_equal(array, start[name])
    assert "step 4 of 4" in capsys.readouterr().out


def test_what_has_no_room_for_a_gradient_stays_as_it_is(sheet, tiny):
    m, _ = with_lora(sheet, tiny, 4)
    norms = [name for name in m.grads if "norm" in name]
    start = {name: m.w[name].copy() for name in norms}
    for name in norms:
        del m.grads[name]
    sheet.train(m, [[some_window(sheet, 256, 64)]], 64)
    for name in norms:
        np.testing.assert_array_equal(m.w[name], start[name])


# ---- the files


def test_the_merged_model_loads_in_the_package_and_in_transformers(sheet, tmp_path):
    m, model = with_lora(sheet, sheet.BASE, 2)
    n = m.config["max_position_embeddings"]
    ids = some_window(sheet, n, n // 4)[0][:-1]
    before = sheet.forward(m, ids, n)[0]
    sheet.merge(m)
    assert set(m.w) == set(load_tiny_llama(sheet.BASE).state_dict())
    sheet.write_model(m, tmp_path)
    tokens = torch.as_tensor(ids)[None]
    with torch.no_grad():
        ours = load_tiny_llama(tmp_path)(tokens)[0].numpy()
        theirs = AutoModelForCausalLM.from_pretrained(tmp_path)(tokens).logits[0].numpy()
        expected = merge_to_dense(model).eval()(tokens)[0].numpy()
    again = sheet.read_model(tmp_path)
    assert again.config == m.config
    for logits in (sheet.forward(again, ids, n)[0], ours, theirs, expected):
        assert abs(logits - before).max() < 2e-4  # merging rounds W + alpha/r BA once


def test_half_precision_is_read(sheet, tiny):
    full = sheet.read_model(tiny).w
    save_file({name: torch.from_numpy(array).half() for name, array in full.items()}, tiny / "model.safetensors")
    for name, array in sheet.read_model(tiny).w.items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, full[name].astype(np.float16))


# ---- the text and what is hidden in it


def test_windows_are_cut_inside_files_that_a_hash_of_the_name_puts_on_one_side(sheet, tmp_path):
    for number in range(99):
        (tmp_path / f"m{number}.py").write_bytes(bytes([number]) * 25)
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "m.py").write_bytes(b"x" * 99)
    windows = sheet.read_windows(10, tmp_path)
    held_out = {n for n in range(99) if hashlib.sha256(f"m{n}.py".encode()).digest()[0] % 16 == 0}
    assert held_out
    assert {bytes(window) for window in windows["held out"]} == {bytes([n]) * 10 for n in held_out}
    assert len(windows["held out"]) == 2 * len(held_out)
    assert len(windows["train"]) == 2 * (99 - len(held_out))


@pytest.mark.parametrize("held_out", [False, True])
def test_a_reference_is_set_and_asked_for_within_half_a_group_of_its_middle(sheet, held_out):
    code = np.frombuffer(SOURCE.encode(), np.uint8)[:1025]
    counted = plain = 0
    for seed in range(30):
        ids, answers = sheet.hide_references(code, 256, np.random.default_rng(seed), held_out)
        text = bytes(ids.tolist())
        assert len(text) == 1025
        if text == bytes(code):
            assert answers.shape == (0, 5)
            plain += 1
            continue
        sets, gets = ({}, {})
        for lines, kind in ((sets, b"\n# set "), (gets, b"\n# get ")):
            at = text.find(kind)
            while at >= 0:
                lines[text[at + 7 : at + 10]] = (at, text[at + 11 : at + 16])
                at = text.find(kind, at + 1)
        assert len(sets) == len(gets) == 8
        assert set(sets) == set(gets)
        for word, (at, digits) in sets.items():
            asked, answer = gets[word]
            assert answer == digits and digits.isdigit()
            assert 17 <= asked - at <= 256 - 17
            if held_out:  # the two lines lie in the halves beside a border
                assert at // 128 % 2 == (at + 16) // 128 % 2 == 1
                assert asked // 128 == (asked + 16) // 128 == at // 128 + 1
            is_last = max(other for other, _ in sets.values() if other < asked) == at
            assert (asked + 11 in answers[:, 0]) == (not is_last)
        for places in answers:
            assert text[places[0] - 11 : places[0] - 4] == b"\n# get " and text[places[0] : places[-1] + 1].isdigit()
        counted += len(answers)
        rest = text
        for word, (_, digits) in sets.items():
            for line in (b"\n# set %s=%s\n", b"\n# get %s %s\n"):
                rest = rest.replace(line % (word, digits), b"", 1)
        assert bytes(code).startswith(rest)
    assert counted > 40
    assert plain == 0 if held_out else 5 < plain < 25  # half of the training windows stay as they are


def test_words_of_the_two_sides_are_different_and_use_all_letters(sheet):
    train, held_out = (set(sheet.WORDS[side::3]) for side in (0, 1))
    assert not train & held_out
    for place in range(3):
        for words in (train, held_out):
            assert len({word[place] for word in words}) == 26


# ---- measuring


def test_bits_are_those_of_the_last_128_bytes(sheet):
    m = sheet.read_model(sheet.BASE)
    model = load_tiny_llama(sheet.BASE)
    windows = np.stack([some_window(sheet, 199, 48, seed)[0] for seed in (0, 1)])
    with torch.no_grad():
        tokens = torch.as_tensor(windows)
        nats = F.cross_entropy(model(tokens[:, :-1]).transpose(1, 2), tokens[:, 1:], reduction="none")
    assert sheet.bits_per_byte(m, windows) == pytest.approx(nats[:, -128:].mean().item() / math.log(2), rel=1e-5)


def test_an_answer_is_found_only_with_all_its_digits(sheet, monkeypatch):
    window = some_window(sheet, 1024, 256)
    ids, answers = window
    assert len(answers) >= 2
    guesses = np.eye(256)[ids[1:]]
    monkeypatch.setattr(sheet, "forward", lambda m, ids, g: (guesses, None))
    assert sheet.found_references(None, [window]) == [True] * len(answers)
    guesses[answers[0, 2] - 1] = np.eye(256)[0]
    assert sheet.found_references(None, [window]) == [False] + [True] * (len(answers) - 1)


def test_it_writes_the_first_choice_again_and_again(sheet):
    m = sheet.read_model(sheet.BASE)
    model = load_tiny_llama(sheet.BASE)
    ids = torch.as_tensor(np.frombuffer(b"import os\n\n\ndef ", np.uint8).copy())
    prompt = ids.numpy()
    with torch.no_grad():
        for _ in range(12):
            ids = torch.cat([ids, model(ids[None])[0, -1].argmax(keepdim=True).to(ids.dtype)])
    assert sheet.write_on(m, prompt, 12) == bytes(ids[-12:].tolist())


def test_the_whole_run_on_a_few_windows_prints_the_ladder(sheet, monkeypatch, tmp_path, capsys):
    write_on = sheet.write_on  # a forward pass a byte, and it prints 48 in each row
    monkeypatch.setattr(sheet, "write_on", lambda m, ids, count: write_on(m, ids, count // 24))
    monkeypatch.setattr(sheet, "BATCH", 2)
    config = json.loads((sheet.BASE / "config.json").read_text())
    m = sheet.main(steps=2, count=2)
    trained = config["max_position_embeddings"]
    assert m.config["max_position_embeddings"] == 2 * trained
    assert m.config["rope_parameters"]["factor"] == 2
    assert not any("lora" in name for name in m.w)
    rows = [line.split("\r")[-1] for line in capsys.readouterr().out.strip("\n").split("\n")]
    assert [row[:36].strip() for row in rows] == [
        "base, own context",
        "base, given 2 times as much",
        "positions stretched, nothing trained",
        "trained in groups, read densely",
    ]
    assert all(" bits a byte" in row for row in rows)
    assert all(" answers; goes on b" in row for row in rows[1:])


# ---- its broken forms, which the lesson and the record show


@pytest.mark.parametrize("name", BREAKS)
def test_each_broken_form_is_the_sheet_with_one_part_left_out(name, tiny):
    m = load_sheet().read_model(tiny)
    ids = np.random.default_rng(0).integers(256, size=64)
    changed = np.append(ids[:-1], ids[-1] ^ 1)
    broken = load_sheet(*BREAKS[name])
    leak = abs(broken.forward(m, ids, 16)[0] - broken.forward(m, changed, 16)[0])[:-1].max()
    assert (leak > 0) == (name in ("boundary", "shift back"))
    broken.add_lora(m, np.random.default_rng(0))
    assert any("norm" in trained for trained in m.grads) == (name != "norms")


def test_the_changes_that_lesson_12_proposes_do_what_it_says_of_them(tiny):
    lesson = (ROOT / "notebooks" / "source" / "12_read_the_sheet.py").read_text(encoding="utf-8")
    pairs = [
        ast.literal_eval(line[2:].split("  #")[0].strip()) for line in lesson.splitlines() if line.startswith('# ("')
    ]
    assert len(pairs) == 3
    as_it_stands, ids = load_sheet(), np.random.default_rng(0).integers(256, size=64)
    found = []
    for pair in pairs:
        m, changed = as_it_stands.read_model(tiny), load_sheet(pair)
        before = changed.forward(m, ids, 16)[0]
        moved = abs(before - as_it_stands.forward(m, ids, 16)[0]).max() > 0
        changed.add_lora(m, np.random.default_rng(0))
        still = all((array == 0).all() for name, array in m.w.items() if "lora" in name)
        found.append((leak(changed, m, ids, 16) > 0, moved, still))
    assert found == [(True, True, False), (False, True, False), (False, False, True)]


def test_a_piece_that_is_not_in_the_sheet_cannot_be_changed():
    with pytest.raises(ValueError, match="a piece to change must stand in the sheet once, got 0 times"):
        load_sheet(("no such line", ""))


@pytest.mark.parametrize("name", ["as it stands", "boundary", "shift back"])
def test_each_form_has_the_gradient_of_its_own_attention(name):
    """A break that left the backward of the sheet would be two faults, and its training would show the other one."""
    attention = load_sheet(*BREAKS.get(name, ())).attention
    rng = np.random.default_rng(0)
    q, k, v, weight, step = rng.normal(size=(5, 16, 2, 4))
    gradients = attention(q, k, v, 8)[1](weight)
    for place, gradient in enumerate(gradients):
        moved = [[x + (sign * 1e-5 * step if at == place else 0) for at, x in enumerate((q, k, v))] for sign in (1, -1)]
        up, down = ((weight * attention(*inputs, 8)[0]).sum() for inputs in moved)
        np.testing.assert_allclose((gradient * step).sum(), (up - down) / 2e-5, rtol=1e-6)


def test_an_excerpt_is_the_text_of_its_functions():
    text = excerpt("softmax", "rotate")
    assert text.startswith("def softmax(x):") and "\n\ndef rotate(x, cos, sin):" in text
    assert all(line in SOURCE for line in text.splitlines())


def test_the_lines_of_all_steps_together_are_those_of_the_sheet():
    counts = lines_by_step(SOURCE)
    assert sum(counts.values()) == len(lines_of_code(SOURCE))
    assert [name[:2] for name in counts] == ["be", "1.", "2.", "2.", "3.", "4.", "5.", "6."]
    assert min(counts.values()) > 5


# ---- the record


def test_the_record_is_of_this_sheet_and_of_the_small_model_that_travels_with_it():
    record = recorded("one_sheet")
    assert record["form"] == form()
    assert record["base"] == base(), "record it again: python benchmarks/record_sheet.py"


def test_the_record_of_the_breaks_says_what_lesson_12_says_of_them():
    record = recorded("one_sheet")
    found = {part: record[part]["found"] for part in ("stretched", "sheet", *BREAKS)}
    whole = found["sheet"]
    assert found["stretched"] == 0, "positions alone find none"
    assert found["shift back"] < whole / 10, "almost none"
    assert 2 * whole / 3 < found["shift"] < whole, "most are found without a shift, some more with it"
    assert whole / 0.95 > found["boundary"] > 0.95 * whole, "as many are found without the boundary"
    assert 0.95 * whole < found["norms"] < whole, "a few less without the norms"
    last = {part: np.mean(record[part]["loss"][-10:]) for part in ("sheet", *BREAKS)}
    assert last["shift back"] > 1.1 * last["sheet"] and abs(last["boundary"] - last["sheet"]) < 0.01 * last["sheet"]


def test_the_sheet_does_its_job_within_ten_minutes_and_a_gigabyte():
    record = recorded("one_sheet")
    assert record["run"]["seconds"] < 600
    assert record["run"]["peak_rss_bytes"] < 1e9
    assert record["equality"]["gradient_error"] < 1e-4
    assert record["equality"]["logit_error"] < 1e-4
    assert record["sheet"]["found"] >= 0.8 * record["sheet"]["of"]
    assert record["sheet"]["bits_per_byte"] < 1.02 * record["torch"]["bits_per_byte"]


def test_the_readme_shows_what_the_record_holds():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert with_output(readme, recorded("one_sheet")) == readme
