"""Export: onnxruntime answers as torch does, and the printed lines run without torch."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from lgmnet.classifier.classifier import FittedClassifier, fit_classifier
from lgmnet.classifier.export import export, export_meta, snippet
from lgmnet.data.images.read import read_drawing, to_drawings
from lgmnet.errors import ConfigError, UserError
from lgmnet.methods import LGMNetVectors, LGMNetVectorsConfig
from lgmnet.model.model import Model, save_model
from tests.cli.making import TINY, drawings, lgmnet, run_without_torch, tiny_model, write_drawing

CLASSES = ["moon", "star ☆", "sun"]


@pytest.fixture(scope="module")
def model() -> Model:
    """Aligned, in several views, with class detectors: all that can be in the way."""
    return tiny_model(dataclasses.replace(TINY, align=0.5, canvas=30, views=2, class_detectors=2))


@pytest.fixture(scope="module")
def fitted(model) -> FittedClassifier:
    images = drawings(3, 2).flatten(0, 1)
    return fit_classifier(model, images, [0, 0, 1, 1, 2, 2], CLASSES)


@pytest.fixture(scope="module")
def onnx_file(fitted, tmp_path_factory) -> Path:
    path: Path = tmp_path_factory.mktemp("onnx") / "symbols.onnx"
    assert export(fitted, path) < 1e-5
    return path


def test_any_number_of_images_is_answered_as_torch_answers(fitted, onnx_file):
    session = onnxruntime.InferenceSession(onnx_file)
    for count in (1, 2, 30):
        images = drawings(count, 1, seed=4)[:, 0]
        (came,) = session.run(["probabilities"], {"images": images.numpy()})
        np.testing.assert_allclose(came, fitted.predict_proba(images).numpy(), atol=1e-5)


def test_the_file_says_what_it_is(onnx_file):
    about = onnxruntime.InferenceSession(onnx_file).get_modelmeta().custom_metadata_map
    assert json.loads(about["classes"]) == CLASSES
    assert json.loads(about["shape"]) == [1, 28, 28]
    assert about["model"] == "tiny"
    assert about["preprocessing"].startswith("drawing: ")


def test_forging_without_torch(model, tmp_path):
    """Way, shot and number of images as they come, shots uneven."""
    save_model(model, tmp_path / "tiny")
    # In a process of its own: the checks of annotations here want the way to be a number already.
    words = ("export", tmp_path / "tiny", "--meta", "-o", tmp_path / "meta.onnx", "--json")
    command = [sys.executable, "-m", "lgmnet.cli", *map(str, words)]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    assert json.loads(ran.stdout)["largest_difference"] < 1e-5
    session = onnxruntime.InferenceSession(tmp_path / "meta.onnx")
    for way, shots, asked in ((2, [1, 1], 1), (3, [1, 4, 2], 5), (12, [2] * 12, 3)):
        support = torch.cat([drawings(way, s)[i] for i, s in enumerate(shots)])
        labels = np.repeat(np.arange(way), shots)
        images = drawings(way, 6, seed=1)[0][:asked]
        (came,) = session.run(
            None,
            {
                "support": support.numpy(),
                "labels": np.eye(way, dtype=np.float32)[labels],
                "images": images.numpy(),
            },
        )
        expected = fit_classifier(model, support, labels.tolist(), [str(i) for i in range(way)])
        np.testing.assert_allclose(came, expected.predict_proba(images).numpy(), atol=1e-5)


def test_a_file_that_would_answer_otherwise_is_not_written(fitted, tmp_path, monkeypatch):
    monkeypatch.setattr("lgmnet.classifier.export.MOST_APART", -1.0)
    with pytest.raises(UserError, match="apart from torch, more than"):
        export(fitted, tmp_path / "c.onnx")
    assert list(tmp_path.iterdir()) == []


def test_vectors_are_not_exported(tmp_path):
    method = LGMNetVectors(LGMNetVectorsConfig(feature_shape=(2,), embedding_widths=(4,))).eval()
    model = dataclasses.replace(tiny_model(), method=method, method_name="lgm-net-vectors")
    with pytest.raises(ConfigError, match="takes vectors"):
        export_meta(model, tmp_path / "m.onnx")
    fitted = fit_classifier(model, torch.rand(4, 2).double(), [0, 0, 1, 1], ["a", "b"])
    with pytest.raises(ConfigError, match="takes vectors"):
        export(fitted, tmp_path / "c.onnx")


def test_the_python_lines_run_without_torch(fitted, onnx_file, tmp_path):
    """And make the same of files as we do: of any size, dark or light, with transparency."""
    paths = []
    for i, image in enumerate(drawings(6, 1, seed=8)[:, 0]):
        path = write_drawing(tmp_path / f"{i}.png", image)
        picture: Image.Image = Image.open(path)
        if i == 1:
            picture = picture.resize((300, 420))
        if i == 2:
            picture = Image.eval(picture, lambda value: 255 - value)
        if i == 3:
            ink = Image.eval(picture, lambda value: 255 - value)
            picture = Image.merge("LA", [Image.new("L", picture.size), ink]).convert("RGBA")
        picture.save(path)
        paths.append(path)
    script = tmp_path / "predict.py"
    script.write_text(snippet("python", fitted), encoding="utf-8")
    lines = run_without_torch(script, onnx_file, *paths)
    expected = fitted.predict_proba(torch.stack([read_drawing(path) for path in paths]))
    for line, path, answer in zip(lines, paths, expected, strict=True):
        label, probability, name = line.split("\t")
        assert name == str(path)
        assert label == CLASSES[int(answer.argmax())]
        assert float(probability) == pytest.approx(float(answer.max()), abs=1e-3)


@pytest.mark.parametrize("size", [(28, 28), (60, 90), (90, 40), (20, 13)])
def test_the_javascript_lines_make_the_same_drawing(size, fitted, tmp_path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node to run JavaScript with")
    gray = 255 - np.asarray(Image.fromarray(drawings(1, 1)[0, 0, 0].numpy()).resize(size)) // 2
    (tmp_path / "predict.mjs").write_text(snippet("javascript", fitted), encoding="utf-8")
    (tmp_path / "run.mjs").write_text(
        'import { CLASSES, SHAPE, drawing } from "./predict.mjs";\n'
        f"const gray = Float64Array.from({gray.ravel().tolist()});\n"
        f"const made = drawing(gray, {size[0]}, {size[1]}, SHAPE[2]);\n"
        "console.log(JSON.stringify([CLASSES, Array.from(made)]));\n",
        encoding="utf-8",
    )
    ran = subprocess.run(
        [node, "run.mjs"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    classes, made = json.loads(ran.stdout)
    assert classes == CLASSES
    expected = to_drawings(gray[None])[0, 0].numpy().astype(int)
    assert np.abs(np.array(made).reshape(28, 28) - expected).max() <= 1


def test_the_command(tmp_path, fitted):
    file, out = tmp_path / "c.safetensors", tmp_path / "c.onnx"
    fitted.save(file)
    ran = lgmnet("export", file, "-o", out, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["exported"] == str(out)
    assert ran.json["bytes"] == out.stat().st_size
    assert ran.json["largest_difference"] < 1e-4
    printed = lgmnet("export", file, "--snippet", "javascript")
    assert printed.out == snippet("javascript", fitted)
    assert '["moon", "star ☆", "sun"]' in printed.out


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["{file}"], "Nothing to do"),
        (["omniglot", "--meta"], "--meta takes -o"),
        (["{file}", "--snippet", "cobol"], "'cobol' is not one of"),
        (["{file}", "-o", "{tmp}/absent/c.onnx"], "does not exist"),
        (["absent.safetensors", "-o", "{tmp}/c.onnx"], "There is no file"),
        (["omniglt", "--meta", "-o", "{tmp}/c.onnx"], "Did you mean 'omniglot'"),
    ],
)
def test_exports_that_cannot_be(words, names, tmp_path, fitted):
    file = tmp_path / "c.safetensors"
    fitted.save(file)
    ran = lgmnet("export", *(word.format(file=file, tmp=tmp_path) for word in words))
    assert ran.code == 2
    assert names in " ".join(ran.err.split())
    assert [path.name for path in tmp_path.iterdir()] == ["c.safetensors"]
