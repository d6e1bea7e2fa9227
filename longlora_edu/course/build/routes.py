"""The map of the course: the table of lessons with their minutes, and routes through it, from `routes.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from .minutes import minutes
from .source import Lesson


def read_routes(source: Path) -> dict:
    """Read `routes.toml` in the folder of sources: `lesson` and `route`, lists of tables.

    Raises:
        ValueError: for a folder without it.
    """
    path = source / "routes.toml"
    if not path.is_file():
        raise ValueError(f"the source folder must hold routes.toml, got none in {source}")
    return tomllib.loads(path.read_text(encoding="utf-8"))


def lesson_rows(routes: Mapping, everything: Sequence[Lesson]) -> str:
    """Write the table of lessons: number, title, question, minutes of the core and of all, what to read before.

    Raises:
        ValueError: for a lesson that is in the map and not in the course.
    """
    known = {lesson.number: lesson for lesson in everything}
    rows = ["| | lesson | the question it answers | core | all | read before |", "|---|---|---|---|---|---|"]
    for entry in routes["lesson"]:
        number = entry["number"]
        if number not in known:
            raise ValueError(f"lesson must be one of {', '.join(known)}, got {number!r} in routes.toml")
        lesson, (core, whole) = known[number], minutes(known[number])
        link = f"[{lesson.title}]({lesson.name}.ipynb)"
        before = ", ".join(entry["before"])
        rows.append(f"| {number} | {link} | {entry['question']} | {core} min | {whole} min | {before} |")
    return "\n".join(rows)


def route_rows(routes: Mapping, everything: Sequence[Lesson]) -> str:
    """Write the routes through the course as a list, each with the minutes that the cores of its lessons take."""
    core = {lesson.number: minutes(lesson)[0] for lesson in everything}
    return "\n".join(
        f"- **{route['who']}**: {', '.join(route['lessons'])} ({sum(core[number] for number in route['lessons'])} min)"
        for route in routes["route"]
    )


def missing_steps(routes: Mapping) -> list[str]:
    """List what a route leaves out that one of its lessons needs, a sentence each."""
    before = {entry["number"]: entry["before"] for entry in routes["lesson"]}
    return [
        f"route {route['who']!r} has {number} without {needed} before it"
        for route in routes["route"]
        for at, number in enumerate(route["lessons"])
        for needed in before.get(number, ())
        if needed not in route["lessons"][:at]
    ]
