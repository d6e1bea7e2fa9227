"""Statements proved of `S2Geometry` for all integers: any length, group, shift, number of heads, tokens.

A lemma gets a `world`, whose integers are unknown (`symbolic.py`), and `make`, which makes geometries of them. It runs
the package's own `allows`, `pairs` and `future_pairs` on these and claims something of what comes out. Over each lemma
stand the boundaries of which it is made, and for each of them faults in geometry.py under which it must fail.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

from symbolic import Chosen, Integer, Symbolic, Truth, implies, no

from longlora_edu.geometry import S2Geometry

LEMMAS: dict[str, Lemma] = {}
# `pairs` and `future_pairs` take the length of a range of heads, which must be a number: these are tried, one by one.
HEADS = range(1, 65)

# Mistakes that are easily made: a text that geometry.py has once, and what a wrong one has there.
FAULTS: dict[str, tuple[str, str]] = {
    "not itself": ("else key <= query", "else key < query"),
    "not itself wrapped": ("key_coordinate <= query_coordinate", "key_coordinate < query_coordinate"),
    "one ahead": ("else key <= query", "else key <= query + 1"),
    "both ways": ("else key <= query", "else key < query + self.group_size"),
    "masked as wrapped": ('if self.boundary == "wrap" else key', 'if self.boundary != "split" else key'),
    "only queries shifted": ("query - shift, key - shift", "query - shift, key"),
    "shifted the other way": ("query - shift, key - shift", "query + shift, key + shift"),
    "split wraps": ('if self.boundary != "split":\n            query', "if True:\n            query"),
    "key not wrapped": ("key_coordinate % self.seq_len", "key_coordinate"),
    "sliding window": (
        "query_coordinate // self.group_size == key_coordinate // self.group_size",
        "(query - key < self.group_size) & (key - query < self.group_size)",
    ),
    "always half a group": ("num_heads // 2) * self.shift", "num_heads // 2) * (self.group_size // 2)"),
    "one shifted head less": ("head >= self.num_heads // 2", "head > self.num_heads // 2"),
    "no shifted head": ("head >= self.num_heads // 2", "head >= self.num_heads"),
    "heads halved upwards": ("return range(self.num_heads // 2)", "return range((self.num_heads + 1) // 2)"),
    "rest counted as full": ("rest * (rest + 1) // 2", "rest * (group + 1) // 2"),
    "shift longer than the text": ("min(self.shift, length)", "self.shift"),
    "wrapped cell counted as split": ('if self.boundary == "split" else 0', 'if self.boundary != "masked" else 0'),
    "masked cell counted as split": ('if self.boundary == "split" else 0', 'if self.boundary != "wrap" else 0'),
    "leak of half a group": ("* shift * (self.group_size - shift)", "* shift * shift"),
    "last cell too long": ("min(start + group, length)", "start + group"),
    "first cell lost": ("((head,), *cells) if first", "((head,), *cells) if first > 1"),
    "wrapped cell turned": ("(tail, head) if", "(head, tail) if"),
    "masked cell turned": ("else (head, tail)", "else (tail, head)"),
    "wrapped a token early": (
        "tail = range(min(first, length)), range(length - group",
        "tail = range(min(first, length)), range(length - group - 1",
    ),
    "a layer forgotten": ("in range(layers)", "in range(layers - 1)"),
    "shift of a whole group": ("0 <= shift < self.group_size", "0 <= shift <= self.group_size"),
    "ragged end wrapped": ('if self.boundary != "split" and self.seq_len % self.group_size', "if False"),
    "leak of any boundary": ('if self.boundary != "wrap":\n            return 0', "if False:\n            return 0"),
}


@dataclass(frozen=True)
class Lemma:
    """A statement, and for each boundary of which it is made the faults that it must notice."""

    state: Callable
    faults: dict[str, tuple[str, ...]]

    def check(self, boundary: str, kind: type[S2Geometry], *, group=None, below=None, values=None) -> None:
        """Prove it for any group and length, or this group and lengths `below`; or run it on these `values`.

        Raises:
            Refuted: with a counterexample.
            Undecided: when z3 gives up.
        """
        world = Symbolic() if values is None else Chosen(values)
        self.state(world, _maker(world, kind, group, below), boundary)


def lemma(**faults: tuple[str, ...]) -> Callable:
    """Enter a statement under its name, for the boundaries whose faults are listed."""

    def enter(state: Callable) -> Callable:
        LEMMAS[state.__name__] = Lemma(state, faults)
        return state

    return enter


def _maker(world, kind: type[S2Geometry], group: int | None, below: int | None) -> Callable:
    def make(boundary: str, **given):
        """A geometry about which only the boundary and `given` are known, and what the constructor refuses."""
        size = world.integer("group_size", at_least=1) if group is None else group
        length = world.integer("seq_len", at_least=1, below=below)
        if boundary != "split":
            world.assume(length == world.integer("num_groups", at_least=1) * size)
        settings = {"seq_len": length, "group_size": size}
        settings["num_heads"] = given["num_heads"] if "num_heads" in given else world.integer("num_heads", at_least=1)
        settings["shift"] = given["shift"] if "shift" in given else world.integer("shift", at_least=0, below=size)
        return build(kind, settings | {"boundary": boundary})

    return make


def build(kind: type[S2Geometry], settings: dict):
    """The geometry with these settings; of unknown ones without the constructor, which takes nothing but an `int`."""
    if not any(isinstance(value, Integer) for value in settings.values()):
        return kind(**settings)
    geometry = object.__new__(kind)
    for name, value in settings.items():
        object.__setattr__(geometry, name, value)
    return geometry


def but(geometry: S2Geometry, **changes) -> S2Geometry:
    """The same geometry, with these settings changed."""
    return build(type(geometry), {field.name: getattr(geometry, field.name) for field in fields(geometry)} | changes)


def a_head(world, geometry: S2Geometry, name: str = "head") -> Integer:
    return world.integer(name, at_least=0, below=geometry.num_heads)


def tokens(world, geometry: S2Geometry, *names: str) -> list[Integer]:
    return [world.integer(name, at_least=0, below=geometry.seq_len) for name in names]


# What the words mean, without a line of the package.


def shifted(geometry: S2Geometry, head) -> Truth:
    """The later half of the heads, the larger one when their number is odd."""
    return 2 * head + 2 > geometry.num_heads


def origin(geometry: S2Geometry, head) -> Integer:
    """The first token of the first full cell of this head."""
    return shifted(geometry, head) * geometry.shift


def first_key(geometry: S2Geometry, head, query) -> Integer:
    """The first token of the query's cell under "split": the last wall at or before it, or token 0."""
    start = origin(geometry, head)
    wall = start + (query - start) // geometry.group_size * geometry.group_size
    return (wall > 0) * wall


def rolled(geometry: S2Geometry, head, token) -> Integer:
    """The place to which `roll(-shift)` brings the token, on a shifted head."""
    start = origin(geometry, head)
    return token - start + (token < start) * geometry.seq_len


# Who may look at whom.


@lemma(split=("not itself",), wrap=("not itself wrapped",), masked=("not itself",))
def every_token_sees_itself(world, make, boundary):
    g = make(boundary)
    head, (query,) = a_head(world, g), tokens(world, g, "query")
    world.claim(g.allows(head, query, query))


@lemma(split=("only queries shifted", "sliding window", "one shifted head less", "one ahead"))
def a_look_back_is_allowed_unless_a_wall_is_between(world, make, boundary):
    """Walls stand before tokens start, start + G, start + 2 G, ... Nothing looks ahead."""
    g = make(boundary)
    head, (query, key) = a_head(world, g), tokens(world, g, "query", "key")
    allowed, any_wall = g.allows(head, query, key), origin(g, head) + world.integer("wall") * g.group_size
    world.claim(implies(allowed, key <= query))
    world.claim(implies(allowed, no((key < any_wall) & (any_wall <= query))))
    the_wall = first_key(g, head, query)
    world.claim(implies(no(allowed) & (key <= query), (key < the_wall) & (the_wall <= query)))


@lemma(split=("sliding window", "shifted the other way"))
def a_query_sees_an_unbroken_run_that_ends_with_itself(world, make, boundary):
    g = make(boundary)
    head, (query, key) = a_head(world, g), tokens(world, g, "query", "key")
    first = first_key(g, head, query)
    world.claim(g.allows(head, query, key) == ((first <= key) & (key <= query)))
    world.claim(query - first < g.group_size)


@lemma(split=("split wraps",))
def a_longer_sequence_changes_nothing_for_the_tokens_it_begins_with(world, make, boundary):
    g = make(boundary)
    head, (query, key) = a_head(world, g), tokens(world, g, "query", "key")
    longer = but(g, seq_len=g.seq_len + world.integer("more", at_least=1))
    world.claim(g.allows(head, query, key) == longer.allows(head, query, key))


@lemma(wrap=("shifted the other way", "key not wrapped"), masked=("one shifted head less", "masked as wrapped"))
def wrapped_cells_are_the_groups_of_the_rolled_sequence(world, make, boundary):
    """The published form: roll by -shift, cut, look back in that order, or under "masked" in the order before."""
    g = make(boundary)
    head, (query, key) = a_head(world, g), tokens(world, g, "query", "key")
    place, other = rolled(g, head, query), rolled(g, head, key)
    world.claim((place >= 0) & (place < g.seq_len))  # a permutation: into the sequence, and no two to one place
    world.claim(implies(place == other, query == key))
    back = other <= place if boundary == "wrap" else key <= query
    world.claim(g.allows(head, query, key) == ((place // g.group_size == other // g.group_size) & back))


@lemma(wrap=("split wraps",))
def splitting_takes_from_wrapping_what_crosses_the_end(world, make, boundary):
    g = make(boundary)
    head, (query, key) = a_head(world, g), tokens(world, g, "query", "key")
    crosses = (query < origin(g, head)) ^ (key < origin(g, head))
    split = but(g, boundary="split").allows(head, query, key)
    world.claim(split == (g.allows(head, query, key) & no(crosses)))


@lemma(masked=("both ways",))
def masking_has_the_pairs_of_wrapping_each_in_one_direction(world, make, boundary):
    g = make(boundary)
    head, (query, key) = a_head(world, g), tokens(world, g, "query", "key")
    pairs = []
    for rule in (g, but(g, boundary="wrap")):
        forth, back = rule.allows(head, query, key), rule.allows(head, key, query)
        world.claim(implies(forth & back, query == key))
        pairs.append(forth | back)
    world.claim(pairs[0] == pairs[1])


# Leaks.


@lemma(split=("one ahead",), masked=("one ahead", "masked as wrapped"))
def no_depth_hears_the_future(world, make, boundary):
    """By induction over the layers. Before the first, a token has heard itself. A layer adds what others have heard."""
    g = make(boundary)
    head, (query, between, key) = a_head(world, g), tokens(world, g, "query", "between", "key")
    world.assume(key <= between)  # all that `between` has heard until now stands at or before it
    world.assume(g.allows(head, query, between))  # and now `query` looks at it
    world.claim(key <= query)


@lemma(wrap=("shifted the other way", "one shifted head less"))
def wrapping_leaks_in_one_corner(world, make, boundary):
    """The first `shift` tokens look at the last `group_size - shift`, on shifted heads; nothing else looks ahead."""
    g = make(boundary)
    head, (query, key) = a_head(world, g), tokens(world, g, "query", "key")
    corner = shifted(g, head) & (query < g.shift) & (key >= g.seq_len - (g.group_size - g.shift))
    world.claim((g.allows(head, query, key) & (query < key)) == corner)


@lemma(split=("leak of any boundary",), wrap=("leak of half a group",), masked=("leak of any boundary",))
def future_pairs_is_the_area_of_the_corner(world, make, boundary):
    g = make(boundary, num_heads=1)
    area = g.shift * (g.group_size - g.shift) if boundary == "wrap" else 0
    for heads in HEADS:
        world.claim(but(g, num_heads=heads).future_pairs() == (heads - heads // 2) * area)


# Depth.


@lemma(split=("always half a group",), wrap=("always half a group",), masked=("always half a group",))
def without_a_shift_depth_adds_nothing(world, make, boundary):
    """Any head brings in one layer all that two layers bring. So, by induction, all that a hundred bring."""
    g = make(boundary, shift=0)
    one, two, any_head = (a_head(world, g, name) for name in ("one", "two", "any"))
    query, between, key = tokens(world, g, "query", "between", "key")
    world.assume(g.allows(one, query, between) & g.allows(two, between, key))
    world.claim(g.allows(any_head, query, key))


@lemma(split=("no shifted head", "sliding window", "always half a group"))
def the_first_token_is_heard_one_group_further_every_two_layers(world, make, boundary):
    """By induction: after 2 i - 1 layers all tokens before i G have heard token 0, after 2 i all before i G + shift.

    So the last of r full groups' last token, r G - 1, hears it after 2 r - 1 layers and not after 2 r - 2.
    """
    g = make(boundary)
    head, (query, between) = a_head(world, g), tokens(world, g, "query", "between")
    world.assume(g.num_heads >= 2)
    world.assume(g.shift >= 1)
    plain_head, shifted_head = 0, g.num_heads - 1
    world.claim(implies(g.allows(head, query, 0), query < g.group_size))  # the first layer
    world.claim(implies(query < g.group_size, g.allows(plain_head, query, 0)))

    wall = world.integer("i", at_least=1) * g.group_size
    border, end = wall + g.shift, wall + g.group_size
    looks = g.allows(head, query, between)
    world.claim(implies(looks & (between < wall), query < border))  # layer 2 i brings nobody else ...
    world.claim(
        implies((wall <= query) & (query < border), g.allows(shifted_head, query, wall - 1))
    )  # ... but all these
    world.claim(implies(looks & (between < border), query < end))  # layer 2 i + 1
    world.claim(implies((border <= query) & (query < end), g.allows(plain_head, query, border - 1)))

    # With i = r - 1: the last token is not among those of layer 2 r - 2, and is among those of layer 2 r - 1.
    world.claim(implies(g.seq_len == end, (g.seq_len - 1 >= border) & (g.seq_len - 1 < end)))


# Counts.


def counted(world, geometry: S2Geometry, **changes) -> Integer:
    """Run `pairs` with these settings changed."""
    return world.through_every_branch(but(geometry, **changes).pairs)


@lemma(split=("rest counted as full", "shift longer than the text"))
def pairs_of_a_head_grow_by_what_the_next_token_sees(world, make, boundary):
    """By induction over the length: 1 for one token, and a token more adds the run of keys that it sees.

    A single head is a shifted one; a plain one is what it is without a shift.
    """
    g = make(boundary, num_heads=1)
    token = g.seq_len  # the next
    world.claim(counted(world, g, seq_len=1) == 1)
    seen = token - first_key(g, 0, token) + 1
    # In two cases: a token of the short first cell, and one behind it.
    more = counted(world, g, seq_len=token + 1) == counted(world, g) + seen
    world.claim(implies(token < g.shift, more))
    world.claim(implies(token >= g.shift, more))


@lemma(wrap=("wrapped cell counted as split",), masked=("masked cell counted as split",))
def pairs_of_a_wrapped_head_are_those_of_a_plain_one(world, make, boundary):
    g = make(boundary, num_heads=1)
    world.claim(counted(world, g) == counted(world, g, boundary="split", shift=0))


@lemma(split=("heads halved upwards",), wrap=("heads halved upwards",), masked=("heads halved upwards",))
def pairs_is_the_sum_over_heads(world, make, boundary):
    g = make(boundary, num_heads=1)
    plain, shifted_one = counted(world, g, shift=0), counted(world, g)
    for heads in HEADS:
        world.claim(counted(world, g, num_heads=heads) == heads // 2 * plain + (heads - heads // 2) * shifted_one)
