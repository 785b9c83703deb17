"""``lgmnet compare``, ``audit`` and ``demo``: reliability of scores."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest

from lgmnet.data.datasets.image_folder import image_folder
from lgmnet.model.model import save_model
from tests.support.command_line import lgmnet, listing
from tests.support.images import symbols
from tests.support.models import tiny_model

TASKS = ["--data", "strokes", "--way", 3, "--query", 2]


@pytest.fixture
def second_model(tmp_path):
    folder = tmp_path / "second"
    save_model(dataclasses.replace(tiny_model(seed=1), name="second"), folder)
    return folder


def test_differences_are_paired_with_the_first_model(tiny, second_model, tmp_path):
    words = ["compare", tiny, second_model, *TASKS, "--episodes", 30, "--seed", 2]
    file = tmp_path / "rows.json"
    ran = lgmnet(*words, "--save", file, "--json")
    assert ran.code == 0, ran.err
    first, second = ran.json["rows"]
    assert (first["model"], second["model"]) == (str(tiny), str(second_model))
    assert (first["difference"], first["difference_ci95"]) == (0, 0)
    assert second["difference"] == pytest.approx(second["accuracy"] - first["accuracy"])
    assert first["protocol"] == "inductive"
    for row, model in ((first, tiny), (second, second_model)):
        score = lgmnet("evaluate", model, *TASKS, "--episodes", 30, "--seed", 2, "--json").json
        assert row["accuracy"] == score["accuracy"], "the same episodes as evaluate"
        assert row["ci95"] == score["ci95"]
        assert min(row["adapt_ms"], row["query_ms"], row["parameters"]) > 0
    result = json.loads(file.read_text())
    differences = [b - a for a, b in zip(*(row["scores"] for row in result["rows"]), strict=True)]
    assert second["difference"] == pytest.approx(100 * sum(differences) / 30)


def test_a_comparison_is_printed_as_a_table(tiny, second_model):
    ran = lgmnet("compare", tiny, second_model, *TASKS, "--episodes", 4)
    assert ran.code == 0
    for words in (
        "difference to first",
        "adapt, ms",
        "inductive",
        "strokes",
        "the same 4 episodes",
    ):
        assert words in ran.out


@pytest.mark.parametrize("models", [["tiny"], ["tiny", "tiny"]])
def test_a_comparison_needs_two_models(models, tiny, tmp_path):
    ran = lgmnet("compare", *(tiny for _ in models), *TASKS, "--save", tmp_path / "rows.json")
    assert ran.code == 2
    assert "two different models" in ran.err
    assert "rows.json" not in listing(tmp_path)


def test_a_sound_model_passes_the_audit(tiny):
    ran = lgmnet("audit", tiny, *TASKS, "--episodes", 40, "--json")
    assert ran.code == 0, ran.out
    assert ran.json["outcome"] == "passed"
    assert {check["outcome"] for check in ran.json["checks"]} == {"passed"}
    printed = lgmnet("audit", tiny, *TASKS, "--episodes", 40)
    assert "passed; all 13 checks found nothing" in printed.out


def test_auditing_on_the_training_split_exits_with_code_1(tiny):
    ran = lgmnet("audit", tiny, *TASKS, "--split", "train", "--episodes", 16)
    assert ran.code == 1
    assert "share classes" in ran.out
    assert "failed; 1 of 13 checks failed" in ran.out


def model_trained_on(folder, images):
    """Save a model whose record names a folder of images as its training data."""
    trained_on = image_folder(images, "test", (1, 28, 28))
    model = tiny_model(data=str(images), split="test", split_hash=trained_on.split_hash)
    save_model(dataclasses.replace(model, name="own"), folder)
    return folder


def test_a_model_trained_on_its_test_images_fails_wherever_the_folders_are(tmp_path):
    trained_on = symbols(tmp_path / "training", dict.fromkeys("abcdef", 4))
    tested = tmp_path / "tested"
    for i, folder in enumerate(sorted(trained_on.iterdir())):
        shutil.copytree(folder, tested / f"other {i}")
    model = model_trained_on(tmp_path / "model", trained_on)
    words = ["--way", 3, "--query", 2, "--episodes", 16]
    same = lgmnet("audit", model, "--data", trained_on, *words)
    assert same.code == 1
    assert "share classes" in same.out
    copied = lgmnet("audit", model, "--data", tested, *words)
    assert copied.code == 1
    assert "24 images of 'test' are also in 'test'" in copied.out


def test_training_classes_fail_by_their_hash_where_the_training_data_is_absent(tmp_path):
    trained_on = symbols(tmp_path / "training", dict.fromkeys("abcdef", 4))
    model = model_trained_on(tmp_path / "model", trained_on)
    moved = trained_on.rename(tmp_path / "moved")
    words = ["--data", moved, "--way", 3, "--query", 2, "--episodes", 16]
    audited = lgmnet("audit", model, *words)
    assert audited.code == 1
    assert "are those of the training" in audited.out
    scored = lgmnet("evaluate", model, *words)
    assert scored.code == 2
    assert "are those of the training" in scored.err


@pytest.mark.parametrize("command", ["evaluate", "compare", "calibrate"])
def test_no_score_is_measured_on_a_copy_of_training_images(command, tmp_path):
    trained_on = symbols(tmp_path / "training", dict.fromkeys("abcdef", 4))
    model = model_trained_on(tmp_path / "model", trained_on)
    tested = symbols(tmp_path / "tested", dict.fromkeys("uvwxyz", 4), seed=1)
    words = {
        "evaluate": ["evaluate", model, "--shot", 1],
        "compare": ["compare", model, "omniglot", "--shot", 1],
        "calibrate": ["calibrate", model, "--on", f"{tested}:test", "--shot", 1],
    }[command]
    words += ["--data", tested, "--way", 3, "--query", 2, "--episodes", 4]
    assert lgmnet(*words).code == 0
    shutil.copy(next(trained_on.glob("a/*")), tested / "u" / "copy.png")
    ran = lgmnet(*words)
    assert (ran.code, ran.out) == (2, "")
    assert f"was trained on a part of '{tested}': 1 image" in ran.err


def test_an_evaluation_says_that_training_data_was_not_compared(tmp_path):
    trained_on = symbols(tmp_path / "training", dict.fromkeys("abcdef", 4))
    model = model_trained_on(tmp_path / "model", trained_on)
    tested = symbols(tmp_path / "tested", dict.fromkeys("uvwxyz", 4), seed=1)
    words = ["--data", tested, "--way", 3, "--query", 2, "--episodes", 4]
    ran = lgmnet("evaluate", model, *words, "--json")
    assert ran.json["training_overlap"]["outcome"] == "passed"
    assert "training overlap" not in lgmnet("evaluate", model, *words).out
    shutil.rmtree(trained_on)
    ran = lgmnet("evaluate", model, *words, "--json")
    assert ran.json["training_overlap"]["outcome"] == "not checked"
    assert str(trained_on) in ran.json["training_overlap"]["reason"]
    assert "training overlap: not checked" in lgmnet("evaluate", model, *words).out


def test_absent_training_data_is_not_checked_and_exits_with_code_3(tmp_path):
    trained_on = symbols(tmp_path / "training", dict.fromkeys("abcdef", 4))
    model = model_trained_on(tmp_path / "model", trained_on)
    shutil.rmtree(trained_on)
    ran = lgmnet("audit", model, *TASKS, "--episodes", 16)
    assert ran.code == 3, ran.out
    assert "not checked; 1 of 13 checks could not be made" in ran.out
    assert "found nothing" not in ran.out


def test_training_data_that_has_changed_is_not_checked(tmp_path):
    trained_on = symbols(tmp_path / "training", dict.fromkeys("abcdef", 4))
    model = model_trained_on(tmp_path / "model", trained_on)
    (trained_on / "a").rename(trained_on / "z")
    ran = lgmnet("audit", model, *TASKS, "--episodes", 16)
    assert ran.code == 3, ran.out
    assert "have changed since the training" in ran.out


def test_the_leak_scores_above_chance_and_sound_protocols_do_not():
    ran = lgmnet("demo", "leak", "--steps", 60, "--episodes", 100, "--json")
    assert ran.code == 0
    leak, *sound = (row["accuracy"] for row in ran.json["rows"])
    assert leak > 45
    assert all(abs(accuracy - ran.json["chance"]) < 4 for accuracy in sound)
    assert round(ran.json["perfect_angle_detector"], 1) == 67.2
    printed = lgmnet("demo", "leak", "--steps", 1, "--episodes", 8)
    assert "1 - (4/5)^5 = 67.2 %" in printed.out


def test_an_unknown_demo_is_an_error():
    ran = lgmnet("demo", "leek")
    assert ran.code == 2
    assert "Did you mean 'leak'?" in ran.err
