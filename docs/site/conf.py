"""Settings of the site. `python docs/site/build.py` copies this file beside the pages and calls Sphinx there."""

from __future__ import annotations

from longlora_edu import __version__

project = "longlora_edu"
author = "the longlora_edu authors"
release = version = __version__
language = "en"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_extra"]

html_theme = "furo"
html_title = "longlora_edu"
html_logo = "_static/logo.svg"
html_favicon = "_static/logo.svg"
html_static_path = ["_static"]
html_extra_path = ["_extra"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
# The summaries are fetched, which no browser does for pages opened from a disk; the titles are found all the same.
html_show_search_summary = False

# The notebooks are stored with their outputs; nothing is run. Their widgets are there as pictures, so no script for
# live ones is wanted (the default would fetch it).
nb_execution_mode = "off"
nb_ipywidgets_js = {}
nb_merge_streams = True
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # a lesson's cells are not one document: levels may be skipped

mathjax_path = "mathjax/startup.js"
mathjax3_config = {
    "loader": {"load": ["input/tex", "output/svg", "a11y/assistive-mml"]},
    "svg": {"fontCache": "global"},
}

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
add_module_names = False
default_role = "py:obj"  # `name` is code, and a link where it is a name of the library
napoleon_use_rtype = False
pygments_style = "default"
pygments_dark_style = "monokai"


def preformatted(app, what, name, obj, options, lines: list[str]) -> None:
    """Formulas and tables of a docstring as they are written: an indented block after a blank line, and `|` rows.

    Docstrings are written to be read in the source, where reStructuredText's own marks for this would be in the way.
    """
    inside, written = False, []
    for number, line in enumerate(lines):
        table = line.startswith("|")
        starts = number > 0 and not lines[number - 1].strip() and (table or line.startswith("    "))
        if line.strip():
            if starts and not inside:
                written += [".. code-block:: text", ""]
            inside = (inside or starts) and (table or line.startswith("    "))
        written.append(f"    {line}" if inside and line.strip() else line)
    lines[:] = written


def setup(app) -> None:
    """Before napoleon, which works at 500, turns sections into lists."""
    app.connect("autodoc-process-docstring", preformatted, priority=400)
