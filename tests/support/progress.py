"""Progress that a test records instead of showing it."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lgmnet.progress import ProgressTask, set_progress_display


class RecordedTask:
    """Progress that keeps what is reported."""

    def __init__(self, description: str, total: int | None) -> None:
        self.description, self.total = description, total
        self.advances: list[int] = []
        self.details: list[str] = []
        self.lines: list[str] = []

    def advance(self, n: int = 1, detail: str = "") -> None:
        self.advances.append(n)
        self.details.append(detail)

    def print(self, line: str) -> None:
        self.lines.append(line)


def record_progress(work: Callable[[], object]) -> list[RecordedTask]:
    """Run a function, and return the tasks that it reports, in the order of their start."""
    tasks: list[RecordedTask] = []

    @contextmanager
    def display(description: str, total: int | None) -> Iterator[ProgressTask]:
        task = RecordedTask(description, total)
        tasks.append(task)
        yield task

    context = contextvars.copy_context()  # The display must not outlive the test.
    context.run(set_progress_display, display)
    context.run(work)
    return tasks
