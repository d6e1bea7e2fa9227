"""A run of the demo as one HTML page: it loads nothing, runs nothing, and every number in it is computed.

Each picture has two twins in text: a sentence in its `alt`, and tables near the end.
"""

from __future__ import annotations

from ..runs.records import as_json
from .report_method import attention, provenance, scaled_down, trained_parts, training
from .report_outcome import long_text, numbers, passkeys, summary
from .report_page import document

__all__ = ["render_report", "scaled_down"]

SECTIONS = (summary, long_text, passkeys, training, attention, trained_parts, numbers, provenance)


def render_report(report: dict) -> str:
    """One self-contained HTML page of what `run_demo` returns, before or after it has been JSON.

    Raises:
        KeyError: naming a part that the report does not have.
    """
    report = as_json(report)
    title = f"From a context of {report['model']['trained_context']:,} bytes to {report['target_context']:,}"
    return document(title, (section(report) for section in SECTIONS))
