from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from helpers import tiny_bundled_model, write_text
from typer.testing import CliRunner

from longlora_edu.cli.app import app
from longlora_edu.geometry import S2Geometry
from longlora_edu.runs.records import as_json, read_json
from research.cli_law import DIGEST, DOCS, FOLDER
from research.law import law_file
from research.law.cells import CELLS, EQUAL, PAYS, SEEDS, draw_cells, shift_cells
from research.law.distances import CLASSES, Room, class_range, classes_of, counts, draw_chain, lay_chains
from research.law.exposure import exposure_of, looks_of, middle, only_by_path, seen_by_kind, seen_in_use
from research.law.law_digest import law_digest
from research.law.law_page import measured_page, prediction_page
from research.law.law_verdict import by_row, judge_law, measure, nearest
from research.law.note_tables import outcome_pages
from research.law.onset import onset_arms, onset_rows, onset_tables
from research.law.pilots import Pilot, load_pilots, planned_pilots, write_pilots
from research.law.prediction import Prediction, error_with_share, fit_law, predict_recall
from research.law.recall import HOPS, Recall, row_of
from research.law.recall_run import (
    ask_statements,
    compute_recall,
    fresh_model,
    prepared,
    reference_questions,
    settings_of,
)
from research.law.remedy import (
    QUARTER,
    STEPS,
    WINDOWS,
    WINDOWS_QUARTER,
    reference_arms,
    remedy_rows,
    share_of_pairs,
    text_arms,
)
from research.law.remedy_tables import reference_table
from research.law.statements import ASKED, FILLER, VALUES, draw_statements, states
from research.study.inputs import Inputs, default_folder
from research.study.part import Rows
from research.study.rerun import SAME, compare_rows
from research.study.row import compute, read_record, read_rows, save_record
from research.study.spec import Run, key_of

TINY = {"steps": 2, "batch": 1, "trials": 4}
TEXT = {"length": 512, "group": 128}
ROOM = Room(64, 16)
TEXT_ROOM = row_of("references").room


# Distances.


@pytest.mark.parametrize("room", [ROOM, TEXT_ROOM], ids=["statements", "text"])
@pytest.mark.parametrize("hops", [1, 2, 3])
def test_each_hop_of_a_class_has_its_distance_and_every_line_is_in_the_window(room, hops):
    rng = np.random.default_rng(0)
    for kind in classes_of(room, hops):
        for _ in range(100):
            chain = draw_chain(kind, room, hops, rng)
            assert len(chain) == hops + 1
            assert chain[0] >= room.before and chain[-1] + room.after <= room.length
            if kind == "border":
                halves = [place // (room.group // 2) for place in chain]
                assert halves[0] % 2 == 1 and np.diff(halves).tolist() == [1] * hops
            else:
                low, high = class_range(room, kind)
                assert all(low <= step <= high for step in np.diff(chain))


def test_layouts_are_what_their_words_say():
    rng = np.random.default_rng(0)
    steps = {where: [np.diff(draw_chain(where, TEXT_ROOM, 1, rng))[0] for _ in range(800)]
             for where in ("uniform", "log", "near", "aligned")}  # fmt: skip
    longest = TEXT_ROOM.farthest(1)
    np.testing.assert_allclose(np.mean(steps["uniform"]), (TEXT_ROOM.nearest + longest) / 2, rtol=0.1)
    np.testing.assert_allclose(np.median(steps["log"]), (TEXT_ROOM.nearest * longest) ** 0.5, rtol=0.2)
    assert max(steps["near"]) <= TEXT_ROOM.group // 2
    np.testing.assert_allclose(np.mean(steps["aligned"]), TEXT_ROOM.group / 2, rtol=0.1)


def test_classes_follow_each_other_without_a_gap():
    ranges = [class_range(TEXT_ROOM, kind) for kind in CLASSES[:-1]]
    assert ranges == [(34, 128), (129, 256), (257, 512), (513, 1024), (1025, 2048)]
    assert classes_of(ROOM, 3) == ("G/4", "G/2", "G", "border")


def test_lines_do_not_overlap_and_another_value_is_stated_between():
    rng = np.random.default_rng(0)
    draws = [lambda kind=kind: draw_chain(kind, TEXT_ROOM, 1, rng) for kind in ("4G", "2G", "G", "G/2") * 2]
    chains = lay_chains(draws, TEXT_ROOM, enclose=True)
    places = sorted(place for chain in chains for place in chain)
    assert len(chains) == 8 and min(np.diff(places)) >= TEXT_ROOM.apart
    assert counts((5, 9), [(5, 9), (7, 20)]) and not counts((5, 9), [(5, 9), (3, 20), (9, 30)])


# What the geometry says.


def test_a_shift_shows_all_that_crosses_a_border_and_no_shift_none_of_it():
    assert exposure_of(row_of("references", arm="s2", layout="aligned")).share == 1
    assert exposure_of(row_of("references", arm="short", layout="aligned")).share == 0
    assert exposure_of(row_of("references", arm="full", layout="aligned")).share == 1


@pytest.mark.parametrize("arm", ["short", "s2"])
def test_visible_looks_are_those_of_the_mask(arm):
    row = row_of("keys", arm=arm)
    mask = S2Geometry(64, 16, 4, 0 if arm == "short" else 8).mask()
    looks = looks_of(row, "uniform")
    keys, queries = looks[..., 0], looks[..., 1]
    plain, shifted = seen_by_kind(row, looks)
    np.testing.assert_array_equal(plain, mask[0][queries, keys])
    np.testing.assert_array_equal(shifted, mask[3][queries, keys])
    exposure = exposure_of(dataclasses.replace(row, layout="uniform"))
    assert exposure.distance[exposure.visible].max() < 16


def test_no_distance_beyond_a_group_is_trained_unless_positions_leap():
    far = {name: exposure_of(row_of("references", **fields)).around(1450, 0.35)
           for name, fields in {"s2": {}, "short": {"arm": "short"}, "leap": {"leap": 0.5}}.items()}  # fmt: skip
    assert far["short"] <= far["s2"] < 0.01 < far["leap"]


def test_a_chain_is_visible_only_as_a_whole():
    row = row_of("hops2", arm="short", layout="near")
    each = seen_by_kind(row, looks_of(row, "near")).any(axis=0)
    np.testing.assert_allclose(exposure_of(row).share, each.all(axis=1).mean())
    assert exposure_of(row).share < each.mean()


def test_three_hops_in_two_layers_need_a_look_over_two_of_them():
    looks = looks_of(row_of("hops3", layout="near"), "near")
    first, across, last = (looks[:, i, 1] - looks[:, i, 0] for i in range(3))
    np.testing.assert_array_equal(looks[:, 0, 1], looks[:, 1, 0])  # p1, which looked at p0, is looked at by p3
    np.testing.assert_array_equal(looks[:, 1, 1], looks[:, 2, 1])
    assert (across > last).all() and first.min() > 0
    near, far = (middle(row_of("hops3"), kind) for kind in ("G/4", "G/2"))
    assert near[1] > near[0] and far[1] > far[0]
    # Hops of half groups in turn: from the fourth half nobody sees the second, with a shift or without.
    assert exposure_of(row_of("hops3", layout="aligned")).share == 0
    assert exposure_of(row_of("hops2", layout="aligned")).share == 1


def test_only_heads_that_learned_to_look_count_under_the_pattern():
    crossing, anywhere = row_of("keys", layout="aligned"), row_of("keys", layout="log")
    assert seen_in_use(anywhere, "G/2") == 1
    # What crosses a border is seen by shifted heads alone: they find two places 6 apart in 10 of 16 cases.
    np.testing.assert_allclose(seen_in_use(crossing, "G/2"), 10 / 16, atol=0.08)
    assert seen_in_use(crossing, "border") == 1
    assert seen_in_use(dataclasses.replace(crossing, arm="short"), "border") == 0


def test_paths_are_found_on_a_coarser_text():
    row = row_of("references")
    assert only_by_path(row, "G/2") == 0
    assert seen_in_use(row, "2G") == 0 and only_by_path(row, "2G") > 0.9
    assert only_by_path(dataclasses.replace(row, arm="short"), "2G") == 0
    assert only_by_path(dataclasses.replace(row, arm="full"), "4G") == 0


def test_short_windows_that_leap_train_far_distances():
    row = row_of("references", arm="windows", layout="log")
    assert exposure_of(row).share == 1
    assert looks_of(row, "log").max() < row.group
    assert exposure_of(row).around(1450, 0.35) > 0.02


# The prediction.


def made_up(c, g, octaves=0.5, a=3.0, b=0.0):
    """Pilots that a law with known numbers measured; `b` weighs the share that is visible."""
    pilots = []
    for arm, leap in (("short", 0), ("s2", 0), ("s2", 0.5), ("full", 0)):
        for layout in ("log", "uniform", "near"):
            row = row_of("references", arm=arm, leap=leap, layout=layout, seed=7)
            for kind in row.classes:
                exposure, distances = exposure_of(row), middle(row, kind)
                around = exposure.around(distances[0], octaves)
                score = a + b * np.log(exposure.share) + c * np.log(around + 1e-4) - g * leap
                pilots.append(Pilot(row, "references", distances, float(1 / (1 + np.exp(-score))), kind=kind))
    return pilots


def test_a_known_law_is_found_again():
    fit = fit_law(made_up(0.9, 1.0))
    assert fit.octaves == 0.5
    np.testing.assert_allclose([fit.trained, fit.leap], [0.9, 1.0], atol=0.15)
    assert fit.error < 0.02


def test_a_law_of_two_shares_shows_in_the_error_of_one():
    pilots = made_up(0.9, 1.0, b=1.5)
    assert error_with_share(pilots) < 0.02 < fit_law(pilots).error
    plain = made_up(0.9, 1.0)
    assert abs(error_with_share(plain) - fit_law(plain).error) < 0.01


def test_under_the_training_pattern_only_what_is_seen_is_found():
    fit = fit_law(made_up(0.9, 1.0))
    row = row_of("references")
    assert fit.rate(row, "4G", "sparse") < fit.rate(row, "4G", "dense")
    np.testing.assert_allclose(fit.rate(row, "G/2", "sparse"), fit.rate(row, "G/2", "dense"))


def test_where_training_shows_nothing_recall_is_chance():
    fit = fit_law(load_pilots())
    assert fit.rate(row_of("references", arm="short", layout="aligned"), "G", "dense") < 0.02


@pytest.mark.parametrize("rate", [0, 0.02, 0.3, 0.5, 0.97, 1])
def test_no_interval_is_wider_than_thirty_points(rate):
    predicted = Prediction.around(rate)
    assert 0 <= predicted.low <= rate <= predicted.high <= 1
    assert 0.04 < predicted.high - predicted.low <= 0.3 + 1e-9


def test_pilots_of_no_dense_use_are_refused():
    with pytest.raises(ValueError, match="pilots must hold one of dense use, got none"):
        fit_law([])


# The cells, and the page that states them.


@pytest.fixture(scope="module")
def stated():
    pilots = load_pilots()
    fit = fit_law(pilots)
    return fit, draw_cells(fit, pilots), pilots


def test_cells_are_drawn_the_same_again_and_no_pilot_is_among_them(stated):
    fit, drawn, pilots = stated
    again = draw_cells(fit, pilots)
    assert again == drawn
    known = {dataclasses.replace(pilot.row, seed=0) for pilot in pilots}
    assert not known & set(drawn.configurations)
    assert {cell.row for cell in drawn.cells} <= set(drawn.configurations)
    assert len(drawn.rows()) == len(SEEDS) * len(drawn.configurations)
    assert 32 <= len(drawn.cells) <= CELLS and len(set(drawn.cells)) == len(drawn.cells)
    assert sum(cell.is_middle for cell in drawn.cells) >= len(drawn.cells) // 2


def test_the_shift_is_predicted_to_pay_somewhere_and_not_elsewhere(stated):
    fit, drawn, _ = stated
    cells = shift_cells(drawn, fit)
    pays = {cell.short.task for cell in cells if cell.predicted >= PAYS}
    equal = {cell.short.task for cell in cells if abs(cell.predicted) <= EQUAL}
    assert {"references", "keys", "hops2"} <= pays and "hops3" not in pays and {"references", "hops3"} <= equal
    for task in fit.tasks:  # the layouts that gain most and least
        means = [
            np.mean([cell.predicted for cell in cells if cell.short == short])
            for short, _ in drawn.pairs if short.task == task
        ]  # fmt: skip
        assert len(means) == 2 and means[0] > means[1]


def test_the_committed_page_is_what_the_command_writes(stated):
    assert law_file.LAW.read_text(encoding="utf-8") == prediction_page(*stated)


def test_the_page_names_every_cell(stated):
    page = prediction_page(*stated)
    for cell in stated[1].cells:
        line = f"| {cell.row.name} | {cell.kind} | {cell.use} | {100 * cell.predicted.rate:.0f} % |"
        assert line in page


# The tests of the prediction, on made-up records.


def recorded(drawn, fit, law="x", error=0.0):
    rng, records = np.random.default_rng(0), []
    for row in drawn.rows():
        uses = ("dense", "sparse") if row.pattern else ("dense",)
        recall = {
            use: {k: {"rate": float(np.clip(predict_recall(fit, row, k, use).rate + rng.uniform(-error, error), 0, 1))}
                  for k in row.classes}
            for use in uses
        }  # fmt: skip
        config = dataclasses.asdict(row)
        records.append({"kind": "recall", "config": config, "ground": {"law": law}, "results": {"recall": recall}})
    return records


def test_a_law_that_holds_passes_and_one_that_does_not_fails(stated):
    fit, drawn, pilots = stated
    good = judge_law(drawn, by_row(recorded(drawn, fit, error=0.02), "x"), pilots, fit)
    assert [claim.verdict for claim in good] == ["agrees"] * 5
    bad = recorded(drawn, fit)
    for record in bad:
        for classes in record["results"]["recall"].values():
            for share in classes.values():
                share["rate"] = 1 - share["rate"]
    verdicts = [claim.verdict for claim in judge_law(drawn, by_row(bad, "x"), pilots, fit)]
    assert verdicts[:3] == ["disagrees"] * 3 and verdicts[3] == "disagrees"


def test_records_under_another_prediction_do_not_count(stated):
    fit, drawn, pilots = stated
    assert by_row(recorded(drawn, fit, law="old"), "x") == {}
    page = measured_page(fit, drawn, pilots, {}, "x")
    assert "no test is decided" in page and f"0 of {len(drawn.rows())} rows" in page


def test_a_part_of_the_rows_decides_nothing(stated):
    fit, drawn, pilots = stated
    some = by_row(recorded(drawn, fit)[:3], "x")
    assert judge_law(drawn, some, pilots, fit) == []


def test_the_measured_page_puts_both_side_by_side(stated):
    fit, drawn, pilots = stated
    page = measured_page(fit, drawn, pilots, by_row(recorded(drawn, fit), "x"), "x")
    assert page.count("| 3 of 3 |") == len(drawn.cells)


def test_the_nearest_pilot_is_of_the_same_use_first(stated):
    cell = next(cell for cell in stated[1].cells if cell.use == "dense" and cell.row.task == "references")
    own = Pilot(cell.row, "references", middle(cell.row, cell.kind), 0.77, "dense", cell.kind)
    other = dataclasses.replace(own, use="sparse", rate=0.11)
    assert nearest(cell, [other, *stated[2], own]) == 0.77


# Statements.


@pytest.mark.parametrize("task", ["keys", "hops2", "hops3"])
@pytest.mark.parametrize("kind", [None, "G/4", "border"])
def test_answers_follow_from_the_statements(task, kind):
    row = row_of(task)
    ids, answers, _ = draw_statements(row, np.random.default_rng(0), 5, kind)
    for text, expected in zip(ids, answers, strict=True):
        means = {}
        for token in text:
            if token < ASKED:
                means[token // (VALUES + 16)] = token % (VALUES + 16)
        for place in np.flatnonzero(expected >= 0):
            found, hops = means[text[place] - ASKED], 1
            while found >= VALUES:
                found, hops = means[found - VALUES], hops + 1
            assert found == expected[place] and hops == HOPS[task]
    assert (answers >= 0).sum() > 4 and ids.max() < FILLER + 8
    assert states(1, 2, is_name=False) != states(1, 2, is_name=True)


def test_a_fresh_model_is_small_and_knows_nothing():
    row = row_of("keys", arm="full", trials=100)
    model = fresh_model(row)
    assert len(model.attention_layers) == 2
    assert sum(parameter.numel() for parameter in model.parameters()) < 500_000
    found = ask_statements(row, model)
    rates = [share.rate for classes in found.values() for share in classes.values()]
    assert max(rates) < 0.35 and list(found) == ["dense"]


def test_a_model_learns_what_it_is_shown(threads):
    row = row_of("keys", arm="full", layout="near", steps=120, batch=16, trials=60, length=32, group=8)
    training, results = compute_recall(row, None, None)
    assert training.curve[-1]["accuracy"] > 0.25  # a guess finds 0.125
    assert results["recall"]["dense"]["G/2"].rate > 0.25


# One row of each task, end to end.


@pytest.fixture
def law(tmp_path, monkeypatch):
    page = tmp_path / "law.md"
    page.write_text("a prediction")
    monkeypatch.setattr(law_file, "LAW", page)
    return page


@pytest.fixture
def small_inputs(tmp_path, monkeypatch):
    source = write_text(tmp_path / "text.py", size=40_000)
    monkeypatch.setattr(Inputs, "base", lambda self, name: tiny_bundled_model())
    return Inputs.open(str(source))


@pytest.mark.parametrize("task", HOPS)
def test_one_row_of_each_task_holds_the_hash_of_the_prediction(task, law, small_inputs, tmp_path, threads):
    leap = {"leap": 0.5} if task in ("references", "hops2") else {}
    row = Recall(task, "s2", "log", **leap, **TINY | (TEXT if task == "references" else {}))
    record = compute(row, small_inputs, threads=1, work=tmp_path / "work")
    again = read_record(save_record(tmp_path, record))
    assert again["ground"]["law"] == law_file.law_hash(law)
    assert ("corpus" in again["ground"]) == (task == "references")
    for use in ("dense", "sparse"):
        assert set(again["results"]["recall"][use]) == set(row.classes)
        assert all(share["trials"] >= 4 for share in again["results"]["recall"][use].values())
    assert compare_rows(again, as_json(compute(row, small_inputs, threads=1))).word == SAME
    law.write_text("another prediction")
    assert small_inputs.key(row) != record["key"]


def test_a_row_without_a_prediction_is_refused(law, small_inputs):
    law.unlink()
    with pytest.raises(ValueError, match=r"law\.md must be written before a row of the law is computed"):
        small_inputs.key(row_of("keys"))


def test_a_row_that_was_stopped_goes_on_and_ends_the_same(small_inputs, tmp_path, threads):
    row = Recall("references", "s2", "uniform", leap=0.5, **TEXT | TINY | {"steps": 12})
    whole = compute_recall(row, tiny_bundled_model(), small_inputs.corpus)[1]
    path = tmp_path / "checkpoint.safetensors"
    from longlora_edu.training import finetune as finetune_module

    class Stopped(Exception):
        pass

    def breaks(step, metrics):
        if step == 10:
            raise Stopped

    plain = finetune_module.step_by_step
    finetune_module.step_by_step = lambda *arguments: breaks
    try:
        with pytest.raises(Stopped):
            compute_recall(row, tiny_bundled_model(), small_inputs.corpus, checkpoint=path)
    finally:
        finetune_module.step_by_step = plain
    assert path.exists()
    resumed = compute_recall(row, tiny_bundled_model(), small_inputs.corpus, checkpoint=path, resume=True)[1]
    assert as_json(resumed) == as_json(whole)


def test_every_row_of_text_is_asked_the_same_and_names_are_held_out(small_inputs):
    row = Recall("references", "s2", "log", **TEXT | TINY)
    texts, laid = reference_questions(row, small_inputs.corpus)
    others, again = reference_questions(
        dataclasses.replace(row, arm="short", layout="near", seed=2), small_inputs.corpus
    )
    assert laid == again and all(np.array_equal(a, b) for a, b in zip(texts, others, strict=True))
    text = texts[0].tobytes()
    for _, (first, last) in laid[0]:
        assert text[first : first + 5] == text[last : last + 5] and text[last : last + 5].isdigit()


@pytest.mark.parametrize(("layout", "arm"), [("near", "s2"), ("aligned", "short"), ("uniform", "windows")])
def test_training_references_have_the_distances_of_the_layout(layout, arm):
    row = row_of("references", arm=arm, layout=layout)
    settings = settings_of(row)
    length = row.training_room.length
    assert settings.batch * length == row.batch * row.length
    for seed in range(5):
        places = settings.references().places(length, np.random.default_rng(seed))
        assert len(places) >= 3
        for place in places:
            if layout == "near":
                assert place.distance <= row.group // 2
            elif layout == "aligned":
                assert place.get_at // row.group == place.set_at // row.group + 1
            else:
                assert place.get_at < row.group


def test_full_attention_neither_leaps_nor_has_a_pattern():
    model = prepared(Recall("references", "full", **TEXT), tiny_bundled_model())
    assert model.leap is None and {layer.sparse for layer in model.attention_layers} == {None}
    model = prepared(Recall("references", "s2", leap=0.5, **TEXT), tiny_bundled_model())
    assert model.leap.target == 512 and model.attention_layers[0].sparse.shift == 64


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"task": "needle"}, "task must be one of references, keys, hops2, hops3, got 'needle'"),
        ({"task": "keys", "arm": "wrap"}, "arm must be one of"),
        ({"task": "keys", "layout": "far"}, "layout must be one of"),
        ({"task": "keys", "arm": "full", "leap": 0.5}, "leap must be 0 where arm is not 's2', got 0.5 with 'full'"),
        ({"task": "keys", "arm": "windows"}, "arm must not be 'windows' with 'keys'"),
        ({"task": "references", "arm": "windows", "layout": "aligned"}, "arm must not be 'windows'"),
        ({"task": "keys", "length": 32}, "length must"),
        ({"task": "keys", "leap": 2}, "leap must be from 0 to 1"),
    ],
)
def test_rows_that_cannot_be_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Recall(**fields)


# After the test.


def test_more_steps_change_the_steps_alone_and_share_rows_with_the_test(stated):
    rows = onset_rows()
    assert len(rows) == 36 and {row.steps for row in rows} == {200, 800, 3200}
    assert len({dataclasses.replace(row, steps=200, seed=0) for row in rows}) == 4
    tested = set(stated[1].rows())
    assert {row.arm for row in rows if row in tested} == {"short", "s2"}


def test_the_table_of_more_steps_leaves_out_what_is_not_recorded():
    def record(rate):
        return {"results": {"recall": {"dense": {kind: {"rate": rate} for kind in row_of("keys").classes}}}}

    last = onset_arms(3200)["S²"]
    records = {row: record(0.25 * (row.seed + 1)) for row in last}
    table = onset_tables(records | {onset_arms(800)["S²"][0]: record(1.0)})
    assert "| S² | – | – | 25 %, 50 %, 75 % |" in table
    assert "| S² | 50 % | 50 % | 50 % | 50 % | 50 % | 50 % |" in table
    assert "| full attention | – | – | – |" in table and table.count("full attention") == 1


# The remedy.


def test_the_remedy_shares_the_recorded_rows_and_differs_by_the_leap_alone():
    for steps in STEPS:
        arms = text_arms(steps)
        assert all(len(runs) == 3 for runs in arms.values())
        plain, leaping = arms["S²"][0], arms["S², leaps of probability ½"][0]
        assert dataclasses.replace(leaping, leap=0.0, extra=plain.extra) == plain
        assert sum(run.steps for run in (arms["S², leaps of probability ½, the last eighth full"][0],)) == steps // 8
    assert {row.steps for row in remedy_rows() if isinstance(row, Run)} == {60, 240, 7, 30}
    assert {len(rows) for rows in reference_arms().values()} == {3}


def test_a_last_quarter_of_full_attention_costs_each_way_about_the_same_pairs():
    arms = text_arms(STEPS[1])
    shares = {name: share_of_pairs(arms[name][0]) for name in ("full attention", "S²", WINDOWS, *QUARTER)}
    assert shares["full attention"] == 1 and 0.23 < shares["S²"] < shares[WINDOWS] < 0.251
    assert all(0.42 < shares[name] < 0.44 for name in QUARTER)
    for name in QUARTER:
        assert all((run.steps, run.start.steps, run.start.start) == (60, 180, None) for run in arms[name])
    assert not set(QUARTER) & set(text_arms(STEPS[0]))


def test_a_run_without_leaps_keeps_its_key():
    assert key_of(Run(), {}) == key_of(Run(leap=0.0, draw="uniform"), {}) != key_of(Run(leap=0.5), {})


@pytest.mark.parametrize(
    "fields", [{"attention": "full"}, {"attention": "masked"}, {"shift": 3}, {"length": 512, "skip": True}]
)
def test_runs_that_cannot_leap_are_refused(fields):
    with pytest.raises(ValueError, match="leap must be 0"):
        Run(**{"leap": 0.5} | fields)


def test_references_are_compared_with_windows_that_leap_by_arms_that_are_whole():
    arms = reference_arms()
    kinds = arms["S²"][0].classes

    def record(row, successes):
        dense = {kind: {"successes": successes, "trials": 100, "rate": successes / 100} for kind in kinds}
        results = {"recall": {"dense": dense}, "bits_per_byte": {str(row.length): 1.0}}
        return {"kind": "recall", "config": dataclasses.asdict(row), "ground": {"law": "x"}, "results": results}

    found = {"S²": 80, WINDOWS: 50, "full attention": 90}
    records = [record(row, found[name]) for name in found for row in arms[name][: 2 if name == "full attention" else 3]]
    table = reference_table(records, "x")
    assert "4 of 6 arms are not recorded yet." in table and "| full attention |" not in table
    assert "| S² | 80 % |" in table and f"| {WINDOWS} | 50 % |" in table
    less = table.split("Points more than windows")[1]
    assert "| S² | +30.0 ± 1" in less and WINDOWS not in less
    assert reference_table(records, "another law").count("| S²") == 0


def test_the_pages_of_the_outcome_and_the_digest_are_made_of_the_records(stated):
    note, law = (DOCS / "note.md").read_text(), law_file.law_hash()
    records, studies = read_rows(FOLDER), read_rows(default_folder())
    assert read_json(DIGEST) == law_digest(stated, records, studies, law), "longlora-edu study law-verdict"
    for name, page in outcome_pages(stated, records, studies, law, note).items():
        assert (DOCS / name).read_text() == page, "longlora-edu study law-verdict"


def test_the_sentences_of_the_note_are_those_of_the_rows(stated):
    note = " ".join((DOCS / "note.md").read_text().split())
    law = law_file.law_hash()
    records, studies = read_rows(FOLDER), read_rows(default_folder())
    found = measure(stated[1], by_row(records, law))
    missed = {one.cell: len(one.rates) - one.inside for one in found}
    rare = [cell for cell in missed if cell.row.task == "keys" and cell.row.layout == "uniform"]
    assert f"{sum(missed[cell] for cell in rare)} of the {sum(missed.values())} misses" in note
    low, high = (f"{100 * end(cell.predicted.rate for cell in rare):.0f}" for end in (min, max))
    assert f"The law predicted {low} to {high} %" in note
    shares = {arm: 100 * exposure_of(row_of("keys", arm=arm, layout="uniform")).share for arm in ("short", "s2")}
    assert f"{shares['short']:.0f} % without a shift and {shares['s2']:.0f} % with it" in note
    late = {
        name: [by_row(records, law)[row]["results"]["recall"]["dense"] for row in rows]
        for name, rows in onset_arms(3200).items()
    }
    means = {name: [np.mean([one["rate"] for one in seed.values()]) for seed in seeds] for name, seeds in late.items()}
    reached = {name: sum(mean > 0.895 for mean in found) for name, found in means.items()}
    assert list(reached.values()) == [3, 1, 3, 1]  # "with each of three seeds", "with one", "one seed of three"
    assert "S² is at 90 % or more with each of three seeds" in note
    for name, kind, words in (
        ("S²", "G", "one group away S² finds"),
        ("groups without a shift", "4G", "four groups away groups without a shift find"),
    ):
        arm = {"S²": "s2", "groups without a shift": "short"}[name]
        (cell,) = (cell for cell in rare if cell.row.arm == arm and cell.kind == kind and not cell.row.leap)
        rate = np.mean([seed[kind]["rate"] for seed in late[name]])
        assert f"{words} {100 * rate:.0f} %, predicted {100 * cell.predicted.rate:.0f} %" in note
    leaping = np.mean(
        [seed[kind]["rate"] for seed in late["S², leaps of probability ½"] for kind in ("G/4", "G/2", "G")]
    )
    predicted = [
        100 * cell.predicted.rate
        for cell in rare
        if cell.row.leap and cell.use == "dense" and cell.kind in ("G/4", "G/2", "G")
    ]
    assert f"{100 * leaping:.0f} % up to a group, predicted {min(predicted):.0f} to {max(predicted):.0f} %" in note
    cells = shift_cells(stated[1], stated[0])
    pays = [cell for cell in cells if cell.predicted >= PAYS]
    assert len(pays) == 17 and {cell.short.layout for cell in pays} == {"aligned"}
    same = [cell for cell in cells if abs(cell.predicted) <= EQUAL]
    assert (len(same), sum(cell.short.task == "hops3" for cell in same)) == (7, 4)
    bits = law_digest(stated, records, studies, law)["bits_per_byte"]
    whole, leaping, full = bits["S²"], bits["S², leaps of probability ½"], bits["full attention"]
    assert 0.4 < (whole - leaping) / (whole - full) < 0.6, "leaps repair about half"
    early = [number for name, number in bits.items() if name.startswith("S²") and name not in QUARTER]
    assert bits[WINDOWS] < min(early), "the baseline is ahead"
    runs, rows = text_arms(STEPS[1]), Rows([*studies, *records])
    beside = [rows.worse_than(runs[name], runs[WINDOWS_QUARTER]) for name in QUARTER if name != WINDOWS_QUARTER]
    assert all(gap.interval[0] < 0 < gap.interval[1] for gap in beside), "no difference can be told on text"
    full = [rows.worse_than(runs[name], runs["full attention"]).mean for name in QUARTER]
    assert all(0.005 < gap < 0.015 for gap in full), "about 1 % of full"
    found = {name: [one.rate for one in rows.found(runs[name])] for name in QUARTER}
    assert min(found.pop(WINDOWS_QUARTER)) == 1 and all(min(rates) < 0.75 for rates in found.values())
    assert "after windows that leap each of three seeds finds all, after S² some seeds lose many" in note


# The command.


def test_a_dry_run_prints_rows_and_hours_and_computes_nothing(tmp_path):
    result = CliRunner().invoke(app, ["study", "law", "--dry-run", "--out", str(tmp_path / "rows")])
    assert result.exit_code == 0, result.output
    assert "rows to compute, 2 at a time on one thread each: about" in result.output
    assert float(result.output.rsplit("about", 1)[1].split()[0]) <= 12
    assert "references: 0 rows recorded" in result.output and "text, 240 steps" in result.output
    assert not (tmp_path / "rows").exists()


def test_a_key_that_is_none_is_refused(tmp_path):
    result = CliRunner().invoke(app, ["study", "law", "--only", "nothing", "--out", str(tmp_path / "rows")])
    assert result.exit_code == 1 and "--only must be the key of a row" in result.output


def test_pilots_are_computed_once(tmp_path):
    path, calls = tmp_path / "pilots.json", []

    def one(row):
        calls.append(row)
        return {"config": dataclasses.asdict(row)}

    write_pilots(one, path)
    write_pilots(one, path)
    assert calls == planned_pilots() and len(json.loads(path.read_text())["rows"]) == len(calls)
