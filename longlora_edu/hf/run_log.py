"""The curve of a run while it runs: a line of JSON for each step, and TensorBoard's own files where asked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..runs.records import as_json, replace_file
from ..runs.validate import check_choice

LOG_FILE, BOARD_FOLDER = "log.jsonl", "tensorboard"
READERS = ("tensorboard",)


def check_readers(report_to: Sequence[str]) -> None:
    """Check that these programs are known and installed.

    Raises:
        ValueError: naming the one that is not.
    """
    for name in report_to:
        check_choice("report_to", name, READERS)
        if find_spec(name) is None:
            raise ValueError(f"report_to must name an installed package, got {name}: python -m pip install {name}")


class RunLog:
    """Write the points of a curve as they come to `log.jsonl`, and to `tensorboard/` if `report_to` says so.

    Steps after the last checkpoint are taken again on resume. Their lines of before are dropped, and TensorBoard is
    given the step from which the new ones count. The record of the run is `run.json`; this is to look at meanwhile.
    """

    def __init__(self, folder: Path, report_to: Sequence[str] = ()) -> None:
        check_readers(report_to)
        self.folder, self.report_to, self._board, self._began = Path(folder), tuple(report_to), None, False

    def __call__(self, step: int, point: dict) -> None:
        """Append the point of a finished step, counted from 0."""
        path = self.folder / LOG_FILE
        if not self._began:
            self._began = True
            lines = path.read_text().splitlines(keepends=True)[:step] if path.exists() else []
            replace_file(path, "".join(lines).encode())
            if self.report_to:
                self._board = self._writer(step + 1)
        with path.open("a") as file:
            file.write(json.dumps(as_json(point)) + "\n")
        if self._board is not None:
            for name, value in point.items():
                if value is not None and name != "step":
                    self._board.add_scalar(name, value, step + 1)
            self._board.flush()

    def _writer(self, step: int) -> Any:
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(self.folder / BOARD_FOLDER), purge_step=step)
