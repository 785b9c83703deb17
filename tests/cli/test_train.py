"""``lgmnet train``: from a recipe to a model folder."""

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
from tests.support.command_line import content, lgmnet, listing, settings
from tests.support.images import symbols, write_drawing
from tests.support.models import drawings

TRAIN = ["train", "omniglot", "--data", "strokes", "--accelerator", "cpu"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run of three steps."""
    folder = tmp_path_factory.mktemp("runs") / "deeper" / "mine"
    ran = lgmnet(*TRAIN, "--out", folder, "--steps", 3, *settings(every=2), "--json")
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


def test_a_run_writes_its_files(trained):
    """Weights, config, model card, training state, two kinds of logs, and no temporary files."""
    files = {re.sub(r"tfevents.*", "tfevents", name) for name in listing(trained)}
    assert files == {
        "model.safetensors",
        "config.json",
        "README.md",
        "training.safetensors",
        "logs/csv-from-step-0/metrics.csv",
        "logs/tensorboard/events.out.tfevents",
    }
    training = load_model(trained).training
    assert (training.recipe, training.data, training.split, training.val_split) == (
        "omniglot",
        "strokes",
        "train",
        "val",
    )
    assert training.settings["steps"] == 3
    assert training.settings["way"] == 3


def is_pickle(data: bytes) -> bool:
    try:
        return bool(list(pickletools.genops(data)))
    except Exception:  # Any error means that the data is not a pickle.
        return False


def test_no_file_of_a_run_is_a_pickle(trained):
    assert is_pickle(pickle.dumps({"weights": [1.0]}))
    for name, data in listing(trained).items():
        assert not zipfile.is_zipfile(trained / name), (
            f"{name} may contain a pickle, like files of torch.save"
        )
        assert not is_pickle(data), name


def test_other_commands_take_the_model_folder(trained, tmp_path):
    score = lgmnet(
        *("evaluate", trained, "--data", "strokes", "--way", 3, "--query", 2),
        *("--episodes", 4, "--json"),
    )
    assert score.json["model"] == "mine"
    assert score.json["data"] == "strokes"
    output = tmp_path / "c.safetensors"
    folder = symbols(tmp_path / "support", {"a": 1, "b": 2})
    assert lgmnet("forge", folder, "-o", output, "--model", trained, "--json").json["model"] == (
        "mine"
    )
    query = write_drawing(tmp_path / "query.png", drawings(2, 1)[1, 0])
    assert lgmnet("predict", output, query).code == 0

    published = lgmnet("publish", trained, "-o", tmp_path / "half", "--json")
    assert published.json["model"] == str(tmp_path / "half")
    assert published.json["bytes"] == sum(map(len, listing(tmp_path / "half").values()))
    assert set(listing(tmp_path / "half")) == {"model.safetensors", "config.json", "README.md"}
    assert load_model(tmp_path / "half").half_precision
    assert load_model(tmp_path / "half").training == load_model(trained).training


def test_an_existing_run_is_not_overwritten(trained):
    before = listing(trained)
    ran = lgmnet(*TRAIN, "--out", trained, "--steps", 3, *settings(every=2))
    assert ran.code == 2
    assert str(trained) in ran.err
    assert "--resume" in ran.err
    assert "--out" in ran.err
    assert listing(trained) == before


def test_a_run_is_only_resumed_with_its_own_settings(trained):
    before = listing(trained)
    words = [*TRAIN, "--out", trained, "--resume", *settings(every=2)]
    other = lgmnet(*words, "--steps", 3, "--set", "way=4")
    assert other.code == 2
    assert "way: 3 -> 4" in other.err
    assert listing(trained) == before
    same = lgmnet(*words, "--steps", 3, "--json")
    assert same.code == 0
    assert same.json["model"] == str(trained)


def test_a_run_stopped_by_ctrl_c_can_be_resumed(trained, tmp_path, monkeypatch):
    """A run stopped after two of three steps and resumed ends with the same weights."""
    words = [*TRAIN, "--out", tmp_path / "run", "--steps", 3, *settings(every=2)]
    draw, splits = SyntheticCharacters.draw, []

    def interrupt_second_draw(self, shape, generator, out):
        splits.append(self.split)
        if splits == ["train", "train"]:
            os.kill(os.getpid(), signal.SIGINT)
        draw(self, shape, generator, out)

    monkeypatch.setattr(SyntheticCharacters, "draw", interrupt_second_draw)
    stopped = lgmnet(*words, "--json")
    assert stopped.code == 130
    assert stopped.out == ""
    assert "--resume" in stopped.err
    monkeypatch.setattr(SyntheticCharacters, "draw", draw)
    resumed = lgmnet(*words, "--resume", "--json")
    assert resumed.code == 0, resumed.err
    assert splits.count("train") == 2
    for name in ("model.safetensors", "training.safetensors"):
        assert content(tmp_path / "run" / name) == content(trained / name)


def test_resuming_without_a_run_is_an_error(tmp_path):
    ran = lgmnet(*TRAIN, "--out", tmp_path / "none", "--resume", *settings())
    assert ran.code == 2
    assert str(tmp_path / "none") in ran.err
    assert "--resume" in ran.err
    assert not (tmp_path / "none").exists()


def test_a_run_can_start_from_a_model(trained, tmp_path):
    words = [*TRAIN, "--out", tmp_path / "second", *settings(steps=1)]
    assert lgmnet(*words, "--from", trained).code == 0
    assert load_model(tmp_path / "second").training.start == str(trained)
    fresh = lgmnet(*TRAIN, "--out", tmp_path / "fresh", *settings(steps=1))
    assert fresh.code == 0
    weights = [content(tmp_path / name / "model.safetensors")[1] for name in ("second", "fresh")]
    assert weights[0] != weights[1]


def test_starting_from_an_unusable_model_is_an_error(trained, tmp_path):
    words = [*TRAIN, "--out", tmp_path / "second", *settings(steps=1)]
    for start, options, name in (
        (tmp_path / "absent", [], tmp_path / "absent"),
        (trained, ["--set", "context.length=5"], trained),
    ):
        ran = lgmnet(*words, *options, "--from", start)
        assert ran.code == 2
        assert str(name) in ran.err
        assert listing(tmp_path) == {}


def test_without_json_a_line_of_text_is_printed(tmp_path):
    folder = tmp_path / "[run]"
    ran = lgmnet(*TRAIN, "--out", folder, *settings(steps=1))
    assert ran.code == 0
    assert ran.out.startswith(f"{folder}: ")
    assert "on validation classes (3-way 1-shot), weights of step 1." in ran.out
    assert re.search(r"\d+\.\d\d ± \d+\.\d\d %", ran.out)


def test_the_steps_option_equals_the_setting(tmp_path):
    for name, words in (("a", ["--steps", 1]), ("b", ["--set", "steps=1"])):
        assert lgmnet(*TRAIN, "--out", tmp_path / name, *settings(), *words).code == 0
    assert content(tmp_path / "a" / "model.safetensors") == content(
        tmp_path / "b" / "model.safetensors"
    )


def test_settings_reach_the_method_and_the_run(tmp_path):
    words = settings(steps=1, temperature="none", seed=5, jitter="null", task_jitter="null")
    assert (
        lgmnet(*TRAIN, "--out", tmp_path / "m", *words, "--set", "config.context.length=6").code
        == 0
    )
    model = load_model(tmp_path / "m")
    assert model.method.config.head.temperature is None
    assert model.method.config.context.length == 6
    assert model.training.settings["seed"] == 5
    assert model.training.settings["jitter"] is None


@pytest.mark.parametrize(
    ("setting", "parts"),
    [
        ("wya=3", ("field 'wya'", "Did you mean 'way'?")),
        ("config.contxt=3", ("field 'contxt'", "Did you mean 'context'?")),
        ("train.jitter.degres=3", ("field 'degres'", "Did you mean 'degrees'?")),
        ("way", ("field=value", "'way'")),
        ("way=many", ("'train.way'", "a whole number", "'many'")),
        ("way=2.5", ("'train.way'", "a whole number", "2.5")),
        ("way=true", ("'train.way'", "a whole number", "True")),
        ("way=1", ("'train.way'", "at least 2", "1")),
        ("steps=0", ("'train.steps'", "positive", "0")),
        ("learning_rate=nan", ("'train.optimizer.learning_rate'", "a number")),
        ("learning_rate=NaN", ("'train.optimizer.learning_rate'", "a number")),
        ("norm=3", ("several fields 'norm'", "'config.embedding.norm'")),
        ("target.norm=3", ("'config.target.norm'", "true or false", "3")),
        ("precision=fp8", ("'train.precision'", "'auto'", "'fp8'")),
        ("context.pooled=[true]", ("'config.context.pooled'", "2 values", "(True,)")),
        ("target.widths=64", ("'config.target.widths'", "a list", "64")),
        ("embedding.pooled=[true]", ("'config.embedding.pooled'", "2 values")),
        ("temperature=-1", ("'config.head.temperature'", "positive or None", "-1")),
        ("method=lgmnet", ("method 'lgmnet'", "Did you mean 'lgm-net'?")),
        ("config=5", ("'config'", "LGMNetConfig", "5")),
        ("split=tarin", ("split of strokes 'tarin'", "Did you mean 'train'?")),
        ("feature_shape=[3,28,28]", ("(3, 28, 28)", "(1, 28, 28)", "'strokes'")),
        ("layers=linear", ("'config.embedding.layers'", "'conv' or 'residual'")),
    ],
)
def test_an_invalid_setting(setting, parts, tmp_path):
    ran = lgmnet(*TRAIN, "--out", tmp_path / "out", *settings(steps=1), "--set", setting, "--json")
    assert ran.code == 2, ran.err
    assert ran.out == ""
    for part in parts:
        assert part in ran.err
    assert listing(tmp_path) == {}


def test_data_without_training_classes(tmp_path):
    ran = lgmnet("train", "omniglot", "--data", "digits", "--out", tmp_path / "out")
    assert ran.code == 2
    assert "'digits' is for testing only" in ran.err


@pytest.mark.parametrize("accelerator", ["abacus", "cuda"])
def test_an_unavailable_accelerator(accelerator, tmp_path):
    if accelerator == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    words = ["train", "omniglot", "--data", "strokes", "--accelerator", accelerator]
    ran = lgmnet(*words, "--out", tmp_path / "out", *settings(steps=1))
    assert ran.code == 2
    assert f"--accelerator {accelerator}" in ran.err
    assert not (tmp_path / "out").exists()


def test_the_output_folder_is_a_file(tmp_path):
    (tmp_path / "out").write_text("mine")
    ran = lgmnet(*TRAIN, "--out", tmp_path / "out", *settings(steps=1))
    assert ran.code == 2
    assert str(tmp_path / "out") in ran.err
    assert listing(tmp_path) == {"out": b"mine"}


def test_the_output_folder_must_have_a_name_in_utf8(tmp_path):
    ran = lgmnet("train", "omniglot", "--data", "strokes", "--out", os.fsdecode(b"a\xff"))
    assert (ran.code, ran.out) == (2, "")
    assert "not UTF-8" in ran.err


def test_training_without_its_optional_packages(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    for name in [name for name in sys.modules if name.startswith("lgmnet.training.")]:
        if name != "lgmnet.training.config":
            monkeypatch.delitem(sys.modules, name)
    ran = lgmnet(*TRAIN, "--out", tmp_path / "out", *settings(steps=1))
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


@pytest.mark.parametrize("method", ["from-scratch", "random-weights"])
def test_a_method_without_meta_training_is_written_at_once(method, tmp_path):
    out = tmp_path / "out"
    ran = lgmnet("train", f"circles-{method}", "--out", out)
    assert (ran.code, ran.out) == (0, f"{out}: {method} needs no meta-training.\n")
    assert "No meta-training" in (out / "README.md").read_text()
    scored = lgmnet(
        "evaluate", out, "--data", "circles", "--way", 3, "--shot", 5, "--episodes", 4, "--json"
    )
    assert scored.json["method"] == method


def test_the_training_classes_of_a_folder_with_splits_are_not_scored(tmp_path):
    data, out = tmp_path / "data", tmp_path / "out"
    for seed, split in enumerate(("train", "val", "test")):
        names = [f"{split}-{i}" for i in range(4)]
        symbols(data / split, dict.fromkeys(names, 5), seed)
    words = ["--data", data, "--out", out, "--steps", 2, *settings(every=2)]
    ran = lgmnet("train", "omniglot", *words, "--json")
    assert ran.code == 0, ran.err
    assert (ran.json["data"], ran.json["split"]) == (str(data), "train")
    score = ["evaluate", out, "--data", data, "--way", 3, "--query", 1, "--episodes", 4]
    assert lgmnet(*score, "--split", "test").code == 0
    (tmp_path / "link").symlink_to(data)
    for path in (data, f"{data}/", tmp_path / "." / "data" / ".." / "data", tmp_path / "link"):
        score[3] = path
        ran = lgmnet(*score, "--split", "train")
        assert ran.code == 2
        assert "shares classes" in ran.err
