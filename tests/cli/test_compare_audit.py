"""``lgmnet compare``, ``audit`` and ``demo``: reliability of scores."""

from __future__ import annotations

import dataclasses
import json

import pytest

from lgmnet.model.model import save_model
from tests.cli.making import lgmnet, listing, tiny_model

TASKS = ["--data", "strokes", "--way", 3, "--query", 2]


@pytest.fixture
def other(tmp_path):
    folder = tmp_path / "other"
    save_model(dataclasses.replace(tiny_model(seed=1), name="other"), folder)
    return folder


def test_a_comparison_is_paired_with_the_first(tiny, other, tmp_path):
    words = ["compare", tiny, other, *TASKS, "--episodes", 30, "--seed", 2]
    saved = tmp_path / "rows.json"
    ran = lgmnet(*words, "--save", saved, "--json")
    assert ran.code == 0, ran.err
    first, second = ran.json["rows"]
    assert (first["model"], second["model"]) == (str(tiny), str(other))
    assert (first["difference"], first["difference_ci95"]) == (0, 0)
    assert second["difference"] == pytest.approx(second["accuracy"] - first["accuracy"])
    assert first["protocol"] == "inductive"
    for row, model in ((first, tiny), (second, other)):
        alone = lgmnet("evaluate", model, *TASKS, "--episodes", 30, "--seed", 2, "--json").json
        assert row["accuracy"] == alone["accuracy"], "the same episodes as evaluate"
        assert row["ci95"] == alone["ci95"]
        assert min(row["adapt_ms"], row["query_ms"], row["parameters"]) > 0
    kept = json.loads(saved.read_text())
    apart = [b - a for a, b in zip(*(row["scores"] for row in kept["rows"]), strict=True)]
    assert second["difference"] == pytest.approx(100 * sum(apart) / 30)


def test_a_comparison_is_printed_as_a_table(tiny, other):
    ran = lgmnet("compare", tiny, other, *TASKS, "--episodes", 4)
    assert ran.code == 0
    for words in ("to the first", "adapt, ms", "inductive", "strokes", "the same 4 episodes"):
        assert words in ran.out


@pytest.mark.parametrize("models", [["tiny"], ["tiny", "tiny"]])
def test_a_comparison_needs_two_models(models, tiny, tmp_path):
    ran = lgmnet("compare", *(tiny for _ in models), *TASKS, "--save", tmp_path / "rows.json")
    assert ran.code == 2
    assert "two different models" in ran.err
    assert "rows.json" not in listing(tmp_path)


def test_an_honest_model_passes_the_audit(tiny):
    ran = lgmnet("audit", tiny, *TASKS, "--episodes", 40, "--json")
    assert ran.code == 0, ran.out
    assert ran.json["passed"] is True
    assert [check["passed"] for check in ran.json["checks"]] == [True] * 6
    told = lgmnet("audit", tiny, *TASKS, "--episodes", 40)
    assert told.out.count("passed") == 6
    assert "nothing found" in told.out


def test_a_split_seen_in_training_ends_the_audit_with_code_1(tiny):
    ran = lgmnet("audit", tiny, *TASKS, "--split", "train", "--episodes", 16)
    assert ran.code == 1
    assert "share classes" in ran.out
    assert "1 of 6 checks failed" in ran.out


def test_the_leak_is_shown():
    ran = lgmnet("demo", "leak", "--steps", 60, "--episodes", 100, "--json")
    assert ran.code == 0
    leak, *honest = (row["accuracy"] for row in ran.json["rows"])
    assert leak > 45
    assert all(abs(accuracy - ran.json["chance"]) < 4 for accuracy in honest)
    assert round(ran.json["perfect_angle_detector"], 1) == 67.2
    told = lgmnet("demo", "leak", "--steps", 1, "--episodes", 8)
    assert "1 - (4/5)^5 = 67.2 %" in told.out


def test_an_unknown_demo_is_refused():
    ran = lgmnet("demo", "leek")
    assert ran.code == 2
    assert "Did you mean 'leak'?" in ran.err
