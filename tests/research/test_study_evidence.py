"""The page of evidence on made-up records: every study can be shown, and a planted difference changes the words."""

from __future__ import annotations

import dataclasses
import functools
import re
from pathlib import Path

import numpy as np
import pytest
from helpers import room_around

from longlora_edu.cost import step_ratio
from longlora_edu.geometry import S2Geometry
from longlora_edu.model import bundled_model
from longlora_edu.plan import shape_from_config
from longlora_edu.runs.records import Proportion, as_json, recorded
from longlora_edu.training.probe import ProbeSettings
from research.bench.step import RANK
from research.study.digest import digest, write_digest
from research.study.evidence import evidence, of_one_text, write_evidence
from research.study.inputs import BENCHMARKS, default_digest
from research.study.metrics import POINTS, lengths_of
from research.study.part import PROFILES, Rows
from research.study.questions import STUDIES, studies, study_of, study_parts
from research.study.questions.q10_cost import TIMED
from research.study.row import read_rows
from research.study.spec import Run, config_of, key_of, kind_of
from research.study.summary import as_loss, with_spread
from research.study.verdict import Difference, Lent, above, below, difference, over_seeds, over_trials, within

GROUND = {"base": "b" * 64, "corpus": "c" * 64}
ROOT = Path(__file__).parents[2]


def made_up(settings, worse=lambda run: 0.0):
    """A record as a run leaves it; its bits per byte are 1.05, more by `worse`, and a little luck of the seed."""
    rng = np.random.default_rng(settings.seed)
    if isinstance(settings, ProbeSettings):
        right = Proportion(500 if settings.shift else 64, 512)
        results = {"accuracy": right, "dense": right, "ceiling": 1.0, "chance": 0.125}
    else:
        value = 1.05 * (1 + worse(settings)) + 0.001 * rng.standard_normal()
        flat = [value] * POINTS
        maps = {n: {depth: Proportion(5, 10) for depth in (0.0, 0.5, 1.0)} for n in (256, settings.target)}
        results = {
            "bits_per_byte": dict.fromkeys(lengths_of(settings, 256), value),
            "bits_per_byte_by_position": flat,
            "bits_per_byte_all_positions": value,
            "as_trained": {"bits_per_byte": value, "bits_per_byte_by_position": flat},
            "passkey": Proportion(190, 200),
            "passkey_maps": dict.fromkeys(settings.maps_at, maps),
        }
        if "documents" in settings.extra:
            spread = {settings.target: [value, value + 0.1, value - 0.1, value]}
            results["spread"] = {"documents": ["a", "b", "c", "c"], "bits_per_byte_by_length_and_window": spread}
    inputs = GROUND if isinstance(settings, Run) else {}
    cost = {
        "trainable_parameters": 1 + settings.steps,
        "all_parameters": 1000,
        "training_seconds": 60.0,
        "training_cpu_seconds": 30.0,
    }
    return as_json(
        {
            "kind": kind_of(settings),
            "key": key_of(settings, inputs),
            "config": config_of(settings),
            "ground": inputs | {"text": "a text"},
            "curve": [],
            "results": results,
            "cost": cost | {"training_peak_rss_bytes": 5e8, "measuring_seconds": 30.0},
            "command": "made up",
            "date": "2026-11-22T00:00:00+00:00",
            "machine": {"processor": "none", "threads": 1},
            "versions": {"torch": "none"},
        }
    )


@functools.cache
def all_made_up():
    return [made_up(row) for study in studies() for row in study.rows]


def test_no_words_of_a_picture_leave_it():
    rows = Rows(all_made_up())
    parts = [part for study in studies() for part in study.parts]
    pictures = [picture for part in parts for picture in part.judge(rows).pictures]
    assert len(pictures) > 10
    for picture in pictures:
        assert room_around(picture.draw()) >= 0, picture.name


def test_every_study_is_shown_once_all_its_rows_are_there():
    page, pictures = evidence(all_made_up())
    assert "Not run yet" not in page
    assert len(pictures) >= len(STUDIES)
    assert all(f"](evidence/{name})" in page and data.startswith(b"\x89PNG") for name, data in pictures.items())
    for number in range(1, 12):
        assert f"\n## {number}. " in page


def test_a_study_without_its_rows_says_how_many_there_are():
    study = study_of("groups")
    needed = list(dict.fromkeys(study.parts[0].rows))
    some = [made_up(row) for row in needed[:2]]
    page, pictures = evidence(some, [study])
    assert f"Not run yet (2 of {len(needed)} runs)." in page
    assert pictures == {}


def test_nothing_recorded_is_said_to_be_so():
    page, _ = evidence([], [study_of("shift")])
    assert "Nothing is recorded yet." in page


def test_a_planted_difference_turns_the_word_of_the_statement_that_it_concerns():
    study = study_of("attention")
    study = dataclasses.replace(study, parts=study.parts[:1])
    statement = "S² stays within 1 % of full attention (dense bits/byte at the target). "
    same, _ = evidence([made_up(row) for row in study.rows], [study])
    assert f"{statement}**Agrees**" in same
    worse = [made_up(row, lambda run: 0.05 * (run.attention == "s2")) for row in study.rows]
    assert f"{statement}**Disagrees**" in evidence(worse, [study])[0]
    near = [made_up(row, lambda run: 0.01 * (run.attention == "s2") * (1 + run.seed % 2)) for row in study.rows]
    assert f"{statement}**Cannot tell with three seeds**" in evidence(near, [study])[0]


def test_records_of_another_text_do_not_stand_beside_those_of_most():
    study = study_of("groups")
    records = [made_up(row) for row in study.rows]
    other = [record | {"ground": record["ground"] | {"corpus": "d" * 64}} for record in records[:1]]
    assert of_one_text(records + other) == records


def test_rows_are_found_by_their_settings_and_refused_by_name():
    run = Run()
    rows = Rows([made_up(run)])
    assert run in rows and Run(seed=1) not in rows
    with pytest.raises(ValueError, match="rows must hold a record of Run"):
        rows.record(Run(seed=1))


def test_arms_are_compared_seed_by_seed():
    first, second = ([Run(attention=name, seed=seed) for seed in range(3)] for name in ("full", "s2"))
    rows = Rows([made_up(run, lambda run: 0.02 * (run.attention == "s2")) for run in (*first, *second)])
    found = rows.worse_than(second, first)
    assert found.mean == pytest.approx(0.02, abs=1e-3)
    assert found.half < 1e-4  # the luck of a seed is in both
    assert rows.lent(first, second).deviation < 1e-4 and rows.lent(first, second).degrees == 2
    assert rows.lent(first[:1], second[:1]) is None
    assert with_spread(rows.bits(first)).startswith("1.05")


def test_verdicts_need_the_whole_interval_on_one_side():
    assert within(Difference(0.002, 0.003, 3), 0.01) == "agrees"
    assert within(Difference(0.009, 0.003, 3), 0.01) == "cannot tell with three seeds"
    assert within(Difference(-0.05, 0.003, 3), 0.01) == "disagrees"
    assert above(Difference(0.1, 0.05, 3)) == "agrees"
    assert above(Difference(0.1, 0.2, 3)) == "cannot tell with three seeds"
    assert above(Difference(-0.1, 0.05, 3)) == "disagrees"
    assert below(Difference(-0.1, 0.05, 3)) == "agrees"
    assert within(Difference(0.0, None, 1), 0.01) == "cannot tell with one seed"


def test_a_verdict_of_one_seed_says_so():
    assert within(Difference(0.05, 0.003, 1), 0.01) == "disagrees with one seed"
    assert above(Difference(0.05, 0.003, 1)) == "agrees with one seed"
    said = Difference(0.05, 0.003, 1).text()
    assert said == "+5.0 ± 0.3\N{NO-BREAK SPACE}% (one seed, with the spread of others over seeds)"


@pytest.mark.parametrize(
    ("by_seeds", "by_documents", "reason"),
    [
        (0.02, 0.001, "with three seeds"),
        (0.001, 0.02, "on 24 documents"),
        (0.02, 0.02, "with three seeds on 24 documents"),
        (0.004, 0.004, "with three seeds on 24 documents"),  # each alone would decide, both together do not
    ],
)
def test_what_cannot_be_told_names_what_is_too_few(by_seeds, by_documents, reason):
    found = Difference(0.005, 0.03, 3, by_seeds=by_seeds, by_documents=by_documents, documents=24)
    assert within(found, 0.01) == f"cannot tell {reason}"


def test_a_share_of_all_trials_has_an_interval_and_counts_the_trials_of_one_seed():
    found = over_trials([Proportion(200, 200)] * 3)
    assert found.mean == 1 and found.half == pytest.approx(1 - Proportion(200, 200).interval[0])
    assert over_trials([Proportion(49, 50)]).half == pytest.approx(0.98 - Proportion(49, 50).interval[0])
    more = over_trials([Proportion(90, 100)] * 3, [Proportion(40, 100)] * 3)
    assert more.mean == pytest.approx(0.5) and 0.1 < more.half < 0.15


def test_the_interval_is_students():
    found = over_seeds([1.0, 2.0, 3.0])
    assert (found.mean, found.half) == (2.0, pytest.approx(4.303 / 3**0.5))
    assert over_seeds([1.0]).half is None
    assert over_seeds([1.0], lent=Lent(0.5, 2)).half == pytest.approx(4.303 / 2)  # not two deviations
    assert difference([2.0, 4.0], [3.0, 6.0]).mean == pytest.approx(0.5)
    with pytest.raises(ValueError, match="must be numbers in pairs, got 1 and 2"):
        difference([1.0], [1.0, 2.0])


def test_a_difference_is_told_with_its_sign_and_a_share_without():
    found = Difference(0.5, 0.05, 3, over="documents and seeds")
    assert found.text(unit=" points") == "+50.0 ± 5.0\N{NO-BREAK SPACE}points"
    assert found.text(sign="-", digits=0) == "50 ± 5\N{NO-BREAK SPACE}%"
    assert Difference(-0.5, None, 1).text(sign="-") == "-50.0\N{NO-BREAK SPACE}% (one seed)"


def test_a_change_of_perplexity_is_told_as_a_change_of_the_loss():
    assert as_loss(8.0, 8.0) == 0
    assert as_loss(np.exp(2.0), np.exp(2.2)) == pytest.approx(0.1)


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_asks_for_the_same_rows_each_time_and_shares_those_of_others(name):
    assert study_of(name).rows == study_of(name).rows
    assert len(set(study_of(name).rows)) == len(study_of(name).rows)


def test_studies_share_rows():
    attention = set(study_of("attention").rows)
    for name in ("positions", "lengths", "groups", "patterns", "others", "shift", "parts", "steps"):
        assert attention & set(study_of(name).rows), name


def test_the_larger_sibling_has_the_same_studies():
    for study in studies(profile="gpu"):
        assert all(row.base == "sibling" for row in study.rows if isinstance(row, Run))
    assert PROFILES["gpu"].trained > PROFILES["cpu"].trained


def test_an_unknown_study_or_profile_is_refused_by_name():
    with pytest.raises(ValueError, match="study must be one of attention, .*, got 'nothing'"):
        study_of("nothing")
    with pytest.raises(ValueError, match="profile must be one of cpu, gpu, got 'tpu'"):
        study_of("attention", profile="tpu")


def test_pictures_that_no_record_draws_any_more_are_taken_away(tmp_path):
    (tmp_path / "docs/evidence").mkdir(parents=True)
    (tmp_path / "docs/evidence/old.png").write_bytes(b"")
    assert write_evidence(tmp_path / "none", tmp_path / "docs").read_text(encoding="utf-8").startswith("# Evidence")
    assert not (tmp_path / "docs/evidence/old.png").exists()


def test_further_seeds_are_used_where_all_arms_have_them():
    study = study_of("patterns")
    (part,) = study.parts
    needed = [made_up(row) for row in part.rows]
    assert "Further seeds, not run yet" in evidence(needed, [study])[0]
    one = part.judge(Rows(needed)).claims[0]
    assert one.verdict.endswith("one seed")
    three = part.judge(Rows(needed + [made_up(row) for row in part.wanted])).claims[0]
    assert not three.verdict.endswith("one seed")


def test_controls_are_rows_of_studies_and_the_first_part_is_the_base_with_as_many_steps():
    parts = study_parts("controls")
    known = {row for study in studies() for row in study.rows}
    assert all(row in known for part in parts for row in part.rows)
    (start,) = {row.start for row in parts[0].rows}
    assert (start.target, start.steps, start.rope, start.train) == (256, 480, "default", "all")


def test_the_seven_findings_have_a_number_each():
    page, _ = evidence(all_made_up())
    table = page.split("**A model of")[0]
    assert table.count("\n| ") == 9 and "not run yet" not in table
    assert "not run yet" in evidence([], [study_of("shift")])[0].split("**A model of")[0]


def test_the_page_in_the_repository_is_what_the_records_give():
    page, pictures = evidence(read_rows(BENCHMARKS / "results" / "runs"))
    assert (ROOT / "docs/evidence.md").read_text(encoding="utf-8") == page
    assert {path.name for path in (ROOT / "docs/evidence").glob("*.png")} == set(pictures)


def test_the_readme_says_where_the_papers_own_rule_fails():
    page, readme = ((ROOT / name).read_text(encoding="utf-8") for name in ("docs/evidence.md", "README.md"))
    run = r"([\d.]+) \([\d.]+\) bits/byte, (\d+)\s% of 600"
    found = re.search(rf"own rule of positions, .* fails by 8 in (\d+) steps.*? \| {run} and {run} \|", page)
    said = "interpolated by 8, trained {} steps with S², {} bits/byte and {} % of the passkeys"
    assert f"{said} (with full attention {{}} and {{}} %)".format(*found.groups()) in " ".join(readme.split())


def test_lessons_are_told_the_tables_and_verdicts_of_the_page():
    told = digest(all_made_up())
    page, _ = evidence(all_made_up())
    assert list(told["studies"]) == list(STUDIES)
    assert told["about"]["rows"] == len(all_made_up())
    for study in told["studies"].values():
        for part in study["parts"]:
            assert part["missing"] == 0
            assert all("| " + " | ".join(row) + " |" in page for table in part["tables"] for row in table["rows"])
            assert all(f"{claim['statement']} **{claim['verdict'].capitalize()}**" in page for claim in part["claims"])


def test_lessons_are_told_how_many_rows_a_part_lacks():
    study = study_of("groups")
    needed = list(dict.fromkeys(study.parts[0].rows))
    (part,) = digest([made_up(row) for row in needed[:2]], [study])["studies"]["groups"]["parts"]
    assert (part["rows"], part["missing"]) == (len(needed), len(needed) - 2)
    assert "tables" not in part


def test_what_the_package_tells_of_the_studies_is_what_the_records_give(tmp_path):
    again = write_digest(BENCHMARKS / "results" / "runs", tmp_path / "studies.json")
    assert default_digest().read_bytes() == again.read_bytes()


@pytest.mark.parametrize("name", TIMED)
def test_the_times_of_study_10_stand_beside_todays_closed_form(name):
    record = recorded(name)
    shape, _ = shape_from_config(bundled_model().config.as_json())
    rank = RANK if record["train"] == "adapters" else None
    for row in record["rows"]:
        geometry = S2Geometry.with_groups(row["context"], round(1 / record["group_ratio"]), shape.heads)
        assert row["promised"] == pytest.approx(step_ratio(shape, geometry, rank=rank))
        clock = row["seconds"]["dense"] / row["seconds"]["s2"]
        assert row["times_faster"]["median"] == pytest.approx(clock, rel=0.15)  # the median of ratios, not their ratio
