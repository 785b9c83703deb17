"""Help, ``models``, ``quickstart`` and ``download``, and the shipped models."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import lgmnet as package
from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.data.datasets import omniglot
from lgmnet.data.task_source import shares_classes
from lgmnet.experiments.quickstart import LEARNERS
from lgmnet.experiments.recipes import RECIPES
from lgmnet.model.model import load_model
from lgmnet.model.registry import PRETRAINED_FOLDER, shipped_models
from tests.support.command_line import COMMANDS, lgmnet, listing

MIN_ACCURACY = {(5, 1): 99.3, (5, 5): 99.8, (20, 1): 98.2, (20, 5): 99.3}
"""In percent by way and shot, on the test classes of Omniglot's ``vinyals`` split."""
MAX_BYTES = 8_000_000


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_lists_every_command(flag):
    ran = lgmnet(flag)
    assert ran.code == 0
    assert ran.err == ""
    for command in COMMANDS:
        assert re.search(rf"^\W*{command}\b", ran.out, re.MULTILINE)
    assert lgmnet().code == 2, "a missing command is an error"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_ends_with_an_example_of_it(command):
    ran = lgmnet(command, "--help")
    assert ran.code == 0
    assert ran.err == ""
    assert "--json" in ran.out
    body, colon, example = ran.out.partition("Example: ")
    assert colon
    assert example.startswith(f"lgmnet {command} ") or example.strip() == f"lgmnet {command}"
    for option in re.findall(r"(?<=\s)--?[a-z]\S*", example):
        assert option in body, f"the help does not explain {option}"


def test_the_version_option():
    ran = lgmnet("--version")
    assert (ran.code, ran.out) == (0, f"lgmnet {package.__version__}\n")


def test_the_cli_package_runs_as_a_program():
    line = [sys.executable, "-m", "lgmnet", "models", "--json"]
    ran = subprocess.run(line, capture_output=True, text=True, check=True)
    assert ran.stderr == ""
    assert json.loads(ran.stdout).keys() == {"models"}


def test_quickstart_scores_all_learners_and_writes_its_files(tiny, tmp_path):
    folder = tmp_path / "new" / "quick"
    ran = lgmnet("quickstart", "--model", tiny, "--draws", 2, "-o", folder, "--json")
    assert ran.code == 0, ran.err
    assert set(ran.json) == {"rows", "fit_ms", "picture", "classifier"}
    rows = {(row["learner"], row["shot"]): row for row in ran.json["rows"]}
    assert rows.keys() == {(learner, shot) for learner in LEARNERS for shot in (1, 5)}
    for row in rows.values():
        assert 5 < row["accuracy"] < 100
        assert row["ci95"] >= 0
    for learner in LEARNERS[1:]:  # The baselines learn: more drawings help.
        assert rows[learner, 5]["accuracy"] > rows[learner, 1]["accuracy"] > 25
    assert ran.json["fit_ms"].keys() == {"1", "5"}
    assert all(ms > 0 for ms in ran.json["fit_ms"].values())

    assert set(listing(tmp_path)) == {"new/quick/quickstart.png", "new/quick/digits.safetensors"}
    with Image.open(ran.json["picture"]) as picture:
        picture.verify()
        assert min(picture.size) > 500
    fitted = FittedClassifier.load(Path(ran.json["classifier"]))
    assert fitted.classes == tuple("0123456789")
    assert fitted.shots == (5,) * 10


def test_quickstart_prints_a_table(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "lgmnet.experiments.quickstart.draw_picture", lambda *parts: parts[-1].touch()
    )
    (tmp_path / "digits.safetensors").write_text("mine")
    words = ["quickstart", "--model", tiny, "--draws", 2, "-o", tmp_path]
    ran = lgmnet(*words, "--force")
    assert ran.code == 0
    assert "2 draws" in ran.err
    for learner in LEARNERS:
        row = next(line for line in ran.out.splitlines() if learner in line)
        assert len(re.findall(r"\d+\.\d ± \d+\.\d", row)) == 2
    assert len(re.findall(r"\d+\.\d ms", ran.out)) == 2
    assert str(tmp_path / "digits.safetensors") in ran.out

    def accuracies(*options: object) -> list[float]:
        return [row["accuracy"] for row in lgmnet(*words, "--json", *options).json["rows"]]

    assert accuracies() == accuracies()
    assert accuracies() != accuracies("--seed", 1)


def test_quickstart_into_a_path_that_is_a_file(tiny, tmp_path):
    (tmp_path / "file").write_text("mine")
    ran = lgmnet("quickstart", "--model", tiny, "--draws", 2, "-o", tmp_path / "file")
    assert ran.code == 2
    assert str(tmp_path / "file") in ran.err
    assert listing(tmp_path) == {"file": b"mine"}


@pytest.mark.parametrize("package_name", ["sklearn", "matplotlib"])
def test_quickstart_without_its_optional_packages(package_name, tiny, tmp_path, monkeypatch):
    for name in [n for n in sys.modules if n.split(".")[0] == package_name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package_name, None)
    ran = lgmnet("quickstart", "--model", tiny, "--draws", 2, "-o", tmp_path / "quick")
    assert ran.code == 2
    assert package_name in ran.err
    assert "pip install 'lgmnet[quickstart]'" in ran.err
    assert not (tmp_path / "quick" / "quickstart.png").exists()


def test_download_prints_its_file(tmp_path, monkeypatch):
    def fake_download(folder, *, overwrite):
        return folder / omniglot.OMNIGLOT_ARCHIVE

    monkeypatch.setattr(omniglot, "download", fake_download)
    ran = lgmnet("download", "omniglot", "--to", tmp_path, "--json")
    archive = tmp_path / omniglot.OMNIGLOT_ARCHIVE
    assert ran.json == {"data": "omniglot", "file": str(archive)}
    assert lgmnet("download", "omniglot", "--to", tmp_path).out == f"{archive}\n"
    unknown = lgmnet("download", "omniglt")
    assert unknown.code == 2
    assert "Did you mean 'omniglot'?" in unknown.err


# The shipped models.


def test_the_omniglot_model_ships_and_is_small():
    assert "omniglot" in shipped_models()
    size = sum(path.stat().st_size for path in (PRETRAINED_FOLDER / "omniglot").iterdir())
    assert size <= MAX_BYTES
    training = load_model("omniglot").training
    assert training.data == "omniglot"
    assert training.split == "vinyals/trainval-mirrored"
    assert training.val_split is None
    assert training.training_splits == (
        "omniglot:vinyals/trainval-mirrored",
        "omniglot:vinyals/train-mirrored",
    )
    assert training.recipe in RECIPES


def shipped_scores(way: int, shot: int) -> list[dict[str, Any]]:
    """Scores in the shipped model's card for a task of the Vinyals split's test classes."""
    models = {model["name"]: model for model in lgmnet("models", "--json").json["models"]}
    scores = [
        score
        for score in models["omniglot"]["scores"]
        if (score["data"], score["split"]) == ("omniglot", "vinyals/test")
        and (score["way"], score["shot"]) == (way, shot)
        and score["protocol"] == "inductive"
    ]
    assert scores, "the card has no such score"
    return scores


@pytest.mark.parametrize(("way", "shot"), MIN_ACCURACY)
def test_the_shipped_model_reaches_its_accuracy(way, shot):
    assert min(score["accuracy"] for score in shipped_scores(way, shot)) >= MIN_ACCURACY[way, shot]


@pytest.mark.parametrize(("way", "shot"), MIN_ACCURACY)
def test_the_shipped_scores_have_enough_episodes_and_are_in_the_card(way, shot):
    scores = shipped_scores(way, shot)
    for score in scores:
        assert score["episodes"] >= 1000
        assert score["query"] == 15
        assert 0 < score["ci95"] < 0.2
    card = (PRETRAINED_FOLDER / "omniglot" / "README.md").read_text(encoding="utf-8")
    assert f"| {way}-way {shot}-shot | {scores[0]['accuracy']:.2f} ± " in card


@pytest.mark.pack
def test_the_split_hashes_of_the_shipped_scores_are_right():
    model = load_model("omniglot")
    tested = omniglot.omniglot("vinyals/test")
    hashes = {score.split: score.split_hash for score in model.scores}
    assert hashes["vinyals/test"] == tested.split_hash
    trained_on = omniglot.omniglot(model.training.split)
    assert model.training.split_hash == trained_on.split_hash
    assert not shares_classes(trained_on, tested)


@pytest.mark.pack
def test_a_recorded_score_can_be_reproduced():
    """The score on 100 new tasks agrees with the card within the intervals."""
    words = ["--way", 5, "--shot", 1, "--episodes", 100, "--seed", 77, "--json"]
    score = lgmnet("evaluate", "omniglot", *words).json
    recorded = next(
        s
        for s in load_model("omniglot").scores
        if (s.split, s.way, s.shot) == ("vinyals/test", 5, 1)
    )
    assert score["split_hash"] == recorded.split_hash
    assert abs(score["accuracy"] - recorded.accuracy) < 2 * score["ci95"] + recorded.ci95


def test_models_prints_the_scores():
    ran = lgmnet("models")
    assert ran.code == 0
    assert "omniglot: lgm-net" in ran.out
    for way, shot in MIN_ACCURACY:
        assert f"{way}-way {shot}-shot" in ran.out
    assert "vinyals/test" in ran.out
    assert "inductive" in ran.out


def test_quickstart_with_the_shipped_model_beats_the_baselines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = lgmnet("quickstart", "--draws", 2, "--json")
    assert ran.code == 0, ran.err
    assert set(listing(tmp_path)) == {
        "outputs/quickstart/quickstart.png",
        "outputs/quickstart/digits.safetensors",
    }
    accuracy = {(row["learner"], row["shot"]): row["accuracy"] for row in ran.json["rows"]}
    for shot in (1, 5):
        forged, *baselines = (accuracy[learner, shot] for learner in LEARNERS)
        assert forged > max(baselines)
