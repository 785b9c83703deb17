"""Options of a small reproduction, and a table for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lgmnet.experiments.results import RunOptions
from lgmnet.experiments.table_definitions import TABLES
from tests.experiments.small_table import define_small_table


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunOptions:
    """Options for three training steps and six tasks; the table ``small`` is defined."""
    monkeypatch.setitem(TABLES, "small", define_small_table)
    for name in ("results", "pages"):
        (tmp_path / name).mkdir()
    return RunOptions(
        results=tmp_path / "results",
        pages=tmp_path / "pages",
        models=tmp_path / "models",
        steps=3,
        episodes=6,
    )
