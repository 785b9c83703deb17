"""``lgmnet reproduce``: trains, scores and draws; goes on where it was; redraws from results."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lgmnet.cli import reproducing
from lgmnet.experiments import table_definitions as tables
from lgmnet.experiments import tables as analysis
from lgmnet.experiments.recipes.plane import plane
from lgmnet.experiments.recipes.rivals import UNTRAINED, rival
from lgmnet.experiments.tables import Entry, Table, difference, verdict
from lgmnet.methods import TrainFromScratchConfig
from tests.cli.making import Ran, lgmnet


def small() -> tuple[Table]:
    ours = plane("circles")
    train = dataclasses.replace(ours.train, tasks=2, val_episodes=4)
    ours = dataclasses.replace(ours, train=train)
    direct = TrainFromScratchConfig(feature_shape=(2,), embedding_widths=(4,), steps=2)
    alone = dataclasses.replace(ours, method="direct", config=direct)
    means = Entry("means | deeper", rival(ours, "proto-net", deeper=True))
    cosine = rival(ours, "proto-net", deeper=True, distance="cosine")
    return (
        Table(
            name="small",
            title="A small table",
            about="Nothing of note.",
            entries=(
                Entry("ours", ours),
                means,
                Entry("cosine means", cosine, means),
                Entry("direct", alone, episodes=30),
            ),
            data="circles",
            split="test",
            tasks=((3, 5), (2, 1)),
        ),
    )


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    monkeypatch.setitem(tables.TABLES, "small", small)
    for name in ("results", "pages"):
        (tmp_path / name).mkdir()
    return [
        "--results",
        tmp_path / "results",
        "--out",
        tmp_path / "pages",
        "--models",
        tmp_path / "models",
    ]


def reproduce(places: list[object], *words: object) -> Ran:
    return lgmnet("reproduce", "small", *places, *words)


def test_a_table_is_trained_scored_and_drawn_and_trained_no_second_time(
    tmp_path: Path, places: list[object]
) -> None:
    ran = reproduce(places, "--steps", 3, "--episodes", 6, "--json")
    assert ran.code == 0, ran.err
    drawn, file = tmp_path / "pages" / "small.md", tmp_path / "results" / "small.json"
    assert json.loads(ran.out) == {"reproduced": "small", "written": [str(drawn)]}
    result = json.loads(file.read_text())
    assert [row["name"] for row in result["rows"]] == [
        "ours",
        "means | deeper",
        "cosine means",
        "direct",
    ]
    assert [row["training"]["steps"] for row in result["rows"]] == [3, 3, 3, 0]
    assert result["rows"][0]["training"]["images"] == 3 * 2 * 3 * 15
    assert all(row["training"]["seconds"] > 0 for row in result["rows"][:3])
    assert all(row["audit"] == [] for row in result["rows"])
    for row in result["rows"]:
        assert [(task["way"], task["shot"]) for task in row["tasks"]] == [(3, 5), (2, 1)]
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "models").rglob("*.safetensors")}
    assert len(before) == 4, "two models, each with its state"
    page = drawn.read_text()
    first = result["rows"][0]["tasks"][0]
    assert f"{first['accuracy']:.2f} ± {first['ci95']:.2f}" in page
    assert "6 episodes" in page
    assert reproduce(places, "--steps", 3, "--episodes", 6).code == 0
    after = {p: p.stat().st_mtime_ns for p in (tmp_path / "models").rglob("*.safetensors")}
    assert after == before

    drawn.unlink()
    assert reproduce(places, "--from-results").code == 0
    kept = json.loads(file.read_text())
    assert f"{kept['rows'][1]['tasks'][1]['accuracy']:.2f}" in drawn.read_text()


def test_rows_run_one_by_one_give_the_table_that_all_at_once_give(
    tmp_path: Path, places: list[object]
) -> None:
    words = ["--steps", 3, "--episodes", 6]
    assert reproduce(places, *words).code == 0
    file = tmp_path / "results" / "small.json"
    at_once = json.loads(file.read_text())
    file.unlink()
    places = [*places[:-1], tmp_path / "other models"]
    for row in ("direct", "cosine means", "ours", "means | deeper"):
        assert reproduce(places, *words, "--only", row).code == 0
    one_by_one = json.loads(file.read_text())
    assert [row["name"] for row in one_by_one["rows"]] == [row["name"] for row in at_once["rows"]]
    for one, other in zip(one_by_one["rows"], at_once["rows"], strict=True):
        assert [t["right"] for t in one["tasks"]] == [t["right"] for t in other["tasks"]]
    refused = reproduce(places, "--steps", 3, "--episodes", 7, "--only", "ours")
    assert refused.code == 2
    assert "scored with episodes 6, not 7" in refused.err
    assert json.loads(file.read_text()) == one_by_one
    unknown = reproduce(places, "--only", "our")
    assert unknown.code == 2
    assert "no row of small 'our'. Did you mean 'ours'?" in unknown.err


def test_rows_run_at_once_by_two_processes_are_both_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (table,) = (reproducing.shortened(table, 2) for table in small())
    file = tmp_path / "small.json"

    def run(row: str) -> None:
        words = (tmp_path, tmp_path, tmp_path / "models", False, 4, 0, 2, (row,))
        reproducing.run_table(table, file, reproducing.Asked(*words))

    def meanwhile(*arguments: Any, **named: Any) -> dict[str, Any]:
        monkeypatch.setattr(analysis, "measured", measured)
        run("direct")
        return measured(*arguments, **named)

    measured = analysis.measured
    monkeypatch.setattr(analysis, "measured", meanwhile)
    run("ours")
    assert [row["name"] for row in json.loads(file.read_text())["rows"]] == ["ours", "direct"]


def test_a_dear_row_is_scored_on_the_first_tasks_of_the_others(
    tmp_path: Path, places: list[object]
) -> None:
    words = ["--steps", 3, "--only", "direct"]
    file = tmp_path / "results" / "small.json"
    assert reproduce(places, *words, "--episodes", 34).code == 0
    (first,) = json.loads(file.read_text())["rows"]
    file.unlink()
    assert reproduce(places, *words, "--episodes", 68).code == 0
    (row,) = json.loads(file.read_text())["rows"]
    # 30 tasks, but in whole batches: of 2048 // (3 * 20) = 34 and of 2048 // (2 * 16) = 64.
    assert [len(task["right"]) for task in row["tasks"]] == [34, 64]
    assert row["tasks"][0]["right"] == first["tasks"][0]["right"]
    assert "(first 34)" in (tmp_path / "pages" / "small.md").read_text()


def test_each_column_of_a_dear_row_may_have_its_own_number_of_tasks() -> None:
    (table,) = small()
    entry = dataclasses.replace(table.entries[-1], episodes=(34, 128))
    assert analysis.tasks_of(table, entry, 2000) == 34 + 128
    assert analysis.tasks_of(table, entry, 64) == 34 + 64
    assert analysis.tasks_of(table, table.entries[0], 64) == 64 + 64


def test_a_row_of_an_earlier_recipe_is_marked(tmp_path: Path, places: list[object]) -> None:
    words = ["--steps", 3, "--episodes", 6]
    file, drawn = tmp_path / "results" / "small.json", tmp_path / "pages" / "small.md"
    assert reproduce(places, *words).code == 0
    assert "†" not in drawn.read_text()
    result = json.loads(file.read_text())
    del result["rows"][0]["config"]["class_dropout"]  # A field that there was not yet.
    result["rows"][1]["config"]["temperature"] = 3.0
    result["rows"][2]["training"]["steps"] = 2
    file.write_text(json.dumps(result))
    assert reproduce(places, *words[:2], "--from-results").code == 0
    page = drawn.read_text()
    assert "† Trained by an earlier recipe" in page
    for name, old in (("ours", False), ("means | deeper", True), ("cosine means", True)):
        assert (f"| {name} † |" in page) == old, page


def test_a_model_of_another_run_is_not_taken_for_the_tables(
    tmp_path: Path, places: list[object]
) -> None:
    words = ["--episodes", 6, "--only", "ours"]
    assert reproduce(places, *words, "--steps", 3).code == 0
    ran = reproduce(places, *words, "--steps", 2)
    assert ran.code == 2
    assert "other settings (train.steps: 3 -> 2)" in ran.err


def test_a_table_says_whom_its_first_row_is_ahead_of() -> None:
    def row(name: str, *right: int) -> dict[str, Any]:
        return {"name": name, "tasks": [{"way": 5, "right": list(right)}]}

    ours, worse, same = row("ours", 60, 70, 75), row("a", 50, 60, 66), row("b", 70, 60, 75)
    better = row("c", 63, 72, 78)
    said = verdict([ours, worse, same, better], 0, "5-way 1-shot")
    assert said == "- At 5-way 1-shot, ours is ahead of a, and level with b, and behind c."
    assert verdict([ours, worse, row("d", 0, 0, 0)], 0, "it").endswith("is ahead of all others.")
    assert verdict([ours], 0, "it") == ""


def test_differences_are_paired() -> None:
    first = {"way": 5, "right": [60, 70, 75, 50]}
    right = [57, 67, 72, 47]
    other = {"way": 5, "right": right}
    assert difference(other, first) == "**-4.00 ± 0.00**"
    assert difference({**other, "right": right[:2]}, first) == "**-4.00 ± 0.00**"
    uneven = {"way": 5, "right": [75, 45, 75, 54]}
    mean = 100 * np.mean([15, -25, 0, 4]) / 75
    ci95 = 1.96 * 100 * np.std([15, -25, 0, 4], ddof=1) / 75 / 2
    assert difference(uneven, first) == f"{mean:+.2f} ± {ci95:.2f}"


def test_a_name_that_does_not_exist_is_answered_with_those_that_do() -> None:
    ran = lgmnet("reproduce", "tabel1")
    assert ran.code == 2
    assert "'tabel1'. Did you mean 'table1'?" in ran.err


def test_results_that_are_absent_foreign_or_of_another_version_are_refused(
    tmp_path: Path, places: list[object]
) -> None:
    file = tmp_path / "results" / "small.json"
    ran = reproduce(places, "--from-results")
    assert ran.code == 2
    assert f"no result file '{file}'" in ran.err
    for text, complaint in (
        ("{", "not a result file"),
        ("[]", "not a result file"),
        ('{"results": "table9", "version": 1}', "holds table9 of version 1"),
        ('{"results": "small", "version": 99}', "small of version 99"),
        ('{"results": "small", "version": 1}', "damaged: it has no 'rows'"),
        ('{"results": "small", "version": 1, "rows": []}', "damaged: it has no 'rows'"),
    ):
        file.write_text(text)
        ran = reproduce(places, "--from-results")
        assert ran.code == 2
        assert complaint in ran.err
        assert not (tmp_path / "pages" / "small.md").exists()


def test_folders_that_are_absent_are_named_before_anything_is_trained(
    tmp_path: Path, places: list[object]
) -> None:
    ran = reproduce(places, "--out", tmp_path / "absent")
    assert ran.code == 2
    assert "absent" in ran.err
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("name", sorted(tables.TABLES))
def test_every_table_compares_what_can_be_trained(name: str) -> None:
    for table in tables.TABLES[name]():
        assert len({entry.name for entry in table.entries}) == len(table.entries) > 1
        assert len(table.tasks) > 0
        for entry in table.entries:
            bare = not getattr(entry.run.config, "embedding_widths", ())  # Nothing to pretrain.
            assert entry.is_trainable or bare or entry.run.method in UNTRAINED
            assert entry.run.split != table.split


def test_tasks_are_drawn_from_the_seed_alone(tmp_path: Path) -> None:
    for out in ("a", "b", "other"):
        (tmp_path / out).mkdir()
        seed = 1 if out == "other" else 0
        ran = lgmnet("reproduce", "figure3", "--out", tmp_path / out, "--seed", seed)
        assert ran.code == 0, ran.err
    a, b, other = ((tmp_path / out / "figure3.png").read_bytes() for out in ("a", "b", "other"))
    assert a == b != other
    assert a.startswith(b"\x89PNG")


def test_boundaries_are_drawn_anew_from_their_results(tmp_path: Path, places: list[object]) -> None:
    words = ["figure4", *places]
    ran = lgmnet("reproduce", *words, "--steps", 2, "--episodes", 2)
    assert ran.code == 0, ran.err
    picture = tmp_path / "pages" / "figure4.png"
    before = picture.read_bytes()
    picture.unlink()
    assert lgmnet("reproduce", *words, "--from-results").code == 0
    assert picture.read_bytes() == before
    result = json.loads((tmp_path / "results" / "figure4.json").read_text())
    assert [family["name"] for family in result["families"]] == [
        "blobs",
        "lines",
        "spirals",
        "circles",
    ]
    ran = lgmnet("reproduce", *words, "--from-results", "--only", "blobs")
    assert ran.code == 2
    assert "figure4 has no rows" in ran.err


@pytest.mark.pack
def test_generated_weights_are_drawn_anew_from_their_results(
    tmp_path: Path, places: list[object]
) -> None:
    words = ["figure5", *places]
    ran = lgmnet("reproduce", *words)
    assert ran.code == 0, ran.err
    picture = tmp_path / "pages" / "figure5.png"
    before = picture.read_bytes()
    clouds = json.loads((tmp_path / "results" / "figure5.json").read_text())["clouds"]
    assert len(clouds["places"]) == 8 * 20
    assert clouds["ratio"] > 1
    assert clouds["reordering"] < 1e-3
    assert lgmnet("reproduce", *words, "--from-results").code == 0
    assert picture.read_bytes() == before
