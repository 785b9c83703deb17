"""Progress bars on stderr."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from lgmnet.cli.console import SafeConsole, escape_controls


class ProgressBars:
    """Bars for all work in progress; they share one display and disappear when the work ends.

    Bars are only shown on a terminal. The lines of `ProgressBar.print` are always printed.
    """

    def __init__(self, console: SafeConsole) -> None:
        self._console = console
        self._progress: Progress | None = None

    @contextmanager
    def show(self, description: str, total: int | None) -> Iterator[ProgressBar]:
        """Show a bar until the block ends (see `lgmnet.progress.track_progress`)."""
        progress = self._progress or self._start()
        task_id = progress.add_task(escape_controls(description), total=total, detail="")
        try:
            yield ProgressBar(progress, task_id)
        finally:
            if len(progress.tasks) > 1:
                progress.remove_task(task_id)
            else:
                progress.stop()
                self._progress = None

    def _start(self) -> Progress:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[detail]}", markup=False),
            console=self._console,
            transient=True,
            # Otherwise rich prints on the console what commands write to stdout meanwhile, even
            # where stdout is a file.
            redirect_stdout=False,
            disable=not self._console.is_terminal,
        )
        self._progress.start()
        return self._progress


class ProgressBar:
    """One bar."""

    def __init__(self, progress: Progress, task_id: TaskID) -> None:
        self._progress = progress
        self._task_id = task_id

    def advance(self, n: int = 1, detail: str = "") -> None:
        """Advance the bar by ``n`` steps; a ``detail`` replaces the text after the bar."""
        self._progress.update(self._task_id, advance=n)
        if detail:
            self._progress.update(self._task_id, detail=escape_controls(detail))

    def print(self, line: str) -> None:
        """Print a line above the bars."""
        self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)
