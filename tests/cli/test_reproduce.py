"""``lgmnet reproduce``: options, output and messages of the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lgmnet.experiments.table_definitions import TABLES
from tests.experiments.small_table import define_small_table
from tests.support.command_line import Ran, lgmnet


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Options that name the folders of a reproduction; the table ``small`` is defined."""
    monkeypatch.setitem(TABLES, "small", define_small_table)
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


def reproduce(folders: list[object], *words: object) -> Ran:
    return lgmnet("reproduce", "small", *folders, *words)


def test_a_table_is_run_and_drawn_again_from_its_results(
    tmp_path: Path, folders: list[object]
) -> None:
    page, folder = tmp_path / "pages" / "small.md", tmp_path / "results" / "small"
    ran = reproduce(folders, "--steps", 3, "--episodes", 6, "--json")
    assert ran.code == 0, ran.err
    assert ran.json == {"reproduced": "small", "written": [str(page)]}
    assert "small, 2 of 5: means | deeper, seed 0" in ran.err
    rows = [json.loads(file.read_text()) for file in folder.glob("*.json")]
    assert [len(row["tasks"][0]["right"]) for row in rows] == [6] * 5
    assert sorted(row["training"]["steps"] for row in rows) == [0, 3, 3, 3, 3]
    before = page.read_text()
    page.unlink()
    ran = reproduce(folders, "--steps", 3, "--from-results")
    assert ran.code == 0
    assert ran.out == f"{page}\n"
    assert page.read_text() == before


def test_single_rows_are_run(tmp_path: Path, folders: list[object]) -> None:
    ran = reproduce(folders, "--seed", 1, "--episodes", 6, "--only", "direct")
    assert ran.code == 0, ran.err
    (file,) = (tmp_path / "results" / "small").glob("*.json")
    result = json.loads(file.read_text())
    assert (file.name, result["row"]) == ("direct-seed0.json", "direct")
    assert (result["seed"], result["task_seed"]) == (0, 1)
    for words, complaint in (
        (["--episodes", 7, "--only", "direct"], "scored with episodes 6, not 7"),
        (["--only", "our"], "no row of small 'our'. Did you mean 'ours'?"),
        (["--only", "direct", "--from-results"], "leave out --only"),
        (["--train-seed", 7], "no training seed 7"),
    ):
        refused = reproduce(folders, *words)
        assert refused.code == 2
        assert complaint in refused.err


def test_a_figure_is_drawn_with_the_seed(tmp_path: Path) -> None:
    for seed in (0, 1):
        (tmp_path / str(seed)).mkdir()
        ran = lgmnet("reproduce", "figure3", "--out", tmp_path / str(seed), "--seed", seed)
        assert ran.code == 0, ran.err
        assert ran.out == f"{tmp_path / str(seed) / 'figure3.png'}\n"
    first, other = ((tmp_path / seed / "figure3.png").read_bytes() for seed in ("0", "1"))
    assert first != other


def test_a_figure_has_no_rows(folders: list[object]) -> None:
    ran = lgmnet("reproduce", "figure4", *folders, "--from-results", "--only", "blobs")
    assert ran.code == 2
    assert "figure4 has no rows" in ran.err


def test_only_a_figure_of_a_model_takes_one(folders: list[object]) -> None:
    for name in ("small", "figure4"):
        ran = lgmnet("reproduce", name, *folders, "--from-results", "--model", "omniglot")
        assert ran.code == 2
        assert f"{name} has no model to choose; leave out --model" in ran.err


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    ran = lgmnet("reproduce", "tabel1")
    assert ran.code == 2
    assert "'tabel1'. Did you mean 'table1'?" in ran.err


def test_absent_or_damaged_results_are_refused(tmp_path: Path, folders: list[object]) -> None:
    ran = reproduce(folders, "--from-results")
    assert ran.code == 2
    assert f"no result files in '{tmp_path / 'results' / 'small'}'" in ran.err
    (tmp_path / "results" / "small").mkdir()
    file = tmp_path / "results" / "small" / "ours-seed0.json"
    file.write_text('{"results": "small", "version": 1}')
    ran = reproduce(folders, "--from-results")
    assert ran.code == 2
    assert "damaged: it has no 'tasks'" in ran.err
    assert not (tmp_path / "pages" / "small.md").exists()


def test_absent_folders_are_named_before_training(tmp_path: Path, folders: list[object]) -> None:
    ran = reproduce(folders, "--out", tmp_path / "absent")
    assert ran.code == 2
    assert "absent" in ran.err
    assert not (tmp_path / "models").exists()
