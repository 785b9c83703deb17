"""Figure 3 depends on the seed alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lgmnet.experiments.reproduce import reproduce
from lgmnet.experiments.results import RunOptions


def test_tasks_depend_on_the_seed_alone(tmp_path: Path) -> None:
    pictures = []
    for folder, seed in (("a", 0), ("b", 0), ("other", 1)):
        (tmp_path / folder).mkdir()
        options = replace(RunOptions(), pages=tmp_path / folder, seed=seed)
        (path,) = reproduce("figure3", options)
        assert path == tmp_path / folder / "figure3.png"
        pictures.append(path.read_bytes())
    a, b, other = pictures
    assert a == b != other
    assert a.startswith(b"\x89PNG")
