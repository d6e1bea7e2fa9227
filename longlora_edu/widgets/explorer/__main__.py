"""Write the explorer's page: `python -m longlora_edu.widgets.explorer docs/explorer.html`."""

from __future__ import annotations

import sys
from pathlib import Path

from ...runs.records import replace_file
from .page import page

replace_file(Path(sys.argv[1]), page().encode())
