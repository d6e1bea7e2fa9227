from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import longlora_edu

PACKAGE = Path(longlora_edu.__file__).parent
READING_ORDER = [
    "geometry", "rope", "cost", "plan", "records", "recorded", "corpus", "passkey", "longqa", "reference", "attention",
    "calibrate", "lora", "model", "longlora", "adapter", "train", "objective", "evaluate", "progress", "pretrain",
    "finetune", "probe", "plots", "report", "demo", "study", "hf", "bench", "widgets", "course", "cli",
]  # fmt: skip
NUMPY_ONLY = READING_ORDER[: READING_ORDER.index("attention")]
HEAVY = ["torch", "matplotlib", "ipywidgets", "transformers", "peft", "typer", "rich"]
FILES = {path.relative_to(PACKAGE): path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"}


def name_of(path):
    """The module in the reading order that a file is, or is part of."""
    return path.parts[0].removesuffix(".py")


def imported_modules(source, path):
    """Modules of the package that a file imports, at its top or inside a function."""
    inside = ["longlora_edu", *path.parts[:-1]]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = inside[: len(inside) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for first, *rest in (name.split(".") for name in names):
            if first == "longlora_edu" and rest:
                yield rest[0]


def imports_from_later(source, path):
    """What a file imports that stands after it in the reading order, or not in it at all."""
    name = name_of(path)
    allowed = {*READING_ORDER[: READING_ORDER.index(name)], "__version__"}
    if len(path.parts) > 1:
        allowed.add(name)  # a folder is one module, whose files may read each other
    return sorted(set(imported_modules(source, path)) - allowed)


def public_without_docstring(source):
    """Functions and classes at the top of a file whose names are public, and which say nothing of themselves."""
    return [
        node.name
        for node in ast.parse(source).body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]


def loaded_after(statement):
    """Which heavy modules a fresh process holds after a statement."""
    code = f"import sys; {statement}; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent, timeout=120
    )
    return done.stdout.split()


def test_every_module_has_a_place_in_the_reading_order():
    assert {name_of(path) for path in FILES} - set(READING_ORDER) == set()


def test_no_name_is_both_a_file_and_a_folder():
    assert [name for name in READING_ORDER if (PACKAGE / name).is_dir() and (PACKAGE / f"{name}.py").exists()] == []


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_point_backwards_in_the_reading_order(path):
    assert imports_from_later(FILES[path].read_text(encoding="utf-8"), path) == []


@pytest.mark.parametrize(
    ("path", "source", "found"),
    [
        ("rope.py", "from .model import TinyLlama", ["model"]),
        ("rope.py", "from longlora_edu.model import TinyLlama", ["model"]),
        ("rope.py", "import longlora_edu.model as m", ["model"]),
        ("rope.py", "from . import model, geometry", ["model"]),
        ("rope.py", "def f():\n    from .evaluate import score_text", ["evaluate"]),
        ("rope.py", "from .rope import Rope", ["rope"]),
        ("lora/files.py", "from ..model import TinyLlama\nfrom ..records import read_json", ["model"]),
        ("lora/files.py", "from .. import longlora", ["longlora"]),
        ("lora/files.py", "from .layers import add_lora\nfrom . import layers", []),
        ("model.py", "import torch\nfrom .unheard_of import x", ["unheard_of"]),
        ("model.py", "import json\nfrom .rope import Rope\nfrom . import __version__", []),
    ],
)
def test_the_check_of_imports_sees_one_that_points_forwards(path, source, found):
    assert imports_from_later(source, Path(path)) == found


def test_the_package_itself_loads_nothing_heavy():
    assert loaded_after("import longlora_edu") == []


def test_the_facts_and_the_reference_load_numpy_only():
    assert loaded_after("import " + ", ".join(f"longlora_edu.{name}" for name in NUMPY_ONLY)) == []


def test_the_check_of_what_is_loaded_sees_torch():
    assert loaded_after("import longlora_edu.model") == ["torch"]


@pytest.mark.parametrize("path", FILES, ids=str)
def test_every_public_function_and_class_says_what_it_is(path):
    source = FILES[path].read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(source)), "the module itself"
    assert public_without_docstring(source) == []


def test_the_check_of_docstrings_sees_one_that_is_missing():
    source = 'def f():\n    "Says."\n\ndef g(): ...\n\nclass C: ...\n\ndef _own(): ...\n\nasync def h(): ...\n'
    assert public_without_docstring(source) == ["g", "C", "h"]
