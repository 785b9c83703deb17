"""Progress of long work: library code reports it, and a program such as the command line shows it.

Nothing is shown unless a program asks for it with `set_progress_display`.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Protocol, runtime_checkable


@runtime_checkable
class ProgressTask(Protocol):
    """One piece of work in progress."""

    def advance(self, n: int = 1, detail: str = "") -> None:
        """Report that ``n`` more steps are done; ``detail`` replaces the text beside the bar."""

    def print(self, line: str) -> None:
        """Show a line that stays."""


ProgressDisplay = Callable[[str, "int | None"], AbstractContextManager[ProgressTask]]
"""Shows one piece of work, given its description and its number of steps if that is known."""


class _SilentTask:
    """Progress that nobody watches."""

    def advance(self, n: int = 1, detail: str = "") -> None:
        """Ignore the steps."""

    def print(self, line: str) -> None:
        """Ignore the line."""


@contextmanager
def show_nothing(description: str, total: int | None) -> Iterator[ProgressTask]:
    """Show no progress: the default display."""
    yield _SilentTask()


_display: ContextVar[ProgressDisplay] = ContextVar("progress_display", default=show_nothing)


def set_progress_display(display: ProgressDisplay) -> None:
    """Show the progress of all further work of this thread with ``display``."""
    _display.set(display)


def track_progress(description: str, total: int | None) -> AbstractContextManager[ProgressTask]:
    """Report the progress of a piece of work.

    Args:
        description: Noun phrase for what is counted, such as "images".
        total: Number of steps; None if it is not known.
    """
    return _display.get()(description, total)
