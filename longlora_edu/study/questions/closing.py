"""Study 1, what was tried to bring S² closer to full attention."""

from __future__ import annotations

from ...plots.seeds import describe_seeds, plot_seeds
from ..part import Picture, Profile, Rows, Shown, Table
from ..settings import Run
from ..summary import Arms, bits, passkeys, rate, seed_spread
from ..verdict import Claim, above, difference, within


def closing_arms(profile: Profile) -> dict[str, tuple[Run, ...]]:
    """Ways to bring S² closer to full attention: a last quarter of dense steps, larger groups, more steps."""
    steps = profile.steps
    begun = profile.run(8, steps=steps * 3 // 4)
    return {
        "S², the last quarter of the steps full": (profile.run(8, attention="full", steps=steps // 4, start=begun),),
        "S² in 2 groups": (profile.run(8, groups=2),),
        "short in 2 groups": (profile.run(8, groups=2, attention="short"),),
        "S², four times the steps": (profile.run(8, steps=4 * steps),),
        "short, four times the steps": (profile.run(8, steps=4 * steps, attention="short"),),
        "full, four times the steps": (profile.run(8, steps=4 * steps, attention="full"),),
    }


def show_tried(rows: Rows, tried: Arms, eight: Arms) -> Shown:
    """Each of the ways against full attention on the usual budget."""
    spread = seed_spread(rows, eight["full"], eight["s2"])
    full = bits(rows, eight["full"][:1])
    arms = {"full": eight["full"][:1], "S²": eight["s2"][:1]} | dict(tried)
    table = tuple(
        (name, f"{runs[0].steps + (runs[0].start.steps if runs[0].start else 0)}", f"{bits(rows, runs)[0]:.3f}",
         "–" if name == "full" else difference(full, bits(rows, runs), spread=spread).text(),
         rate(passkeys(rows, runs)))
        for name, runs in arms.items()
    )  # fmt: skip
    last = difference(full, bits(rows, tried["S², the last quarter of the steps full"]), spread=spread)
    long = difference(bits(rows, tried["full, four times the steps"]), bits(rows, tried["S², four times the steps"]),
                      spread=spread)  # fmt: skip
    shift = difference(bits(rows, tried["S², four times the steps"]), bits(rows, tried["short, four times the steps"]),
                       spread=spread)  # fmt: skip
    claims = (
        Claim("A last quarter of full attention brings S² within 1 % of full.", within(last, 0.01), last.text()),
        Claim("With four times the steps S² is within 1 % of full.", within(long, 0.01), long.text()),
        Claim("With four times the steps the shift shows.", above(shift), f"short against S² {shift.text(digits=2)}"),
    )
    values = {name: bits(rows, runs) for name, runs in arms.items()}
    axis = "dense bits per byte at the target"
    picture = Picture("attention-tried", lambda: plot_seeds(values, x=axis, reference=full[0]),
                      describe_seeds(values, x=axis))  # fmt: skip
    note = "One seed; the interval borrows the spread of S² against full attention over the seeds above."
    headings = ("trained with", "steps", "bits/byte at the target", "against full", "passkeys")
    return Shown((Table(headings, table, note),), (picture,), claims)
