"""Models as folders: saving, loading, damaged folders, the card and the Hugging Face hub."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from huggingface_hub import ModelCard
from torch import Tensor

from lgmnet.classifier.fit import fit_classifier
from lgmnet.config import with_settings
from lgmnet.errors import ConfigError, FileFormatError, UserError
from lgmnet.evaluation import Score
from lgmnet.model.folder import CONFIG_KEY, KIND, VERSION, read_model_folder
from lgmnet.model.model import Model, load_model, save_model
from lgmnet.model.registry import (
    CARD_FILE,
    CONFIG_FILE,
    WEIGHTS_FILE,
    model_folder,
    shipped_models,
)
from lgmnet.nn.embedding import vector_embedding
from lgmnet.tensor_file import write_tensors
from tests.support.command_line import listing
from tests.support.configs import TINY, lgm_net_config
from tests.support.models import drawings, tiny_model

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


def predict(model: Model) -> Tensor:
    """Probabilities of a classifier fitted with the model, for some drawings."""
    images = drawings(4, 2)
    fitted = fit_classifier(model, images[:, 0], [0, 1, 2, 3], ["a", "b", "c", "d"])
    return fitted.predict_proba(images[:, 1])


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
        with_settings(TINY, ["temperature=none", "context=none", "target.norm=false"]),
        with_settings(TINY, ["feature_shape=[3, 16, 20]", "embedding.norm=sample"]),
        lgm_net_config(vector_embedding(2, 8), target_widths=(8, 4)),
    ],
    ids=["tiny", "ablated", "colour", "points"],
)
def test_a_saved_model_is_loaded_unchanged(config, tmp_path):
    model = tiny_model(config).with_score(SCORE)
    save_model(model, tmp_path / "deep" / "mine")
    loaded = load_model(tmp_path / "deep" / "mine")
    assert loaded.name == "mine"
    assert loaded.method_name == "lgm-net"
    assert loaded.training == model.training
    assert loaded.scores == (dataclasses.replace(SCORE, scores=()),)
    assert loaded.method.config == config
    assert not loaded.half_precision
    assert not loaded.method.training, "a loaded model is in evaluation mode"
    assert loaded.method.state_dict().keys() == model.method.state_dict().keys()
    for name, tensor in loaded.method.state_dict().items():
        assert torch.equal(tensor, model.method.state_dict()[name]), name


def test_a_loaded_model_predicts_identically(model, saved):
    assert torch.equal(predict(load_model(saved)), predict(model))
    assert torch.equal(predict(load_model(str(saved))), predict(model))


def test_saving_again_replaces_the_files(model, saved):
    other = tiny_model(seed=1)
    save_model(other, saved)
    assert torch.equal(predict(load_model(saved)), predict(other))
    assert not torch.equal(predict(load_model(saved)), predict(model))
    assert set(listing(saved)) == {WEIGHTS_FILE, CONFIG_FILE, CARD_FILE}


def test_a_model_in_16_bits_is_half_as_large_and_predicts_nearly_the_same(model, saved, tmp_path):
    half = tmp_path / "half"
    save_model(dataclasses.replace(model, half_precision=True), half)
    tensors = safetensors.torch.load_file(half / WEIGHTS_FILE)
    floats = {k: t.dtype for k, t in tensors.items() if t.is_floating_point()}
    assert set(floats.values()) == {torch.float16}
    assert all(t.dtype != torch.float16 for k, t in tensors.items() if k not in floats)
    assert (half / WEIGHTS_FILE).stat().st_size < 0.6 * (saved / WEIGHTS_FILE).stat().st_size

    loaded = load_model(half)
    assert loaded.half_precision
    assert {p.dtype for p in loaded.method.parameters()} == {torch.float32}
    torch.testing.assert_close(predict(loaded), predict(model), rtol=0, atol=2e-3)
    assert not torch.equal(predict(loaded), predict(model))
    # Recording a score saves it again; that must neither enlarge the file nor lose precision.
    save_model(loaded.with_score(SCORE), half)
    assert torch.equal(predict(load_model(half)), predict(loaded))
    assert load_model(half).half_precision


def test_the_card_describes_the_model(model, saved):
    card = (saved / CARD_FILE).read_text(encoding="utf-8")
    assert card == load_model(saved).card
    parameters = sum(p.numel() for p in model.method.parameters())
    for words in (
        "# mine\n",
        f"LGMNet, {parameters:,} parameters",
        "(1, 28, 28)",
        "Recipe `tiny`, seed 0, 3 steps; weights of step 2 (best on validation)",
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


@pytest.mark.parametrize("data", ["strokes", "/home/me/a, b", "C:\\cats: [1]", "文字"])
def test_the_hub_reads_the_metadata_of_the_card(data):
    metadata = ModelCard(tiny_model(data=data).card).data.to_dict()
    # A folder of the user's is no data set of the hub, and its path is nobody's business.
    assert metadata.get("datasets") == ([data] if data == "strokes" else None)
    assert (metadata["library_name"], metadata["license"]) == ("lgmnet", "mit")
    assert metadata["pipeline_tag"] == "image-classification"


def test_a_card_without_scores_says_so():
    assert "None yet" in tiny_model().card


def test_a_new_score_replaces_an_older_one_of_the_same_kind():
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
    reordered = tiny_model()
    for score in (newer, *reversed(other)):
        reordered = reordered.with_score(score)
    assert reordered.scores == model.scores, "the order must not depend on that of recording"
    assert tiny_model().scores == (), "the original model must not change"


def test_every_shipped_model_loads():
    for name in shipped_models():
        assert model_folder(name) == model_folder(str(model_folder(name)))
        loaded = load_model(name)
        assert loaded.name == name
        assert loaded.training.split_hash


def test_a_shipped_model_takes_precedence_over_a_folder_of_the_same_name(tmp_path, monkeypatch):
    shipped = tmp_path / "shipped"
    save_model(tiny_model(), shipped / "omniglot")
    monkeypatch.setattr("lgmnet.model.registry.PRETRAINED_FOLDER", shipped)
    monkeypatch.chdir(tmp_path)
    save_model(tiny_model(seed=1), Path("omniglot"))
    assert shipped_models() == ["omniglot"]
    assert model_folder("omniglot") == shipped / "omniglot"
    assert model_folder("./omniglot") == Path("omniglot")


def test_an_unknown_model_is_refused(tmp_path, monkeypatch):
    save_model(tiny_model(), tmp_path / "shipped" / "omniglot")
    monkeypatch.setattr("lgmnet.model.registry.PRETRAINED_FOLDER", tmp_path / "shipped")
    with pytest.raises(ConfigError, match=r"'omniglt'. Did you mean 'omniglot'\? Known: omniglot"):
        load_model("omniglt")


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", [None, 3, ["omniglot"], len])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(ConfigError, match="Expected the name of a model, such as 'omniglot', or"):
        load_model(name)


def test_a_folder_that_cannot_be_made_raises_a_user_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="Cannot make the folder"):
        save_model(tiny_model(), tmp_path / "file")


def test_a_folder_without_weights_is_refused(saved):
    (saved / WEIGHTS_FILE).unlink()
    with pytest.raises(FileFormatError, match=f"is not a model: it has no {WEIGHTS_FILE}") as error:
        load_model(saved)
    assert str(saved) in str(error.value)


NO_MODELS = ("", "{", "null", "[]", "3", '"text"', "{}", '{"format": "lgmnet-model"}')
DEEP, LARGE = "[" * 10**5, '{"x": ' + "9" * 5000 + "}"


@pytest.mark.parametrize("text", [*NO_MODELS, DEEP, LARGE], ids=[*NO_MODELS, "deep", "large"])
def test_a_config_that_does_not_describe_a_model_is_refused(text, saved):
    (saved / CONFIG_FILE).write_text(text)
    with pytest.raises(FileFormatError, match="is damaged or was altered") as caught:
        load_model(saved)
    assert str(saved / CONFIG_FILE) in str(caught.value)
    set_config(saved, text)
    with pytest.raises(FileFormatError, match="is damaged") as caught:
        load_model(saved)
    assert str(saved / WEIGHTS_FILE) in str(caught.value)


def test_a_config_that_is_not_text_is_refused(saved):
    (saved / CONFIG_FILE).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileFormatError, match="is damaged"):
        load_model(saved)


def set_config(folder: Path, text: str) -> None:
    """Write the config of a model folder anew: the one that the weights carry, and no copy."""
    tensors = safetensors.torch.load_file(folder / WEIGHTS_FILE)
    write_tensors(folder / WEIGHTS_FILE, tensors, KIND, VERSION, {CONFIG_KEY: text})
    (folder / CONFIG_FILE).unlink()


def paths_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything in a JSON value."""
    children = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in children:
        yield (*path, key)
        if isinstance(inner, (dict, list)):
            yield from paths_in(inner, (*path, key))


JUNK: tuple[Any, ...] = (None, {}, ["recipe"], "x", -1, "drop")


def test_junk_anywhere_in_the_config_raises_an_error_that_names_the_file(saved, monkeypatch):
    """Replace or remove each value in turn: the model loads, or the error names the file."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # Hundreds of files take seconds.
    tensors, config, _ = read_model_folder(saved)
    (saved / CONFIG_FILE).unlink()
    messages = []
    for path in paths_in(config):
        for junk in JUNK:
            changed = json.loads(json.dumps(config))
            parent = changed
            for key in path[:-1]:
                parent = parent[key]
            if junk == "drop":
                del parent[path[-1]]
            else:
                parent[path[-1]] = junk
            metadata = {CONFIG_KEY: json.dumps(changed)}
            write_tensors(saved / WEIGHTS_FILE, tensors, KIND, VERSION, metadata)
            try:
                load_model(saved)
            except UserError as error:
                messages.append(str(error))
    assert len(messages) > 200
    for message in messages:
        assert str(saved) in message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "lgm"}, "no method 'lgm'. Did you mean 'lgm-net'?"),
        ({"config": {"contxt": 3}}, "'contxt'. Did you mean 'context'?"),
        ({"config": {"context": {"length": -3}}}, "'context.length' must be positive, but is -3"),
    ],
)
def test_a_config_of_another_model_is_refused(changes, words, saved):
    _, config, _ = read_model_folder(saved)
    set_config(saved, json.dumps(config | changes))
    with pytest.raises(UserError) as caught:
        load_model(saved)
    assert words in str(caught.value)
    assert str(saved / WEIGHTS_FILE) in str(caught.value)


def test_a_folder_of_a_later_version_is_refused(saved):
    tensors = safetensors.torch.load_file(saved / WEIGHTS_FILE)
    write_tensors(saved / WEIGHTS_FILE, tensors, KIND, VERSION + 1, {})
    words = f"a later lgmnet; this lgmnet reads version {VERSION}. Update"
    with pytest.raises(FileFormatError, match=words):
        load_model(saved)


def test_weights_that_are_cut_short_are_refused(saved):
    weights = (saved / WEIGHTS_FILE).read_bytes()
    for share in (0, 0.01, 0.5, 0.999):
        (saved / WEIGHTS_FILE).write_bytes(weights[: int(share * len(weights))])
        with pytest.raises(FileFormatError, match="cut short") as caught:
            load_model(saved)
        assert str(saved / WEIGHTS_FILE) in str(caught.value)


def test_a_config_of_other_weights_is_refused(saved):
    other = with_settings(TINY, ["context.length=5"])
    _, config, _ = read_model_folder(saved)
    set_config(saved, json.dumps(config | {"config": dataclasses.asdict(other)}))
    with pytest.raises(FileFormatError, match="do not fit the config"):
        load_model(saved)


def test_a_classifier_file_as_weights_is_refused(model, saved):
    fitted = fit_classifier(model, drawings(2, 1)[:, 0], [0, 1], ["a", "b"])
    with pytest.raises(UserError, match="is no file of the format lgmnet-classifier"):
        fitted.save(saved / WEIGHTS_FILE)
    fitted.save(saved / WEIGHTS_FILE, overwrite=True)
    with pytest.raises(FileFormatError, match="must be a file of the format lgmnet-model"):
        load_model(saved)


def test_save_pretrained_and_from_pretrained(tmp_path):
    model = tiny_model()
    model.save_pretrained(tmp_path / "mine")
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {
        "config.json",
        "model.safetensors",
        "README.md",
    }
    loaded = Model.from_pretrained(tmp_path / "mine")
    assert loaded.fingerprint == model.fingerprint
    assert Model.from_pretrained("omniglot").name == "omniglot"
    card = (tmp_path / "mine" / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlibrary_name: lgmnet\nlicense: mit\n")
    with pytest.raises(ConfigError, match="Did you mean 'omniglot'"):
        Model.from_pretrained("omniglt")


OFFLINE = """
import sys
from lgmnet.model.model import Model
from lgmnet.errors import UserError
from lgmnet.model.model import load_model
print(Model.from_pretrained("hub:someone/symbols").name)
print(load_model("hub:someone/symbols").name)
try:
    Model.from_pretrained("hub:someone/else")
except UserError as error:
    print(error)
"""


def test_a_model_of_the_hub_is_loaded_offline_if_it_was_downloaded_before(tmp_path):
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
    *names, problem = ran.stdout.splitlines()
    assert names == ["symbols", "symbols"]
    assert problem.startswith("Cannot download 'someone/else' from the Hugging Face hub")


def refuse_download(*arguments: object, **options: object) -> None:
    raise AssertionError("the hub was asked")


@pytest.mark.parametrize("name", ["outputs/typo", "typo", "a/b/c", "./someone/symbols"])
def test_a_name_without_the_prefix_of_the_hub_never_goes_there(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse_download)
    for load in (Model.from_pretrained, load_model):
        with pytest.raises(ConfigError, match=re.escape(f"folder of a model '{name}'.")) as caught:
            load(name)
        is_like_an_id = name == "outputs/typo"
        assert (f"is named hub:{name}" in str(caught.value)) == is_like_an_id
    (tmp_path / "outputs" / "tipo").mkdir(parents=True)
    with pytest.raises(ConfigError, match="Did you mean 'outputs/tipo'"):
        load_model("outputs/typo")


@pytest.mark.parametrize("name", ["hub:", "hub:symbols", "hub:a/b/c", "hub:../x", "hub: a/b"])
def test_a_malformed_name_on_the_hub_is_refused_without_the_network(name, monkeypatch):
    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse_download)
    with pytest.raises(ConfigError, match="hub:owner/name"):
        Model.from_pretrained(name)


def test_a_folder_may_have_a_name_like_one_of_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse_download)
    folder = Path("hub:someone") / "symbols"
    save_model(tiny_model(), folder)
    assert load_model(folder).name == "symbols"


def test_push_to_hub_uploads_the_folder_of_the_model(monkeypatch):
    uploaded: dict[str, Any] = {}

    class Hub:
        def create_repo(self, repo_id: str, **options: object) -> None:
            uploaded["repository"] = (repo_id, options)

        def upload_folder(self, *, repo_id: str, folder_path: Path) -> str:
            uploaded["files"] = sorted(path.name for path in folder_path.iterdir())
            uploaded["model"] = load_model(folder_path)
            return f"somewhere/{repo_id}"

    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    assert tiny_model().push_to_hub("someone/symbols", private=True) == "somewhere/someone/symbols"
    assert uploaded["repository"] == ("someone/symbols", {"private": True, "exist_ok": True})
    assert uploaded["files"] == ["README.md", "config.json", "model.safetensors"]
    assert uploaded["model"].fingerprint == tiny_model().fingerprint
