"""Differences between rows are paired, and the page says what follows from them."""

from __future__ import annotations

from typing import Any

import numpy as np

from lgmnet.experiments.table_page import format_audit, format_difference, summarize_differences


def test_the_summary_lists_the_rows_that_the_first_row_beats() -> None:
    def row(name: str, *right: int) -> dict[str, Any]:
        return {"name": name, "tasks": [{"way": 5, "right": list(right)}]}

    ours, worse, same = row("ours", 60, 70, 75), row("a", 50, 60, 66), row("b", 70, 60, 75)
    better = row("c", 63, 72, 78)
    summary = summarize_differences([ours, worse, same, better], 0, "5-way 1-shot")
    assert summary == "- At 5-way 1-shot, ours beats: a. It ties with: b. It loses to: c."
    summary = summarize_differences([ours, worse, row("d", 0, 0, 0)], 0, "5-way 1-shot")
    assert summary.endswith("ours beats all other rows.")
    assert summarize_differences([ours], 0, "5-way 1-shot") == ""


def test_differences_are_paired() -> None:
    first = {"way": 5, "right": [60, 70, 75, 50]}
    right = [57, 67, 72, 47]
    other = {"way": 5, "right": right}
    assert format_difference(other, first) == "**-4.00 ± 0.00**"
    assert format_difference({**other, "right": right[:2]}, first) == "**-4.00 ± 0.00**"
    uneven = {"way": 5, "right": [75, 45, 75, 54]}
    mean = 100 * np.mean([15, -25, 0, 4]) / 75
    ci95 = 1.96 * 100 * np.std([15, -25, 0, 4], ddof=1) / 75 / 2
    assert format_difference(uneven, first) == f"{mean:+.2f} ± {ci95:.2f}"


def test_an_audit_that_could_not_be_made_in_all_is_not_printed_as_passed():
    assert format_audit({"audit": [], "not_checked": []}) == "passed"
    unknown = {"audit": [], "not_checked": ["training overlap"]}
    assert format_audit(unknown) == "not checked: training overlap"
    assert format_audit(unknown | {"audit": ["memory"]}) == "failed: memory"
