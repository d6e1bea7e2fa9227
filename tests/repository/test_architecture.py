from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from helpers import ROOT

import longlora_edu

PACKAGE = Path(longlora_edu.__file__).parent
# The three shelves of the README, and the order inside each.
READ = ["geometry", "reference", "rope", "attention", "lora", "model", "longlora", "adapter", "cost", "plan"]
USE = ["training", "hf", "demo", "course"]
MACHINERY = ["runs", "plots", "widgets", "cli"]
# Imports point backwards in this list. The method, runs/ and training/ stand here file by file; a folder without a
# dot is its __init__. Everything after them counts as one module a folder.
READING_ORDER = [
    "runs", "runs.validate", "geometry", "reference", "rope",
    "attention.arguments", "attention.sdpa", "attention.tiles", "attention.tilewise", "attention.dense_mask",
    "attention.grouped", "attention.products", "attention.varlen", "attention.flex", "attention",
    "runs.records", "runs.claim", "runs.marked",
    "lora.rank", "lora.layers", "lora.files", "lora", "model.config", "model.llama", "model.folder", "model",
    "longlora", "adapter",
    "cost", "plan",
    "runs.progress", "runs.number_format", "runs.timing",
    "training", "training.text_files", "training.corpus", "training.passkey", "training.references", "training.longqa",
    "training.checkpoint", "training.train", "training.objective", "training.evaluate", "training.continuation",
    "training.finetune", "training.extend",
    "training.pretrain", "training.probe",
    "hf", "plots", "widgets", "demo", "course", "cli",
]  # fmt: skip
WHOLE = ["hf", "plots", "widgets", "demo", "course", "cli"]
# The nevers: no file of the first imports one of the second, whatever the reading order says.
NEVERS = [
    (READ, ["training", "hf", "plots", "widgets", "demo", "course", "cli"]),
    (["training"], ["hf", "plots", "widgets", "demo", "course", "cli"]),
    (["plots"], ["training", "hf", "demo", "course", "cli"]),
    ([*READ, "runs", "training", "hf", "plots", "widgets", "demo", "course"], ["research"]),
]
NUMPY_ONLY = [
    "geometry", "reference", "rope", "cost", "plan", "runs.validate", "runs.records", "runs.progress",
    "runs.number_format", "runs.timing", "runs.claim", "runs.marked", "training.text_files", "training.corpus",
    "training.passkey", "training.references", "training.longqa",
]  # fmt: skip
TWICE = {}  # module names that two files share, each with the reason
# Public functions and classes that two files share, each with the reason; `main` of an entry point aside.
SAME_NAME = {
    "full_attention": "one function, in NumPy and in torch",
    "s2_attention": "one function, in NumPy and in torch",
    "study": "each file of questions/ has one",
    "attend": "the bug gallery and the checks keep attentions of their own",
    "rolled": "the bug gallery and the checks keep attentions of their own",
    "crossover": "a check has the name of the function that a learner writes",
    "layers_needed": "a check has the name of the function that a learner writes",
    "module": "each page without a kernel has its script",
    "style": "each page without a kernel has its style sheet",
}
HEAVY = ["torch", "matplotlib", "ipywidgets", "transformers", "peft", "typer", "rich"]
FILES = {path.relative_to(PACKAGE): path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"}


def module_of(path):
    """The module that a file of the package is, without the package's own name."""
    parts = path.parent.parts if path.name == "__init__.py" else path.with_suffix("").parts
    return ".".join(parts)


MODULES = {module_of(path) for path in FILES}


def place_of(module):
    """The entry of the reading order under which a module stands."""
    return module.partition(".")[0] if module.partition(".")[0] in WHOLE else module


def imported_modules(source, path):
    """Modules that a file imports, at its top or inside a function: those of the package, and `research`."""
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
        for name in names:
            first, _, rest = name.partition(".")
            if first == "research":
                yield "research"
            elif first == "longlora_edu" and rest:
                while rest not in MODULES and "." in rest:  # what is imported is a name inside of a module
                    rest = rest.rpartition(".")[0]
                yield rest


def imports_from_later(source, path):
    """What a file imports that stands after it in the reading order, or not in it at all."""
    module = module_of(path)
    place = place_of(module)
    allowed = {*READING_ORDER[: READING_ORDER.index(place)], "__version__", *([place] if place in WHOLE else [])}
    return sorted({place_of(name) for name in imported_modules(source, path)} - allowed - {"research"})


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
    assert {place_of(module) for module in MODULES} == set(READING_ORDER)


def test_the_readme_shows_the_same_three_shelves():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shelves = {
        title: re.findall(r"^\| `(\w+)/?` \|", text, re.MULTILINE)
        for title, text in re.findall(
            r"^\*\*(Read|Use|Machinery)\*\*(.*?)(?=^\*\*|^#|^In ten|\Z)", readme, re.DOTALL | re.MULTILINE
        )
    }
    assert shelves == {"Read": READ, "Use": USE, "Machinery": MACHINERY}


def test_the_shelves_hold_everything_at_the_root_of_the_package_and_stay_short():
    root = {path.stem for path in PACKAGE.glob("*.py")} | {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert root - {"__init__"} == {*READ, *USE, *MACHINERY}
    assert len(root - {"__init__"}) <= 19


def test_no_name_is_both_a_file_and_a_folder():
    folders = {path.parent.name for path in PACKAGE.rglob("__init__.py")} - {PACKAGE.name}
    assert [path for path in FILES if path.stem in folders and (path.parent / path.stem).is_dir()] == []


def test_no_two_modules_have_the_same_name():
    names = [path.stem for path in [*FILES, *(ROOT / "research").rglob("*.py")] if not path.stem.startswith("__")]
    assert {name for name in names if names.count(name) > 1} == set(TWICE)


def test_no_public_name_has_two_meanings():
    files = [*FILES.values(), *(ROOT / "research").rglob("*.py")]
    found = Counter(
        node.name
        for path in files
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        if not node.name.startswith("_") and path.name != "__main__.py"
    )
    assert {name for name, count in found.items() if count > 1} == set(SAME_NAME)


def test_contributing_shows_every_room():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    tree = text[text.index("```text\nlonglora_edu/") : text.index("## What holds everywhere")]
    rooms = {path.parent for path in [*PACKAGE.rglob("__init__.py"), *(ROOT / "research").rglob("__init__.py")]}
    shown = {name: re.search(rf"^ +{re.escape(name)}/ +\S", tree, re.MULTILINE) for name in (r.name for r in rooms)}
    inner = {"explorer", "model_page", "moving", "q01_attention"}  # parts of a room
    assert {name for name, line in shown.items() if not line} == {*inner, "longlora_edu", "research"}
    assert {name for name in READ if f"\n  {name}.py " not in tree and f"\n  {name}/ " not in tree} == set()


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_point_backwards_in_the_reading_order(path):
    assert imports_from_later(FILES[path].read_text(encoding="utf-8"), path) == []


@pytest.mark.parametrize(("readers", "nevers"), NEVERS, ids=lambda names: "-".join(names))
def test_what_never_imports_what(readers, nevers):
    found = [
        (str(path), name)
        for path in FILES
        if module_of(path).partition(".")[0] in readers
        for name in imported_modules(FILES[path].read_text(encoding="utf-8"), path)
        if name.partition(".")[0] in nevers
    ]
    assert found == []


def test_the_check_of_the_nevers_sees_research():
    assert list(imported_modules("from research.study import grid", Path("course/lab.py"))) == ["research"]


@pytest.mark.parametrize(
    ("path", "source", "found"),
    [
        ("rope.py", "from .model import TinyLlama", ["model"]),
        ("rope.py", "from longlora_edu.model import TinyLlama", ["model"]),
        ("rope.py", "import longlora_edu.model as m", ["model"]),
        ("rope.py", "from . import model, geometry", ["model"]),
        ("rope.py", "def f():\n    from .training.evaluate import score_text", ["training.evaluate"]),
        ("rope.py", "from .rope import Rope", ["rope"]),
        ("lora/files.py", "from ..model import TinyLlama\nfrom ..runs.records import read_json", ["model"]),
        ("lora/files.py", "from .. import longlora", ["longlora"]),
        ("lora/files.py", "from .layers import add_lora\nfrom . import layers", []),
        ("lora/layers.py", "from .files import save_adapter", ["lora.files"]),
        ("training/corpus.py", "from .passkey import PasskeyMix", ["training.passkey"]),
        ("training/passkey.py", "from . import corpus", []),
        ("runs/records.py", "from .progress import Silent", ["runs.progress"]),
        ("longlora.py", "import torch\nfrom .unheard_of import x", ["unheard_of"]),
        ("model/config.py", "import json\nfrom ..rope import Rope\nfrom .. import __version__", []),
    ],
)
def test_the_check_of_imports_sees_one_that_points_forwards(path, source, found):
    assert imports_from_later(source, Path(path)) == found


def test_the_package_itself_loads_nothing_heavy():
    assert loaded_after("import longlora_edu") == []


def test_the_facts_and_the_reference_load_numpy_only():
    assert loaded_after("import " + ", ".join(f"longlora_edu.{name}" for name in NUMPY_ONLY)) == []


def test_the_check_of_what_is_loaded_sees_torch():
    assert loaded_after("import longlora_edu.attention") == ["torch"]


@pytest.mark.parametrize("path", FILES, ids=str)
def test_every_public_function_and_class_says_what_it_is(path):
    source = FILES[path].read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(source)), "the module itself"
    assert public_without_docstring(source) == []


def test_the_check_of_docstrings_sees_one_that_is_missing():
    source = 'def f():\n    "Says."\n\ndef g(): ...\n\nclass C: ...\n\ndef _own(): ...\n\nasync def h(): ...\n'
    assert public_without_docstring(source) == ["g", "C", "h"]
