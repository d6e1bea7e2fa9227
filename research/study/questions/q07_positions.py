"""Study 7: position rules under S², and the frequencies that must be stretched."""

from __future__ import annotations

from ..bands import TURNS, in_band
from ..part import SEEDS, BaseProfile, Findings, Rows, Study, StudyPart, StudyPicture, Table
from ..seed_plots import seeds_picture
from ..spec import Run
from ..summary import AGAINST_FULL, ARM_NAMES, Arms, rate, thousands, with_spread
from ..verdict import Claim, above, within
from .q01_attention.training_attention import arms_at

RULES = ("default", "linear", "ntk", "dynamic", "yarn")
WORDS = {"default": "as trained", "linear": "linear (PI)", "ntk": "NTK-aware", "dynamic": "dynamic NTK", "yarn": "YaRN"}
WORDS |= {band: f"linear, {band} band only" for band in TURNS}
# Llama-2's slowest pair of features turns once in some 13 of its contexts of 4,096; with this base ours does so too.
SUITED_BASE = 700.0


def study(profile: BaseProfile, seeds: int = SEEDS) -> Study:
    """Make study 7: its rows and its findings."""
    shared = arms_at(profile, 8, seeds, ("full", "s2"))

    def arms(rules) -> dict[str, Arms]:
        return {
            rule: shared
            if rule == "yarn"
            else {
                attention: tuple(profile.run(8, attention=attention, rope=rule, seed=seed) for seed in range(seeds))
                for attention in ("full", "s2")
            }
            for rule in rules
        }

    rules, bands = arms(RULES), arms(TURNS)
    suited = suited_arms(profile)
    return Study(
        7,
        "positions",
        "Which position rule goes with S², and which frequencies must be stretched?",
        (
            StudyPart("Five rules", _rows(rules), lambda rows: judge_rules(rows, rules, profile)),
            StudyPart("One band of frequencies at a time", (*_rows(bands), *_rows({"yarn": shared})),
                      lambda rows: judge_bands(rows, bands, shared, profile)),
            StudyPart("Interpolation with a base that suits the context",
                      (*suited.values(), *rules["linear"]["s2"], *rules["yarn"]["s2"]),
                      lambda rows: judge_suited(rows, suited, rules, profile)),
        ),
    )  # fmt: skip


def judge_rules(rows: Rows, rules: dict[str, Arms], profile: BaseProfile) -> Findings:
    """Compare the rules under full attention and under S²."""
    collapse = {rule: rows.worse_than(arms["s2"], arms["full"]) for rule, arms in rules.items()}
    ntk = collapse["ntk"]
    claims = (
        Claim("NTK-aware positions trained with S² collapse past the group; with full attention they do not.",
              above(ntk, 0.5), f"NTK-aware, S² against full {ntk.text()}; YaRN {collapse['yarn'].text()}"),
        Claim("Linear interpolation, the paper's own rule, works here as well as YaRN (within 5 %, S²).",
              within(rows.worse_than(rules["linear"]["s2"], rules["yarn"]["s2"]), 0.05),
              f"linear against YaRN {rows.worse_than(rules['linear']['s2'], rules['yarn']['s2']).text()}"),
    )  # fmt: skip
    return Findings((_table(rows, rules, profile),), (_picture(rows, rules, "positions-rules"),), claims)


def judge_bands(rows: Rows, bands: dict[str, Arms], yarn: Arms, profile: BaseProfile) -> Findings:
    """Compare bands, only one of them stretched by linear interpolation, with YaRN."""
    claims = []
    for band, arms in bands.items():
        far = rows.worse_than(arms["s2"], yarn["s2"])
        expected, test = ("is", within(far, 0.05)) if band == "slow" else ("is not", above(far, 0.05))
        statement = f"Stretching the {band} band alone {expected} enough for S² (within 5 % of YaRN)."
        claims.append(Claim(statement, test, f"{WORDS[band]} against YaRN, S² {far.text()}"))
    rope = _rope(profile)
    counts = ", ".join(f"{band} {int(in_band(rope, band).sum())}" for band in TURNS)
    note = (
        f"Pairs of features by how often they turn within the trained context: slow below once, middle up to eight "
        f"times, fast above; {counts} of {len(rope.frequencies())}."
    )
    together = bands | {"yarn": yarn}
    return Findings(
        (_table(rows, together, profile),), (_picture(rows, together, "positions-bands"),), tuple(claims), (note,)
    )


def suited_arms(profile: BaseProfile) -> dict[str, Run]:
    """Set up a base re-adapted to other frequencies at its own context, then extended with them; one seed."""
    fields = {"rope": "default", "attention": "full", "train": "all", "rope_base": SUITED_BASE}
    again = profile.run(1, steps=200, **fields)
    arms = {"re-adapted, not extended": again}
    for rule, attention in (("linear", "full"), ("linear", "s2"), ("yarn", "s2")):
        arms[f"{WORDS[rule]}, {ARM_NAMES[attention]}"] = profile.run(8, rope=rule, attention=attention, start=again)
    return arms


def judge_suited(rows: Rows, arms: dict[str, Run], rules: dict[str, Arms], profile: BaseProfile) -> Findings:
    """Compare linear interpolation and YaRN from that base; `rules` lend their spread over seeds."""
    table = tuple(
        (name, *(with_spread(rows.bits([run], length)) for length in (profile.trained, run.target)),
         rate(rows.passkeys([run])))
        for name, run in arms.items()
    )  # fmt: skip
    linear, yarn = ([arms[f"{WORDS[rule]}, S²"]] for rule in ("linear", "yarn"))
    gap = rows.worse_than(linear, yarn, lent=rows.lent(rules["yarn"]["s2"], rules["linear"]["s2"]))
    claim = Claim("A base that suits the context rescues linear interpolation (within 5 % of YaRN, S²).",
                  within(gap, 0.05), f"linear against YaRN {gap.text()}")  # fmt: skip
    headings = ("positions, attention in training", f"bits/byte at {profile.trained}", "at the target", "passkeys")
    note = (
        f"RoPE base {SUITED_BASE:g} instead of 10,000; 200 steps at the trained context first. One seed; the interval "
        "over documents and seeds borrows the spread of the same two rules at the usual base."
    )
    return Findings((Table(headings, table, note),), (), (claim,))


def _table(rows: Rows, rules: dict[str, Arms], profile: BaseProfile) -> Table:
    target = next(iter(rules.values()))["s2"][0].target
    lines = []
    for rule, arms in rules.items():
        near, far = ([with_spread(rows.bits(arms[name], length)) for name in ("full", "s2")]
                     for length in (profile.trained, target))  # fmt: skip
        found = [rate(rows.passkeys(arms[name])) for name in ("full", "s2")]
        against = rows.worse_than(arms["s2"], arms["full"]).cell()
        lines.append((WORDS[rule], near[0], far[0], found[0], near[1], far[1], found[1], against))
    columns = (f"at {profile.trained}", f"at {thousands(target)}", "passkeys")
    headings = ("positions", *(f"{name}: {column}" for name in ("full", "S²") for column in columns), "S² against full")
    return Table(headings, tuple(lines), f"Dense bits/byte. {AGAINST_FULL}")


def _picture(rows: Rows, rules: dict[str, Arms], name: str) -> StudyPicture:
    values = {
        f"{WORDS[rule]}, {ARM_NAMES[attention]}": rows.bits(arms[attention])
        for rule, arms in rules.items()
        for attention in ("full", "s2")
    }
    return seeds_picture(name, values, x="dense bits per byte at the target")


def _rows(rules: dict[str, Arms]) -> tuple[Run, ...]:
    seeds = len(rules[next(iter(rules))]["s2"])
    return tuple(arms[name][seed] for seed in range(seeds) for arms in rules.values() for name in ("s2", "full"))


def _rope(profile: BaseProfile):
    from longlora_edu.model import bundled_model

    return bundled_model(256).config.rope
