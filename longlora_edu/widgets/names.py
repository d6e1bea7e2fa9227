"""Names for sliders: ipywidgets writes the description beside a slider, and a screen reader finds none on it."""

from __future__ import annotations

import ipywidgets

# Sliders come and go as their views are made, in no promised order: watch the row in which they stand.
NAME_SLIDERS = """
function render({ el }) {
  const watch = new MutationObserver(name);
  let row = null;
  function name() {
    for (const handle of row.querySelectorAll(".noUi-handle, .ui-slider-handle")) {
      let view = handle;
      while (view !== row && !view.querySelector(".widget-label")) view = view.parentElement;
      const label = view.querySelector(".widget-label")?.textContent;
      if (view !== row && handle.getAttribute("aria-label") !== label) handle.setAttribute("aria-label", label);
    }
  }
  const wait = setInterval(() => {
    row = el.closest(".longlora-controls");
    if (!row) return;
    clearInterval(wait);
    watch.observe(row, { childList: true, subtree: true });
    name();
  }, 50);
  return () => { clearInterval(wait); watch.disconnect(); };
}
export default { render };
"""


def slider_names() -> list[ipywidgets.Widget]:
    """Make the widgets that give sliders in a box of the class `longlora-controls` a name for screen readers.

    They are invisible, and need anywidget (the extra `lab`; Colab has it). Without, the list is empty and sliders work
    all the same, seen and by keyboard.
    """
    try:
        import anywidget
    except ImportError:
        return []

    class SliderNames(anywidget.AnyWidget):
        _esm = NAME_SLIDERS

    return [SliderNames(layout=ipywidgets.Layout(display="none"))]
