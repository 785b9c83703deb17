"""Models as folders: what is written comes back, and what is damaged is told in a sentence."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from lgmnet.classifier.classifier import fit_classifier
from lgmnet.errors import ConfigError, FileFormatError, UserError
from lgmnet.evaluation import Score
from lgmnet.methods.lgm_net import LGMNetConfig
from lgmnet.model.model import (
    CARD,
    CONFIG,
    WEIGHTS,
    Model,
    load_model,
    model_card,
    model_folder,
    save_model,
    shipped_models,
)
from tests.cli.making import TINY, drawings, listing, tiny_model

SCORE = Score(
    data="omniglot",
    split="vinyals/test",
    split_hash="0123456789ab",
    protocol="inductive",
    way=5,
    shot=1,
    query=15,
    episodes=1000,
    seed=0,
    accuracy=99.376,
    calibration_error=1.25,
    ci95=0.0541,
    seconds=12.5,
    scores=(0.98, 1.0),
)


def answers(model: Model) -> Tensor:
    """Probabilities that a classifier forged by the model gives to some drawings."""
    drawn = drawings(4, 2)
    fitted = fit_classifier(model, drawn[:, 0], [0, 1, 2, 3], ["a", "b", "c", "d"])
    return fitted.predict_proba(drawn[:, 1])


@pytest.fixture
def model() -> Model:
    return tiny_model().with_score(SCORE)


@pytest.fixture
def saved(model: Model, tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    save_model(model, folder)
    return folder


@pytest.mark.parametrize(
    "config",
    [
        TINY,
        dataclasses.replace(TINY, temperature=None, context_encoder=False, target_norm=False),
        dataclasses.replace(TINY, feature_shape=(3, 16, 20), intertask_norm=False),
        LGMNetConfig(
            feature_shape=(2,), target="linear", embedding_widths=(8,), target_widths=(8, 4)
        ),
    ],
    ids=["tiny", "ablated", "colour", "points"],
)
def test_a_model_comes_back_as_it_was(config, tmp_path):
    model = tiny_model(config).with_score(SCORE)
    save_model(model, tmp_path / "deep" / "mine")
    loaded = load_model(tmp_path / "deep" / "mine")
    assert loaded.name == "mine"
    assert loaded.method_name == "lgm-net"
    assert loaded.training == model.training
    assert loaded.scores == (dataclasses.replace(SCORE, scores=()),)
    assert loaded.method.config == config
    assert not loaded.half
    assert not loaded.method.training, "a loaded model is for use"
    assert loaded.method.state_dict().keys() == model.method.state_dict().keys()
    for name, tensor in loaded.method.state_dict().items():
        assert torch.equal(tensor, model.method.state_dict()[name]), name


def test_a_loaded_model_answers_identically(model, saved):
    assert torch.equal(answers(load_model(saved)), answers(model))
    assert torch.equal(answers(load_model(str(saved))), answers(model))


def test_saving_again_replaces(model, saved):
    other = tiny_model(seed=1)
    save_model(other, saved)
    assert torch.equal(answers(load_model(saved)), answers(other))
    assert not torch.equal(answers(load_model(saved)), answers(model))
    assert set(listing(saved)) == {WEIGHTS, CONFIG, CARD}


def test_in_16_bits_a_model_is_half_as_large_and_hardly_differs(model, saved, tmp_path):
    half = tmp_path / "half"
    save_model(dataclasses.replace(model, half=True), half)
    tensors = safetensors.torch.load_file(half / WEIGHTS)
    floats = {k: t.dtype for k, t in tensors.items() if t.is_floating_point()}
    assert set(floats.values()) == {torch.float16}
    assert all(t.dtype != torch.float16 for k, t in tensors.items() if k not in floats)
    assert (half / WEIGHTS).stat().st_size < 0.6 * (saved / WEIGHTS).stat().st_size

    loaded = load_model(half)
    assert loaded.half
    assert {p.dtype for p in loaded.method.parameters()} == {torch.float32}
    torch.testing.assert_close(answers(loaded), answers(model), rtol=0, atol=2e-3)
    assert not torch.equal(answers(loaded), answers(model))
    # Recording a score writes it anew; that must neither grow the file nor lose another digit.
    save_model(loaded.with_score(SCORE), half)
    assert torch.equal(answers(load_model(half)), answers(loaded))
    assert load_model(half).half


def test_the_card_says_what_a_reader_must_know(model, saved):
    card = (saved / CARD).read_text(encoding="utf-8")
    assert card == model_card(load_model(saved))
    parameters = sum(p.numel() for p in model.method.parameters())
    for words in (
        "# mine\n",
        f"LGMNet, {parameters:,} parameters",
        "(1, 28, 28)",
        "Recipe `tiny`, seed 0, 3 steps; the weights are those of step 2",
        "strokes, split `train`",
        f"class hash `{model.training.split_hash}`",
        "Validation classes `val`",
        "50.00 ± 2.50 % (3-way 1-shot, inductive)",
        "| 5-way 1-shot | 99.38 ± 0.05 | 1.2 | omniglot | vinyals/test (0123456789ab) | inductive "
        "| 1000 x 15 |",
    ):
        assert words in card, words
    front, _, _ = card.removeprefix("---\n").partition("\n---\n")
    assert "license: mit" in front.splitlines()


def test_a_card_without_scores_says_so():
    assert "None yet" in model_card(tiny_model())


def test_of_each_kind_the_newest_score_is_kept():
    newer = dataclasses.replace(SCORE, accuracy=50.0, seed=3, episodes=2000)
    other = [
        dataclasses.replace(SCORE, way=20),
        dataclasses.replace(SCORE, shot=5),
        dataclasses.replace(SCORE, split="lake/test"),
        dataclasses.replace(SCORE, protocol="inductive, mean of 4 draws"),
    ]
    model = tiny_model()
    for score in (SCORE, *other, newer):
        model = model.with_score(score)
    assert len(model.scores) == 5
    assert dataclasses.replace(newer, scores=()) in model.scores
    assert dataclasses.replace(SCORE, scores=()) not in model.scores
    again = tiny_model()
    for score in (newer, *reversed(other)):
        again = again.with_score(score)
    assert again.scores == model.scores, "their order is not that of recording"
    assert tiny_model().scores == (), "the model it was told of stays as it was"


def test_every_shipped_model_loads():
    for name in shipped_models():
        assert model_folder(name) == model_folder(str(model_folder(name)))
        loaded = load_model(name)
        assert loaded.name == name
        assert loaded.training.split_hash


def test_a_folder_of_the_name_of_a_shipped_model_does_not_hide_it(tmp_path, monkeypatch):
    shipped = tmp_path / "shipped"
    save_model(tiny_model(), shipped / "omniglot")
    monkeypatch.setattr("lgmnet.model.model.SHIPPED", shipped)
    monkeypatch.chdir(tmp_path)
    save_model(tiny_model(seed=1), Path("omniglot"))
    assert shipped_models() == ["omniglot"]
    assert model_folder("omniglot") == shipped / "omniglot"
    assert model_folder("./omniglot") == Path("omniglot")


def test_no_such_model(tmp_path, monkeypatch):
    save_model(tiny_model(), tmp_path / "shipped" / "omniglot")
    monkeypatch.setattr("lgmnet.model.model.SHIPPED", tmp_path / "shipped")
    with pytest.raises(ConfigError, match=r"'omniglt'. Did you mean 'omniglot'\? Known: omniglot"):
        load_model("omniglt")


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="Cannot make the folder"):
        save_model(tiny_model(), tmp_path / "file")


@pytest.mark.parametrize("part", [CONFIG, WEIGHTS])
def test_a_folder_without_one_of_its_files(part, saved):
    (saved / part).unlink()
    with pytest.raises(FileFormatError, match=f"is not a model: it has no {part}") as caught:
        load_model(saved)
    assert str(saved) in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "{", "null", "[]", "3", '"text"', "{}", '{"format": "lgmnet-model"}']
)
def test_a_config_that_is_none(text, saved):
    (saved / CONFIG).write_text(text)
    with pytest.raises(FileFormatError) as caught:
        load_model(saved)
    assert str(saved / CONFIG) in str(caught.value)


def test_a_config_that_is_no_text(saved):
    (saved / CONFIG).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileFormatError, match="is damaged"):
        load_model(saved)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything in a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in inside:
        yield (*path, key)
        if isinstance(inner, (dict, list)):
            yield from places(inner, (*path, key))


JUNK: tuple[Any, ...] = (None, {}, ["recipe"], "x", -1, "drop")


def test_junk_anywhere_in_the_config_is_told_in_a_sentence(saved):
    """Each value in turn is replaced or removed: it loads all the same, or names the file."""
    whole = json.loads((saved / CONFIG).read_text())
    sentences = []
    for path in places(whole):
        for junk in JUNK:
            about = json.loads(json.dumps(whole))
            parent = about
            for key in path[:-1]:
                parent = parent[key]
            if junk == "drop":
                del parent[path[-1]]
            else:
                parent[path[-1]] = junk
            (saved / CONFIG).write_text(json.dumps(about))
            try:
                load_model(saved)
            except UserError as error:
                sentences.append(str(error))
    assert len(sentences) > 200
    for sentence in sentences:
        assert str(saved) in sentence


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": 2}, "of version 2; this lgmnet reads lgmnet-model of version 1"),
        ({"format": "another-model"}, "is another-model of version 1"),
        ({"method": "lgm"}, "no method 'lgm'. Did you mean 'lgm-net'?"),
        ({"config": {"contxt": 3}}, "'contxt'. Did you mean 'context'?"),
        ({"config": {"context": -3}}, "'context' must be positive, but is -3"),
    ],
)
def test_a_config_of_something_else(changes, words, saved):
    about = json.loads((saved / CONFIG).read_text())
    (saved / CONFIG).write_text(json.dumps(about | changes))
    with pytest.raises(UserError) as caught:
        load_model(saved)
    assert words in str(caught.value)
    assert str(saved / CONFIG) in str(caught.value)


def test_weights_that_are_cut_short(saved):
    weights = (saved / WEIGHTS).read_bytes()
    for share in (0, 0.01, 0.5, 0.999):
        (saved / WEIGHTS).write_bytes(weights[: int(share * len(weights))])
        with pytest.raises(FileFormatError, match="cut short") as caught:
            load_model(saved)
        assert str(saved / WEIGHTS) in str(caught.value)


def test_weights_of_another_model(saved, tmp_path):
    save_model(tiny_model(dataclasses.replace(TINY, context=5)), tmp_path / "other")
    shutil.copy(tmp_path / "other" / WEIGHTS, saved / WEIGHTS)
    with pytest.raises(FileFormatError, match="do not fit the config beside them"):
        load_model(saved)


def test_weights_that_are_a_classifier(model, saved):
    drawn = drawings(2, 1)[:, 0]
    fit_classifier(model, drawn, [0, 1], ["a", "b"]).save(saved / WEIGHTS)
    with pytest.raises(FileFormatError, match="not a file of kind lgmnet-model"):
        load_model(saved)


def test_the_conventions_of_the_hub(tmp_path):
    """A folder written by `save_pretrained` is one that `from_pretrained` reads."""
    model = tiny_model()
    model.save_pretrained(tmp_path / "mine")
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {
        "config.json",
        "model.safetensors",
        "README.md",
    }
    again = Model.from_pretrained(tmp_path / "mine")
    assert again.fingerprint == model.fingerprint
    assert Model.from_pretrained("omniglot").name == "omniglot"
    card = (tmp_path / "mine" / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlibrary_name: lgmnet\nlicense: mit\n")
    with pytest.raises(ConfigError, match="Did you mean 'omniglot'"):
        Model.from_pretrained("omniglt")


OFFLINE = """
import sys
from lgmnet.model.model import Model
from lgmnet.errors import UserError
print(Model.from_pretrained("someone/symbols").name)
try:
    Model.from_pretrained("someone/else")
except UserError as error:
    print(error)
"""


def test_a_model_of_the_hub_without_the_network(tmp_path):
    """What was fetched once is found again in the offline mode; what was not, is named."""
    cached = tmp_path / "hub" / "models--someone--symbols"
    commit = "0123456789abcdef0123456789abcdef01234567"
    tiny_model().save_pretrained(cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    offline = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    ran = subprocess.run(
        [sys.executable, "-c", OFFLINE], env=offline, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    name, problem = ran.stdout.splitlines()
    assert name == "symbols"
    assert problem.startswith("The Hugging Face hub cannot serve 'someone/else'")


def test_sending_a_model_to_the_hub(monkeypatch):
    """The folder that is sent is the model's; nothing is sent here."""
    sent: dict[str, Any] = {}

    class Hub:
        def create_repo(self, repo_id: str, **options: object) -> None:
            sent["made"] = (repo_id, options)

        def upload_folder(self, *, repo_id: str, folder_path: Path) -> str:
            sent["files"] = sorted(path.name for path in folder_path.iterdir())
            sent["model"] = load_model(folder_path)
            return f"somewhere/{repo_id}"

    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    assert tiny_model().push_to_hub("someone/symbols", private=True) == "somewhere/someone/symbols"
    assert sent["made"] == ("someone/symbols", {"private": True, "exist_ok": True})
    assert sent["files"] == ["README.md", "config.json", "model.safetensors"]
    assert sent["model"].fingerprint == tiny_model().fingerprint
