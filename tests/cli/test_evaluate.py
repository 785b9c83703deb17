"""``lgmnet evaluate``: the score, its protocol, and the files it is written to."""

from __future__ import annotations

import json
import re
import shutil
import statistics

import pytest

from lgmnet.data.synthetic.characters import SyntheticCharacters
from lgmnet.episode import EpisodeShape
from lgmnet.evaluation import evaluate
from lgmnet.model.model import load_model, save_model
from tests.support.command_line import Ran, lgmnet
from tests.support.images import symbols
from tests.support.models import tiny_model

KEYS = [
    "method",
    "model",
    "data",
    "split",
    "split_hash",
    "protocol",
    "way",
    "shot",
    "query",
    "episodes",
    "seed",
    "accuracy",
    "ci95",
    "seconds",
    "calibration_error",
    "training_overlap",
]


def score(model: object, *words: object) -> Ran:
    options = ["--data", "strokes", "--way", 3, "--query", 2, "--episodes", 20]
    return lgmnet("evaluate", model, *options, *words)


def test_json_has_the_documented_keys(tiny):
    ran = score(tiny, "--shot", 2, "--seed", 4, "--json")
    assert ran.code == 0
    assert list(ran.json) == KEYS
    assert ran.json["method"] == "lgm-net"
    assert ran.json["model"] == "tiny"
    assert (ran.json["data"], ran.json["split"]) == ("strokes", "test")
    assert ran.json["split_hash"] == SyntheticCharacters("test").split_hash
    assert ran.json["protocol"] == "inductive"
    sizes = {name: ran.json[name] for name in ("way", "shot", "query", "episodes", "seed")}
    assert sizes == {"way": 3, "shot": 2, "query": 2, "episodes": 20, "seed": 4}
    assert ran.json["seconds"] > 0


def test_the_score_equals_that_of_python_in_percent(tiny):
    ran = score(tiny, "--json")
    expected = evaluate(
        load_model(tiny).method,
        SyntheticCharacters("test"),
        EpisodeShape(3, 1, 2),
        episodes=20,
        seed=0,
    )
    assert ran.json["accuracy"] == expected.accuracy
    assert ran.json["ci95"] == expected.ci95
    assert 20 < ran.json["accuracy"] < 100, "a fraction would be below 1, and guessing gives 33"


def test_the_seed_determines_the_tasks(tiny):
    def accuracy(*words: object) -> tuple[float, float]:
        result = score(tiny, "--json", *words).json
        return result["accuracy"], result["ci95"]

    assert accuracy("--seed", 1) == accuracy("--seed", 1)
    assert accuracy("--seed", 1) != accuracy("--seed", 2)


def test_the_printed_score_includes_its_protocol_and_split(tiny):
    ran = score(tiny)
    assert ran.code == 0
    assert ran.err == ""
    assert re.match(r"\d+\.\d\d ± \d+\.\d\d %  3-way 1-shot, tiny \(lgm-net\)\n", ran.out)
    for words in (
        "inductive",
        "strokes, split test",
        SyntheticCharacters("test").split_hash,
        "20 episodes",
    ):
        assert words in ran.out


def test_the_protocol_names_averaging_over_draws(tiny):
    ran = score(tiny, "--draws", 2, "--json")
    assert ran.json["protocol"] == "inductive, mean of 2 draws"


def test_the_scores_of_all_episodes_can_be_saved(tiny, tmp_path):
    file = tmp_path / "score.json"
    ran = score(tiny, "--save", file, "--json")
    result = json.loads(file.read_text())
    scores = result.pop("scores")
    assert len(scores) == 20
    assert 100 * statistics.fmean(scores) == pytest.approx(ran.json["accuracy"])
    assert result.items() >= ran.json.items()
    assert result.keys() - ran.json.keys() == {"lgmnet", "commit"}


def test_a_score_is_recorded_in_the_model_card(tiny, tmp_path):
    model = shutil.copytree(tiny, tmp_path / "model")
    before = load_model(model)
    first = score(model, "--record", "--json").json
    score(model, "--record", "--shot", 2)
    last = score(model, "--record", "--seed", 9, "--json").json

    scores = load_model(model).scores
    assert [(s.shot, s.seed) for s in scores] == [(1, 9), (2, 0)], "the newest of each protocol"
    assert scores[0].accuracy == last["accuracy"]
    card = (model / "README.md").read_text()
    assert f"{last['accuracy']:.2f} ± {last['ci95']:.2f}" in card
    assert last["split_hash"] in card
    assert first["accuracy"] != last["accuracy"]
    assert load_model(model).fingerprint == before.fingerprint


def test_training_classes_are_not_scored(tiny):
    ran = score(tiny, "--split", "train", "--json")
    assert ran.code == 2
    assert ran.out == ""
    assert "'train'" in ran.err
    assert "shares classes" in ran.err
    assert score(tiny, "--split", "val").code == 0


def test_data_of_another_kind_is_refused_with_what_to_do():
    ran = lgmnet("evaluate", "vectors", "--data", "strokes", "--split", "test")
    assert ran.code == 2
    assert "shape (1, 28, 28), but the method takes (64,)" in ran.err
    assert "Choose other data; 'vectors' was trained on clouds." in ran.err


def test_the_current_folder_can_be_the_model(tiny, monkeypatch):
    monkeypatch.chdir(tiny)
    assert score(".", "--json").json["model"] == "tiny"


@pytest.mark.pack
@pytest.mark.parametrize(
    ("trained_on", "split", "scored_on"),
    [
        ("vinyals/train", "test", "vinyals/test"),
        ("lake/train", "test", "lake/test"),
        ("lake/train", "lake/val", "lake/val"),
        ("vinyals/train", "lake/test", None),
        ("lake/train", "vinyals/val", None),
        ("vinyals/train", "train", None),
    ],
)
def test_an_omniglot_split_belongs_to_the_scheme_of_the_training(
    trained_on, split, scored_on, tmp_path
):
    save_model(tiny_model(data="omniglot", split=trained_on), tmp_path / "m")
    words = ["--way", 3, "--query", 2, "--episodes", 2, "--split", split, "--json"]
    ran = lgmnet("evaluate", tmp_path / "m", *words)
    if scored_on is None:
        assert ran.code == 2
        assert trained_on in ran.err
        assert "shares classes" in ran.err
    else:
        assert ran.code == 0, ran.err
        assert ran.json["split"] == scored_on


def test_a_folder_of_images_can_be_the_data(tiny, folder_of_symbols):
    words = ["--data", folder_of_symbols, "--way", 3, "--shot", 1, "--query", 1]
    too_small = lgmnet("evaluate", tiny, *words, "--episodes", 5)
    assert too_small.code == 2, "with a single moon, none is left for the query"
    folder = symbols(folder_of_symbols.parent / "enough", {"moon": 3, "star": 4, "sun": 3})
    ran = lgmnet("evaluate", tiny, "--data", folder, *words[2:], "--episodes", 5, "--json")
    assert ran.json["data"] == str(folder)
    assert (ran.json["way"], ran.json["episodes"]) == (3, 5)
