"""Scores of a real model: perplexity by length and position, passkeys by length and depth, answers word for word.

Everything here runs with the attention that the model has in evaluation: dense, but for `use_s2(when="always")`. A
score depends on its texts alone: not on texts read before, nor on the settings of `generation_config.json`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from ..runs.records import Proportion
from ..runs.validate import check_integer
from ..training.evaluate import DEPTHS, TAIL
from ..training.passkey import DIGITS, QUESTION, STATEMENT
from .loss import CHUNK, check_head
from .pairs import Pair, tokenised_pair
from .positions import forget_lengths
from .tokens import following_ids, opening_ids, stop_ids, with_opening

OnTokens = Callable[[int], None]


@dataclass(frozen=True)
class NatsScore:
    """Nats a token on held-out text; perplexity is their exponential.

    `by_length[L]` is the mean over the same last `TAIL` tokens of all windows given L - TAIL before them;
    `by_position[p]` the mean at token p + 1 of the longest windows. Windows begin every `stride` tokens.
    """

    windows: int
    stride: int
    by_length: dict[int, float]
    by_position: np.ndarray

    @property
    def perplexity(self) -> dict[int, float]:
        """The perplexity at each length: the exponential of the nats."""
        return {length: float(np.exp(nats)) for length, nats in self.by_length.items()}


def windows_of(texts: Sequence[np.ndarray], length: int, stride: int) -> np.ndarray:
    """int64 (w, length): every `stride` tokens of each text, whole ones only, in order.

    Raises:
        ValueError: when no text is long enough, naming the longest.
    """
    rows = [text[start : start + length] for text in texts for start in range(0, len(text) - length + 1, stride)]
    if not rows:
        longest = max(map(len, texts), default=0)
        raise ValueError(f"data must hold a text of at least {length} tokens, got {longest} as the longest")
    return np.stack(rows)


def score_perplexity(
    model: PreTrainedModel,
    texts: Sequence[np.ndarray],
    lengths: Sequence[int],
    *,
    stride: int | None = None,
    most: int = 50,
    opening: Sequence[int] = (),
    on_tokens: OnTokens = lambda tokens: None,
) -> NatsScore:
    """Score `lengths` on held-out texts. `stride` defaults to the longest length: windows that do not overlap.

    At most `most` windows are taken, evenly out of all. Each begins with the tokens of `opening`, among its length.

    Raises:
        ValueError: for lengths not above `TAIL`, texts that are too short, and a model that `check_head` refuses.
    """
    if not lengths or min(lengths) <= TAIL + len(opening):
        raise ValueError(f"lengths must each be above {TAIL + len(opening)}, got {list(lengths)}")
    longest = max(lengths)
    stride = longest if stride is None else stride
    check_integer("stride", stride, at_least=1)
    check_integer("windows", most, at_least=1)
    rows = windows_of(texts, longest - len(opening), stride)
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int))]
    check_head(forget_lengths(model))
    sums = dict.fromkeys(sorted(lengths), 0.0)
    positions = np.zeros(longest - 1)
    for row in rows:
        for length in sums:
            window = with_opening(row[None, longest - length :], opening)
            nats = _next_token_nats(model, torch.from_numpy(window))[0]
            sums[length] += float(nats[-TAIL:].mean()) / len(rows)
            if length == longest:
                positions += nats.numpy() / len(rows)
            on_tokens(length)
    return NatsScore(len(rows), stride, sums, positions)


def score_retrieval(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[np.ndarray],
    lengths: Sequence[int],
    *,
    depths: Sequence[float] = DEPTHS,
    trials: int = 10,
    seed: int = 0,
    on_tokens: OnTokens = lambda tokens: None,
) -> dict[int, dict[float, Proportion]]:
    """Passkeys found, `cells[length][depth]`: five digits stated in a long text and asked for at its end.

    One forward pass decides a trial: each token of the answer is ranked first given all before it, as greedy
    decoding would have it.

    Raises:
        ValueError: for lengths without room, texts that are too short, and a model that `check_head` refuses.
    """
    check_integer("trials", trials, at_least=1)
    check_head(forget_lengths(model))
    cells: dict[int, dict[float, Proportion]] = {}
    for length in sorted(lengths):
        for depth in depths:
            rng = np.random.default_rng([seed, 4, length, round(1000 * depth)])
            found = sum(_finds(model, tokenizer, texts, length, depth, rng) for _ in range(trials))
            on_tokens(length * trials)
            cells.setdefault(length, {})[depth] = Proportion(found, trials)
    return cells


def score_answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[Pair],
    is_right: Callable[[str, str], bool],
    *,
    context: int | None = None,
    on_tokens: OnTokens = lambda tokens: None,
) -> tuple[Proportion, int]:
    """The share of answers that are right, written greedily, with a little more room than the right one needs.

    Pairs longer than `context` cannot be scored; the second number counts them, and they are no wrong answers.

    Raises:
        ValueError: when no pair fits.
    """
    right, scored = 0, 0
    for pair in pairs:
        ids, labels = tokenised_pair(pair, tokenizer)
        on_tokens(len(ids))
        if context is not None and len(ids) > context:
            continue
        prompt = ids[labels < 0]
        most = len(ids) - len(prompt) + 8
        said = answer(model, tokenizer, prompt, most=most if context is None else min(most, context - len(prompt)))
        right, scored = right + bool(is_right(said, pair.output)), scored + 1
    if not scored:
        raise ValueError(f"data must hold a pair of at most {context} tokens, the context, got none")
    return Proportion(right, scored), len(pairs) - scored


@torch.inference_mode()
def answer(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: np.ndarray, *, most: int) -> str:
    """Text that the model writes after the prompt's ids, greedily, with a cache, up to the end of its turn.

    Raises:
        ValueError: for a prompt without a token.
    """
    if not len(prompt):
        raise ValueError("the question must have at least one token, got an empty text")
    ids = torch.from_numpy(prompt[None]).to(next(model.parameters()).device)
    stops = stop_ids(tokenizer) | _ids_in(model.generation_config) | _ids_in(model.config)
    greedy = GenerationConfig(
        max_new_tokens=most,
        do_sample=False,
        eos_token_id=sorted(stops) or None,
        pad_token_id=min(stops, default=0) if tokenizer.pad_token_id is None else tokenizer.pad_token_id,
    )
    # transformers fills in what a config leaves open from the model's own, which may hold penalties and beams.
    own, model.generation_config = model.generation_config, greedy
    try:
        generate: Any = forget_lengths(model).eval().generate
        written = generate(input_ids=ids, attention_mask=torch.ones_like(ids))
    finally:
        model.generation_config = own
    return str(tokenizer.decode(written[0, len(prompt) :], skip_special_tokens=True))


def _ids_in(config: object) -> set[int]:
    """The tokens that a config ends a text with: none, one or several."""
    ids = getattr(config, "eos_token_id", None)
    return set() if ids is None else {ids} if isinstance(ids, int) else set(ids)


@torch.inference_mode()
def _next_token_nats(model: PreTrainedModel, ids: Tensor) -> Tensor:
    """(b, n - 1) on the CPU; logits are held for `CHUNK` positions at a time."""
    model.eval()
    ids = ids.to(next(model.parameters()).device)
    hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    head, parts = cast(nn.Module, model.get_output_embeddings()), []
    for start in range(0, hidden.shape[1], CHUNK):
        logits = head(hidden[:, start : start + CHUNK]).float()
        targets = ids[:, 1 + start : 1 + start + logits.shape[1]]
        parts.append(F.cross_entropy(logits.transpose(1, 2), targets, reduction="none").cpu())
    return torch.cat(parts, dim=1)


@torch.inference_mode()
def _finds(
    model, tokenizer: PreTrainedTokenizerBase, texts, length: int, depth: float, rng: np.random.Generator
) -> bool:
    key = "".join(map(str, rng.integers(10, size=DIGITS)))
    # As they stand in a text: tokenizers put a space of their own before a text that begins.
    _, stated = following_ids(tokenizer, "a", f"{STATEMENT.decode()}{key}\n")
    asking = "a" + QUESTION.decode().rstrip()
    (_, question), (_, asked) = (
        following_ids(tokenizer, before, after) for before, after in (("a", asking[1:]), (asking, f" {key}"))
    )
    opening = opening_ids(tokenizer)
    room = length - len(opening) - len(stated) - len(question) - len(asked)
    if room < 0:
        raise ValueError(f"lengths must each have room for a passkey, at least {length - room} tokens, got {length}")
    rows = [text for text in texts if len(text) >= room]
    if not rows:
        longest = max(map(len, texts), default=0)
        raise ValueError(f"data must hold a text of at least {room} tokens, got {longest} as the longest")
    row = rows[rng.integers(len(rows))]
    start = rng.integers(len(row) - room + 1)
    text, cut = row[start : start + room], round(depth * room)
    parts = [np.array(part, dtype=np.int64) for part in (opening, text[:cut], stated, text[cut:], question, asked)]
    ids = torch.from_numpy(np.concatenate(parts))[None].to(next(model.parameters()).device)
    hidden = model.eval().base_model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state[:, -len(asked) :]
    guesses = model.get_output_embeddings()(hidden).argmax(-1)
    return bool((guesses == ids[:, -len(asked) :]).all())
