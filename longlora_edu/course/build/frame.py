"""The frame of every lesson: badges and links above and below, and the cell that says where the reader is."""

from __future__ import annotations

from collections.abc import Sequence

from .minutes import said_minutes
from .repository import Repository
from .source import Lesson

# Where nothing is installed and no address is stamped.
MISSING = (
    "longlora_edu is not here: put its wheel beside this notebook (on Kaggle, add it as data), and run this cell again"
)
NOT_INSTALLED = f"""    if package is None:
        raise ImportError("{MISSING}")
"""
# Colab has all that the package needs: with --no-deps nothing else is replaced, and no restart is asked for. Elsewhere
# pip adds what is missing, and only that. A wheel beside the notebook goes before the address; on Kaggle what a reader
# uploads is a dataset, in a folder of its own.
SET_UP = """# @title Set-up: where am I?
import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("longlora_edu") is None:
    wheels = [*Path().glob("longlora_edu-*.whl"), *Path("/kaggle/input").glob("**/longlora_edu-*.whl")]
    package = next((str(path) for path in sorted(wheels, reverse=True)), {})
{}    if "google.colab" in sys.modules:
        %pip install -q --no-deps "$package"
    else:
        %pip install -q "$package"
from longlora_edu.course import check_environment

environment = check_environment()
profile = environment.profile
environment"""


def set_up(repository: Repository | None) -> str:
    """The first code cell, the same in every notebook: on a host that lacks the package it installs it."""
    if repository is None:
        return SET_UP.format(None, NOT_INSTALLED)
    return SET_UP.format(f'"{repository.requirement}"', "")


def head(lesson: Lesson, neighbours: Sequence[Lesson], repository: Repository | None) -> str:
    """The title, with badges where a `repository` is given, and the links to the lessons before and after."""
    if lesson.moved:
        return f"# {lesson.number} · {lesson.title}\n\n[glossary](glossary.md)"
    parts = [f"# {lesson.number} · {lesson.title}", *([repository.badges(lesson.name)] if repository else [])]
    return "\n\n".join([*parts, _links(lesson, neighbours), f"*{said_minutes(lesson)}*"])


def foot(lesson: Lesson, neighbours: Sequence[Lesson]) -> str:
    """The same links again, for who has come to the end."""
    return f"---\n\n{_links(lesson, neighbours)}"


def _links(lesson: Lesson, neighbours: Sequence[Lesson]) -> str:
    names = [other.name for other in neighbours]
    at = names.index(lesson.name) if lesson.name in names else None
    links = ["[glossary](glossary.md)"]
    if at:
        links.insert(0, f"[← {neighbours[at - 1].number} {neighbours[at - 1].title}]({names[at - 1]}.ipynb)")
    if at is not None and at + 1 < len(names):
        links.append(f"[{neighbours[at + 1].number} {neighbours[at + 1].title} →]({names[at + 1]}.ipynb)")
    return " · ".join(links)
