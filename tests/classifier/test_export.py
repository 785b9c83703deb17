"""Export: onnxruntime predicts like torch, and the snippets run without torch."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from torch import nn

from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.classifier.export import (
    check_export_destination,
    export,
    export_meta,
    export_network,
    snippet,
)
from lgmnet.classifier.fit import fit_classifier
from lgmnet.config import with_settings
from lgmnet.data.images.read import read_image, to_drawings
from lgmnet.errors import ConfigError, UserError
from lgmnet.methods import LGMNetVectors, LGMNetVectorsConfig
from lgmnet.model.model import Model, save_model
from lgmnet.nn.embedding import vector_embedding
from lgmnet.nn.layer_statistics import LAYERS, compute_layer_statistics
from tests.contract.cases import CASES
from tests.support.command_line import lgmnet, run_without_torch
from tests.support.configs import TINY
from tests.support.images import write_drawing
from tests.support.models import build_method, drawings, tiny_model
from tests.support.random import seeded

CLASSES = ["moon", "star ☆", "sun"]


@pytest.fixture(scope="module")
def model() -> Model:
    """A model with alignment, several views and class detectors, which are hardest to export."""
    return tiny_model(with_settings(TINY, ["canvas=30", "views=2", "detectors=2"]))


@pytest.fixture(scope="module")
def fitted(model) -> FittedClassifier:
    images = drawings(3, 2).flatten(0, 1)
    return fit_classifier(model, images, [0, 0, 1, 1, 2, 2], CLASSES)


@pytest.fixture(scope="module")
def onnx_file(fitted, tmp_path_factory) -> Path:
    path: Path = tmp_path_factory.mktemp("onnx") / "symbols.onnx"
    assert export(fitted, path) < 1e-5
    return path


def test_batches_of_any_size_are_predicted_as_torch_does(fitted, onnx_file):
    session = onnxruntime.InferenceSession(onnx_file)
    for count in (1, 2, 30):
        images = drawings(count, 1, seed=4)[:, 0]
        (result,) = session.run(["probabilities"], {"images": images.numpy()})
        np.testing.assert_allclose(result, fitted.predict_proba(images).numpy(), atol=1e-5)


class SmallLayers(nn.Module):
    """Backbone with statistics of layers, whose maps are cheap ones of few positions."""

    def __init__(self) -> None:
        super().__init__()
        self.projections = nn.ModuleList(nn.Conv2d(3, channels, 1) for _, channels in LAYERS)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        small = nn.functional.adaptive_avg_pool2d(images.float() / 255, 14)
        return compute_layer_statistics([layer(small) for layer in self.projections])


def test_statistics_of_layers_can_be_exported(tmp_path):
    torch.manual_seed(0)
    images = torch.randint(256, (5, 3, 28, 28), generator=seeded()).byte()
    tests = [{"images": images}, {"images": images[:1]}]
    example = {"images": images[:3]}
    # Deviations are roots of differences, so their last digits depend on the order of sums.
    assert export_network(SmallLayers(), example, tmp_path / "x.onnx", {}, tests) < 5e-5


def test_only_an_exported_file_is_replaced(fitted, onnx_file, tmp_path):
    check_export_destination(onnx_file)
    foreign = onnx.load_model_from_string(onnx_file.read_bytes())
    del foreign.metadata_props[:]
    for content in (foreign.SerializeToString(), b"a poem", b"\x08\x0a", bytes(range(256))):
        (tmp_path / "x.onnx").write_bytes(content)
        with pytest.raises(UserError, match="exists and is no ONNX file of 'lgmnet export'"):
            export(fitted, tmp_path / "x.onnx")
        assert (tmp_path / "x.onnx").read_bytes() == content
    check_export_destination(tmp_path / "x.onnx", overwrite=True)


def test_metadata_of_the_file(onnx_file):
    metadata = onnxruntime.InferenceSession(onnx_file).get_modelmeta().custom_metadata_map
    assert json.loads(metadata["classes"]) == CLASSES
    assert json.loads(metadata["shape"]) == [1, 28, 28]
    assert metadata["model"] == "tiny"
    assert metadata["preprocessing"].startswith("drawing: ")


def test_a_metanet_adapts_without_torch(model, tmp_path):
    """Way, shots and the number of images vary; shots are uneven."""
    save_model(model, tmp_path / "tiny")
    # A separate process: here, jaxtyping checks annotations, which fails for a traced way.
    arguments = ("export", tmp_path / "tiny", "--meta", "-o", tmp_path / "meta.onnx", "--json")
    command = [sys.executable, "-m", "lgmnet", *map(str, arguments)]
    process = subprocess.run(command, check=True, capture_output=True, text=True)
    assert json.loads(process.stdout)["largest_difference"] < 1e-5
    check_export_destination(tmp_path / "meta.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "meta.onnx")
    for way, shots, n_images in ((2, [1, 1], 1), (3, [1, 4, 2], 5), (12, [2] * 12, 3)):
        support = torch.cat([drawings(way, s)[i] for i, s in enumerate(shots)])
        labels = np.repeat(np.arange(way), shots)
        images = drawings(way, 6, seed=1)[0][:n_images]
        (result,) = session.run(
            None,
            {
                "support": support.numpy(),
                "labels": np.eye(way, dtype=np.float32)[labels],
                "images": images.numpy(),
            },
        )
        expected = fit_classifier(model, support, labels.tolist(), [str(i) for i in range(way)])
        np.testing.assert_allclose(result, expected.predict_proba(images).numpy(), atol=1e-5)


@pytest.mark.parametrize("case", ["lgm-net, gains from labels", "ridge-regression, images"])
def test_a_metanet_that_onnx_cannot_express_is_refused(case, tmp_path):
    method_name, config = CASES[case]
    method = build_method(method_name, config).eval()
    model = dataclasses.replace(tiny_model(), method=method, method_name=method_name, name="mine")
    with pytest.raises(ConfigError, match=r"'mine' cannot be exported .* export that file without"):
        export_meta(model, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_predicts_differently_is_not_written(fitted, tmp_path, monkeypatch):
    monkeypatch.setattr("lgmnet.classifier.export.MAX_DIFFERENCE", -1.0)
    with pytest.raises(UserError, match=r"differ from those of torch by up to .* more than"):
        export(fitted, tmp_path / "c.onnx")
    assert list(tmp_path.iterdir()) == []


def test_vectors_are_not_exported(tmp_path):
    method = LGMNetVectors(LGMNetVectorsConfig(vector_embedding(2, 4))).eval()
    model = dataclasses.replace(tiny_model(), method=method, method_name="lgm-net-vectors")
    with pytest.raises(ConfigError, match="takes vectors"):
        export_meta(model, tmp_path / "m.onnx")
    fitted = fit_classifier(model, torch.rand(4, 2).double(), [0, 0, 1, 1], ["a", "b"])
    with pytest.raises(ConfigError, match="takes vectors"):
        export(fitted, tmp_path / "c.onnx")


def test_the_python_snippet_runs_without_torch(fitted, onnx_file, tmp_path):
    """It reads files as lgmnet does: of any size, dark or light, with transparency."""
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
    expected = fitted.predict_proba(torch.stack([read_image(path, (1, 28, 28)) for path in paths]))
    for line, path, row in zip(lines, paths, expected, strict=True):
        label, probability, name = line.split("\t")
        assert name == str(path)
        assert label == CLASSES[int(row.argmax())]
        assert float(probability) == pytest.approx(float(row.max()), abs=1e-3)


@pytest.mark.parametrize("size", [(28, 28), (60, 90), (90, 40), (20, 13)])
def test_the_javascript_snippet_makes_the_same_drawing(size, fitted, tmp_path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    gray = 255 - np.asarray(Image.fromarray(drawings(1, 1)[0, 0, 0].numpy()).resize(size)) // 2
    (tmp_path / "predict.mjs").write_text(snippet("javascript", fitted), encoding="utf-8")
    (tmp_path / "run.mjs").write_text(
        'import { CLASSES, SHAPE, toDrawing } from "./predict.mjs";\n'
        f"const gray = Float64Array.from({gray.ravel().tolist()});\n"
        f"const drawing = toDrawing(gray, {size[0]}, {size[1]}, SHAPE[2]);\n"
        "console.log(JSON.stringify([CLASSES, Array.from(drawing)]));\n",
        encoding="utf-8",
    )
    process = subprocess.run(
        [node, "run.mjs"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    classes, drawing = json.loads(process.stdout)
    assert classes == CLASSES
    expected = to_drawings(gray[None])[0, 0].numpy().astype(int)
    assert np.abs(np.array(drawing).reshape(28, 28) - expected).max() <= 1


def test_the_command(tmp_path, fitted):
    file, out = tmp_path / "c.safetensors", tmp_path / "c.onnx"
    fitted.save(file)
    result = lgmnet("export", file, "-o", out, "--json")
    assert result.code == 0, result.err
    assert result.json["exported"] == str(out)
    assert result.json["bytes"] == out.stat().st_size
    assert result.json["largest_difference"] < 1e-4
    printed = lgmnet("export", file, "--snippet", "javascript")
    assert printed.out == snippet("javascript", fitted)
    assert '["moon", "star ☆", "sun"]' in printed.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{file}"], "Nothing to do"),
        (["omniglot", "--meta"], "--meta takes -o"),
        (["{file}", "--snippet", "cobol"], "'cobol' is not one of"),
        (["{file}", "-o", "{tmp}/absent/c.onnx"], "does not exist"),
        (["absent.safetensors", "-o", "{tmp}/c.onnx"], "There is no file"),
        (["omniglt", "--meta", "-o", "{tmp}/c.onnx"], "Did you mean 'omniglot'"),
    ],
)
def test_invalid_exports(arguments, message, tmp_path, fitted):
    file = tmp_path / "c.safetensors"
    fitted.save(file)
    result = lgmnet("export", *(a.format(file=file, tmp=tmp_path) for a in arguments))
    assert result.code == 2
    assert message in " ".join(result.err.split())
    assert [path.name for path in tmp_path.iterdir()] == ["c.safetensors"]


def test_a_folder_whose_name_is_not_utf8_can_be_written_to(fitted, tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    folder.mkdir()
    export(fitted, folder / "sky.onnx")
    assert [path.name for path in folder.iterdir()] == ["sky.onnx"]
