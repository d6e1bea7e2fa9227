"""The small model alive in a lesson: the one that the reader has just extended, or the demo's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..notebook.cards import card, publish

if TYPE_CHECKING:
    from .live import ExtendResult

PAGE = Path("docs") / "model.html"
CHECKOUT = Path(__file__).parents[3]


def living_model(result: ExtendResult | None = None, **settings: Any):
    """Show the model page in a cell: with the model of `result`, or without a result with the demo's model.

    The demo's weights are those of `docs/model.html`, in this checkout or beside a copy of the lessons; where there is
    neither, or no torch, a card says where to find it. `settings` are the desk's switches.

    Raises:
        ValueError: for a result without adapters, or a switch that is none of the desk's.
    """
    try:
        from ...model.folder import bundled_folder
        from ...widgets.model_page import held_out_samples, model_desk, pack, parts_of
    except ModuleNotFoundError as error:
        if error.name != "torch":  # which the browser tab lacks
            raise
        return _elsewhere("where a browser opens it: this kernel has no torch.")
    if result is None:
        places = (Path.cwd(), *Path.cwd().parents, CHECKOUT)
        page = next((folder / PAGE for folder in places if (folder / PAGE).exists()), None)
        if page is None:
            return _elsewhere("which is not beside this notebook.")
        return model_desk(*parts_of(page.read_text(encoding="utf-8")), **settings)
    if result.adapter is None:
        raise ValueError("result must have adapters, got a model whose weights were all trained")
    packed = pack(bundled_folder(), Path(result.adapter.name), group_size=result.report.pattern.group_size)
    return model_desk(packed, held_out_samples(result.settings.context), **settings)


def _elsewhere(why: str) -> None:
    said = f"The small model lives in {PAGE.as_posix()} of the repository, {why}"
    publish(card("note", said), said)
