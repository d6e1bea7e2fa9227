"""The package's JavaScript modules: what they import is there, stands before them in the text, and keeps the form."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from longlora_edu.widgets.explorer.page import MODULES
from longlora_edu.widgets.model_page import bundle
from longlora_edu.widgets.moving import moving_widget

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "longlora_edu").rglob("*.js"))
BUNDLES = {
    "explorer": MODULES,
    "engine and worker": bundle.ENGINE + bundle.WORKER,
    "model page": bundle.FACE,
    "moving pictures": moving_widget.MODULES,
    "drawing": ("drawing",),
}
IMPORT = re.compile(r"^import \{([^}]*)\} from \"([^\"]*)\";$", re.MULTILINE)


def imports(text):
    """(name, path) of each import in the text of a module."""
    return [(name.strip(), path) for names, path in IMPORT.findall(text) for name in names.split(",") if name.strip()]


def problems(order, folder_of):
    """What is imported and is not there, or stands behind, in a text made of the modules `order`."""
    found = []
    for at, module in enumerate(order):
        text = folder_of(module).read_text(encoding="utf-8")
        assert len(re.findall(r"^import ", text, re.MULTILINE)) == len(IMPORT.findall(text)), module
        for name, path in imports(text):
            target = (folder_of(module).parent / path).resolve()
            if not target.is_file():
                found.append(f"{module}: {path}")
            elif not re.search(
                rf"^export (const|function\*?) {name}\b", target.read_text(encoding="utf-8"), re.MULTILINE
            ):
                found.append(f"{module}: {name} of {path}")
            elif target.stem not in order[:at]:
                found.append(f"{module}: {target.stem} stands behind it or nowhere")
    return found


def file_of(module):
    return next(path for path in FILES if path.stem == module)


@pytest.mark.parametrize("name", BUNDLES)
def test_what_a_module_imports_is_exported_and_stands_before_it(name):
    assert problems(BUNDLES[name], file_of) == []


def test_the_check_of_imports_sees_what_is_wrong(tmp_path):
    (tmp_path / "one.js").write_text('import { two } from "./two.js";\nimport { no } from "./none.js";\n')
    (tmp_path / "two.js").write_text('import { one } from "./one.js";\nexport const two = one;\n')
    assert problems(("one", "two"), lambda module: tmp_path / f"{module}.js") == [
        "one: two stands behind it or nowhere",
        "one: ./none.js",
        "two: one of ./one.js",
    ]


def test_every_module_is_part_of_a_text_and_no_name_is_used_twice():
    stems = [path.stem for path in FILES]
    assert sorted(stems) == sorted(set(stems))
    assert set(stems) == {module for order in BUNDLES.values() for module in order}


def test_eslint_finds_nothing():
    eslint = shutil.which("eslint")
    if eslint is None:
        pytest.skip("needs ESLint: npm install -g eslint@9.9.1")
    done = subprocess.run([eslint, "longlora_edu"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
