"""Tables whose columns differ in their data: one section for each shot, with means over columns."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lgmnet.data.task_source import TaskSource
from lgmnet.episode import EpisodeShape
from lgmnet.errors import FileFormatError
from lgmnet.evaluation.audit import Audit, Check
from lgmnet.experiments import run_tables
from lgmnet.experiments.results import RunOptions
from lgmnet.experiments.run_tables import run_table
from lgmnet.experiments.table_definitions import TABLES
from lgmnet.experiments.tables import Column, Entry, Mean, Table, train_entry
from lgmnet.methods.base import Method
from tests.experiments.small_table import define_small_table, small_entry

SETS = ("circles", "lines", "spirals*")


def define_sectioned_table() -> tuple[Table]:
    """Define a small table on three families of points in the plane."""
    (small,) = define_small_table()
    columns = [Column(name.strip("*"), "test", 3, s, name) for s in (1, 4) for name in SETS]
    headings = [column.heading for column in columns[:2]]
    table = replace(
        small,
        name="sectioned",
        columns=tuple(columns),
        means=(Mean("seen", tuple(headings)),),
        entries=(*small.entries[:2], small.entries[3]),
        audited=(columns[0], columns[5]),
        query=5,
        episodes=7,
        references=("ours",),
    )
    return (table,)


AUDITED: list[tuple[str, EpisodeShape]] = []
"""Tasks that rows were audited on."""


@pytest.fixture
def sectioned(options: RunOptions, monkeypatch: pytest.MonkeyPatch) -> RunOptions:
    """Options with which the table ``sectioned`` is run with its own number of tasks.

    The audit, which has tests of its own, finds a different fault in each data set.
    """

    def find_fault(method: Method, source: TaskSource, **options: Any) -> Audit:
        AUDITED.append((source.name, options["shape"]))
        return Audit((Check(f"fault of {source.name}", "failed", "a stand-in."),))

    AUDITED.clear()
    monkeypatch.setitem(TABLES, "sectioned", define_sectioned_table)
    monkeypatch.setattr(run_tables, "audit", find_fault)
    return replace(options, episodes=None)


def read(options: RunOptions, name: str) -> list[dict[str, Any]]:
    """Read the result files of a row, in the order of the seeds."""
    files = sorted((options.results / "sectioned").glob(f"{name}-seed*.json"))
    return [json.loads(file.read_text()) for file in files]


def accuracies(rows: Sequence[dict[str, Any]], data: str, shot: int) -> np.ndarray:
    """Return the accuracies in percent, [seed, task]."""
    tasks = [t for row in rows for t in row["tasks"] if (t["data"], t["shot"]) == (data, shot)]
    return 100 * np.array([task["right"] for task in tasks]) / (3 * 5)


def cells(page: str, heading: str, row: str) -> list[str]:
    """Return the cells of a row of the first table under a heading."""
    section = page.split(f"{heading}\n")[1]
    (line, *_) = (line for line in section.splitlines() if line.startswith(f"| {row} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_table_is_run_and_drawn_with_a_section_for_each_shot(sectioned: RunOptions) -> None:
    (path,) = run_table("sectioned", replace(sectioned, rows=("ours", "direct")))
    page, ours, direct = path.read_text(), read(sectioned, "ours"), read(sectioned, "direct")
    assert [len(rows) for rows in (ours, direct)] == [2, 1]
    for row in (*ours, *direct):
        assert (row["episodes"], row["query"]) == (7, 5)
        assert row["audit"] == ["fault of circles", "fault of spirals"]
        assert [(t["data"], t["shot"]) for t in row["tasks"]] == [
            (name.strip("*"), shot) for shot in (1, 4) for name in SETS
        ]
        is_timed = ["adapt_ms" in task for task in row["tasks"]]
        assert is_timed == [True, False, False] * 2
    assert (
        "| method | circles, 3-way | lines, 3-way | spirals*, 3-way | mean: seen | seeds |" in page
    )
    for shot in (1, 4):
        assert f"## {shot}-shot\n" in page
        by_set = [accuracies(ours, name, shot) for name in ("circles", "lines")]
        mean = np.mean(by_set, 0)
        ci95 = 1.96 * mean.mean(0).std(ddof=1) / math.sqrt(7)
        spread = mean.mean(1).std(ddof=1)
        *columns, seen, seeds = cells(page, f"## {shot}-shot", "ours")
        assert (seen, seeds) == (f"{mean.mean():.1f} ± {ci95:.1f}, {spread:.1f}", "2")
        assert columns[1].startswith(f"{by_set[0].mean():.1f} ± ")
        rival = np.mean([accuracies(direct, name, shot) for name in ("circles", "lines")], 0)
        # Nothing is trained directly beforehand, so its scores hold for both seeds of ours.
        paired = rival - mean
        ci95 = 1.96 * paired.mean(0).std(ddof=1) / math.sqrt(7)
        seed_ci95 = 12.706 * paired.mean(1).std(ddof=1) / math.sqrt(2)
        difference = f"{paired.mean():+.1f} ± {ci95:.1f}; {paired.mean():+.1f} ± {seed_ci95:.1f}"
        heading = f"### {shot}-shot: paired differences to ours"
        assert cells(page, heading, "direct")[-1].strip("*") == difference
    summary = "- At mean: seen: "
    assert page.count(summary) == 2
    audited = [("circles", EpisodeShape(3, 1, 5)), ("spirals", EpisodeShape(3, 4, 5))]
    assert audited * 3 == AUDITED
    path.unlink()
    run_table("sectioned", replace(sectioned, from_results=True))
    assert path.read_text() == page


def test_a_row_that_has_not_been_run_is_not_there(sectioned: RunOptions) -> None:
    (path,) = run_table("sectioned", replace(sectioned, rows=("direct", "means | deeper")))
    page = path.read_text()
    assert "| ours |" not in page
    assert "paired differences to means | deeper" in page, "the first row stands in for the absent"
    for file in (sectioned.results / "sectioned").iterdir():
        file.unlink()
    with pytest.raises(FileFormatError, match="no result files"):
        run_table("sectioned", replace(sectioned, from_results=True))


def test_a_shipped_model_is_scored_as_it_is(
    sectioned: RunOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = small_entry("ours")
    train_entry(entry, sectioned.models)
    folder = sectioned.models / entry.folder
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    (table,) = define_sectioned_table()
    shipped = Entry("shipped model", entry.run, shipped=str(folder))
    assert shipped.with_steps(2) == shipped
    table = replace(table, entries=(shipped, table.entries[-1]))
    monkeypatch.setitem(TABLES, "sectioned", lambda: (table,))
    (path,) = run_table("sectioned", replace(sectioned, steps=2))
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert [*sectioned.models.rglob("training.safetensors")] == [folder / "training.safetensors"]
    assert cells(path.read_text(), "## Cost", "shipped model")[2:4] == ["shipped", "shipped"]
    trained, _ = train_entry(entry, sectioned.models)
    loaded, _ = train_entry(shipped, sectioned.models)
    states = trained.state_dict(), loaded.state_dict()
    assert all((states[0][name] == tensor).all() for name, tensor in states[1].items())
