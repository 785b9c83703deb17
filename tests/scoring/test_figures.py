"""The figures in docs/how-to/scale.md are computed from the result of the benchmark."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
RESULT = {
    "photos per second, 1 worker": 50.0,
    "scaling from 1 to 2 workers, %": 80.0,
    "memory of a worker after a quarter of the time, MB": 400.0,
    "memory of a worker at the end, MB": 401.0,
    "bytes of a photo": 50_000,
    "machine": {"processor": "of a test"},
}


@pytest.fixture
def figures(monkeypatch) -> Any:
    if not (ROOT / "benchmarks").is_dir():
        pytest.skip("the package is installed without its benchmarks")
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("scale_figures")


def test_the_page_is_that_of_the_result_file(figures):
    text = figures.PAGE.read_text(encoding="utf-8")
    parts = importlib.import_module("page_parts")
    drawn = text.split(parts.START)[1].split(parts.END)[0].strip()
    scoring = parts.read_json(parts.RESULTS / "scoring.json")
    expected = figures.describe_scale(scoring, figures.Prices())
    assert drawn == expected, "update: make bench-page"


def test_cost_and_limits_follow_from_rate_size_and_prices(figures):
    """100 million photos at 50 photos per second and 80 % are 694 core hours."""
    text = figures.describe_scale(RESULT, figures.Prices(core_hour=0.1, requests=0.001))
    plain = " ".join(text.split())
    assert "694 core hours" in plain
    assert "0.1 dollars per core hour that is 69 dollars" in plain
    assert "200 dollars for 2 requests" in plain
    assert "| 10 | 160 | 4.3 |" in text
    assert "A core reads 2.5 MB per second" in plain
    assert "feeds 500 cores" in plain
    assert "enough for 55 cores" in plain
    assert "Memory hardly grows" in plain
    growing = RESULT | {"memory of a worker at the end, MB": 500.0}
    assert "Memory grows" in " ".join(figures.describe_scale(growing, figures.Prices()).split())
