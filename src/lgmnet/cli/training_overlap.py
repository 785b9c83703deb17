"""Result of comparing test data with training data, as the commands that score models print it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

if TYPE_CHECKING:
    from lgmnet.evaluation.audit.report import Finding


def overlap_as_json(finding: Finding) -> dict[str, str]:
    """Return the outcome and the reason as a JSON object."""
    outcome, reason = finding
    return {"outcome": outcome, "reason": reason}


def overlap_lines(finding: Finding) -> list[str]:
    """Return the line that says that training data was not compared; no line if it was."""
    outcome, reason = finding
    return (
        [] if outcome == "passed" else [f"[yellow]training overlap: {outcome}[/]; {escape(reason)}"]
    )
