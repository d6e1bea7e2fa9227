"""All that a teacher hands out, in one folder, without a network: `python docs/classroom/hand_out.py`.

Wants `python -m pip install -c constraints.txt -e ".[lab,docs]"`; open `build/classroom/index.html`. `--wheels` puts
the packages into `stick` as well, for the system and the Python that this runs on; that asks pip, which needs a
network. Options after it go to pip, such as the index of the CPU build of torch, which the README names.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "docs" / "slides"))

import build as slides  # noqa: E402  the deck, which quotes the same guide
from figures import GUIDE, HARD_QUESTIONS  # noqa: E402
from sheets import SHEETS, document, sheet  # noqa: E402

from longlora_edu.course.build.copies import copy_course  # noqa: E402

FOR_STUDENTS = ("primer", "handout", "homework")
FOR_TEACHERS = ("homework_rubric", "exam", "discussion", "assistants_talk", "assistants_lab")
DOCUMENTS = {"guide": GUIDE, "hard_questions": HARD_QUESTIONS}
PAGES = ("explorer.html", "model.html")
ELSEWHERE = "# For teachers\n\nThis page is with your teacher.\n"
START = """LongLoRA, on a stick. Nothing here needs a network.

Nothing to install: open explorer.html, model.html or slides/index.html in a browser.
"""
WITH_WHEELS = """
To work in the notebooks, with {python} on {system}, in a terminal in this folder:

{first}
{second}

Best in a fresh environment: "python -m venv lab", and then lab/bin/python (Windows: lab\\Scripts\\python) for "python".
"""
WITHOUT_WHEELS = """
To work in the notebooks, install longlora_edu as step 2 of the setup mail says. Then, in a terminal in this folder:

{second}
"""
INSTALL = 'python -m pip install --no-index --find-links wheels "longlora-edu[lab]"'
OPEN = "python -m longlora_edu.cli lab course/notebooks"
INDEX = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>For the classroom</title><style>
{style}</style></head><body>
<h1>For the classroom</h1>
<p>Print <a href="students/handout.html">the handout</a> on both sides of one sheet;
copy <code>stick</code> onto sticks.</p>
{lists}
</body></html>
"""


def build(out: Path, *, wheels: bool = False, pip: tuple[str, ...] = ()) -> list[str]:
    """Write the folder `out`, which is replaced; return what could not be made here, a sentence each."""
    if out.exists():
        shutil.rmtree(out)
    students, teacher, stick = (out / name for name in ("students", "teacher", "stick"))
    for folder, names in ((students, FOR_STUDENTS), (teacher, FOR_TEACHERS)):
        folder.mkdir(parents=True)
        for name in names:
            (folder / f"{name}.html").write_text(sheet(name), encoding="utf-8")
    for name, path in DOCUMENTS.items():
        (teacher / f"{name}.html").write_text(document(path), encoding="utf-8")
    shutil.copy(SHEETS / "setup_mail.txt", students)
    shutil.copy(HERE / "check_setup.py", students)
    copy_course(students / "course", "assignment")
    (students / "course" / "INSTRUCTOR.md").write_text(ELSEWHERE, encoding="utf-8")
    slides.build(teacher / "slides")
    undone = _print(students, teacher)
    _fill_stick(stick, students, teacher, wheels=wheels)
    if wheels:
        (stick / "wheels").mkdir()
        _fetch_wheels(stick / "wheels", pip)
    else:
        undone.append("stick/START.txt installs nothing: run this with --wheels where there is a network.")
    (out / "index.html").write_text(_index(out), encoding="utf-8")
    return undone


def _print(students: Path, teacher: Path) -> list[str]:
    pages = (
        (teacher / "slides" / "print.html", teacher / "slides.pdf"),
        (students / "handout.html", students / "handout.pdf"),
    )
    if all(slides.print_pdf(*page) for page in pages):
        return []
    return ["slides.pdf and handout.pdf want a Chromium: install one, or print the pages by hand."]


def _fill_stick(stick: Path, students: Path, teacher: Path, *, wheels: bool) -> None:
    shutil.copytree(students / "course", stick / "course")
    shutil.copytree(teacher / "slides", stick / "slides")
    for name in PAGES:
        shutil.copy(ROOT / "docs" / name, stick)
    for name in ("check_setup.py", "primer.html", "handout.html"):
        shutil.copy(students / name, stick)
    (stick / "START.txt").write_text(_start(wheels=wheels), encoding="utf-8")


def _start(*, wheels: bool) -> str:
    """The page that a student reads first: it names only what the stick has."""
    python, system = f"Python {sys.version_info.major}.{sys.version_info.minor}", sys.platform
    rest = WITH_WHEELS if wheels else WITHOUT_WHEELS
    return START + rest.format(python=python, system=system, first=INSTALL, second=OPEN)


def _fetch_wheels(folder: Path, pip: tuple[str, ...]) -> None:
    """Collect the package and all that the lab needs as wheels, in the versions that were tested."""
    asked = ["wheel", "-c", str(ROOT / "constraints.txt"), "-w", str(folder), f"{ROOT}[lab]", *pip]
    subprocess.run([sys.executable, "-m", "pip", *asked], check=True)


def _index(out: Path) -> str:
    lists = []
    for folder in ("students", "teacher", "stick"):
        found = sorted(path for path in (out / folder).iterdir())
        names = [f"{path.name}/index.html" if (path / "index.html").is_file() else path.name for path in found]
        items = "".join(f'<li><a href="{folder}/{name}">{name}</a></li>' for name in names)
        lists.append(f"<h2>{folder}</h2><ul>{items}</ul>")
    style = (SHEETS / "sheet.css").read_text(encoding="utf-8")
    return INDEX.format(style=style, lists="\n".join(lists))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "classroom", help="replaced, if it is there")
    parser.add_argument("--wheels", action="store_true", help="fetch the packages for the stick, with pip")
    asked, for_pip = parser.parse_known_args()
    if for_pip and not asked.wheels:
        parser.error(f"options for pip go with --wheels, got {' '.join(for_pip)}")
    if lacking := slides.lacking():
        sys.exit(lacking)
    for sentence in build(asked.out, wheels=asked.wheels, pip=tuple(for_pip)):
        print(sentence)
    print(f"open {asked.out / 'index.html'}")
