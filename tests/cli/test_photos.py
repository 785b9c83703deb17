"""Photos: forge, predict, edit, export and the estimator."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.classifier.thumbnails import find_thumbnail
from lgmnet.data.datasets.caltech101 import caltech101
from lgmnet.errors import DataError
from lgmnet.estimator import FewShotClassifier
from lgmnet.model.registry import shipped_models
from lgmnet.scoring import Scorer
from tests.support.command_line import lgmnet, run_without_torch

pytest.importorskip(
    "efficientnet_lite_pytorch", reason="needs the extra 'photos': pip install lgmnet[photos]"
)
KINDS = {"sky": (60, 130, 230), "grass": (60, 150, 40), "brick": (170, 70, 50)}


def photo(kind: str, seed: int) -> Image.Image:
    """Make an image like a photo: a shaded surface of one colour with a grain."""
    random = np.random.default_rng(seed)
    grain = {"sky": (1, 1), "grass": (40, 4), "brick": (6, 10)}[kind]
    noise = Image.fromarray(random.integers(0, 120, grain, dtype=np.uint8)).resize((96, 64))
    shade = np.asarray(noise, dtype=float) - 60 + np.linspace(-20, 20, 96)
    pixels = np.array(KINDS[kind]) + shade[..., None] * [1.0, 0.9, 0.8]
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Three support photos and two query photos of each class."""
    top: Path = tmp_path_factory.mktemp("photos")
    for kind in KINDS:
        for i in range(5):
            place = top / ("support" if i < 3 else "query") / kind
            place.mkdir(parents=True, exist_ok=True)
            photo(kind, i).save(place / f"{i}.jpg", quality=95)
    return top


@pytest.fixture(scope="module")
def classifier_file(folder) -> Path:
    """Classifier of the support photos, forged with the default model."""
    output: Path = folder / "photos.safetensors"
    ran = lgmnet("forge", folder / "support", "-o", output)
    assert ran.code == 0, ran.err
    assert "The model is therefore 'photos'" in ran.err
    return output


def test_the_photos_model_ships():
    assert "photos" in shipped_models()


def test_photos_are_classified_correctly(folder, classifier_file):
    ran = lgmnet("predict", classifier_file, folder / "query", "--json")
    assert ran.code == 0
    predictions = ran.json["predictions"]
    assert len(predictions) == 6
    assert all(Path(p["image"]).parent.name == p["label"] for p in predictions)


def test_a_scorer_gives_the_same_answers_and_leaves_the_cache_alone(
    folder, classifier_file, tmp_path, monkeypatch
):
    """The features of millions of photos would fill the disk."""
    paths = sorted((folder / "query").glob("*/*.jpg"))
    ran = lgmnet("predict", classifier_file, folder / "query", "--json")
    monkeypatch.setenv("LGMNET_CACHE", str(tmp_path / "cache"))
    scores = Scorer(classifier_file)(paths)
    assert not (tmp_path / "cache").exists()
    for name in KINDS:
        expected = [p["probabilities"][name] for p in ran.json["predictions"]]
        np.testing.assert_allclose(scores[f"probability_{name}"], expected, atol=1e-5)


def test_a_classifier_of_photos_can_be_edited_and_inspected(folder, classifier_file, tmp_path):
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(classifier_file.read_bytes())
    assert lgmnet("edit", copy, "--rename", "sky=heaven", "--remove", "brick").code == 0
    ran = lgmnet("predict", copy, folder / "query" / "sky", "--json")
    assert {p["label"] for p in ran.json["predictions"]} == {"heaven"}
    content = lgmnet("inspect", classifier_file, "--json").json
    assert content["model"] == "photos"


@pytest.fixture(scope="module")
def onnx_file(classifier_file, tmp_path_factory):
    """Export once: it takes half a minute."""
    path = tmp_path_factory.mktemp("export") / "photos.onnx"
    ran = lgmnet("export", classifier_file, "-o", path)
    assert ran.code == 0, ran.err
    return path


def test_the_onnx_file_contains_the_backbone(onnx_file):
    """The export itself compares onnxruntime with torch and fails above a difference of 1e-4."""
    assert onnx_file.stat().st_size > 10_000_000


def test_the_python_snippet_classifies_photos_without_torch(onnx_file, classifier_file, tmp_path):
    """Photos of any proportions, gray ones and ones rotated by EXIF get the labels of `predict`."""
    paths = []
    for kind in KINDS:
        for i, size in enumerate([(96, 64), (50, 120)]):
            paths.append(tmp_path / f"{kind}{i}.png")
            photo(kind, 7 + i).resize(size).save(paths[-1])
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: rotated by 90 degrees.
    photo("grass", 11).save(tmp_path / "rotated.jpg", exif=exif)
    photo("sky", 12).convert("L").save(tmp_path / "gray.png")
    paths += [tmp_path / "rotated.jpg", tmp_path / "gray.png"]
    script = tmp_path / "predict.py"
    script.write_text(
        lgmnet("export", classifier_file, "--snippet", "python").out, encoding="utf-8"
    )
    expected = lgmnet("predict", classifier_file, *paths, "--json").json["predictions"]
    lines = run_without_torch(script, onnx_file, *paths)
    for line, prediction in zip(lines, expected, strict=True):
        label, probability, name = line.split("\t")
        assert name == prediction["image"]
        assert label == prediction["label"]
        assert float(probability) == pytest.approx(
            max(prediction["probabilities"].values()), abs=0.02
        )


def test_the_estimator_takes_paths_and_arrays_of_photos(folder):
    paths = sorted((folder / "support").rglob("*.jpg"))
    names = [path.parent.name for path in paths]
    classifier = FewShotClassifier("photos").fit(paths, names)
    queries = sorted((folder / "query").rglob("*.jpg"))
    expected = [path.parent.name for path in queries]
    assert classifier.predict(queries).tolist() == expected
    arrays = np.stack([np.asarray(Image.open(path)) for path in queries])
    assert classifier.predict(arrays).tolist() == expected
    support_attention = classifier.explain(queries)
    assert support_attention.shape == (6, 9)
    np.testing.assert_allclose(support_attention.sum(1), 1, rtol=1e-5)
    assert classifier.spread(queries).max() > 0


@pytest.mark.usefixtures("unchecked")
def test_test_classes_are_classified_about_as_well_as_the_card_says():
    """Ten test classes of Caltech-101 with five support photos; the card says above 90 % 20-way."""
    try:
        dataset = caltech101("test")
    except DataError as error:
        pytest.skip(str(error))
    places = [int(dataset.starts[c]) + i for c in range(10) for i in range(8)]
    images = dataset.images[places].permute(0, 2, 3, 1).unflatten(0, (10, 8)).numpy()
    support, query = images[:, :5].reshape(50, 128, 128, 3), images[:, 5:].reshape(30, 128, 128, 3)
    names = dataset.class_names[:10]
    classifier = FewShotClassifier("photos").fit(support, np.repeat(names, 5))
    assert classifier.score(query, np.repeat(names, 3)) > 0.9


def test_a_report_has_pictures_of_photos(folder, classifier_file, tmp_path):
    """A support photo of the wrong class is shown, although the classifier has only features."""
    wrong = tmp_path / "support"
    shutil.copytree(folder / "support", wrong)
    shutil.copy(folder / "query" / "sky" / "3.jpg", wrong / "brick" / "wrong.jpg")
    file, page = tmp_path / "c.safetensors", tmp_path / "report.html"
    assert lgmnet("forge", wrong, "-o", file).code == 0
    ran = lgmnet("report", file, folder / "query", "-o", page, "--json")
    assert "brick/wrong.jpg" in [suspect["source"] for suspect in ran.json["suspects"]]
    text = page.read_text(encoding="utf-8")
    figure = next(part for part in text.split("<figure>") if "brick/wrong.jpg" in part)
    assert 'src="data:image/png;base64,' in figure
    before = FittedClassifier.load(classifier_file)
    assert all(find_thumbnail(before, place) for place in range(9)), "for the studio, too"
    more = tmp_path / "more"
    shutil.copytree(folder / "query", more)
    assert lgmnet("edit", file, "--add", more).code == 0
    grown = FittedClassifier.load(file)
    assert all(find_thumbnail(grown, place) for place in range(len(grown.support.samples)))
