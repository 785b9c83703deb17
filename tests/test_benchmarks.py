"""The page of benchmarks is drawn from its result files, in plain words."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
MODULES = (
    *("gpu_rows", "gpu_speed", "harness", "page", "page_parts", "plain_words", "plots"),
    *("run_all", "service_figures", "targets", "training_step", "workload"),
)
LOCKS = sorted((BENCHMARKS / "peers").glob("*.txt"))


@pytest.fixture(scope="module")
def benchmarks() -> Iterator[dict[str, ModuleType]]:
    """The modules of the folder, which is no package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield {name: importlib.import_module(name) for name in MODULES}
    for name in MODULES:
        sys.modules.pop(name, None)


def test_the_page_is_that_of_the_result_files(benchmarks: dict[str, Any]):
    page = benchmarks["page"]
    text = (page.PAGES / "benchmarks.md").read_text()
    assert text == page.make_page(), "update: make bench-page"


def test_the_load_of_the_service_is_that_of_its_result_file(benchmarks: dict[str, Any]):
    figures = benchmarks["service_figures"]
    text = figures.PAGE.read_text(encoding="utf-8")
    parts = benchmarks["page_parts"]
    drawn = text.split(parts.START)[1].split(parts.END)[0]
    assert drawn.strip() == figures.describe_load(), "update: make bench-page"


def test_every_measured_number_has_a_row_in_plain_words_or_is_a_setting(benchmarks):
    words = benchmarks["plain_words"]
    for name, described in (
        ("classifier", words.CLASSIFIER),
        ("service", words.SERVICE),
        ("engines", words.ENGINES),
        ("scoring", words.SCORING),
    ):
        file = BENCHMARKS / "results" / f"{name}.json"
        if file.is_file():
            result = json.loads(file.read_text())
            del result["machine"]
            assert words.flatten(result).keys() <= described.keys() | words.SETTINGS, name
        for text in described.values():
            assert len(text.split()) >= 3, text


def test_adapting_runs_as_the_peers_are_measured(benchmarks: dict[str, Any], monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    worker = importlib.import_module("worker")
    operations, _ = worker.load_operations(BENCHMARKS / "peers" / "lgmnet.py")
    names = [name for name in operations if name.startswith("adapt ")]
    assert len(names) == 5
    for name in names:
        operations[name]()(1)


def test_no_row_of_the_page_is_a_bare_setting_and_no_header_is_empty(benchmarks):
    page = benchmarks["page"].make_page()
    assert not re.search(r"^\| (threads|clients|duration, s|photos|rounds) \|", page, re.MULTILINE)
    assert not re.search(r"^\|\s*\|", page, re.MULTILINE)


def test_rows_that_were_not_run_say_so(benchmarks, tmp_path, monkeypatch):
    monkeypatch.setattr(benchmarks["gpu_rows"], "RESULTS", tmp_path)
    monkeypatch.setattr(benchmarks["gpu_rows"], "ROOT", tmp_path)
    section = benchmarks["gpu_rows"].gpu_section()
    rows = [line for line in section.splitlines() if line.startswith("| ") and "not run" in line]
    assert len(rows) == 4 + 4 + 6
    speeds = {
        "device": "some GPU",
        "torch": "2",
        "matrix_tflop_per_second": 700.0,
        "training": [
            {
                "network": "Conv-4",
                "compiled": False,
                "episodes_per_second": 1234.0,
                "share_of_matrix_rate_percent": 12.0,
            },
            {"network": "ResNet-12", "compiled": True, "failure": "RuntimeError: no compiler"},
        ],
        "adapting": [{"method": "LGM-Net", "graph": True, "milliseconds": 0.25}],
    }
    (tmp_path / "gpu.json").write_text(json.dumps(speeds))
    (tmp_path / "results").mkdir()
    score = {"accuracy": 74.321, "ci95": 0.5}
    (tmp_path / "results" / "gpu-resnet12-rfs-5w1s.json").write_text(json.dumps(score))
    section = benchmarks["gpu_rows"].gpu_section()
    assert "some GPU" in section
    assert "| ProtoNet, Conv-4, bf16, eager | 1,234 | 12 % |" in section
    assert "| ProtoNet, ResNet-12, bf16, compiled | RuntimeError: no compiler |" in section
    assert "| LGM-Net, by a CUDA graph | 0.25 |" in section
    assert (
        "| ResNet-12, pretrained by classification | 74.32 ± 0.50 | not run | not run | not run |"
        in section
    )


def test_all_benchmarks_are_run_and_timed_and_failures_are_named(benchmarks, monkeypatch, capsys):
    run_all = benchmarks["run_all"]
    written: dict[str, dict[str, Any]] = {}
    ran: list[str] = []

    def run(name: str) -> bool:
        ran.append(name)
        return name != "peers"

    monkeypatch.setattr(run_all, "run_script", run)
    monkeypatch.setattr(run_all, "write_result", written.__setitem__)
    assert run_all.run_all() == 1
    assert ran == [*run_all.NAMES, "page"]
    assert written["run_times"]["minutes"].keys() == set(run_all.NAMES)
    assert written["run_times"]["failed"] == ["peers"]
    assert "error: Failed: peers." in capsys.readouterr().err
    assert all((BENCHMARKS / f"{name}.py").is_file() for name in ran)
    assert run_all.run_all(["scaling"]) == 0


@pytest.mark.parametrize("path", LOCKS, ids=[path.stem for path in LOCKS])
def test_every_package_of_the_peers_is_locked_by_hash(path):
    """A line of a package ends with a backslash, and its hashes follow."""
    lines = path.read_text().splitlines()
    packages = [i for i, line in enumerate(lines) if line and line[0].isalnum()]
    assert packages
    for i in packages:
        assert "==" in lines[i]
        assert lines[i].endswith("\\")
        assert lines[i + 1].startswith("    --hash=sha256:")
    asked = path.with_suffix(".in").read_text().splitlines()
    for pin in (line for line in asked if not line.startswith("#")):
        assert any(lines[i].startswith(f"{pin} ") for i in packages), pin


@pytest.mark.long
def test_training_with_two_processes_is_measured(benchmarks):
    scaling = importlib.import_module("scaling")
    rates = scaling.measure_processes(steps=10, n_runs=1)
    assert set(rates) == {"1, tasks per second", "2, tasks per second"}
    assert all(rate > 0 for rate in rates.values())
