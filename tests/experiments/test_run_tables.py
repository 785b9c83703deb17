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
from lgmnet.experiments.tables import Entry, Table, train_entry
from tests.experiments.small_table import small_entry
from tests.support.progress import record_progress


def read(options: RunOptions) -> dict[str, dict[str, Any]]:
    """Contents of the result files of the small table, by their names."""
    files = sorted((options.results / "small").glob("*.json"))
    return {file.stem: json.loads(file.read_text()) for file in files}


def read_rights(options: RunOptions) -> dict[str, list[Any]]:
    """Correct answers in each episode, by the names of the result files."""
    return {name: [t["right"] for t in row["tasks"]] for name, row in read(options).items()}


NAMES = ["cosine-means-seed0", "direct-seed0", "means-deeper-seed0", "ours-seed0", "ours-seed1"]


def test_a_table_is_trained_scored_and_drawn_and_not_trained_twice(options: RunOptions) -> None:
    page = options.pages / "small.md"
    assert run_table("small", options) == [page]
    rows = read(options)
    assert list(rows) == NAMES
    assert [row["training"]["steps"] for row in rows.values()] == [3, 0, 3, 3, 3]
    assert rows["ours-seed0"]["training"]["images"] == 3 * 2 * 3 * 15
    for name, row in rows.items():
        assert row["audit"] == []
        assert row["seed"] == int(name[-1])
        assert row["training"]["seconds"] > 0 or name == "direct-seed0"
        assert [(task["way"], task["shot"]) for task in row["tasks"]] == [(3, 5), (2, 1)]
        assert {"commit", "split_hash", "machine", "train"} <= set(row)
    assert rows["ours-seed1"]["train"]["seed"] == 1
    rights = read_rights(options)
    assert rights["ours-seed0"] != rights["ours-seed1"]
    before = {p: p.stat().st_mtime_ns for p in options.models.rglob("*.safetensors")}
    assert len(before) == 6, "three models, each with its state"
    text = page.read_text()
    mean = sum(rows[f"ours-seed{seed}"]["tasks"][0]["accuracy"] for seed in (0, 1)) / 2
    assert f"| ours | {mean:.2f} ± " in text
    assert "6 episodes" in text
    run_table("small", options)
    after = {p: p.stat().st_mtime_ns for p in options.models.rglob("*.safetensors")}
    assert (after, read(options)) == (before, rows)

    page.unlink()
    run_table("small", replace(options, steps=None, from_results=True))
    assert f"| ours † | {mean:.2f} ± " in page.read_text(), "trained for fewer steps than it says"
    assert "Paired differences" not in page.read_text()
    assert "No rows are compared: the one to compare with is outdated." in page.read_text()
    assert "Paired differences to ours\n" in text


def test_a_page_names_the_rows_that_are_not_run(options: RunOptions) -> None:
    (page,) = run_table("small", replace(options, rows=("direct",)))
    text = page.read_text()
    assert "Not run yet: ours; means | deeper; cosine means." in text


def test_rows_run_one_by_one_give_the_same_table_as_all_at_once(
    options: RunOptions, tmp_path: Path
) -> None:
    run_table("small", options)
    at_once = read_rights(options)
    other = replace(options, models=tmp_path / "other models", results=tmp_path / "other results")
    other.results.mkdir()
    for row in ("direct", "cosine means", "means | deeper"):
        run_table("small", replace(other, rows=(row,)))
    for seed in (1, 0):
        run_table("small", replace(other, rows=("ours",), train_seeds=(seed,)))
    assert read_rights(other) == at_once
    stored = read(options)
    with pytest.raises(ConfigError, match=r"scored with episodes 6, not 7.* Use --episodes 6"):
        run_table("small", replace(options, episodes=7, rows=("ours",)))
    with pytest.raises(ConfigError, match=r"scored with task_seed 0, not 1.* Use --seed 0"):
        run_table("small", replace(options, seed=1))
    with pytest.raises(ConfigError, match=r"no row of small 'our'\. Did you mean 'ours'\?"):
        run_table("small", replace(options, rows=("our",)))
    with pytest.raises(ConfigError, match="no training seed 7; the seeds of its rows are 0, 1"):
        run_table("small", replace(options, train_seeds=(7,)))
    assert read(options) == stored


def test_rows_scored_on_different_tasks_are_not_drawn(options: RunOptions) -> None:
    run_table("small", replace(options, rows=("direct", "ours")))
    file = options.results / "small" / "direct-seed0.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"episodes": 7}))
    with pytest.raises(ConfigError, match=r"scored with episodes 7, not 6"):
        run_table("small", replace(options, from_results=True))


def test_two_processes_share_the_rows(options: RunOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither runs a row that the other is working on, and each row is run once."""
    score_entry, scored = run_tables.score_entry, []

    def score_while_another_process_runs(table: Table, entry: Entry, *rest: Any) -> dict[str, Any]:
        scored.append((entry.name, entry.run.train.seed))
        if len(scored) == 1:
            tasks = record_progress(lambda: run_table("small", options))
            (rows,) = (task for task in tasks if task.description == "rows")
            assert rows.lines[0] == "small, 1 of 5: ours, seed 0 is run by another process"
        return score_entry(table, entry, *rest)

    monkeypatch.setattr(run_tables, "score_entry", score_while_another_process_runs)
    run_table("small", options)
    assert len(scored) == len(set(scored)) == 5
    assert list(read(options)) == NAMES


def test_a_killed_run_goes_on(options: RunOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row whose training is finished is only scored; finished rows are left alone."""

    def fail(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as change:
        change.setattr(run_tables, "score_entry", fail)
        with pytest.raises(KeyboardInterrupt):
            run_table("small", options)
    assert read(options) == {}
    (state,) = options.models.rglob("training.safetensors")
    before = state.stat().st_mtime_ns
    run_table("small", options)
    assert list(read(options)) == NAMES
    assert state.stat().st_mtime_ns == before


def test_a_training_may_start_from_that_of_another_row(options: RunOptions) -> None:
    """The other one is trained first, with the same seed."""
    first = small_entry("means | deeper").with_seed(4)
    entry = replace(first, name="longer", start=first, run=first.run.for_steps(2))
    assert entry.folder != replace(entry, start=None).folder
    assert entry.first_folder == first.folder
    train_entry(entry, options.models)
    states = {path.parent.name for path in options.models.rglob("training.safetensors")}
    assert states == {entry.folder, first.folder}
    config = json.loads((options.models / entry.folder / "config.json").read_text())
    assert config["training"]["start"] == str(options.models / first.folder)


def test_a_slow_row_is_scored_on_the_first_tasks_of_the_others(
    options: RunOptions, tmp_path: Path
) -> None:
    few, many = (
        replace(options, rows=("direct",), episodes=n, results=tmp_path / str(n)) for n in (34, 68)
    )
    for some in (few, many):
        some.results.mkdir()
        run_table("small", some)
    (first,), (row,) = read_rights(few).values(), read_rights(many).values()
    # 30 tasks, but in whole batches: of 2048 // (3 * 20) = 34 and of 2048 // (2 * 16) = 64.
    assert [len(right) for right in row] == [34, 64]
    assert row[0] == first[0]
    assert "(first 34)" in (options.pages / "small.md").read_text()


def test_a_row_of_an_earlier_recipe_is_marked_and_run_again(options: RunOptions) -> None:
    page = options.pages / "small.md"
    run_table("small", options)
    assert "†" not in page.read_text()

    def change(name: str, part: str, value: Any) -> None:
        file = options.results / "small" / f"{name}.json"
        row = json.loads(file.read_text())
        file.write_text(json.dumps(row | {part: row[part] | value}))

    row = read(options)["ours-seed0"]
    del row["config"]["auxiliary"]  # As if the field had been added since.
    (options.results / "small" / "ours-seed0.json").write_text(json.dumps(row))
    change("means-deeper-seed0", "config", {"head": {"kind": "euclidean", "temperature": 3.0}})
    change("cosine-means-seed0", "training", {"steps": 2})
    run_table("small", replace(options, from_results=True))
    text = page.read_text()
    assert "† Trained with an earlier version of its recipe" in text
    differences = text.split("## Paired differences")[1].split("## Cost")[0]
    for name, is_outdated in (("ours", False), ("means | deeper", True), ("cosine means", True)):
        assert (f"| {name} † |" in text) == is_outdated, text
        assert not is_outdated or name not in differences
    run_table("small", options)
    assert "†" not in page.read_text()
    assert read(options)["cosine-means-seed0"]["training"]["steps"] == 3


def test_another_number_of_steps_is_another_training(options: RunOptions) -> None:
    run_table("small", replace(options, rows=("direct", "ours"), train_seeds=(0,)))
    run_table("small", replace(options, rows=("direct", "ours"), train_seeds=(0,), steps=2))
    assert read(options)["ours-seed0"]["training"]["steps"] == 2
    assert len([*options.models.rglob("training.safetensors")]) == 2


def test_the_progress_of_a_table_is_reported(options: RunOptions) -> None:
    rows = replace(options, rows=("ours", "direct"))
    tasks = record_progress(lambda: run_table("small", rows))
    (of_rows,) = (task for task in tasks if task.description == "rows")
    assert of_rows.lines == [
        "small, 1 of 3: ours, seed 0",
        "small, 2 of 3: direct, seed 0",
        "small, 3 of 3: ours, seed 1",
    ]
    assert of_rows.advances == [1, 1, 1]
    episodes = [sum(task.advances) for task in tasks if task.description == "episodes"]
    assert episodes == [4, 6, 6, 6, 6, 4, 6, 6], "validations, and two kinds of tasks for each row"
