"""Reading results and formatting numbers and tables, for the page of benchmarks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness import RESULTS

START, END = "<!-- figures: drawn by benchmarks/page.py -->", "<!-- end of figures -->"
Rates = dict[str, float]


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a result, or None if there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def write_between_marks(path: Path, text: str) -> None:
    """Replace the text between the two marks of a page."""
    before, rest = path.read_text(encoding="utf-8").split(START)
    _, after = rest.split(END)
    path.write_text(f"{before}{START}\n{text}\n{END}{after}", encoding="utf-8")


def read_result(name: str) -> dict[str, Any]:
    """Read a file of ``benchmarks/results``."""
    result: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return result


def median_rates(comparison: dict[str, Any]) -> Rates:
    """Return the median number of tasks per second of each entry."""
    return {label: rate["median"] for label, rate in comparison["tasks_per_second"].items()}


def format_number(value: float) -> str:
    """Format a number with about three significant digits, and an integer with all digits."""
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def make_table(header: list[str], rows: list[list[str]]) -> str:
    """Format a Markdown table whose columns are right-aligned, except the first."""
    lines = ["| " + " | ".join(header) + " |", "|---" + "|---:" * (len(header) - 1) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])
