"""Outcomes of an audit: passed, failed, or not checked."""

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["passed", "failed", "not checked"]
"""Result of one check, or of all checks together."""

EXIT_CODES: dict[Outcome, int] = {"passed": 0, "failed": 1, "not checked": 3}
"""Exit code of ``lgmnet audit`` for each outcome; 2 means that the input cannot be used."""


@dataclass(frozen=True)
class Check:
    """Result of one check."""

    name: str
    outcome: Outcome
    reason: str
    """Sentence about the change that was made and its effect, or why the check was impossible."""

    @property
    def passed(self) -> bool:
        """True if the check was made and found nothing."""
        return self.outcome == "passed"


@dataclass(frozen=True)
class Audit:
    """Results of all checks of one method on one source.

    >>> Audit(()).outcome
    'passed'
    """

    checks: tuple[Check, ...]

    @property
    def outcome(self) -> Outcome:
        """Outcome of the whole: failed if a check failed, passed only if all checks passed."""
        outcomes = {check.outcome for check in self.checks}
        if "failed" in outcomes:
            return "failed"
        return "not checked" if "not checked" in outcomes else "passed"

    @property
    def passed(self) -> bool:
        """True if all checks were made and found nothing."""
        return self.outcome == "passed"

    @property
    def exit_code(self) -> int:
        """Exit code of ``lgmnet audit`` for this outcome."""
        return EXIT_CODES[self.outcome]

    def names(self, outcome: Outcome) -> list[str]:
        """List the names of the checks with this outcome."""
        return [check.name for check in self.checks if check.outcome == outcome]


Finding = tuple[Outcome, str]
"""Outcome and reason of one check, before it has a name."""


def judge(is_failed: bool, reason: str) -> Finding:
    """Return the finding of a check that was made."""
    return ("failed" if is_failed else "passed"), reason
