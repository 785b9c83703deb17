"""The figure of where generated weights pay, from result files of the tables."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
from PIL import Image

from lgmnet.errors import ConfigError, FileFormatError
from lgmnet.experiments.criteria_tables import drawing_criteria
from lgmnet.experiments.reproduce import reproduce
from lgmnet.experiments.results import RunOptions
from lgmnet.experiments.row_results import row_file, write_row
from lgmnet.experiments.table_rows import NOTHING_GENERATED, SEES_LABELS

EPISODES = 4


def write_rows(options: RunOptions, right: dict[str, int], *, steps: int | None = None) -> None:
    """Write result files of drawings by criterion: so many right answers in every episode."""
    table = drawing_criteria()
    for entry in table.entries:
        if entry.name not in right:
            continue
        for seed in entry.seeds:
            counts = [right[entry.name] + (i % 2) for i in range(EPISODES)]
            tasks = [
                {"data": c.data, "way": c.way, "shot": c.shot, "right": counts}
                for c in table.columns
            ]
            row = {
                "row": entry.name,
                "seed": seed,
                "data": table.data,
                "split": table.split,
                "query": table.query,
                "episodes": EPISODES,
                "task_seed": 0,
                "config": asdict(entry.run.config),
                "training": {"steps": steps or entry.run.train.steps},
                "tasks": tasks,
            }
            path = row_file(options, table, entry, seed)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_row(path, row)


@pytest.fixture
def options(tmp_path: Path) -> RunOptions:
    (tmp_path / "docs").mkdir()
    return RunOptions(results=tmp_path / "results", pages=tmp_path / "docs")


def test_page_and_picture_show_the_difference_to_nothing_generated(options: RunOptions) -> None:
    write_rows(options, {SEES_LABELS: 21, NOTHING_GENERATED: 15})
    picture, page = reproduce("figure-generation", options)
    lines = page.read_text().splitlines()
    (character,) = (line for line in lines if "character, 3-way" in line)
    # Six of thirty queries; the same in all tasks and for all seeds.
    assert "**+20.0 ± 0.0; +20.0 ± 0.0**" in character
    assert character.endswith("| not run |")  # The paper's context has no row there.
    assert sum("[table](table-criteria-drawings.md)" in line for line in lines) == 12
    assert sum("| mean: " in line for line in lines) == 2
    with Image.open(picture) as image:
        assert min(image.size) > 100


def test_rows_of_an_earlier_recipe_are_left_out(options: RunOptions) -> None:
    write_rows(options, {SEES_LABELS: 21, NOTHING_GENERATED: 15}, steps=1)
    with pytest.raises(FileFormatError, match="nothing generated were both run"):
        reproduce("figure-generation", options)


def test_results_and_no_others_are_needed(options: RunOptions) -> None:
    with pytest.raises(FileFormatError, match="Run 'lgmnet reproduce table-criteria' first"):
        reproduce("figure-generation", options)
    write_rows(options, {SEES_LABELS: 21})
    with pytest.raises(FileFormatError, match="both run"):
        reproduce("figure-generation", options)
    with pytest.raises(ConfigError, match="leave out --episodes"):
        reproduce("figure-generation", replace(options, episodes=10))
