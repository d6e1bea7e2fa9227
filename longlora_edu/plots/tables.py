"""Small tables of numbers, queries by keys: scores, weights, gradients, with every number in its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from .picture import picture_of
from .style import EMPTY, INK, MAGNITUDE, SCREEN, Style, axes_for, dress, readable_on


def plot_tables(
    tables: Mapping[str, np.ndarray],
    *,
    allowed: np.ndarray | None = None,
    sums: bool = True,
    rows: str = "query",
    columns: str = "key",
    style: Style = SCREEN,
    axes: Sequence[Axes] | None = None,
) -> np.ndarray:
    """Draw tables (n, n) side by side, titled by their names, each coloured from its lowest to its highest number.

    Where `allowed`, bool (n, n) or one (t, n, n) for each table, is False nothing is drawn. `sums` writes the sum of
    each row behind it, `rows` and `columns` say what they are. For tables that a reader can take in: numbers become
    unreadable from about 12 tokens.

    Raises:
        ValueError: when there is no table, one is not square, they differ in size, or `axes` are not one a table.
    """
    values = _checked(tables)
    axes = axes_for(axes, len(values), style, "table", width=0.72 * len(values), height=1.08)
    for ax, (title, table), shown in zip(axes, values.items(), _shown(values, allowed), strict=True):
        _draw(ax, table, shown, sums, style)
        dress(ax, style, title=title, x=columns, y=rows, grid=False)
        ax.spines[["left", "bottom"]].set_visible(False)
        ax.tick_params(length=0)
    for ax in axes[1:]:
        ax.set_ylabel("")
    return axes


def describe_tables(tables: Mapping[str, np.ndarray], *, allowed: np.ndarray | None = None) -> str:
    """Describe `plot_tables` in a sentence with its numbers."""
    parts, values = [], _checked(tables)
    for (title, table), shown in zip(values.items(), _shown(values, allowed), strict=True):
        totals = np.where(shown, table, 0).sum(axis=1)
        inside = table[shown]
        span = f"from {_short(inside.min())} to {_short(inside.max())}" if len(inside) else "none"
        parts.append(
            f"{title}: {len(inside)} numbers {span}, rows sum to {_short(totals.min())} at least "
            f"and {_short(totals.max())} at most"
        )
    size = len(next(iter(tables.values())))
    return f"Tables of {size} by {size} numbers. {'; '.join(parts)}."


def _draw(ax: Axes, table: np.ndarray, shown: np.ndarray, sums: bool, style: Style) -> None:
    size = len(table)
    edges = np.arange(size + 1) - 0.5
    inside = table[shown]
    low, high = (inside.min(), inside.max()) if len(inside) else (0.0, 1.0)
    squares = {"edgecolors": "white", "linewidth": style.line / 3}
    drawn, blank = np.ma.masked_array(table, ~shown), np.ma.masked_array(np.zeros((size, size)), shown)
    mesh = ax.pcolormesh(edges, edges, drawn, cmap=MAGNITUDE, vmin=low, vmax=max(high, low + 1e-9), **squares)
    ax.pcolormesh(edges, edges, blank, cmap=ListedColormap([EMPTY]), **squares)
    look = {"ha": "center", "va": "center", "fontsize": style.small * min(1, 7 / size)}
    for row, column in np.argwhere(shown):
        value = table[row, column]
        ax.text(column, row, _short(value), color=readable_on(mesh.cmap(mesh.norm(value))), **look)
    step = -(-size // 8)
    places, names = list(range(0, size, step)), [str(token) for token in range(0, size, step)]
    ax.set(xlim=(-0.5, size + 0.8 * sums), ylim=(size - 0.5, -0.5), aspect="equal", yticks=places)
    if sums:
        for row, total in enumerate(np.where(shown, table, 0).sum(axis=1)):
            ax.text(size + 0.2, row, _short(total), color=INK, style="italic", **look)
        places, names = [*places, size + 0.2], [*names, "sum"]
    ax.set_xticks(places, names)


def _shown(tables: Mapping[str, np.ndarray], allowed: np.ndarray | None) -> np.ndarray:
    shape = (len(tables), *next(iter(tables.values())).shape)
    return np.broadcast_to(True if allowed is None else np.asarray(allowed, bool), shape)


def _short(value: float) -> str:
    """Two digits behind the point, and no more signs than needed: -.25, 0, 1, 3.50."""
    text = f"{value:.2f}"
    if float(text) == 0:
        return "0"
    if float(text).is_integer():
        return str(int(float(text)))
    return text.replace("0.", ".", 1) if abs(float(text)) < 1 else text


def _checked(tables: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    if not tables:
        raise ValueError("tables must hold at least one table, got none")
    values = {title: np.asarray(table, float) for title, table in tables.items()}
    shapes = {table.shape for table in values.values()}
    shape = shapes.pop()
    if shapes or len(shape) != 2 or shape[0] != shape[1]:
        raise ValueError(f"tables must be square and of one size, got {[table.shape for table in values.values()]}")
    return values


show_tables = picture_of(plot_tables, describe_tables)
