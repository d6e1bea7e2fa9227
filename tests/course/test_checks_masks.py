"""Every mistake that lesson 02 knows is planted here, as a learner would write it, and must be called by its name."""

from __future__ import annotations

import numpy as np
import pytest

from longlora_edu.course.checks import CheckFailed
from longlora_edu.course.checks import l02a_wall_and_shift as l02a
from longlora_edu.course.checks import l02b_reach as l02b
from longlora_edu.course.checks import l02c_seam_and_leak as l02c

pytestmark = pytest.mark.usefixtures("published")


# 2.1 The mask of a plain head.


def plain_mask(seq_len, group_size):
    query, key = np.ogrid[:seq_len, :seq_len]
    return (query // group_size == key // group_size) & (key <= query)


def plain_by_loops(n, g):
    mask = np.zeros((n, n), dtype=bool)
    for query in range(n):
        for key in range(query // g * g, query + 1):
            mask[query, key] = True
    return mask


def plain_not_causal(n, g):
    cell = np.arange(n) // g
    return cell[:, None] == cell


def plain_not_itself(n, g):
    mask = np.zeros((n, n), dtype=bool)
    for query in range(n):
        mask[query, query // g * g : query] = True
    return mask


def plain_transposed(n, g):
    return plain_by_loops(n, g).T


def plain_inverted(n, g):
    return ~plain_by_loops(n, g)


def plain_without_groups(n, g):
    return np.tri(n, dtype=bool)


def plain_window(n, g):
    return np.tri(n, dtype=bool) & ~np.tri(n, k=-g, dtype=bool)


def plain_earlier_groups(n, g):
    cell = np.arange(n) // g
    return cell[:, None] >= cell


def plain_number_of_groups(n, g):
    return plain_by_loops(n, max(1, n // g))


def plain_number_of_groups_rounded_up(n, g):
    return plain_by_loops(n, -(-n // g))


def plain_ragged(n, g):
    mask = np.zeros((n, n), dtype=bool)
    for start in range(0, n - g + 1, g):
        mask[start : start + g, start : start + g] = np.tri(g, dtype=bool)
    return mask


def plain_places(n, g):
    place = np.arange(n) % g
    return (place[:, None] == place) & np.tri(n, dtype=bool)


PLAIN = {
    plain_not_causal: ("not_causal", "must not be later"),
    plain_not_itself: ("not_itself", "use <=, not <"),
    plain_transposed: ("transposed", "Rows and columns are swapped"),
    plain_inverted: ("inverted", "turned around"),
    plain_without_groups: ("no_groups", "full causal attention"),
    plain_window: ("sliding_window", "Groups stand still"),
    plain_earlier_groups: ("earlier_groups", "every earlier group too"),
    plain_number_of_groups: ("number_of_groups", "how many tokens are in a group"),
    plain_number_of_groups_rounded_up: ("number_of_groups", "how many tokens are in a group"),
    plain_places: ("place_in_group", "The number of the group"),
    plain_ragged: ("ragged_end", "softmax over nothing is NaN"),
}


# 2.2 All heads.


def s2_mask(seq_len, group_size, num_heads, shift):
    head, query, key = np.ogrid[:num_heads, :seq_len, :seq_len]
    start = np.where(head < num_heads // 2, 0, shift)
    return ((query - start) // group_size == (key - start) // group_size) & (key <= query)


def one_head(n, g, start):
    """A head in plain loops: its cells, and who is in them."""
    mask = np.zeros((n, n), dtype=bool)
    for query in range(n):
        for key in range(query + 1):
            mask[query, key] = (query - start) // g == (key - start) // g
    return mask


def stacked(plain, late, heads):
    return np.stack([plain] * (heads // 2) + [late] * (heads - heads // 2))


def heads_by_loops(n, g, heads, shift):
    return stacked(one_head(n, g, 0), one_head(n, g, shift), heads)


def heads_never_shifted(n, g, heads, shift):
    return np.stack([one_head(n, g, 0)] * heads)


def heads_all_shifted(n, g, heads, shift):
    return np.stack([one_head(n, g, shift)] * heads)


def heads_halves_swapped(n, g, heads, shift):
    return stacked(one_head(n, g, shift), one_head(n, g, 0), heads)


def heads_smaller_half(n, g, heads, shift):
    return np.stack([one_head(n, g, shift if head >= (heads + 1) // 2 else 0) for head in range(heads)])


def heads_one_plain_too_many(n, g, heads, shift):
    return np.stack([one_head(n, g, shift if head > heads // 2 else 0) for head in range(heads)])


def heads_places(n, g, heads, shift):
    place = (np.arange(n) - shift) % g
    late = (place[:, None] == place) & np.tri(n, dtype=bool)
    return stacked(plain_places(n, g), late, heads)


def heads_every_second(n, g, heads, shift):
    return np.stack([one_head(n, g, shift if head % 2 else 0) for head in range(heads)])


def heads_half_of_the_tokens(n, g, heads, shift):
    cell = np.array([(token - shift if token >= n // 2 else token) // g for token in range(n)])
    return np.stack([(cell[:, None] == cell) & np.tri(n, dtype=bool)] * heads)


def heads_other_way(n, g, heads, shift):
    return stacked(one_head(n, g, 0), one_head(n, g, -shift), heads)


def heads_half_a_group(n, g, heads, shift):
    return heads_by_loops(n, g, heads, g // 2)


def heads_towards_zero(n, g, heads, shift):
    cell = np.array([int((token - shift) / g) for token in range(n)])
    return stacked(one_head(n, g, 0), (cell[:, None] == cell) & np.tri(n, dtype=bool), heads)


def heads_rolled(n, g, heads, shift):
    late = np.zeros((n, n), dtype=bool)
    slots = np.roll(np.arange(n), -shift)
    for a, query in enumerate(slots):
        for b, key in enumerate(slots):
            late[query, key] = a // g == b // g and b <= a
    return stacked(one_head(n, g, 0), late, heads)


def heads_ends_joined(n, g, heads, shift):
    cell = np.argsort(np.roll(np.arange(n), -shift)) // g
    return stacked(one_head(n, g, 0), (cell[:, None] == cell) & np.tri(n, dtype=bool), heads)


def heads_start_blind(n, g, heads, shift):
    late = one_head(n, g, shift)
    late[:shift] = False
    return stacked(one_head(n, g, 0), late, heads)


def heads_not_causal(n, g, heads, shift):
    right = heads_by_loops(n, g, heads, shift)
    return right | right.transpose(0, 2, 1)


def heads_not_themselves(n, g, heads, shift):
    return heads_by_loops(n, g, heads, shift) & ~np.eye(n, dtype=bool)


def heads_query_alone(n, g, heads, shift):
    query, key = np.ogrid[:n, :n]
    one = ((query - shift) // g == key // g) & (key <= query)
    return np.stack([one_head(n, g, 0) if head < heads // 2 else one for head in range(heads)])


HEADS = {
    heads_never_shifted: ("never_shifted", "All your heads are plain"),
    heads_all_shifted: ("all_heads_shifted", "walls have moved"),
    heads_halves_swapped: ("halves_swapped", "halves are swapped"),
    heads_smaller_half: ("smaller_half_shifted", "rounded down"),
    heads_every_second: ("every_second_head", "the second half of the heads"),
    heads_half_of_the_tokens: ("half_of_the_tokens", "half of the heads that is shifted"),
    heads_other_way: ("other_way", "subtract the shift"),
    heads_one_plain_too_many: ("one_plain_too_many", "use <, not <="),
    heads_places: ("place_in_group", "The number of the group"),
    heads_half_a_group: ("always_half_a_group", "whatever `shift` is"),
    heads_towards_zero: ("towards_zero", r"round down \(//\)"),
    heads_rolled: ("wrap_leak", "That is what rolling does"),
    heads_ends_joined: ("ends_joined", "the masked boundary of lesson 02c"),
    heads_query_alone: ("query_alone", "Subtract it from both"),
    heads_start_blind: ("start_sees_nothing", "a short cell of their own"),
    heads_not_causal: ("not_causal", "must not be later"),
    heads_not_themselves: ("not_itself", "use <=, not <"),
}


# 2.3 Pairs.


def count_pairs(seq_len, group_size, num_heads):
    def triangles(length):
        whole, rest = divmod(max(length, 0), group_size)
        return whole * (group_size * (group_size + 1) // 2) + rest * (rest + 1) // 2

    shift = min(group_size // 2, seq_len)
    plain, shifted = triangles(seq_len), shift * (shift + 1) // 2 + triangles(seq_len - shift)
    return num_heads // 2 * plain + (num_heads - num_heads // 2) * shifted


def pairs_by_looking(n, g, heads):
    return int(heads_by_loops(n, g, heads, g // 2).sum())


def pairs_all_plain(n, g, heads):
    return heads * int(one_head(n, g, 0).sum())


def pairs_all_shifted(n, g, heads):
    return heads * int(one_head(n, g, g // 2).sum())


def pairs_larger_half_plain(n, g, heads):
    return int(heads_smaller_half(n, g, heads, g // 2).sum())


def pairs_without_the_middle(n, g, heads):
    return int(heads_by_loops(n, g, heads - heads % 2, g // 2).sum()) if heads > 1 else 0


def pairs_of_two_heads(n, g, heads):
    return int(heads_by_loops(n, g, 2, g // 2).sum())


def pairs_squares(n, g, heads):
    return int(heads_not_causal(n, g, heads, g // 2).sum())


def pairs_without_diagonal(n, g, heads):
    return int(heads_not_themselves(n, g, heads, g // 2).sum())


def pairs_without_ends(n, g, heads):
    full = g * (g + 1) // 2
    return heads // 2 * (n // g) * full + (heads - heads // 2) * (n // g - 1) * full


def pairs_without_ragged_end(n, g, heads):
    whole = n // g * g
    return pairs_by_looking(whole, g, heads) if whole else 0


def pairs_of_full_attention(n, g, heads):
    return heads * n * (n + 1) // 2


def pairs_of_whole_groups(n, g, heads):
    return heads * (n // g) * (g * (g + 1) // 2)


def pairs_of_shifted(n, g, heads, sizes, plain=None):
    """Plain heads counted right or as `plain`, shifted ones by the sizes of their cells."""
    plain = int(one_head(n, g, 0).sum()) if plain is None else plain
    return heads // 2 * plain + (heads - heads // 2) * sum(size * (size + 1) // 2 for size in sizes)


def shifted_sizes(n, g, first):
    first = min(first, n)
    return [first, *[g] * ((n - first) // g), (n - first) % g]


def pairs_without_plain_end(n, g, heads):
    return pairs_of_shifted(n, g, heads, shifted_sizes(n, g, g // 2), n // g * (g * (g + 1) // 2))


def pairs_without_last_cells(n, g, heads):
    return pairs_of_shifted(n, g, heads, shifted_sizes(n, g, g // 2)[:-1], n // g * (g * (g + 1) // 2))


def pairs_half_a_group_at_each_end(n, g, heads):
    full = g * (g + 1) // 2  # n // g - 1 of them, which is one less than none in a short text
    return pairs_of_shifted(n, g, heads, [g // 2] * 2) + (heads - heads // 2) * (n // g - 1) * full


def pairs_ends_joined(n, g, heads):
    first, *full, last = shifted_sizes(n, g, g // 2)
    return pairs_of_shifted(n, g, heads, [first + last, *full])


def pairs_longer_than_the_text(n, g, heads):
    _, *others = shifted_sizes(n, g, g // 2)
    return pairs_of_shifted(n, g, heads, [g // 2, *others])


def pairs_shift_rounded_up(n, g, heads):
    return int(heads_by_loops(n, g, heads, (g + 1) // 2).sum())


PAIRS = {
    pairs_all_plain: ("all_heads_plain", "two short cells hold fewer pairs"),
    pairs_all_shifted: ("all_heads_shifted", "The first num_heads // 2 are plain"),
    pairs_larger_half_plain: ("larger_half_plain", "the larger half is shifted"),
    pairs_without_the_middle: ("middle_head_forgotten", "one is missing"),
    pairs_of_two_heads: ("one_of_each", "how many of its kind"),
    pairs_squares: ("squares", "whole squares"),
    pairs_without_diagonal: ("not_itself", "leave out the diagonal"),
    pairs_without_ends: ("ends_forgotten", "two short cells at the ends"),
    pairs_without_ragged_end: ("ragged_end_forgotten", "Count it too"),
    pairs_without_plain_end: ("ragged_end_forgotten", "Count it too"),
    pairs_of_whole_groups: ("whole_groups_on_every_head", "whole groups, on every head"),
    pairs_without_last_cells: ("last_cells_forgotten", "on both kinds of heads"),
    pairs_half_a_group_at_each_end: ("half_a_group_at_each_end", "holds what is left"),
    pairs_ends_joined: ("ends_joined", "as one"),
    pairs_longer_than_the_text: ("longer_than_the_text", "ends with the text"),
    pairs_shift_rounded_up: ("shift_rounded_up", "rounded down"),
    pairs_of_full_attention: ("no_groups", "full attention"),
}


# 2.4 Reach.


def heard_after(mask, num_layers):
    step = mask.any(axis=0)
    heard = np.eye(len(step), dtype=bool)
    for _ in range(num_layers):
        heard = step @ heard
    return heard


def powers(step, layers):
    heard = np.eye(len(step), dtype=bool)
    for _ in range(layers):
        heard = np.array([[(step[i] & heard[:, j]).any() for j in range(len(step))] for i in range(len(step))])
    return heard


def reach_by_loops(mask, layers):
    return powers(mask.any(axis=0), layers)


def reach_heads_apart(mask, layers):
    return np.any([powers(head, layers) for head in mask], axis=0)


def reach_all_agree(mask, layers):
    return powers(mask.all(axis=0), layers)


def reach_first_head(mask, layers):
    return powers(mask[0], layers)


def reach_last_head(mask, layers):
    return powers(mask[-1], layers)


def reach_one_layer(mask, layers):
    return mask.any(axis=0)


def reach_too_many(mask, layers):
    heard = mask.any(axis=0)
    for _ in range(layers):
        heard = mask.any(axis=0) @ heard
    return heard


def reach_too_few(mask, layers):
    return powers(mask.any(axis=0), layers - 1)


def reach_doubling(mask, layers):
    heard = mask.any(axis=0)
    for _ in range(layers - 1):
        heard = heard @ heard
    return heard


def reach_transposed(mask, layers):
    return powers(mask.any(axis=0), layers).T


def reach_everything(mask, layers):
    return np.tri(mask.shape[1], dtype=bool)


def reach_head_after_head(mask, layers):
    heard = np.eye(mask.shape[1], dtype=bool)
    for _ in range(layers):
        for head in mask:
            heard = head @ heard
    return heard


def reach_square_by_square(mask, layers):
    heard = np.eye(mask.shape[1], dtype=bool)
    for _ in range(layers):
        heard = heard * mask.any(axis=0)
    return heard


REACH = {
    reach_heads_apart: ("one_layer", "Unite the heads first"),
    reach_all_agree: ("all_heads_agree", "with any, not with all"),
    (lambda mask, layers: np.zeros(mask.shape[1:], dtype=bool)): ("nobody_to_begin_with", "not from zeros"),
    (lambda mask, layers: np.ones(mask.shape[1:], dtype=bool)): ("everybody_to_begin_with", "not from ones"),
    reach_first_head: ("first_head_only", "first head only"),
    reach_last_head: ("last_head_only", "last head only"),
    reach_one_layer: ("one_layer", "This is what one layer brings"),
    reach_too_many: ("one_layer_too_many", "start from the identity"),
    reach_too_few: ("one_layer_too_few", "One layer too few"),
    reach_doubling: ("doubling", "double each time"),
    reach_head_after_head: ("head_after_head", "Heads work side by side"),
    reach_square_by_square: ("square_by_square", "the product of matrices"),
    reach_transposed: ("transposed", "the row hears"),
    reach_everything: ("everything_before", "as many layers as the way is long"),
}


# 2.5 How many layers, 2.6 how much leaks.


def layers_needed(num_groups):
    return 2 * num_groups - 1


LAYERS = {
    (lambda num_groups: num_groups): ("one_group_a_layer", "it takes both to go back by one group"),
    (lambda num_groups: 2 * num_groups): ("one_too_many", "One too many"),
    (lambda num_groups: 2 * (num_groups - 1)): ("first_hop_forgotten", "beginning of its own group"),
    (lambda num_groups: num_groups - 1): ("borders_counted", "each takes two layers"),
    (lambda num_groups: 2**num_groups - 1): ("a_power", "nothing doubles"),
    (lambda num_groups: num_groups**2): ("a_square", "nothing is squared"),
}


def leaked_pairs(group_size, num_heads, shift):
    return (num_heads - num_heads // 2) * shift * (group_size - shift)


LEAK = {
    (lambda g, heads, s: heads * s * (g - s)): ("plain_heads_leak", "Plain heads wrap nothing"),
    (lambda g, heads, s: s * (g - s)): ("one_head", "how many heads are shifted"),
    (lambda g, heads, s: heads // 2 * s * (g - s)): ("smaller_half", "the larger half is shifted"),
    (lambda g, heads, s: (heads + 1) // 2 * (g // 2) ** 2): ("half_a_group_squared", "In general"),
    (lambda g, heads, s: (heads + 1) // 2 * 2 * s * (g - s)): ("both_ways", "the last ones do not look back"),
    (lambda g, heads, s: (heads + 1) // 2 * g * (g + 1) // 2): ("whole_cell", "Most of them look backwards"),
    (lambda g, heads, s: (heads + 1) // 2 * s * s): ("shift_squared", "The seam is a rectangle"),
}


# 2.7 The masked boundary.


def masked_boundary(seq_len, group_size, shift):
    query, key = np.ogrid[:seq_len, :seq_len]
    same_cell = (query - shift) % seq_len // group_size == (key - shift) % seq_len // group_size
    return same_cell & (key <= query)


def seam(n, g, shift, looks):
    """The head in loops over rolled slots; `looks(query, key, query_slot, key_slot)` decides within a cell."""
    mask = np.zeros((n, n), dtype=bool)
    slots = np.roll(np.arange(n), -shift)
    for a, query in enumerate(slots):
        for b, key in enumerate(slots):
            mask[query, key] = a // g == b // g and looks(query, key, a, b)
    return mask


def masked_by_loops(n, g, shift):
    return seam(n, g, shift, lambda query, key, a, b: key <= query)


def masked_both_orders(n, g, shift):
    return seam(n, g, shift, lambda query, key, a, b: key <= query and b <= a)


MASKED = {
    (lambda n, g, s: seam(n, g, s, lambda query, key, a, b: b <= a)): ("wrap_leak", "the order is not"),
    (lambda n, g, s: one_head(n, g, s)): ("seam_cut", "do not look at the first ones"),
    masked_both_orders: ("seam_cut", "let the true positions alone decide"),
    (lambda n, g, s: one_head(n, 1, 0) | heads_places(n, g, 2, s)[1]): ("place_in_cell", "modulo seq_len first"),
    (lambda n, g, s: np.tri(n, dtype=bool)): ("modulo_the_group", "modulo seq_len"),
    (lambda n, g, s: seam(n, g, s, lambda query, key, a, b: True)): ("not_causal", "must not be later"),
    (lambda n, g, s: seam(n, g, s, lambda query, key, a, b: key < query)): ("not_itself", "use <=, not <"),
    (lambda n, g, s: masked_by_loops(n, g, -s % n)): ("other_way", "subtract the shift"),
    (lambda n, g, s: one_head(n, g, 0)): ("not_shifted", "This is a plain head"),
    (lambda n, g, s: masked_by_loops(n, g, g // 2)): ("always_half_a_group", "whatever `shift` is"),
}

DRAWN = {l02a.plain_mask: PLAIN, l02a.s2_mask: HEADS, l02b.heard_after: REACH, l02c.masked_boundary: MASKED}
COUNTED = {l02a.count_pairs: PAIRS, l02b.layers_needed: LAYERS, l02c.leaked_pairs: LEAK}
RIGHT = {
    l02a.plain_mask: (plain_mask, plain_by_loops),
    l02a.s2_mask: (s2_mask, heads_by_loops),
    l02a.count_pairs: (count_pairs, pairs_by_looking),
    l02b.heard_after: (heard_after, reach_by_loops),
    l02b.layers_needed: (layers_needed, lambda num_groups: 1 + 2 * (num_groups - 1)),
    l02c.leaked_pairs: (leaked_pairs, lambda g, heads, s: int(heads_leak(g, heads, s))),
    l02c.masked_boundary: (masked_boundary, masked_by_loops),
}


def heads_leak(g, heads, s):
    looks_ahead = np.triu(heads_rolled(3 * g, g, heads, s)[-1], k=1)
    return (heads - heads // 2) * looks_ahead.sum()


def named(cases):
    """(check, answer, mistake, sentence), with an id that says which."""
    return [
        pytest.param(checked, answer, *expected, id=f"{checked.key}-{expected[0]}-{number}")
        for checked, answers in cases.items()
        for number, (answer, expected) in enumerate(answers.items())
    ]


@pytest.mark.parametrize(
    ("checked", "answer"),
    [pytest.param(checked, answer, id=checked.key) for checked, answers in RIGHT.items() for answer in answers],
)
def test_a_right_answer_passes_however_it_is_written(checked, answer, journal):
    checked(answer, journal=journal)
    assert journal.get("exercises", checked.key) == {"attempts": 1, "passed": True}


@pytest.mark.parametrize(("checked", "answer", "mistake", "sentence"), named(DRAWN))
def test_a_wrong_mask_is_called_by_its_name_and_drawn_beside_the_right_one(checked, answer, mistake, sentence, journal):
    with pytest.raises(CheckFailed, match=sentence) as failed:
        checked(answer, journal=journal)
    assert failed.value.mistake == mistake
    assert failed.value.picture.alt.startswith("Your mask beside the right one: ")
    assert "(Seen with " in str(failed.value)
    assert journal.get("exercises", checked.key)["mistake"] == mistake


@pytest.mark.parametrize(("checked", "answer", "mistake", "sentence"), named(COUNTED))
def test_a_wrong_number_is_called_by_its_name_with_a_picture_of_what_to_count(
    checked, answer, mistake, sentence, journal
):
    with pytest.raises(CheckFailed, match=sentence) as failed:
        checked(answer, journal=journal)
    assert failed.value.mistake == mistake
    assert "tokens in groups of" in failed.value.picture.alt


@pytest.mark.parametrize("checked", RIGHT, ids=lambda checked: checked.key)
def test_no_exercise_knows_fewer_than_three_mistakes_and_each_has_words_of_its_own(checked):
    mistakes = (DRAWN | COUNTED)[checked].values()
    assert len({mistake for mistake, _ in mistakes}) >= 3
    assert len({sentence for _, sentence in mistakes}) >= len({mistake for mistake, _ in mistakes})


@pytest.mark.parametrize("checked", RIGHT, ids=lambda checked: checked.key)
def test_a_stub_is_told_apart_from_a_wrong_answer(checked, journal):
    def stub(*args):
        raise NotImplementedError("your lines go here")

    with pytest.raises(NotImplementedError):
        checked(stub, journal=journal)
    assert journal.get("exercises", checked.key) is None


@pytest.mark.parametrize("checked", RIGHT, ids=lambda checked: checked.key)
def test_an_exception_in_the_learners_code_is_one_sentence_with_its_line(checked, journal):
    def broken(*args):
        return [][len(args)]

    with pytest.raises(CheckFailed, match=r"broken raised IndexError on the line `return \[\]\[len\(args\)\]`") as f:
        checked(broken, journal=journal)
    assert f.value.mistake == "exception"


@pytest.mark.parametrize("checked", RIGHT, ids=lambda checked: checked.key)
def test_a_function_that_does_not_return_is_asked_whether_it_forgot(checked, journal):
    with pytest.raises(CheckFailed, match="did you forget `return`") as failed:
        checked(lambda *args: None, journal=journal)
    assert failed.value.mistake == "type"


@pytest.mark.parametrize("checked", DRAWN, ids=lambda checked: checked.key)
@pytest.mark.parametrize(
    ("change", "mistake", "sentence"),
    [
        (lambda mask: mask[None], "rank", "must have . axes"),
        (lambda mask: mask[..., :-1], "shape", "must have shape"),
        (lambda mask: mask.astype(float), "dtype", "must hold True and False, got dtype float64"),
        (lambda mask: mask.tolist(), "type", "must be a NumPy array, got list"),
    ],
    ids=["rank", "shape", "dtype", "type"],
)
def test_form_comes_before_content(checked, change, mistake, sentence, journal):
    with pytest.raises(CheckFailed, match=sentence) as failed:
        checked(lambda *args: change(RIGHT[checked][0](*args)), journal=journal)
    assert failed.value.mistake == mistake


def test_whole_groups_only_are_asked_about_the_last_one(journal):
    def whole_groups(n, g):
        return np.kron(np.eye(n // g), np.tri(g)) > 0

    with pytest.raises(CheckFailed, match=r"got \(8, 8\). Does your last group end where the text ends") as failed:
        l02a.plain_mask(whole_groups, journal=journal)
    assert failed.value.mistake == "shape"


def test_one_head_where_all_are_asked_for_is_a_matter_of_rank(journal):
    with pytest.raises(CheckFailed, match=r"must have 3 axes \(2, 8, 8\), got 2: \(8, 8\)"):
        l02a.s2_mask(lambda n, g, heads, shift: one_head(n, g, shift), journal=journal)


@pytest.mark.parametrize("checked", COUNTED, ids=lambda checked: checked.key)
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (float, r"must be an integer, got .*\.0 \(divide with //"),
        (lambda number: np.array([number]), "must be an integer, got ndarray"),
        (lambda number: number > 0, "must be an integer, got (True|False)"),
        (str, "must be an integer, got '"),
    ],
    ids=["float", "array", "bool", "text"],
)
def test_a_number_must_be_whole(checked, change, sentence, journal):
    with pytest.raises(CheckFailed, match=sentence) as failed:
        checked(lambda *args: change(RIGHT[checked][0](*args)), journal=journal)
    assert failed.value.mistake == "type"


def test_a_number_may_come_from_numpy(journal):
    l02a.count_pairs(lambda *args: np.int64(count_pairs(*args)), journal=journal)


def test_a_mistake_that_nobody_thought_of_is_shown_where_it_is(journal):
    def odd_one_out(n, g):
        mask = plain_mask(n, g)
        mask[-1, 0] ^= True
        return mask

    with pytest.raises(CheckFailed, match=r"Query 7 looks at key 0 in your answer, and it must not\.") as failed:
        l02a.plain_mask(odd_one_out, journal=journal)
    assert failed.value.mistake == "other"
    assert "1 pairs too many, 0 missing" in failed.value.picture.alt

    def blind_spot(n, g, heads, shift):
        mask = s2_mask(n, g, heads, shift)
        mask[-1, -1, -1] = False
        return mask

    with pytest.raises(CheckFailed, match="On head 1 query 7 does not look at key 7 in your answer, and it must"):
        l02a.s2_mask(blind_spot, journal=journal)

    with pytest.raises(CheckFailed, match="Yours is 37, counted are 36") as failed:
        l02a.count_pairs(lambda *args: count_pairs(*args) + 1, journal=journal)
    assert failed.value.mistake == "other"
