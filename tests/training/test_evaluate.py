from __future__ import annotations

import math
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from longlora_edu.geometry import S2Pattern
from longlora_edu.model import LlamaConfig, TinyLlama
from longlora_edu.rope import Rope
from longlora_edu.runs.records import Proportion
from longlora_edu.training.corpus import Document
from longlora_edu.training.evaluate import (
    BATCH_TOKENS,
    TAIL,
    PasskeyScore,
    evaluation_tokens,
    score_passkeys,
    score_text,
)
from longlora_edu.training.passkey import DIGITS, OVERHEAD

TEXT = Document("text", np.random.default_rng(0).integers(97, 123, size=500, dtype=np.uint8).tobytes())
OTHER = Document("other", np.random.default_rng(1).integers(65, 91, size=300, dtype=np.uint8).tobytes())


def tiny_model(context=160):
    config = LlamaConfig(
        Rope(4),
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=context,
    )
    generator = torch.Generator().manual_seed(0)
    model = TinyLlama(config, generator=generator)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.normal_(std=0.5, generator=generator)
    return model.eval()


class Recorder(torch.nn.Module):
    """Passes on to a model and keeps what it was asked."""

    def __init__(self, model):
        super().__init__()
        self.model, self.asked = model, []

    def forward(self, ids, **options):
        self.asked.append(ids.clone())
        return self.model(ids, **options)

    def texts(self, length):
        return np.concatenate([ids.numpy() for ids in self.asked if ids.shape[1] == length])


class Copier(torch.nn.Module):
    """After "# passkey " it writes what followed the same words before, as far back as `sight` bytes.

    With `slip`, it is wrong about the digit of that number whenever the digit before is even.
    """

    def __init__(self, sight, slip=None):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.sight, self.slip, self.asked = sight, slip, []

    def forward(self, ids, *, last=None, beyond_context=False):
        assert not self.training
        self.asked.append(ids.clone())
        logits = torch.stack([torch.stack([self.next(bytes(row[: n + 1])) for n in range(len(row))]) for row in ids])
        return logits if last is None else logits[:, -last:]

    def next(self, text):
        scores = torch.zeros(256)
        match = re.search(rb"# passkey (\d{0,4})$", text)
        found = text.rfind(match[0], max(0, len(text) - self.sight), len(text) - len(match[0])) if match else -1
        if found >= 0:
            written = match[1]
            digit = text[found + len(match[0])]
            if self.slip == len(written) and written[-1] % 2 == 0:
                digit = ord("0") + (digit - ord("0") + 1) % 10
            scores[digit] = 1.0
        return scores


# Text.


def loop_bits(model, text, length):
    """Bits of each of the last 128 bytes, one forward pass a byte, from `length` bytes of context and target."""
    ids = torch.from_numpy(text[-length:].astype(np.int64))
    bits = []
    for position in range(length - TAIL, length):
        with torch.no_grad():
            logits = model(ids[None, :position], beyond_context=True)[0, -1].double()
        bits.append(-float(logits.log_softmax(-1)[ids[position]]) / math.log(2))
    return bits


def test_bits_per_byte_are_those_of_a_plain_loop_over_the_same_last_128_bytes():
    recorder = Recorder(tiny_model())
    lengths = [160, 132]
    score = score_text(recorder, (TEXT, OTHER), lengths, windows=3, seed=5)
    short, long = (recorder.texts(length - 1) for length in (132, 160))
    assert len(short) == len(long) == score.windows == 3
    np.testing.assert_array_equal(long[:, -131:], short)
    texts = with_last_byte(long)
    for length in lengths:
        expected = np.mean([loop_bits(recorder.model, text, length) for text in texts])
        np.testing.assert_allclose(score.by_length[length], expected, rtol=1e-5)


def with_last_byte(rows):
    """The model is not shown the last byte of a window; it follows the others in the document."""
    whole = TEXT.data + b"\0" + OTHER.data + b"\0"
    return np.stack([np.append(row, np.uint8(whole[whole.index(row.tobytes()) + len(row)])) for row in rows])


def test_by_position_is_the_mean_at_each_byte_of_the_longest_windows():
    recorder = Recorder(tiny_model())
    score = score_text(recorder, (TEXT,), [130, 160], windows=4)
    assert score.by_position.shape == (159,)
    np.testing.assert_allclose(score.by_position[-TAIL:].mean(), score.by_length[160], rtol=1e-6)
    ids = torch.from_numpy(with_last_byte(recorder.texts(159)))
    for position in (1, 40):
        with torch.no_grad():
            logits = recorder.model(ids[:, :position], beyond_context=True)[:, -1].double()
        bits = -logits.log_softmax(-1)[range(4), ids[:, position].long()] / math.log(2)
        np.testing.assert_allclose(score.by_position[position - 1], bits.mean(), rtol=1e-5)


def test_lengths_come_back_sorted_and_their_order_does_not_matter():
    first, second = (score_text(tiny_model(), (TEXT,), lengths, windows=2) for lengths in ([160, 130], [130, 160]))
    assert list(first.by_length) == [130, 160]
    assert first.by_length == second.by_length
    np.testing.assert_array_equal(first.by_position, second.by_position)


def test_a_score_is_a_function_of_the_seed():
    first, again, other = (score_text(tiny_model(), (TEXT,), [160], windows=2, seed=seed) for seed in (0, 0, 1))
    assert first.by_length == again.by_length != other.by_length


def test_text_beyond_the_context_is_scored_all_the_same():
    assert score_text(tiny_model(context=64), (TEXT,), [160], windows=1).by_length[160] > 0


def test_nothing_known_costs_8_bits_a_byte():
    model = tiny_model()
    torch.nn.init.zeros_(model.lm_head.weight)
    score = score_text(model, (TEXT,), [129], windows=2)
    np.testing.assert_allclose(score.by_length[129], 8, rtol=1e-6)
    np.testing.assert_allclose(score.by_position, np.full(128, 8), rtol=1e-6)


@pytest.mark.parametrize("length", [TAIL, 1])
def test_a_length_without_context_before_the_tail_is_refused(length):
    with pytest.raises(ValueError, match=f"lengths must be above 128, got {length}"):
        score_text(tiny_model(), (TEXT,), [160, length])


def test_no_lengths_at_all_are_refused():
    with pytest.raises(ValueError, match="lengths must name at least one length, got none"):
        score_text(tiny_model(), (TEXT,), [])
    with pytest.raises(ValueError, match="lengths must name at least one length, got none"):
        score_passkeys(tiny_model(), (TEXT,), [])


def test_documents_shorter_than_the_longest_length_are_refused():
    with pytest.raises(ValueError, match="corpus must hold a document of at least 1000 bytes, got 500 as the longest"):
        score_text(tiny_model(), (TEXT,), [160, 1000])


# Passkeys.


@torch.no_grad()
def greedy(model, prompt, count):
    ids = torch.from_numpy(prompt.copy())[None]
    for _ in range(count):
        guess = model(ids, beyond_context=True)[0, -1].argmax()
        ids = torch.cat([ids, guess.to(ids.dtype)[None, None]], dim=1)
    return bytes(ids[0, -count:].tolist())


def retrieved(model, asked):
    """How many keys real greedy decoding writes in full, from the texts that were scored."""
    found = 0
    for text in asked:
        prompt = text[: len(text) + 1 - DIGITS]  # of the answer, the model was shown all digits but the last
        (key,) = re.findall(rb"\n# passkey (\d{5})\n", prompt.tobytes())
        found += greedy(model, prompt, DIGITS) == key
    return found


@pytest.mark.parametrize(
    ("sight", "slip", "expected"),
    [(1000, None, {0.0: 6, 0.5: 6, 1.0: 6}), (60, None, {0.0: 0, 0.5: 6, 1.0: 6}), (5, None, {0.0: 0, 0.5: 0, 1.0: 0})],
)
def test_passkeys_are_found_as_far_back_as_the_model_can_see(sight, slip, expected):
    model = Copier(sight, slip).eval()
    score = score_passkeys(model, (TEXT,), [OVERHEAD + 47], depths=(0, 0.5, 1), trials=6)
    assert {depth: cell.successes for depth, cell in score.cells[OVERHEAD + 47].items()} == expected
    texts = torch.cat(model.asked).numpy()
    for i, depth in enumerate((0, 0.5, 1)):
        assert retrieved(model, texts[6 * i : 6 * i + 6]) == expected[depth]


@pytest.mark.parametrize("slip", [1, 3, 4])
def test_one_wrong_digit_is_a_miss_just_as_in_greedy_decoding(slip):
    model = Copier(1000, slip).eval()
    score = score_passkeys(model, (TEXT,), [64], depths=(0.3,), trials=20)
    found = score.cells[64][0.3].successes
    assert 3 < found < 17, "some keys are of the kind that this model gets wrong"
    assert found == retrieved(model, torch.cat(model.asked).numpy())


def test_a_model_that_cannot_retrieve_finds_nothing():
    recorder = Recorder(tiny_model())
    score = score_passkeys(recorder, (TEXT,), [64, 100], depths=(0, 1), trials=5)
    assert [cell.successes for cells in score.cells.values() for cell in cells.values()] == [0] * 4
    for ids in recorder.asked:
        assert retrieved(recorder.model, ids.numpy()) == 0


def test_each_length_and_depth_has_all_its_trials_and_an_interval():
    score = score_passkeys(Copier(60).eval(), (TEXT,), [90, 64], depths=(0, 1), trials=4)
    assert list(score.cells) == [64, 90]
    assert all(list(cells) == [0, 1] for cells in score.cells.values())
    assert score.cells[90] == {0: Proportion(0, 4), 1: Proportion(4, 4)}
    assert score.at(90) == Proportion(4, 8)
    low, high = score.at(90).interval
    assert 0.15 < low < 0.5 < high < 0.85


def test_at_sums_over_depths():
    cells = {64: {0.0: Proportion(1, 3), 0.5: Proportion(2, 3), 1.0: Proportion(3, 3)}}
    assert PasskeyScore(cells).at(64) == Proportion(6, 9)


def test_passkeys_are_placed_at_the_depth_that_is_scored():
    recorder = Recorder(tiny_model())
    score_passkeys(recorder, (TEXT,), [OVERHEAD + 40], depths=(0.25, 0.75), trials=3)
    for ids, place in zip(recorder.asked, (10, 30), strict=True):
        assert [bytes(row.tolist()).index(b"\n# passkey") for row in ids] == [place] * 3


def test_no_trials_are_refused():
    with pytest.raises(ValueError, match="count must be positive, got 0"):
        score_passkeys(tiny_model(), (TEXT,), [64], trials=0)


# Both.


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("score", [score_text, score_passkeys])
def test_scoring_is_dense_and_leaves_the_model_in_its_mode(score, training):
    options = {"windows": 2} if score is score_text else {"trials": 2}
    model = tiny_model().train(training)
    before = score(model, (TEXT,), [160], **options)
    for attention in model.attention_layers:
        attention.sparse = S2Pattern(8)
    after = score(model, (TEXT,), [160], **options)
    assert model.training is training
    assert all(module.training is training for module in model.modules())
    if score is score_text:
        assert before.by_length == after.by_length
    else:
        assert before == after
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_mode_is_restored_after_a_failure_too():
    class Broken(torch.nn.Linear):
        def forward(self, ids, **_):
            raise RuntimeError("broken")

    model = Broken(1, 1).train()
    with pytest.raises(RuntimeError, match="broken"):
        score_text(model, (TEXT,), [160], windows=1)
    assert model.training


def test_progress_adds_up_to_the_tokens_announced():
    seen = []
    score_text(tiny_model(), (TEXT,), [130, 160], windows=40, on_batch=seen.append)
    assert max(seen) <= BATCH_TOKENS
    score_passkeys(tiny_model(), (TEXT,), [130, 160], depths=(0, 1), trials=2, on_batch=seen.append)
    assert sum(seen) == evaluation_tokens([130, 160], windows=40, trials=2, depths=2)


def test_a_batch_never_changes_a_score(monkeypatch):
    whole = score_text(tiny_model(), (TEXT,), [160], windows=6)
    monkeypatch.setattr("longlora_edu.training.evaluate.BATCH_TOKENS", 1)
    single = score_text(tiny_model(), (TEXT,), [160], windows=6)
    np.testing.assert_allclose(single.by_length[160], whole.by_length[160], rtol=1e-6)
    np.testing.assert_allclose(single.by_position, whole.by_position, rtol=1e-5)


SCORE_MANY = """
from longlora_edu.training.corpus import Document
from longlora_edu.training.evaluate import score_text
from longlora_edu.model import LlamaConfig, TinyLlama
from longlora_edu.runs.records import peak_memory
from longlora_edu.rope import Rope

sizes = dict(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1)
model, text = TinyLlama(LlamaConfig(Rope(4), max_position_embeddings=2048, **sizes)), bytes(range(1, 256)) * 20
score_text(model, (Document("text", text),), [2048], windows=4)
before = peak_memory()
score_text(model, (Document("text", text),), [2048], windows=64)
print(peak_memory() - before)
"""


def test_more_windows_take_no_more_memory():
    # In a process of its own: what the heap holds already would hide how it grows.
    found = subprocess.run([sys.executable, "-c", SCORE_MANY], capture_output=True, text=True, check=True)
    assert int(found.stdout) < 40e6
