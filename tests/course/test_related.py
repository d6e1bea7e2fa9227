from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from longlora_edu.cost import ModelShape
from longlora_edu.course.bugs import BUGS
from longlora_edu.course.play import untrained
from longlora_edu.course.play.bug_gallery import caught_by, exhibit, gallery_explorer, show_caught
from longlora_edu.course.play.leak_training import (
    KINDS,
    LENGTH,
    describe_copy_runs,
    draw_copies,
    plot_copy_runs,
    run_copy_task,
)
from longlora_edu.course.play.tuning import tunings
from longlora_edu.course.play.untrained import bits_under, logits_under
from longlora_edu.geometry import S2Geometry, S2Pattern
from longlora_edu.lora import add_lora, free_modules
from longlora_edu.model import LlamaConfig, TinyLlama, bundled_model
from longlora_edu.plots import PROJECTOR, SCREEN, png
from longlora_edu.plots import neighbours as rules
from longlora_edu.plots.neighbours import SparsePattern, describe_patterns, named_patterns, plot_patterns
from longlora_edu.reference import s2_attention
from longlora_edu.rope import Rope
from longlora_edu.widgets.canvas import Canvas


def counted(rule, n):
    """A mask written from the definition, one pair after the other."""
    return np.array([[key <= query and bool(rule(query, key)) for key in range(n)] for query in range(n)])


# Neighbours, each against its definition in a loop.


@pytest.mark.parametrize(
    ("part", "rule"),
    [
        (rules.window(3), lambda i, j: i - j < 3),
        (rules.cells(4), lambda i, j: i // 4 == j // 4),
        (rules.cells(4, 2), lambda i, j: (i + 2) // 4 == (j + 2) // 4),
        (rules.every(3), lambda i, j: (i - j) % 3 == 0),
        (rules.every(3, within=7), lambda i, j: (i - j) % 3 == 0 and i - j < 7),
        (rules.first(2), lambda i, j: j < 2),
        (rules.last_of_cells(4), lambda i, j: j % 4 == 3),
    ],
)
def test_a_part_is_its_definition(part, rule):
    np.testing.assert_array_equal(SparsePattern(((part,),)).masks(13)[0], counted(rule, 13))


def test_parts_are_joined_by_or_and_nothing_looks_ahead():
    pattern = SparsePattern(((rules.window(2), rules.first(3)),))
    np.testing.assert_array_equal(pattern.masks(10)[0], counted(lambda i, j: i - j < 2 or j < 3, 10))


def test_random_cells_are_the_same_each_time_and_as_many_as_said():
    mask = SparsePattern(((rules.random_cells(4, 2),),)).masks(32)[0]
    np.testing.assert_array_equal(mask, SparsePattern(((rules.random_cells(4, 2),),)).masks(32)[0])
    blocks = mask.reshape(8, 4, 8, 4).any(axis=(1, 3)).sum(axis=1)
    assert blocks.tolist() == [0, 1, 2, 2, 2, 2, 2, 2]


@pytest.mark.parametrize("heads", [2, 3, 4])
def test_the_pattern_called_s2_is_the_geometry(heads):
    s2 = named_patterns(8)["S²-Attn (heads)"]
    np.testing.assert_array_equal(s2.masks(24), S2Geometry(24, 8, 2).mask())
    np.testing.assert_array_equal(s2.mask(24, 1, heads), S2Geometry(24, 8, heads).mask())
    assert s2.pairs(24) == S2Geometry(24, 8, 2).pairs() / 2


def test_swin_gives_all_heads_the_same_cells_and_takes_turns_by_layer():
    swin, geometry = named_patterns(8)["Swin, causal (layers)"], S2Geometry(24, 8, 2)
    for layer in range(3):
        mask = swin.mask(24, layer, 3)
        assert mask.shape == (3, 24, 24)
        for head in mask:
            np.testing.assert_array_equal(head, geometry.mask()[layer % 2])


@pytest.mark.parametrize("name", named_patterns(32))
def test_every_query_sees_something_and_nothing_later(name):
    masks = named_patterns(32)[name].masks(64)
    assert not masks[:, ~np.tri(64, dtype=bool)].any()
    assert masks.any(axis=2).all()


def test_patterns_spend_about_as_much_as_groups_do():
    shown = named_patterns(64)
    budget = shown["S²-Attn (heads)"].pairs(256)
    for name, pattern in shown.items():
        if name != "full attention":
            assert 0.7 < pattern.pairs(256) / budget < 1.3, name
    assert shown["full attention"].pairs(256) == 256 * 257 / 2


def test_under_the_pattern_of_full_attention_the_model_is_itself():
    model = bundled_model().eval()
    ids = torch.randint(0, 256, (2, 32), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(
            logits_under(model, ids, named_patterns(8)["full attention"]), model(ids), atol=1e-4, rtol=1e-4
        )


def test_under_s2_the_model_is_what_it_is_in_training():
    model = bundled_model()
    for attention in model.attention_layers:
        attention.sparse = S2Pattern(8)
    ids = torch.randint(0, 256, (2, 32), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(
            logits_under(model, ids, named_patterns(8)["S²-Attn (heads)"]), model.train()(ids), atol=1e-4, rtol=1e-4
        )


def test_fewer_keys_cost_bits_and_the_measure_is_the_models_own():
    full, near = (
        bits_under(named_patterns(16)[name], length=64, windows=2) for name in ("full attention", "dilated window")
    )
    assert near > full > 0
    ids = untrained._texts(64, 2, 0)
    with torch.no_grad():
        logits = bundled_model().eval()(ids[:, :-1])
    nats = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).item()
    assert full == pytest.approx(nats / math.log(2), rel=1e-5)


@pytest.mark.parametrize("options", [{}, {"columns": 3}, {"style": PROJECTOR}])
def test_patterns_are_drawn_with_their_sentence(options):
    shown = named_patterns(16)
    assert png(plot_patterns(shown, 48, **options))[:4] == b"\x89PNG"
    assert all(name in describe_patterns(shown, 48) for name in shown)


# Beside LoRA: counted on a model that is really there.


def shape_of(model):
    config = model.config
    return ModelShape(
        config.hidden_size, config.num_hidden_layers, config.num_attention_heads, config.num_key_value_heads,
        config.head_dim, config.intermediate_size, config.vocab_size,
    )  # fmt: skip


@pytest.fixture
def model():
    config = LlamaConfig(
        Rope(8, trained_length=16), hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=16, vocab_size=20,
    )  # fmt: skip
    return TinyLlama(config, generator=torch.Generator().manual_seed(0))


def weights(model):
    return {method.name: method.weights for method in tunings(shape_of(model), rank=2, prompt=5, bottleneck=4)}


def test_the_weights_of_a_method_are_those_counted_on_a_model(model):
    said = weights(model)
    assert said["all weights"] == sum(p.numel() for p in model.parameters())
    assert said["norms only"] == sum(p.numel() for name, p in model.named_parameters() if "norm" in name)
    linears = [m for name, m in model.named_modules() if isinstance(m, torch.nn.Linear) and "lm_head" not in name]
    assert said["bias tuning (biases added)"] == sum(linear.out_features for linear in linears)
    assert said["prompt tuning"] == torch.zeros(5, 32).numel()
    assert said["prefix tuning"] == torch.zeros(3, 2, 5, 2, 8).numel()
    assert said["scaling of hidden states"] == 3 * (16 + 16 + 48)
    assert said["input tuning"] == torch.zeros(32, 4).numel() + torch.zeros(4, 32).numel()
    report = add_lora(model, ("q_proj", "k_proj", "v_proj", "o_proj"), rank=2, alpha=4)
    assert said["LoRA, rank 2"] == report.added_parameters
    free_modules(model, ("embed_tokens", "input_layernorm", "post_attention_layernorm", "norm"))
    trains = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert said["LoRA, rank 2, embeddings and norms"] == trains


def test_methods_come_in_order_and_say_what_takes_room_in_the_context(model):
    found = tunings(shape_of(model))
    assert [method.weights for method in found] == sorted(method.weights for method in found)
    assert {method.name for method in found if method.uses_context} == {"prompt tuning", "prefix tuning"}


@pytest.mark.parametrize("name", ["rank", "prompt", "bottleneck", "masked"])
def test_a_size_of_nothing_is_refused(model, name):
    with pytest.raises(ValueError, match=f"{name} must be above 0, got 0"):
        tunings(shape_of(model), **{name: 0})


def test_a_share_above_all_is_refused(model):
    with pytest.raises(ValueError, match=r"masked must be a share of at most 1, got 1\.5"):
        tunings(shape_of(model), masked=1.5)


# The copy task.


def test_a_copy_repeats_the_beginning_and_nothing_else():
    ids = draw_copies(np.random.default_rng(0), 50)
    assert ids.shape == (50, 32)
    torch.testing.assert_close(ids[:, -LENGTH:], ids[:, :LENGTH])
    assert ids.unique().tolist() == list(range(KINDS))
    middle = (ids[:, LENGTH : 2 * LENGTH] == ids[:, :LENGTH]).float().mean()
    assert abs(middle - 1 / KINDS) < 0.05


def test_under_wrap_the_beginning_is_looked_up_and_lost_in_use():
    result = run_copy_task("wrap", steps=70)
    assert result.trained[0] > 0.4
    assert max(result.trained[1], *result.dense) < 0.25
    assert result.geometry.future_pairs() > 0


def test_under_masked_the_copy_is_learned_and_kept_in_use():
    result = run_copy_task("masked", steps=70)
    assert min(result.trained[1], result.dense[1]) > 0.5
    assert max(result.trained[0], result.dense[0]) < 0.25


def test_a_run_is_described_drawn_and_repeated():
    results = [run_copy_task(boundary, steps=2) for boundary in ("split", "wrap", "masked")]
    assert run_copy_task("wrap", steps=2).trained == results[1].trained
    assert png(plot_copy_runs(results, style=PROJECTOR))[:4] == b"\x89PNG"
    assert all(word in describe_copy_runs(results) for word in ("split", "wrap", "masked", "chance"))


def test_an_unknown_boundary_is_refused():
    with pytest.raises(ValueError, match="boundary must be one of"):
        run_copy_task("open", steps=1)


# The gallery.


CANVAS = Canvas(SCREEN, 2, width=1.3)


@pytest.mark.parametrize("name", BUGS)
def test_an_exhibit_shows_its_mistake_where_it_can_be_seen(name):
    shown = [exhibit(name, *where, canvas=CANVAS) for where in (("3 groups of 5", False), ("3 groups of 4", True))]
    assert any("does not show" not in picture.caption for picture in shown) or name == "smaller_half_shifted"
    for picture in shown:
        assert BUGS[name].symptom in picture.caption
        assert BUGS[name].title in picture.alt
        assert "<figcaption>" in picture.html


def test_the_panel_survives_all_its_controls():
    panel = gallery_explorer()
    panel.drive()
    assert panel.errors == []
    panel.controls["name"].value = "odd_group"
    assert "does not show" in panel.picture.caption
    panel.controls["size"].value = "3 groups of 5"
    assert "differ by" in panel.picture.caption


def test_what_is_right_is_caught_by_nothing():
    assert not any(caught_by(s2_attention).values())


def test_every_mistake_is_caught_by_something_and_none_by_its_shape():
    for name, bug in BUGS.items():
        caught = caught_by(bug.function)
        assert any(caught.values()), name
        assert not caught["shapes"], name


def test_what_only_odd_sizes_or_padding_catch():
    alone = {name: [test for test, failed in caught_by(bug.function).items() if failed] for name, bug in BUGS.items()}
    assert {name for name, tests in alone.items() if tests == ["odd sizes"]} == {
        "odd_group", "smaller_half_shifted", "shifted_the_other_way"
    }  # fmt: skip
    assert [name for name, tests in alone.items() if tests == ["padding"]] == ["padding_left_behind"]
    assert alone["missing_scale"] == ["gradient", "reference", "odd sizes", "padding"]
    assert alone["wrap_leak"][0] == "future"


def test_the_table_has_a_row_for_each_mistake(capsys):
    show_caught()
    printed = capsys.readouterr().out
    assert all(bug.title in printed for bug in BUGS.values())
