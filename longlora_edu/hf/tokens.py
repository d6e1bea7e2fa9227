"""Text as tokens: the one place where documents, questions and answers are encoded.

Text is data. Letters that spell a control token, such as `<|im_end|>` in a file about chat templates, are encoded as
letters; control tokens come from the tokenizer and its chat template alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
from tokenizers import AddedToken
from transformers import PreTrainedTokenizerBase

# Private characters that stand for a control token spelled in a message, and for the answer, while a template renders.
OPEN, CLOSE, ANSWER = "\ue000", "\ue001", "\ue002"
# The form that only control tokens have, such as <|fim_prefix|>; some tokenizers do not call all of them special.
CONTROL = re.compile(r"<[|｜].+[|｜]>")


def mark_controls(tokenizer: PreTrainedTokenizerBase) -> None:
    """Let a tokenizer know all its control tokens: some do not call special what marks turns or parts of a file.

    These are added tokens that stand in the chat template or have the form `<|…|>`. Others, such as a run of spaces or
    a word of a field, are text.
    """
    template, backend = str(getattr(tokenizer, "chat_template", None) or ""), getattr(tokenizer, "_tokenizer", None)
    turns = [
        token.content
        for token in getattr(tokenizer, "added_tokens_decoder", {}).values()
        if not token.special and token.content.strip()
        if token.content in template or CONTROL.fullmatch(token.content)
    ]
    if turns and backend is not None:
        backend.add_special_tokens([AddedToken(content, special=True, normalized=False) for content in turns])


def plain_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Encode text as text: no control token comes out of it, and nothing is put before or after it."""
    return tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]


def opening_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens that a tokenizer puts before every text, such as BOS; what it puts after one is left out."""
    bare, whole = (tokenizer("a", add_special_tokens=added)["input_ids"] for added in (False, True))
    starts = (start for start in range(len(whole) - len(bare) + 1) if whole[start : start + len(bare)] == bare)
    return whole[: next(starts, 0)]


def closing_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The end-of-text token of a tokenizer that has one."""
    return [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]


def following_ids(
    tokenizer: PreTrainedTokenizerBase, before: str, text: str, encode: Callable = plain_ids
) -> tuple[list[int], list[int]]:
    """The ids of `before`, and those of `text` as it follows them: a leading space is then whatever it is in a text.

    Where the two share a token, `text` is encoded by itself instead, since `before` is what a model is given.
    """
    first, whole = encode(tokenizer, before), encode(tokenizer, before + text)
    return first, whole[len(first) :] if whole[: len(first)] == first else encode(tokenizer, text)


def turn_ids(tokenizer: PreTrainedTokenizerBase, instruction: str, output: str) -> tuple[list[int], list[int]]:
    """The ids of a prompt and of the answer to it, up to the end of the turn and of the text.

    A chat template writes both where there is one. Without one, the answer follows the instruction directly.

    Raises:
        ValueError: for a template that refuses the question, with its reason.
    """
    if not getattr(tokenizer, "chat_template", None):
        prompt, answer = following_ids(tokenizer, instruction, output)
        return opening_ids(tokenizer) + prompt, answer + closing_ids(tokenizer)
    controls = _controls(tokenizer)
    asked = {"role": "user", "content": _shielded(instruction, controls)}
    before = _rendered(tokenizer, [asked], add_generation_prompt=True)
    whole = _rendered(tokenizer, [asked, {"role": "assistant", "content": ANSWER}], add_generation_prompt=False)
    after = whole.partition(ANSWER)[2]

    def encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
        return _template_ids(tokenizer, text, controls)

    prompt, answer = following_ids(tokenizer, before, _shielded(output, controls) + after, encode)
    ends = closing_ids(tokenizer)
    return prompt, answer if set(ends) & set(answer) else answer + ends


def stop_ids(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """The tokens that end an answer: the end of text, and the control token with which the template ends a turn."""
    _, answer = turn_ids(tokenizer, "a", "a")
    controls = {tokenizer.convert_tokens_to_ids(control) for control in _controls(tokenizer)}
    return {*closing_ids(tokenizer), *[token for token in answer if token in controls][:1]}


def token_names(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str | None:
    """Write the ids of tokens as their text, for a report; None for an empty list."""
    return " ".join(map(str, tokenizer.convert_ids_to_tokens(list(ids)))) or None


def with_opening(rows: np.ndarray, opening: Sequence[int]) -> np.ndarray:
    """Rows of tokens (b, n) behind the tokens that begin every text: (b, len(opening) + n)."""
    return np.concatenate([np.tile(np.asarray(opening, rows.dtype), (len(rows), 1)), rows], axis=1)


def _controls(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """All control tokens by their letters, the longest first."""
    backend = getattr(tokenizer, "_tokenizer", None)
    added = backend.get_added_tokens_decoder() if backend is not None else tokenizer.added_tokens_decoder
    return sorted((token.content for token in added.values() if token.special), key=len, reverse=True)


def _shielded(text: str, controls: Sequence[str]) -> str:
    """`text` with a stand-in for each control token that it spells."""
    for number, control in enumerate(controls):
        text = text.replace(control, f"{OPEN}{number}{CLOSE}")
    return text


def _template_ids(tokenizer: PreTrainedTokenizerBase, text: str, controls: Sequence[str]) -> list[int]:
    """Encode the text of a template, with its control tokens; stand-ins become letters again."""
    ids = []
    for part in re.split(f"({OPEN}\\d+{CLOSE})", text):
        if found := re.fullmatch(f"{OPEN}(\\d+){CLOSE}", part):
            ids += plain_ids(tokenizer, controls[int(found[1])])
        elif part:
            ids += tokenizer(part, add_special_tokens=False, verbose=False)["input_ids"]
    return ids


def _rendered(tokenizer: PreTrainedTokenizerBase, turns: list[dict], *, add_generation_prompt: bool) -> str:
    try:
        text = tokenizer.apply_chat_template(turns, add_generation_prompt=add_generation_prompt, tokenize=False)
        return str(text)
    except Exception as error:  # templates are programs, and raise what they like
        raise ValueError(f"the chat template must accept a question and its answer, got {error}") from None
