"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def format_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Format the lines of a table; all columns but the first are aligned to the right."""
    marks = ["---", *["---:"] * (len(titles) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (titles, marks, *rows)]
