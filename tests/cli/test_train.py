"""``lgmnet train``: a recipe in, a folder out that every other command takes."""

from __future__ import annotations

import json
import os
import pickle
import pickletools
import re
import signal
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from lgmnet.data.synthetic.characters import SyntheticCharacters
from lgmnet.model.model import load_model
from tests.cli.making import content, drawings, lgmnet, listing, settings, symbols, write_drawing

LINE = ["train", "omniglot", "--data", "strokes", "--accelerator", "cpu"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of three steps."""
    folder = tmp_path_factory.mktemp("runs") / "deeper" / "mine"
    ran = lgmnet(*LINE, "--out", folder, "--steps", 3, *settings(val_every=2), "--json")
    assert ran.code == 0, ran.err
    assert ran.json.keys() == {
        "model",
        "recipe",
        "data",
        "split",
        "split_hash",
        "step",
        "val_split",
        "val_task",
        "val_accuracy",
        "val_ci95",
    }
    assert ran.json["model"] == str(folder)
    assert ran.json["recipe"] == "omniglot"
    assert (ran.json["data"], ran.json["split"]) == ("strokes", "train")
    assert ran.json["split_hash"] == SyntheticCharacters("train").split_hash
    assert ran.json["step"] in (2, 3)
    assert ran.json["val_task"] == "3-way 1-shot"
    assert 0 <= ran.json["val_accuracy"] <= 100
    assert "step 2: loss" in ran.err or "step 2: validation" in ran.err
    return folder


def test_what_a_run_leaves(trained):
    """Weights, config, model card, the state to resume from, both kinds of logs, and no drafts."""
    files = {re.sub(r"tfevents.*", "tfevents", name) for name in listing(trained)}
    assert files == {
        "model.safetensors",
        "config.json",
        "README.md",
        "training.safetensors",
        "logs/csv-from-step-0/metrics.csv",
        "logs/tensorboard/events.out.tfevents",
    }
    story = load_model(trained).training
    assert (story.recipe, story.data, story.split, story.val_split) == (
        "omniglot",
        "strokes",
        "train",
        "val",
    )
    assert story.settings["steps"] == 3
    assert story.settings["way"] == 3


def reads_as_pickle(data: bytes) -> bool:
    try:
        return bool(list(pickletools.genops(data)))
    except Exception:  # whatever it stumbles over, it is no pickle
        return False


def test_nothing_a_run_leaves_is_a_pickle(trained):
    assert reads_as_pickle(pickle.dumps({"weights": [1.0]}))
    for name, data in listing(trained).items():
        assert not zipfile.is_zipfile(trained / name), f"{name} may hide a pickle, as torch.save's"
        assert not reads_as_pickle(data), name


def test_every_other_command_takes_the_folder(trained, tmp_path):
    score = lgmnet(
        *("evaluate", trained, "--data", "strokes", "--way", 3, "--query", 2),
        *("--episodes", 4, "--json"),
    )
    assert score.json["model"] == "mine"
    assert score.json["data"] == "strokes"
    output = tmp_path / "c.safetensors"
    folder = symbols(tmp_path / "shown", {"a": 1, "b": 2})
    assert lgmnet("forge", folder, "-o", output, "--model", trained, "--json").json["model"] == (
        "mine"
    )
    asked = write_drawing(tmp_path / "asked.png", drawings(2, 1)[1, 0])
    assert lgmnet("predict", output, asked).code == 0

    published = lgmnet("publish", trained, "-o", tmp_path / "half", "--json")
    assert published.json["model"] == str(tmp_path / "half")
    assert published.json["bytes"] == sum(map(len, listing(tmp_path / "half").values()))
    assert set(listing(tmp_path / "half")) == {"model.safetensors", "config.json", "README.md"}
    assert load_model(tmp_path / "half").half_precision
    assert load_model(tmp_path / "half").training == load_model(trained).training


def test_a_run_is_not_trained_over(trained):
    before = listing(trained)
    ran = lgmnet(*LINE, "--out", trained, "--steps", 3, *settings(val_every=2))
    assert ran.code == 2
    assert str(trained) in ran.err
    assert "--resume" in ran.err
    assert "--out" in ran.err
    assert listing(trained) == before


def test_a_run_is_resumed_as_the_same_run_only(trained):
    before = listing(trained)
    words = [*LINE, "--out", trained, "--resume", *settings(val_every=2)]
    other = lgmnet(*words, "--steps", 3, "--set", "way=4")
    assert other.code == 2
    assert "way: 3 -> 4" in other.err
    assert listing(trained) == before
    same = lgmnet(*words, "--steps", 3, "--json")
    assert same.code == 0
    assert same.json["model"] == str(trained)


def test_ctrl_c_loses_nothing(trained, tmp_path, monkeypatch):
    """Stopped after two of three steps and resumed, the run ends with the very same weights."""
    words = [*LINE, "--out", tmp_path / "run", "--steps", 3, *settings(val_every=2)]
    draw, drawn = SyntheticCharacters.draw, []

    def interrupting(self, shape, generator, out):
        drawn.append(self.split)
        if drawn == ["train", "train"]:
            os.kill(os.getpid(), signal.SIGINT)
        draw(self, shape, generator, out)

    monkeypatch.setattr(SyntheticCharacters, "draw", interrupting)
    stopped = lgmnet(*words, "--json")
    assert stopped.code == 130
    assert stopped.out == ""
    assert "--resume" in stopped.err
    monkeypatch.setattr(SyntheticCharacters, "draw", draw)
    resumed = lgmnet(*words, "--resume", "--json")
    assert resumed.code == 0, resumed.err
    assert drawn.count("train") == 2
    for name in ("model.safetensors", "training.safetensors"):
        assert content(tmp_path / "run" / name) == content(trained / name)


def test_resuming_where_there_is_no_run(tmp_path):
    ran = lgmnet(*LINE, "--out", tmp_path / "none", "--resume", *settings())
    assert ran.code == 2
    assert str(tmp_path / "none") in ran.err
    assert "--resume" in ran.err
    assert not (tmp_path / "none").exists()


def test_a_run_may_start_from_a_model(trained, tmp_path):
    words = [*LINE, "--out", tmp_path / "second", *settings(steps=1)]
    assert lgmnet(*words, "--from", trained).code == 0
    assert load_model(tmp_path / "second").training.start == str(trained)
    fresh = lgmnet(*LINE, "--out", tmp_path / "fresh", *settings(steps=1))
    assert fresh.code == 0
    weights = [content(tmp_path / name / "model.safetensors")[1] for name in ("second", "fresh")]
    assert weights[0] != weights[1]


def test_a_model_that_no_run_can_start_from(trained, tmp_path):
    words = [*LINE, "--out", tmp_path / "second", *settings(steps=1)]
    for start, more, name in (
        (tmp_path / "absent", [], tmp_path / "absent"),
        (trained, ["--set", "context=5"], trained),
    ):
        ran = lgmnet(*words, *more, "--from", start)
        assert ran.code == 2
        assert str(name) in ran.err
        assert listing(tmp_path) == {}


def test_without_json_a_sentence_ends_the_run(tmp_path):
    folder = tmp_path / "[run]"
    ran = lgmnet(*LINE, "--out", folder, *settings(steps=1))
    assert ran.code == 0
    assert ran.out.startswith(f"{folder}: ")
    assert "on validation classes (3-way 1-shot), weights of step 1." in ran.out
    assert re.search(r"\d+\.\d\d ± \d+\.\d\d %", ran.out)


def test_steps_is_short_for_a_setting(tmp_path):
    for name, words in (("a", ["--steps", 1]), ("b", ["--set", "steps=1"])):
        assert lgmnet(*LINE, "--out", tmp_path / name, *settings(), *words).code == 0
    assert content(tmp_path / "a" / "model.safetensors") == content(
        tmp_path / "b" / "model.safetensors"
    )


def test_settings_reach_the_method_and_the_run(tmp_path):
    words = settings(steps=1, temperature="none", seed=5, jitter="null")
    assert lgmnet(*LINE, "--out", tmp_path / "m", *words, "--set", "config.context=6").code == 0
    model = load_model(tmp_path / "m")
    assert model.method.config.temperature is None
    assert model.method.config.context == 6
    assert model.training.settings["seed"] == 5
    assert model.training.settings["jitter"] is None


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("wya=3", ("field 'wya'", "Did you mean 'way'?")),
        ("config.contxt=3", ("field 'contxt'", "Did you mean 'context'?")),
        ("train.jitter.degres=3", ("field 'degres'", "Did you mean 'degrees'?")),
        ("way", ("field=value", "'way'")),
        ("way=many", ("'way'", "a whole number", "'many'")),
        ("way=2.5", ("'way'", "a whole number", "2.5")),
        ("way=true", ("'way'", "a whole number", "True")),
        ("way=1", ("'way'", "at least 2", "1")),
        ("steps=0", ("'steps'", "positive", "0")),
        ("learning_rate=nan", ("'learning_rate'", "a number")),
        ("learning_rate=NaN", ("'learning_rate'", "a number")),
        ("intertask_norm=3", ("'intertask_norm'", "true or false", "3")),
        ("precision=fp8", ("'precision'", "'auto'", "'fp8'")),
        ("encoder_pooled=[true]", ("'encoder_pooled'", "a list of 2", "[True]")),
        ("target_widths=64", ("'target_widths'", "a list", "64")),
        ("embedding_pooled=[true]", ("'embedding_pooled'", "2 values")),
        ("temperature=-1", ("'temperature'", "positive or None", "-1")),
        ("method=lgmnet", ("method 'lgmnet'", "Did you mean 'lgm-net'?")),
        ("config=5", ("'config'", "LGMNetConfig", "5")),
        ("split=tarin", ("split of strokes 'tarin'", "Did you mean 'train'?")),
        ("feature_shape=[3,28,28]", ("(3, 28, 28)", "(1, 28, 28)", "'strokes'")),
        ("target=linear", ("'feature_shape'", "(1, 28, 28)")),
    ],
)
def test_a_setting_that_cannot_be(setting, words, tmp_path):
    ran = lgmnet(*LINE, "--out", tmp_path / "out", *settings(steps=1), "--set", setting, "--json")
    assert ran.code == 2, ran.err
    assert ran.out == ""
    for word in words:
        assert word in ran.err
    assert listing(tmp_path) == {}


def test_data_that_nothing_can_be_trained_on(tmp_path):
    ran = lgmnet("train", "omniglot", "--data", "digits", "--out", tmp_path / "out")
    assert ran.code == 2
    assert "'digits' is for testing only" in ran.err


@pytest.mark.parametrize("accelerator", ["abacus", "cuda"])
def test_a_device_that_is_not_here(accelerator, tmp_path):
    if accelerator == "cuda" and torch.cuda.is_available():
        pytest.skip("there is one here")
    words = ["train", "omniglot", "--data", "strokes", "--accelerator", accelerator]
    ran = lgmnet(*words, "--out", tmp_path / "out", *settings(steps=1))
    assert ran.code == 2
    assert f"--accelerator {accelerator}" in ran.err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "out").write_text("mine")
    ran = lgmnet(*LINE, "--out", tmp_path / "out", *settings(steps=1))
    assert ran.code == 2
    assert str(tmp_path / "out") in ran.err
    assert listing(tmp_path) == {"out": b"mine"}


def test_training_without_the_packages_that_train(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    for name in [name for name in sys.modules if name.startswith("lgmnet.training.")]:
        if name != "lgmnet.training.config":
            monkeypatch.delitem(sys.modules, name)
    ran = lgmnet(*LINE, "--out", tmp_path / "out", *settings(steps=1))
    assert ran.code == 2
    assert "lightning_fabric" in ran.err
    assert "pip install 'lgmnet[train]'" in ran.err
    assert not (tmp_path / "out").exists()


@pytest.mark.pack
def test_a_recipe_trains_on_omniglot(tmp_path):
    ran = lgmnet(
        *("train", "omniglot-lake", "--out", tmp_path / "m", "--accelerator", "cpu"),
        *(*settings(steps=1), "--json"),
    )
    assert ran.code == 0, ran.err
    assert (ran.json["data"], ran.json["split"]) == ("omniglot", "lake/train-mirrored")
    about = json.loads((tmp_path / "m" / "config.json").read_text())
    assert about["training"]["val_split"] == "lake/val"


@pytest.mark.parametrize("method", ["direct", "random-weights"])
def test_what_learns_nothing_beforehand_is_a_model_at_once(method, tmp_path):
    out = tmp_path / "out"
    ran = lgmnet("train", f"circles-{method}", "--out", out)
    assert (ran.code, ran.out) == (0, f"{out}: {method} learns nothing beforehand.\n")
    assert "No meta-training" in (out / "README.md").read_text()
    scored = lgmnet(
        "evaluate", out, "--data", "circles", "--way", 3, "--shot", 5, "--episodes", 4, "--json"
    )
    assert scored.json["method"] == method


def test_a_folder_with_splits_is_trained_on_and_its_training_classes_are_not_scored(tmp_path):
    data, out = tmp_path / "data", tmp_path / "out"
    for seed, split in enumerate(("train", "val", "test")):
        names = [f"{split}-{i}" for i in range(4)]
        symbols(data / split, dict.fromkeys(names, 5), seed)
    words = ["--data", data, "--out", out, "--steps", 2, *settings(val_every=2)]
    ran = lgmnet("train", "omniglot", *words, "--json")
    assert ran.code == 0, ran.err
    assert (ran.json["data"], ran.json["split"]) == (str(data), "train")
    score = ["evaluate", out, "--data", data, "--way", 3, "--query", 1, "--episodes", 4]
    assert lgmnet(*score, "--split", "test").code == 0
    (tmp_path / "link").symlink_to(data)
    for spelled in (data, f"{data}/", tmp_path / "." / "data" / ".." / "data", tmp_path / "link"):
        score[3] = spelled
        seen = lgmnet(*score, "--split", "train")
        assert seen.code == 2
        assert "shares classes" in seen.err
