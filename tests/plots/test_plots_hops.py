from __future__ import annotations

import numpy as np
import pytest
from helpers import geometries
from hypothesis import given, settings
from hypothesis import strategies as st

from longlora_edu.geometry import S2Geometry
from longlora_edu.plots import PROJECTOR, SCREEN, describe_boundaries, describe_hops, hops, plot_boundaries, plot_hops
from longlora_edu.plots.style import png

RULES = [S2Geometry(8, 4, 2, boundary=boundary) for boundary in ("split", "wrap", "masked")]


def test_plain_and_shifted_heads_take_turns_on_the_way_back():
    assert hops(S2Geometry(12, 4, 2)) == [(0, 8), (1, 6), (0, 4), (1, 2), (0, 0)]
    assert hops(S2Geometry(12, 4, 2), 5) == [(1, 2), (0, 0)]
    assert hops(S2Geometry(12, 4, 2), 0) == []


def test_without_a_shift_nobody_leaves_their_group():
    assert hops(S2Geometry(12, 4, 2, shift=0)) == [(0, 8)]
    assert hops(S2Geometry(12, 4, 2, shift=0), 4) == []


@given(geometries(max_len=16), st.data())
@settings(max_examples=40, deadline=None, derandomize=True)
def test_hops_go_back_as_far_as_the_reach_does(geometry, data):
    query = data.draw(st.integers(0, geometry.seq_len - 1))
    found = hops(geometry, query)
    for layer, (head, earliest) in enumerate(found, 1):
        heard = geometry.reach(layer)[query]
        assert np.argmax(heard) == earliest
        assert head in geometry.plain_heads or head in geometry.shifted_heads
    furthest = np.argmax(geometry.reach(len(found) + 1)[query])
    assert furthest == (found[-1][1] if found else query)


def test_a_query_outside_of_the_sequence_is_refused():
    with pytest.raises(ValueError, match="query must be from 0 to seq_len - 1 = 11, got 12"):
        hops(S2Geometry(12, 4, 2), 12)


@pytest.mark.parametrize("style", [SCREEN, PROJECTOR])
def test_the_way_back_has_a_row_a_layer_that_says_which_kind_of_head(style):
    ax = plot_hops(S2Geometry(12, 4, 2), style=style)
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == ["1: plain head", "2: shifted head", "3: plain head", "4: shifted head", "5: plain head"]
    assert ax.get_title(loc="left") == "Token 11 hears token 0 after 5 layers"
    assert png(ax).startswith(b"\x89PNG")


def test_a_way_that_ends_says_where_and_a_token_alone_is_drawn_too():
    assert plot_hops(S2Geometry(12, 4, 2, shift=0)).get_title(loc="left") == "Token 11 hears back to token 8"
    assert plot_hops(S2Geometry(12, 4, 2, shift=0), 4).get_title(loc="left") == "Token 4 hears back to token 4"


def test_the_way_back_in_words():
    assert describe_hops(S2Geometry(8, 4, 2)) == (
        "8 tokens in groups of 4: token 7 hears back in 3 layers: plain head to token 4, shifted head to token 2, "
        "plain head to token 0."
    )
    assert "hears nothing before itself" in describe_hops(S2Geometry(12, 4, 2, shift=0), 4)


def test_boundaries_stand_side_by_side_and_say_what_they_leak():
    axes = plot_boundaries(RULES)
    assert [ax.get_title(loc="left") for ax in axes] == ["split, shift 2", "wrap, shift 2", "masked, shift 2"]
    assert describe_boundaries(RULES) == (
        "A shifted head over 8 tokens in groups of 4: split, 16 pairs, none of them in the future; wrap, 20 pairs, 4 "
        "of them in the future; masked, 20 pairs, none of them in the future."
    )
    with pytest.raises(ValueError, match="axes must be one a geometry, 3, got 1"):
        plot_boundaries(RULES, axes=[axes[0]])
