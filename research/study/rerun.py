"""A row computed again beside its record: the results first, then one word for the whole.

On the same processor, thread count and version of torch every number comes back. Elsewhere sums are taken in another
order, and training carries the last bits on. Then results are judged by a tolerance, and curves by nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

SAME, CLOSE, DIFFERENT = "same", "within tolerance", "different"
# Half of the smallest margin of a statement (1 %), and a quarter of the smallest one of shares (5 points).
TOLERANCE, TOLERANCE_SHARE = 0.005, 0.0125


@dataclass(frozen=True)
class Result:
    """One result, as recorded and now; `judged` if the word depends on it."""

    name: str
    then: float
    now: float
    share: bool = False
    judged: bool = True

    @property
    def word(self) -> str:
        """Same, within tolerance or different."""
        if self.then == self.now:
            return SAME
        limit = TOLERANCE_SHARE if self.share else TOLERANCE * abs(self.then)
        return CLOSE if abs(self.now - self.then) <= limit else DIFFERENT


@dataclass(frozen=True)
class Comparison:
    """The results of a row twice, and how many of all its other numbers differ."""

    results: tuple[Result, ...]
    others: int
    differing: int

    @property
    def word(self) -> str:
        """Same if every number is; else as the worst judged result."""
        words = {one.word for one in self.results if one.judged}
        if DIFFERENT in words:
            return DIFFERENT
        return SAME if words <= {SAME} and not self.differing and self._unjudged_same else CLOSE

    @property
    def _unjudged_same(self) -> bool:
        return all(one.word == SAME for one in self.results)

    def text(self) -> str:
        """Format a line per result, then the word, the tolerance and the count of other numbers that differ."""
        width = max(len(one.name) for one in self.results)
        lines = [
            f"{one.name:{width}}  {_number(one, one.then)} recorded  {_number(one, one.now)} now  "
            + (one.word if one.judged else "past the target, not judged")
            for one in self.results
        ]
        rule = f"results may differ by {100 * TOLERANCE:g} %, shares by {100 * TOLERANCE_SHARE:g} points"
        lines.append(
            f"{self.word} ({rule}; of {self.others} other numbers, curves among them, {self.differing} differ)"
        )
        return "\n".join(lines)


def compare_rows(then: dict, now: dict) -> Comparison:
    """Return which results of two records of one run differ, and by how much. Seconds and new fields are ignored."""
    results = tuple(_results(then, now))
    names = {one.name for one in results}
    pairs = _numbers({"results": then["results"], "curve": then["curve"]}, now, "")
    others = [(path, a, b) for path, a, b in pairs if path.removeprefix("results.") not in names]
    return Comparison(results, len(others), sum(a != b for _, a, b in others))


def _results(then: dict, now: dict) -> Iterator[Result]:
    old, new, target = then["results"], now["results"], then["config"].get("target") or then["config"].get("length")
    for length, value in old.get("bits_per_byte", {}).items():
        name = f"bits_per_byte.{length}"
        yield Result(name, value, new["bits_per_byte"][length], judged=int(length) <= target)
    for path in (("bits_per_byte_all_positions",), ("as_trained", "bits_per_byte")):
        if path[0] in old:
            values = [side[path[0]] if len(path) == 1 else side[path[0]][path[1]] for side in (old, new)]
            yield Result(".".join(path), *values)
    for use, classes in old.get("recall", {}).items():
        for kind, share in classes.items():
            yield Result(f"recall.{use}.{kind}", share["rate"], new["recall"][use][kind]["rate"], share=True)
    for name in ("passkey", "accuracy", "dense"):
        if name in old:
            yield Result(f"{name}.rate", old[name]["rate"], new[name]["rate"], share=True)


def _numbers(then, now, path: str) -> Iterator[tuple[str, object, object]]:
    """List each number of `then` with its path and that of `now` at the same place, None where there is none."""
    if isinstance(then, dict):
        for name, value in then.items():
            if name != "seconds":
                other = now.get(name) if isinstance(now, dict) else None
                yield from _numbers(value, other, f"{path}.{name}" if path else name)
    elif isinstance(then, list):
        others = now if isinstance(now, list) and len(now) == len(then) else [None] * len(then)
        for index, (value, other) in enumerate(zip(then, others, strict=True)):
            yield from _numbers(value, other, f"{path}[{index}]")
    else:
        yield path, then, now


def _number(result: Result, value: float) -> str:
    return f"{100 * value:7.2f} %" if result.share else f"{value:9.5f}"
