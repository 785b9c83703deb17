"""Tables are trained, scored and stored row by row, and continue where they were stopped."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lgmnet.errors import ConfigError
from lgmnet.experiments import run_tables
from lgmnet.experiments.results import RunOptions
from lgmnet.experiments.run_tables import run_table
from tests.support.progress import record_progress


def read(options: RunOptions) -> dict[str, Any]:
    """Content of the result file of the small table."""
    result = json.loads((options.results / "small.json").read_text())
    assert isinstance(result, dict)
    return result


def test_a_table_is_trained_scored_and_drawn_and_not_trained_twice(options: RunOptions) -> None:
    page = options.pages / "small.md"
    assert run_table("small", options) == [page]
    rows = read(options)["rows"]
    assert [row["name"] for row in rows] == ["ours", "means | deeper", "cosine means", "direct"]
    assert [row["training"]["steps"] for row in rows] == [3, 3, 3, 0]
    assert rows[0]["training"]["images"] == 3 * 2 * 3 * 15
    assert all(row["training"]["seconds"] > 0 for row in rows[:3])
    assert all(row["audit"] == [] for row in rows)
    for row in rows:
        assert [(task["way"], task["shot"]) for task in row["tasks"]] == [(3, 5), (2, 1)]
    before = {p: p.stat().st_mtime_ns for p in options.models.rglob("*.safetensors")}
    assert len(before) == 4, "two models, each with its state"
    first = rows[0]["tasks"][0]
    assert f"{first['accuracy']:.2f} ± {first['ci95']:.2f}" in page.read_text()
    assert "6 episodes" in page.read_text()
    run_table("small", options)
    after = {p: p.stat().st_mtime_ns for p in options.models.rglob("*.safetensors")}
    assert after == before

    page.unlink()
    run_table("small", replace(options, steps=None, from_results=True))
    assert f"{read(options)['rows'][1]['tasks'][1]['accuracy']:.2f}" in page.read_text()


def test_rows_run_one_by_one_give_the_same_table_as_all_at_once(
    options: RunOptions, tmp_path: Path
) -> None:
    run_table("small", options)
    at_once = read(options)
    (options.results / "small.json").unlink()
    options = replace(options, models=tmp_path / "other models")
    for row in ("direct", "cosine means", "ours", "means | deeper"):
        run_table("small", replace(options, rows=(row,)))
    one_by_one = read(options)
    assert [row["name"] for row in one_by_one["rows"]] == [row["name"] for row in at_once["rows"]]
    for single, joint in zip(one_by_one["rows"], at_once["rows"], strict=True):
        assert [t["right"] for t in single["tasks"]] == [t["right"] for t in joint["tasks"]]
    with pytest.raises(ConfigError, match="scored with episodes 6, not 7"):
        run_table("small", replace(options, episodes=7, rows=("ours",)))
    assert read(options) == one_by_one
    with pytest.raises(ConfigError, match=r"no row of small 'our'\. Did you mean 'ours'\?"):
        run_table("small", replace(options, rows=("our",)))


def test_rows_run_by_two_processes_at_the_same_time_are_both_stored(
    options: RunOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    score_entry = run_tables.score_entry

    def score_while_another_row_runs(*arguments: Any) -> dict[str, Any]:
        monkeypatch.setattr(run_tables, "score_entry", score_entry)
        run_table("small", replace(options, rows=("direct",)))
        return score_entry(*arguments)

    monkeypatch.setattr(run_tables, "score_entry", score_while_another_row_runs)
    run_table("small", replace(options, rows=("ours",)))
    assert [row["name"] for row in read(options)["rows"]] == ["ours", "direct"]


def test_a_slow_row_is_scored_on_the_first_tasks_of_the_others(options: RunOptions) -> None:
    options = replace(options, rows=("direct",))
    run_table("small", replace(options, episodes=34))
    (first,) = read(options)["rows"]
    (options.results / "small.json").unlink()
    run_table("small", replace(options, episodes=68))
    (row,) = read(options)["rows"]
    # 30 tasks, but in whole batches: of 2048 // (3 * 20) = 34 and of 2048 // (2 * 16) = 64.
    assert [len(task["right"]) for task in row["tasks"]] == [34, 64]
    assert row["tasks"][0]["right"] == first["tasks"][0]["right"]
    assert "(first 34)" in (options.pages / "small.md").read_text()


def test_a_row_of_an_earlier_recipe_is_marked(options: RunOptions) -> None:
    file, page = options.results / "small.json", options.pages / "small.md"
    run_table("small", options)
    assert "†" not in page.read_text()
    result = read(options)
    del result["rows"][0]["config"]["auxiliary"]  # As if the field had been added since.
    result["rows"][1]["config"]["head"]["temperature"] = 3.0
    result["rows"][2]["training"]["steps"] = 2
    file.write_text(json.dumps(result))
    run_table("small", replace(options, from_results=True))
    text = page.read_text()
    assert "† Trained with an earlier version of its recipe" in text
    for name, is_outdated in (("ours", False), ("means | deeper", True), ("cosine means", True)):
        assert (f"| {name} † |" in text) == is_outdated, text


def test_a_model_of_another_run_is_not_used(options: RunOptions) -> None:
    options = replace(options, rows=("ours",))
    run_table("small", options)
    with pytest.raises(ConfigError, match=r"other settings \(train.steps: 3 -> 2\)"):
        run_table("small", replace(options, steps=2))


def test_the_progress_of_a_table_is_reported(options: RunOptions) -> None:
    rows = replace(options, rows=("ours", "direct"))
    tasks = record_progress(lambda: run_table("small", rows))
    (of_rows,) = (task for task in tasks if task.description == "rows")
    assert of_rows.lines == ["small, 1 of 2: ours", "small, 2 of 2: direct"]
    assert of_rows.advances == [1, 1]
    episodes = [sum(task.advances) for task in tasks if task.description == "episodes"]
    assert episodes == [4, 6, 6, 6, 6], "one validation, and two kinds of tasks for each row"
