from __future__ import annotations

import re

import numpy as np
import pytest

from longlora_edu.training.corpus import Document, Windows
from longlora_edu.training.passkey import DIGITS, OVERHEAD, PasskeyMix, hide_passkey

FILLER = np.frombuffer(bytes(range(97, 123)) * 10, dtype=np.uint8)


def hidden(length, depth, seed=0):
    return hide_passkey(FILLER[:length], depth, np.random.default_rng(seed))


def parse(text):
    """The place and digits of the statement, of the question, and the text around them."""
    pattern = re.fullmatch(rb"(.*)\n# passkey (\d{5})\n(.*)\n# passkey (\d{5})", bytes(text), re.DOTALL)
    assert pattern, bytes(text)
    return pattern.groups()


@pytest.mark.parametrize("length", [OVERHEAD, OVERHEAD + 1, 64, 200])
@pytest.mark.parametrize("depth", [0, 0.25, 0.5, 0.98, 1])
def test_the_last_five_bytes_answer_what_was_stated_before(length, depth):
    text = hidden(length, depth)
    before, stated, after, asked = parse(text)
    assert (len(text), text.dtype) == (length, np.uint8)
    assert stated == asked == text[-DIGITS:].tobytes()
    assert before + after == FILLER[: length - OVERHEAD].tobytes(), "the text itself stays, but for its end"


@pytest.mark.parametrize("length", [64, 200])
def test_depth_0_states_the_key_at_the_start_and_1_just_before_the_question(length):
    assert hidden(length, 0).tobytes().startswith(b"\n# passkey ")
    assert parse(hidden(length, 0))[2] == FILLER[: length - OVERHEAD].tobytes()
    assert parse(hidden(length, 1))[2] == b""


@pytest.mark.parametrize(("depth", "distance"), [(0, 167 + 17), (0.5, 83 + 17), (1, 17)])
def test_the_answer_is_the_text_between_and_the_question_away_from_the_statement(depth, distance):
    """Seventeen bytes stand between a digit and its answer at least: the digits, a newline and the question."""
    text = hidden(200, depth)
    place = len(parse(text)[0]) + len(b"\n# passkey ")
    np.testing.assert_array_equal(text[place : place + DIGITS], text[-DIGITS:])
    assert (200 - DIGITS) - place == distance


def test_depth_places_the_key_in_proportion():
    places = [len(parse(hidden(200, depth))[0]) for depth in np.linspace(0, 1, 11)]
    np.testing.assert_allclose(places, np.linspace(0, 200 - OVERHEAD, 11), atol=0.5)


def test_the_window_given_is_not_written_to():
    window = FILLER[:64].copy()
    hide_passkey(window, 0.5, np.random.default_rng(0))
    np.testing.assert_array_equal(window, FILLER[:64])


def test_all_digits_occur_at_all_places_alike():
    rng = np.random.default_rng(0)
    keys = np.stack([hide_passkey(FILLER[:OVERHEAD], 0, rng)[-DIGITS:] - ord("0") for _ in range(5000)])
    counts = np.stack([np.bincount(place, minlength=10) for place in keys.T])
    assert counts.shape == (5, 10)
    # Each count is binomial around 500 with a deviation of 21.
    np.testing.assert_allclose(counts, 500, atol=5 * 21.3)


def test_a_window_without_room_is_refused():
    with pytest.raises(
        ValueError, match=f"window must have at least {OVERHEAD} bytes for a passkey, got {OVERHEAD - 1}"
    ):
        hidden(OVERHEAD - 1, 0)


@pytest.mark.parametrize("depth", [-0.1, 1.1, float("nan")])
def test_a_depth_outside_is_refused(depth):
    with pytest.raises(ValueError, match=f"depth must be from 0 to 1, got {depth}"):
        hidden(64, depth)


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_outside_is_refused(share):
    with pytest.raises(ValueError, match=f"share must be from 0 to 1, got {share}"):
        PasskeyMix(share)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_a_weight_that_is_not_positive_is_refused(weight):
    with pytest.raises(ValueError, match=f"weight must be positive and finite, got {weight}"):
        PasskeyMix(0.5, weight)


def windows(length):
    return Windows((Document("filler", FILLER.tobytes()),), length)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_that_share_of_the_windows_carries_a_passkey_and_says_so(share):
    ids, carries = PasskeyMix(share).batch(windows(OVERHEAD + 10), np.random.default_rng(0), 2000)
    assert (ids.shape, ids.dtype, carries.shape) == ((2000, OVERHEAD + 10), np.uint8, (2000,))
    assert abs(carries.mean() - share) <= 4 * (share * (1 - share) / 2000) ** 0.5
    for row, carry in zip(ids, carries, strict=True):
        assert carry == (b"# passkey" in row.tobytes())
        if carry:
            stated, asked = parse(row)[1::2]
            assert stated == asked


def test_depths_in_a_mix_are_uniform():
    ids, _ = PasskeyMix(1.0).batch(windows(OVERHEAD + 100), np.random.default_rng(0), 2000)
    depths = np.array([len(parse(row)[0]) / 100 for row in ids])
    counts, _ = np.histogram(depths, bins=5, range=(0, 1))
    np.testing.assert_allclose(counts, 400, atol=5 * 18)


def test_a_mix_draws_the_same_from_the_same_generator():
    mix = PasskeyMix(0.5)
    first, again = (mix.batch(windows(64), np.random.default_rng(3), 8) for _ in range(2))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
