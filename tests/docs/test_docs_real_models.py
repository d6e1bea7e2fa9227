"""Hold docs on real models to what the program prints now; `python tests/docs/test_docs_real_models.py` renews them."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
from functools import cache
from itertools import takewhile
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from longlora_edu.cli import app

ROOT = Path(__file__).parents[2]
REAL, COMPARED = ROOT / "docs" / "real_models.md", ROOT / "docs" / "compared.md"
VERSIONS = ("d4eb344", "ff6d4d12e", "067b021c8", "3602360a5", "5d602fdbf")
CONFIG = re.compile(r"`([\w.-]+)/config\.json`:\n\n```json\n(.*?)```", re.DOTALL)
PLAN = re.compile(r"(?<=```text\n)\$ (longlora-edu plan [^\n]*)\n(.*?)(?=```)", re.DOTALL)
CARDS = ("16", "24", "80")


def write_configs(text, folder):
    """The configs that the document states, each in a folder of its name."""
    for name, config in CONFIG.findall(text):
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps(json.loads(config)))


def printed(command):
    """What a command of the document prints in the present folder."""
    done = CliRunner().invoke(app, shlex.split(command)[1:])
    assert done.exit_code == 0, done.output
    return done.stdout


def with_present_outputs(text):
    return PLAN.sub(lambda found: f"$ {found[1]}\n{printed(found[1])}", text)


def commands(text):
    """Every command of the document, without what starts it."""
    for block in re.findall(r"```(?:sh|text)\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            if found := re.search(r"(?:longlora-edu|-m longlora_edu\.cli) (.*)", line):
                yield shlex.split(found[1])


def options_of(command):
    """Every name of every option of a command."""
    known = typer.main.get_command(app).commands[command].params
    return {name for option in known for name in (*option.opts, *option.secondary_opts)}


@cache
def names_in(path):
    return {node.name for node in ast.parse((ROOT / path).read_text()).body if isinstance(node, ast.FunctionDef)}


# What `plan` prints.


def test_each_recipe_is_what_plan_prints(tmp_path, monkeypatch):
    text = REAL.read_text(encoding="utf-8")
    write_configs(text, tmp_path)
    monkeypatch.chdir(tmp_path)
    found = PLAN.findall(text)
    assert len(found) >= 2 * len(CARDS)
    for command, output in found:
        assert output == printed(command), command


def test_every_card_has_a_recipe_that_fits():
    text = REAL.read_text(encoding="utf-8")
    for card in CARDS:
        section = text.partition(f"### {card} GB\n")[2].partition("\n## ")[0].partition("\n### ")[0]
        recipes = PLAN.findall(section)
        assert all(f"--memory {card} " in command for command, _ in recipes)
        assert any("does not fit" not in output for _, output in recipes)
        assert "longlora-edu train" in section


def test_the_check_of_recipes_sees_another_number(tmp_path, monkeypatch):
    text = REAL.read_text(encoding="utf-8")
    write_configs(text, tmp_path)
    monkeypatch.chdir(tmp_path)
    command, output = PLAN.findall(text)[0]
    assert with_present_outputs(text) == text
    stale = text.replace(output, output.replace("0", "1"), 1)
    assert stale != text
    assert with_present_outputs(stale) == text


def test_the_shapes_are_those_that_are_named():
    from longlora_edu.cost import ModelShape
    from longlora_edu.plan import shape_from_config

    shapes = {name: shape_from_config(json.loads(config)) for name, config in CONFIG.findall(REAL.read_text("utf-8"))}
    assert shapes["llama-2-7b"] == (ModelShape.llama2_7b(), 4096)
    assert 0.9e9 < shapes["1b"][0].parameters.total < 1.3e9
    assert 134e6 < shapes["135m"][0].parameters.total < 136e6


# Commands, errors, links.


def test_every_option_in_the_document_exists():
    seen = set()
    for command, *words in commands(REAL.read_text(encoding="utf-8")):
        given = {word for word in words if word.startswith("-")}
        assert given <= options_of(command), (command, given - options_of(command))
        seen.add(command)
    assert seen == {"plan", "train", "evaluate", "merge", "generate", "longqa"}


def test_every_error_in_the_table_is_one_of_the_program():
    table = REAL.read_text(encoding="utf-8").partition("## Errors\n")[2]
    source = " ".join(path.read_text(encoding="utf-8") for path in (ROOT / "longlora_edu").rglob("*.py"))
    source = re.sub(r'"\s*f?"', "", source)  # a sentence may go on in the next line
    said = [part for row in table.splitlines()[4:] for part in re.findall(r"`([^`]+)`", row.split("|")[1])]
    assert len(said) > 12
    for words in said:
        for part in words.split(" … "):
            assert part in source, part


@pytest.mark.parametrize("path", [REAL, COMPARED], ids=lambda path: path.name)
def test_local_links_lead_somewhere(path):
    for link in re.findall(r"\]\(([^)#\s]+)[^)#]*\)", path.read_text(encoding="utf-8")):
        assert link.startswith("https://") or (path.parent / link).exists(), link


# The table of features.


def rows():
    """Cells of the table of features, its heading left out."""
    lines = COMPARED.read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| | longlora_edu |"))
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip("|").split("|")]


def test_every_feature_of_ours_names_a_test_that_exists():
    table = list(rows())
    assert len(table) >= 15
    for feature, ours, *others in table:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", ours)
        assert named or ours == "untested", feature
        assert len(others) == 5, feature
    for path, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", COMPARED.read_text(encoding="utf-8")):
        assert name in names_in(path), (path, name)


def test_everything_said_of_others_has_its_source():
    text = COMPARED.read_text(encoding="utf-8")
    sources = re.findall(r"^(\d+)\. ", text.partition("## Sources")[2], re.MULTILINE)
    assert sources == [str(number) for number in range(1, len(sources) + 1)]
    used = set(re.findall(r"\[(\d+)\](?!\()", text.partition("## Sources")[0]))
    assert used == set(sources)
    for feature, _, *others in rows():
        for cell in others:
            unsaid = cell in ("–", "not read", "none", "none seen") or "tests/" in cell
            assert unsaid or re.search(r"\[\d+\]", cell), (feature, cell)


def test_every_project_has_the_version_that_was_read():
    text = COMPARED.read_text(encoding="utf-8")
    for version in VERSIONS:
        assert f"`{version}`" in text


def test_the_short_table_has_the_same_versions_and_a_test_for_each_of_ours():
    lines = COMPARED.read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| | here |"))
    assert re.findall("`(.*?)`", lines[start]) == list(VERSIONS)
    for line in takewhile(lambda line: line.startswith("|"), lines[start + 2 :]):
        feature, ours, *others = (cell.strip() for cell in line.strip("|").split("|"))
        assert len(others) == len(VERSIONS), feature
        if ours != "untested":
            path, name = re.fullmatch(r'\[[\w, ]+\]\(\.\./(\S+) "(\w+)"\)', ours).groups()
            assert name in names_in(path), feature
            assert f"`{path}::{name}`" in COMPARED.read_text(encoding="utf-8"), feature  # with sources for the others


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        written = REAL.read_text(encoding="utf-8")
        write_configs(written, Path(name))
        os.chdir(name)
        REAL.write_text(with_present_outputs(written), encoding="utf-8")
