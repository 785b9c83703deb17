"""The model suits the images by itself, and images of another kind are noticed later."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.classifier.image_kind import KIND_NOTE
from lgmnet.estimator import FewShotClassifier
from tests.support.command_line import lgmnet, listing
from tests.support.images import symbols, write_drawing
from tests.support.models import drawings


def scene(seed: int) -> Image.Image:
    """Make a colourful image of many tones."""
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(pixels).resize((72, 60), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of three photos."""
    folder = tmp_path_factory.mktemp("scenes")
    for i in range(6):
        path = folder / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        scene(i).save(path)
    return folder


@pytest.fixture
def of_drawings(tiny: Path, tmp_path: Path) -> Path:
    """Classifier file that was forged from drawings."""
    file = tmp_path / "drawn.safetensors"
    folder = symbols(tmp_path / "symbols", {"moon": 2, "star": 2})
    assert lgmnet("forge", folder, "-o", file, "--model", tiny).code == 0
    return file


def test_the_estimator_chooses_the_model_by_the_samples(scenes):
    pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra 'photos'")
    paths = sorted(scenes.glob("*/*"))
    labels = [path.parent.name for path in paths]
    arrays = [np.asarray(Image.open(path)) for path in paths]
    ink = drawings(2, 3).flatten(0, 1)[:, 0].numpy()
    vectors = np.random.default_rng(0).normal(size=(6, 4))
    for samples, model in (
        (paths, "photos"),
        (arrays, "photos"),
        ([Image.open(path) for path in paths], "photos"),
        (ink, "omniglot"),
        (list(255 - ink), "omniglot"),
        (ink / 16 - 3, "omniglot"),
        (vectors, "vectors"),
        (vectors.tolist(), "vectors"),
    ):
        classifier = FewShotClassifier().fit(samples, labels)
        assert classifier.classifier_.model == model
        assert len(classifier.predict(samples)) == 6
        classifier.partial_fit(samples, labels)
        assert len(classifier.classifier_.support.samples) == 12
    assert FewShotClassifier().get_params()["model"] == "auto"


def test_fitting_again_chooses_again(scenes):
    pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra 'photos'")
    classifier = FewShotClassifier().fit(drawings(2, 1)[:, 0, 0].numpy(), ["a", "b"])
    assert classifier.classifier_.model == "omniglot"
    classifier.fit(sorted(scenes.glob("*/0.png")) + sorted(scenes.glob("*/1.png")), ["a", "b"])
    assert classifier.classifier_.model == "photos"


def test_the_kind_is_stored_in_the_file(of_drawings, scenes, tiny, tmp_path):
    assert FittedClassifier.load(of_drawings).notes[KIND_NOTE] == "drawings"
    file = tmp_path / "photos.safetensors"
    assert lgmnet("forge", scenes, "-o", file, "--model", tiny).code == 0
    assert FittedClassifier.load(file).notes[KIND_NOTE] == "photos"
    ran = lgmnet("predict", file, scenes)
    assert "warning" not in ran.err, "whoever chose this model for photos is not warned of photos"


def test_predict_warns_once_of_photos(of_drawings, scenes, tmp_path, monkeypatch):
    monkeypatch.setattr("lgmnet.classifier.classifier.BATCH_SIZE", 2)
    ran = lgmnet("predict", of_drawings, scenes, "--json")
    assert ran.code == 0
    assert len(ran.json["predictions"]) == 6
    assert ran.err.count("warning:") == 1
    assert "this classifier was made from drawings, by the model 'tiny'" in ran.err
    assert "warning" not in lgmnet("predict", of_drawings, tmp_path / "symbols").err
    (tmp_path / "bad.png").write_bytes(b"")
    ran = lgmnet("predict", of_drawings, tmp_path / "bad.png")
    assert (ran.code, ran.err) == (2, "1 image: no answers; 1 could not be read.\n")


def test_edit_refuses_photos_without_force(of_drawings, scenes, tiny, tmp_path):
    before = listing(tmp_path)
    ran = lgmnet("edit", of_drawings, "--model", tiny, "--add", scenes)
    assert ran.code == 2
    assert ran.err.startswith(f"error: Nothing was added from '{scenes}'.")
    assert "made from drawings" in ran.err
    assert "--force" in ran.err
    assert listing(tmp_path) == before
    ran = lgmnet(
        "edit", of_drawings, "--model", tiny, "--add", scenes, "--add", scenes, "--force", "--json"
    )
    assert ran.code == 0
    assert ran.json["classes"] == {"moon": 2, "star": 2, "a": 6, "b": 6}
    assert ran.err.count("warning:") == 1
    more = symbols(tmp_path / "more", {"sun": 2}, seed=3)
    ran = lgmnet("edit", of_drawings, "--model", tiny, "--add", more)
    assert (ran.code, ran.err) == (0, "")


def test_the_estimator_warns_of_photos(tiny, scenes, of_drawings):
    ink = drawings(2, 2).flatten(0, 1)[:, 0].numpy()
    classifier = FewShotClassifier(tiny).fit(ink, ["a", "a", "b", "b"])
    paths = sorted(scenes.glob("*/*"))
    for use in (
        classifier.predict,
        classifier.predict_proba,
        FewShotClassifier.load(of_drawings).predict,
        lambda x: classifier.partial_fit(x, ["a"] * 6),
    ):
        with pytest.warns(UserWarning, match="made from drawings") as warned:
            use(paths)
        assert len(warned) == 1
    with warnings.catch_warnings(action="error"):
        classifier.predict([Image.fromarray(255 - image) for image in ink])
        classifier.predict(ink)


@pytest.fixture
def of_photos(tiny: Path, scenes: Path, tmp_path: Path) -> Path:
    """Classifier file that was forged from photos."""
    file = tmp_path / "photos.safetensors"
    assert lgmnet("forge", scenes, "-o", file, "--model", tiny).code == 0
    return file


def gray_photos(folder: Path) -> list[Path]:
    """Write gray parts of the two photos that scikit-learn brings along."""
    from sklearn.datasets import load_sample_images

    paths = []
    for number, pixels in enumerate(load_sample_images().images):
        for part in range(4):
            cut = Image.fromarray(pixels).crop((150 * part, 100, 150 * part + 150, 250))
            paths.append(folder / f"{number}-{part}.jpg")
            cut.convert("L").save(paths[-1])
    return paths


def test_a_classifier_of_photos_warns_once_of_drawings(of_photos, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("lgmnet.classifier.classifier.BATCH_SIZE", 3)
    drawn = symbols(tmp_path / "drawn", {"a": 4, "b": 4})
    ran = lgmnet("predict", of_photos, drawn, "--json")
    assert ran.code == 0
    assert ran.err.count("warning:") == 1
    assert "made from photos" in ran.err
    assert "its answers to drawings mean little" in ran.err
    before = listing(tmp_path)
    ran = lgmnet("edit", of_photos, "--model", tiny, "--add", drawn)
    assert ran.code == 2
    assert "made from photos" in ran.err
    assert listing(tmp_path) == before
    assert lgmnet("edit", of_photos, "--model", tiny, "--add", drawn, "--force").code == 0

    classifier = FewShotClassifier.load(of_photos, model=tiny)
    ink = [Image.fromarray(255 - image) for image in drawings(2, 2).flatten(0, 1)[:, 0].numpy()]
    for samples in (ink, drawings(2, 2).flatten(0, 1)[:, 0].numpy(), sorted(drawn.glob("*/*"))):
        with pytest.warns(UserWarning, match="made from photos") as warned:
            classifier.predict(samples)
        assert len(warned) == 1


def test_gray_photos_and_single_images_are_no_reason_to_warn(of_photos, tiny, tmp_path):
    """A thing on white paper passes for a drawing, so two such images are not enough."""
    folder = tmp_path / "gray"
    folder.mkdir()
    paths = gray_photos(folder)
    lone = write_drawing(tmp_path / "drawn.png", drawings(2, 1)[0, 0])
    classifier = FewShotClassifier.load(of_photos, model=tiny)
    for some in (paths, [lone], [lone, lone], [*[lone] * 7, paths[0]]):
        assert "warning" not in lgmnet("predict", of_photos, *some).err
        with warnings.catch_warnings(action="error"):
            classifier.predict(some)
    with warnings.catch_warnings(action="error"):
        FewShotClassifier("vectors").fit(np.eye(6), [0, 1] * 3).predict(np.eye(6))
