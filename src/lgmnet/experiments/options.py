"""Options of a reproduction: folders, and the size of the run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunOptions:
    """Options that all tables and figures share."""

    results: Path = Path("results")
    """Folder of the result files."""
    pages: Path = Path("docs")
    """Folder of the pages and pictures."""
    models: Path = Path("outputs")
    """Folder of the trained models; missing models are trained into it."""
    from_results: bool = False
    """If True, only draw pages and pictures from the result files."""
    episodes: int = 2000
    """Number of tasks per score."""
    seed: int = 0
    """Seed of the tasks."""
    steps: int | None = None
    """Number of training steps of every model; None for the number in its recipe."""
    rows: tuple[str, ...] = ()
    """Names of the table rows to run; empty for all rows."""
