from __future__ import annotations

import pytest
import torch
from helpers import tiny_bundled_model

from longlora_edu.longlora import LongLoRAConfig, apply_longlora
from longlora_edu.training.continuation import continue_greedily, held_out_prompt
from longlora_edu.training.corpus import Document


def ranks_first(model, ids):
    return int(model(torch.tensor([list(ids)]), beyond_context=True)[0, -1].argmax())


@pytest.mark.parametrize("method", ["default", "yarn", "dynamic"])
def test_each_byte_is_the_likeliest_after_all_before_it(method):
    model = tiny_bundled_model()
    if method != "default":
        apply_longlora(model, LongLoRAConfig(4 * model.config.trained_context, rope=method))
    written = continue_greedily(model, b"import ", 5)
    text = b"import "
    for byte in written:
        assert byte == ranks_first(model.eval(), text)
        text += bytes([byte])
    assert 0 < len(written) <= 5


def test_a_zero_ends_the_text_and_the_mode_of_the_model_stays():
    model = tiny_bundled_model().train()
    with torch.no_grad():
        model.lm_head.weight.zero_()  # all bytes alike: the first, 0, ranks first
    assert continue_greedily(model, b"x", 5) == b""
    assert model.training


def test_the_prompt_is_drawn_by_the_seed():
    documents = (Document("a", bytes(range(1, 200))),)
    prompts = {seed: held_out_prompt(documents, 20, seed=seed) for seed in range(5)}
    assert all(len(prompt) == 20 and prompt in documents[0].data for prompt in prompts.values())
    assert len(set(prompts.values())) > 1
    assert held_out_prompt(documents, 20, seed=3) == prompts[3]


def test_what_cannot_be_continued_is_refused():
    with pytest.raises(ValueError, match="prompt must hold at least one byte, got none"):
        continue_greedily(tiny_bundled_model(), b"")
    with pytest.raises(ValueError, match="count must be an integer, at least 1, got 0"):
        continue_greedily(tiny_bundled_model(), b"x", 0)
