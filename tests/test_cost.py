from __future__ import annotations

import itertools

import numpy as np
import oracles
import pytest
from helpers import geometries
from hypothesis import given, settings
from hypothesis import strategies as st

from longlora_edu.cost import (
    ATTENTION_LINEARS,
    ModelShape,
    attention_bytes,
    attention_pairs,
    forward_flops,
    kv_cache_bytes,
    step_ratio,
    training_flops,
)
from longlora_edu.geometry import S2Geometry

LLAMA = ModelShape.llama2_7b()
TINY = ModelShape(width=6, layers=2, heads=4, kv_heads=2, head_dim=3, ffn_width=5, vocabulary=7)


def rolled(seq_len, heads=32):
    return S2Geometry.with_ratio(seq_len, 1 / 4, heads, boundary="wrap")


# The paper's Table 11 in units of 10^12: dense attention, projections, FFN, head, total, the share of attention in per
# cent; total and share with S²-Attn at a quarter of the length; the ratio of the totals. The totals and shares of
# 65,536 tokens are the paper's own, the other rows follow from its formula by hand.
TABLE_11 = {
    8192: ("35.2", "35.2", "70.9", "2.1", "143.4", "24.5", "117.0", "7.5", "1.23"),
    16384: ("140.7", "70.4", "141.8", "4.3", "357.2", "39.4", "251.7", "14.0", "1.42"),
    32768: ("562.9", "140.7", "283.7", "8.6", "996.0", "56.5", "573.7", "24.5", "1.74"),
    65536: ("2251.8", "281.5", "567.3", "17.2", "3117.8", "72.2", "1429.0", "39.4", "2.18"),
    100000: ("5242.9", "429.5", "865.7", "26.2", "6564.3", "79.9", "2632.1", "49.8", "2.49"),
}


@pytest.mark.parametrize("seq_len", TABLE_11)
def test_the_papers_flops_table_is_reproduced_to_its_digits(seq_len):
    dense, sparse = forward_flops(LLAMA, seq_len), forward_flops(LLAMA, seq_len, rolled(seq_len))
    tera = [dense.attention, dense.projections, dense.ffn, dense.head, dense.total]
    row = [
        *(f"{value / 1e12:.1f}" for value in tera),
        f"{dense.attention_share:.1%}"[:-1],
        f"{sparse.total / 1e12:.1f}",
        f"{sparse.attention_share:.1%}"[:-1],
        f"{dense.total / sparse.total:.2f}",
    ]
    assert tuple(row) == TABLE_11[seq_len]


def counted_flops(shape, seq_len, mask):
    """One multiply and one add for each number that meets a weight, a key or a value."""
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    matrices = {
        "projections": [(shape.width, queries), (shape.width, keys), (shape.width, keys), (queries, shape.width)],
        "ffn": [(shape.width, shape.ffn_width)] * 2 + [(shape.ffn_width, shape.width)],
    }
    count = {"attention": 0, "projections": 0, "ffn": 0, "head": 0}
    for _ in range(shape.layers):
        for _ in range(seq_len):
            for place, sizes in matrices.items():
                for rows, columns in sizes:
                    for _ in itertools.product(range(rows), range(columns)):
                        count[place] += 2
        for head, query, key in itertools.product(range(shape.heads), range(seq_len), range(seq_len)):
            if mask[head, query, key]:
                for _ in range(shape.head_dim):
                    count["attention"] += 2  # the score
                    count["attention"] += 2  # the value it weighs
    for _ in itertools.product(range(seq_len), range(shape.width), range(shape.vocabulary)):
        count["head"] += 2
    return count


def test_flops_equal_a_count_by_loops_for_grouped_query_heads_in_both_conventions():
    length, group, shift = 7, 3, 1
    s2 = S2Geometry(length, group, TINY.heads, shift)
    causal = oracles.allowed_pairs(length, group, TINY.heads, shift, "split")
    square = causal | causal.swapaxes(1, 2)  # in a cell of the split boundary either sees or is seen
    triangle = np.broadcast_to(np.tri(length, dtype=bool), (TINY.heads, length, length))
    everything = np.ones_like(triangle)
    for geometry, is_causal, mask in (
        (None, False, everything),
        (None, True, triangle),
        (s2, False, square),
        (s2, True, causal),
    ):
        flops = forward_flops(TINY, length, geometry, causal=is_causal)
        expected = counted_flops(TINY, length, mask)
        assert {place: getattr(flops, place) for place in expected} == expected
        assert flops.adapters == 0
        assert flops.total == sum(expected.values())
        assert flops.attention_share == expected["attention"] / sum(expected.values())


@given(geometries())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_pairs_are_those_of_the_geometry_and_twice_as_many_squares_less_the_diagonal(geometry):
    shape = ModelShape(8, 3, geometry.num_heads, 1, 2, 5, 7)
    mask = oracles.mask_of(geometry)
    pairs = attention_pairs(shape, geometry.seq_len, geometry, causal=True)
    squares = attention_pairs(shape, geometry.seq_len, geometry, causal=False)
    assert pairs == mask.sum()
    assert squares == 2 * mask.sum() - geometry.num_heads * geometry.seq_len
    halves = [geometry.cells(shifted=head in geometry.shifted_heads) for head in range(geometry.num_heads)]
    assert squares == sum(sum(map(len, cell)) ** 2 for cells in halves for cell in cells)
    flops = forward_flops(shape, geometry.seq_len, geometry, causal=True)
    assert flops.attention == 2 * 2 * shape.head_dim * mask.sum() * shape.layers


def test_a_wrapped_quarter_keeps_a_quarter_of_the_scores_and_a_split_one_a_little_less():
    split, wrap = S2Geometry(8192, 2048, 32), rolled(8192)
    for causal, kept_by_split, kept_by_wrap, ratio in (
        (False, "0.2344", "0.2500", "4.27"),
        (True, "0.2345", "0.2501", "4.26"),
    ):
        dense = attention_pairs(LLAMA, 8192, causal=causal)
        kept = attention_pairs(LLAMA, 8192, split, causal=causal)
        assert f"{kept / dense:.4f}" == kept_by_split
        assert f"{dense / kept:.2f}" == ratio
        assert f"{attention_pairs(LLAMA, 8192, wrap, causal=causal) / dense:.4f}" == kept_by_wrap


def test_sixteen_times_the_context_is_256_times_the_scores_and_much_less_of_everything_else():
    short, long = forward_flops(LLAMA, 2048), forward_flops(LLAMA, 32768)
    assert long.attention == 256 * short.attention
    assert long.projections + long.ffn + long.head == 16 * (short.projections + short.ffn + short.head)
    assert 16 < long.total / short.total < 40


def test_half_of_the_scores_makes_the_promise_of_the_table_smaller():
    geometry = rolled(65536)
    paper = forward_flops(LLAMA, 65536).total / forward_flops(LLAMA, 65536, geometry).total
    kernel = forward_flops(LLAMA, 65536, causal=True).total / forward_flops(LLAMA, 65536, geometry, causal=True).total
    assert f"{paper:.2f}" == "2.18"
    assert f"{kernel:.2f}" == "1.74"


def test_llama_2_has_the_published_number_of_parameters_part_by_part():
    parts = LLAMA.parameters
    assert parts.total == 6_738_415_616
    assert parts.embedding == parts.head == 131_072_000
    assert parts.attention == 32 * 4 * 4096 * 4096
    assert parts.ffn == 32 * 3 * 4096 * 11008
    assert parts.norm == 65 * 4096
    assert parts.embedding + parts.attention + parts.ffn + parts.norm + parts.head == parts.total


@pytest.mark.parametrize("tied", [False, True])
def test_parameters_equal_those_of_a_stock_llama(tied):
    transformers = pytest.importorskip("transformers")
    shape = ModelShape(width=8, layers=2, heads=4, kv_heads=2, head_dim=6, ffn_width=5, vocabulary=7, tied=tied)
    config = transformers.LlamaConfig(
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=6,
        intermediate_size=5,
        vocab_size=7,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=tied,
    )
    stock = dict(transformers.LlamaForCausalLM(config).named_parameters())
    assert shape.parameters.total == sum(parameter.numel() for parameter in stock.values())
    for name, (columns, rows) in shape.linears.items():
        block = "self_attn" if name in ATTENTION_LINEARS else "mlp"
        assert stock[f"model.layers.1.{block}.{name}.weight"].shape == (rows, columns)


@pytest.mark.parametrize(
    ("shape", "millions", "share"),
    [
        (LLAMA, "131.1", "1.9%"),
        (ModelShape(2048, 22, 32, 4, 64, 5632, 32000), "65.5", "6.0%"),  # TinyLlama-1.1B
        (ModelShape(960, 32, 15, 5, 64, 2560, 49152, tied=True), "47.2", "13.0%"),  # SmolLM2-360M
        (ModelShape(576, 30, 9, 3, 64, 1536, 49152, tied=True), "28.3", "21.0%"),  # SmolLM2-135M
        (ModelShape(896, 24, 14, 2, 64, 4864, 151936, tied=True), "136.1", "27.6%"),  # Qwen2.5-0.5B
    ],
)
def test_the_smaller_the_model_the_larger_the_share_of_the_embedding(shape, millions, share):
    assert f"{shape.parameters.embedding / 1e6:.1f}" == millions
    assert f"{shape.embedding_share():.1%}" == share


def test_embeddings_and_norms_are_sixteen_times_the_lora_of_llama_2():
    lora = LLAMA.lora_parameters(8)
    assert lora == 8_388_608
    trained = lora + LLAMA.parameters.embedding + LLAMA.parameters.norm
    assert trained / lora == pytest.approx(16.66, abs=0.01)
    assert TINY.lora_parameters(3, ["k_proj", "k_proj"]) == 2 * 3 * (6 + 6)
    assert TINY.lora_parameters(3, ["q_proj", "down_proj"]) == 2 * 3 * ((6 + 12) + (5 + 6))


def test_a_full_step_is_three_forward_passes_and_lora_saves_the_gradients_of_frozen_matrices():
    once, full = forward_flops(TINY, 8), training_flops(TINY, 8)
    assert full.total == 3 * once.total
    lora = training_flops(TINY, 8, rank=2)
    assert (lora.attention, lora.ffn, lora.head) == (3 * once.attention, 2 * once.ffn, 2 * once.head)
    assert lora.projections == 2 * once.projections
    assert lora.adapters == 3 * 2 * 8 * TINY.lora_parameters(2)
    big = training_flops(LLAMA, 8192, rank=8)
    assert big.adapters / big.total < 0.01


def test_the_step_ratio_compares_the_same_step_with_and_without_groups():
    geometry = S2Geometry(8192, 2048, 32)
    for rank in (None, 8):
        dense = training_flops(LLAMA, 8192, rank=rank, causal=True).total
        sparse = training_flops(LLAMA, 8192, geometry, rank=rank, causal=True).total
        assert step_ratio(LLAMA, geometry, rank=rank) == dense / sparse
    assert step_ratio(LLAMA, S2Geometry(64, 64, 32, shift=0)) == 1
    # Frozen matrices cost less, so the scores are more of a LoRA step: it gains more than a full one.
    assert step_ratio(LLAMA, geometry, rank=8) > step_ratio(LLAMA, geometry)
    assert f"{step_ratio(LLAMA, rolled(65536), causal=False):.2f}" == "2.18"


def test_score_memory_is_a_square_a_sum_of_squares_or_a_line():
    geometry = S2Geometry(8, 4, 4)  # split: cells of 4 and 4 tokens, and of 2, 4 and 2
    memory = attention_bytes(TINY, geometry, batch=3, bytes_per_element=2)
    assert memory.masked == 3 * 2 * 4 * 8 * 8
    assert memory.grouped == 3 * 2 * (2 * (16 + 16) + 2 * (4 + 16 + 4))
    assert memory.flash == 3 * 4 * 4 * 8
    longer = attention_bytes(TINY, S2Geometry(16, 8, 4), batch=3, bytes_per_element=2)
    assert (longer.masked, longer.grouped, longer.flash) == (4 * memory.masked, 4 * memory.grouped, 2 * memory.flash)


def test_the_cache_of_llama_2_is_two_gibibytes_and_grouped_queries_shrink_it():
    assert kv_cache_bytes(LLAMA, 4096) == 2 * 2**30
    assert kv_cache_bytes(TINY, 5, batch=3, bytes_per_element=4) == 2 * 2 * 2 * 3 * 5 * 3 * 4


@given(st.integers(1, 300), st.integers(1, 300))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_numpy_integers_count_like_python_integers(seq_len, width):
    shape = ModelShape(np.int32(width), 2, 4, 2, np.int16(300), 5, 30_000)
    plain = ModelShape(width, 2, 4, 2, 300, 5, 30_000)
    assert forward_flops(shape, np.int16(seq_len)) == forward_flops(plain, seq_len)
    assert training_flops(shape, np.int16(seq_len), rank=np.int8(2)) == training_flops(plain, seq_len, rank=2)


@pytest.mark.parametrize("field", ["width", "layers", "heads", "kv_heads", "head_dim", "ffn_width", "vocabulary"])
@pytest.mark.parametrize("value", [0, -4, 2.0, True])
def test_a_size_must_be_a_positive_integer(field, value):
    sizes = {"width": 6, "layers": 2, "heads": 4, "kv_heads": 2, "head_dim": 3, "ffn_width": 5, "vocabulary": 7}
    with pytest.raises(ValueError, match=rf"^{field} must be a positive integer, got {value}$"):
        ModelShape(**sizes | {field: value})


def test_what_does_not_fit_is_refused_by_name():
    geometry = S2Geometry(8, 4, 4)
    with pytest.raises(ValueError, match="heads must be a multiple of kv_heads, got 4 and 3"):
        ModelShape(6, 2, 4, 3, 3, 5, 7)
    with pytest.raises(ValueError, match="seq_len must be positive, got 0"):
        forward_flops(TINY, 0)
    with pytest.raises(ValueError, match="seq_len must be a positive integer, got -1"):
        kv_cache_bytes(TINY, -1)
    with pytest.raises(ValueError, match="geometry must have 9 tokens and 4 heads, got 8 and 4"):
        forward_flops(TINY, 9, geometry)
    with pytest.raises(ValueError, match="geometry must have 8 tokens and 32 heads, got 8 and 4"):
        step_ratio(LLAMA, geometry)
    with pytest.raises(ValueError, match="rank must be a positive integer, got 0"):
        training_flops(TINY, 8, rank=0)
    with pytest.raises(ValueError, match="targets must be among q_proj, .*down_proj, got w_pack"):
        TINY.lora_parameters(2, ["q_proj", "w_pack"])
    with pytest.raises(ValueError, match="batch must be a positive integer, got 0"):
        attention_bytes(TINY, geometry, batch=0)
    with pytest.raises(ValueError, match="bytes_per_element must be a positive integer, got 0.5"):
        kv_cache_bytes(TINY, 8, bytes_per_element=0.5)
