"""The scorer: dicts of arrays in and out, in worker processes, with and without PyTorch."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lgmnet.data.images.read import read_image
from lgmnet.errors import ConfigError, FileFormatError
from lgmnet.scoring import Scorer
from lgmnet.scoring import scorer as scorer_module
from lgmnet.scoring.loaded import load_content

CLASSES = ["moon", "star ☆", "sun"]
COLUMNS = [
    "label",
    "probability",
    "error",
    *(f"probability_{name}" for name in CLASSES),
    "none_probability",
]


@pytest.fixture(params=["classifier", "exported"])
def file(request) -> Path:
    path: Path = request.getfixturevalue(request.param)
    return path


@pytest.fixture(scope="module")
def paths(images) -> list[Path]:
    return sorted(images.glob("*/*.png"))


def expected_probabilities(fitted, paths) -> np.ndarray:
    samples = torch.stack([read_image(path, fitted.inputs.shape) for path in paths])
    probabilities: np.ndarray = fitted.predict_proba(samples).numpy()
    return probabilities


def test_scores_are_those_of_the_classifier(file, fitted, paths):
    scores = Scorer(file)({"bytes": [p.read_bytes() for p in paths], "path": list(map(str, paths))})
    assert list(scores) == ["path", *COLUMNS]
    assert all(len(values) == len(paths) for values in scores.values())
    expected = expected_probabilities(fitted, paths)
    given = np.stack([scores[f"probability_{name}"] for name in CLASSES], 1)
    np.testing.assert_allclose(given, expected, atol=1e-5)
    assert scores["label"].tolist() == [CLASSES[i] for i in expected.argmax(1)]
    np.testing.assert_allclose(scores["probability"], expected.max(1), atol=1e-5)
    samples = torch.stack([read_image(path, fitted.inputs.shape) for path in paths])
    none = fitted.none_probability(fitted.analyze(samples))
    np.testing.assert_allclose(scores["none_probability"], none.numpy(), atol=1e-4)
    assert scores["path"].tolist() == list(map(str, paths))
    assert set(scores["error"]) == {""}


def test_each_form_of_an_image_gives_the_same_scores(exported, paths):
    """Encoded bytes, arrays, PIL images, paths, and what Hugging Face stores."""
    scorer = Scorer(exported)
    contents = [path.read_bytes() for path in paths]
    pictures = [Image.open(io.BytesIO(content)) for content in contents]
    expected = scorer(contents)["probability"]
    forms = {
        "bytearrays": np.array([bytearray(content) for content in contents], dtype=object),
        "one array": np.stack([np.asarray(picture) for picture in pictures]),
        "PIL": pictures,
        "paths": paths,
        "stored bytes": [{"bytes": content, "path": None} for content in contents],
        "stored paths": [{"bytes": None, "path": str(path)} for path in paths],
    }
    for name, form in forms.items():
        np.testing.assert_array_equal(scorer(form)["probability"], expected, name)
        for column in ("image", "bytes", "content"):
            np.testing.assert_array_equal(scorer({column: form})["probability"], expected, name)
    given = Scorer(exported, column="photo")({"photo": contents, "image": contents})
    np.testing.assert_array_equal(given["probability"], expected)


def test_an_image_that_cannot_be_read_has_an_error_and_the_others_are_scored(file, paths):
    scorer = Scorer(file)
    good = [paths[0].read_bytes(), paths[1].read_bytes()]
    bad = [b"", b"no image", good[0][:60], None, {"bytes": None, "path": None}, np.zeros((2, 5, 7))]
    scores = scorer({"image": [good[0], *bad, good[1]]})
    assert list(scores) == COLUMNS
    errors = scores["error"].tolist()
    assert [bool(error) for error in errors] == [False, *[True] * len(bad), False]
    assert scores["label"].tolist()[1:-1] == [""] * len(bad)
    for name, values in scores.items():
        if name not in ("label", "error"):
            assert np.isnan(values.astype(float))[1:-1].all(), name
            np.testing.assert_allclose(values[[0, -1]], scorer(good)[name], atol=1e-6)
    nothing = scorer({"image": bad})
    assert list(nothing) == COLUMNS, "the columns are the same if no image can be read"
    assert all(len(values) == 0 for values in scorer({"image": []}).values())


@pytest.mark.parametrize("none", [True, 0.3, 0.4])
def test_images_of_no_class_get_that_label_with_the_same_threshold(
    none, fitted, classifier, exported, paths
):
    samples = torch.stack([read_image(path, fitted.inputs.shape) for path in paths])
    rate = None if none is True else none
    expected = fitted.rejected(fitted.analyze(samples), rate).tolist()
    assert any(expected)
    assert not all(expected)
    for file in (classifier, exported):
        scores = Scorer(file, none=none)(paths)
        labels = scores["label"]
        assert (labels == "none of these").tolist() == expected
        is_none = np.array(expected)
        np.testing.assert_array_equal(
            scores["probability"][is_none], scores["none_probability"][is_none]
        )


def test_all_copies_in_a_process_load_the_classifier_once(classifier, exported, monkeypatch):
    loads: list[str] = []

    def count(content: bytes, name: str, engine: str, none: bool | float):
        loads.append(name)
        return load_content(content, name, engine, none)

    monkeypatch.setattr(scorer_module, "load_content", count)
    monkeypatch.setattr(scorer_module, "_loaded", {})
    for file in (classifier, exported):
        scorer = Scorer(file)
        assert loads == [], "the first batch loads it"
        sent = pickle.dumps(scorer)
        for _ in range(2):
            copy = pickle.loads(sent)
            assert copy.columns == tuple(COLUMNS)
            copy([b""])
        assert loads == [str(file)]
        loads.clear()
        assert pickle.dumps(scorer) == sent, "Hugging Face knows a function by its pickle"


def test_an_exported_classifier_needs_no_torch(exported, classifier, images, paths, tmp_path):
    """Neither the scorer nor `lgmnet predict`, with or without ``--out``, imports it."""
    code = f"""
import json, pathlib, sys
sys.modules["torch"] = None  # An import of it would fail.
from lgmnet.scoring import Scorer
paths = {list(map(str, paths))}
scores = Scorer({str(exported)!r})({{"bytes": [pathlib.Path(p).read_bytes() for p in paths]}})
from lgmnet.cli import main
for words in (["--out", {str(tmp_path / "scores")!r}], []):
    sys.argv = ["lgmnet", "predict", {str(exported)!r}, {str(images)!r}, "--json", *words]
    try:
        main()
    except SystemExit as end:
        assert not end.code, end.code
print(json.dumps(scores["probability"].tolist()))
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    summary, printed, scores = map(json.loads, ended.stdout.splitlines())
    assert summary["images"] == len(paths) == len(printed["predictions"])
    np.testing.assert_allclose(scores, Scorer(classifier)(paths)["probability"], atol=1e-5)


def test_wrong_files_and_arguments_are_named(exported, classifier, tmp_path):
    with pytest.raises(FileFormatError, match=r"There is no file 'absent\.onnx'"):
        Scorer("absent.onnx")
    other = tmp_path / "other.onnx"
    for content in (b"", b"no network at all", exported.read_bytes()[:1000]):
        other.write_bytes(content)
        with pytest.raises(FileFormatError, match="neither a classifier file nor one that"):
            _ = Scorer(other).loaded
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(classifier.read_bytes()[:-10])
    with pytest.raises(FileFormatError, match=r"damaged\.safetensors"):
        _ = Scorer(damaged).loaded
    with pytest.raises(ConfigError, match=r"no engine 'fast'\. .*openvino"):
        Scorer(exported, engine="fast")
    with pytest.raises(ConfigError, match="runs on ONNX Runtime, and not on 'openvino'"):
        _ = Scorer(exported, engine="openvino").loaded
    with pytest.raises(ConfigError, match=r"column 'image' or 'bytes' or 'content', but .* 'x'"):
        Scorer(exported)({"x": []})
    for file in (exported, classifier):
        with pytest.raises(ConfigError, match=r"rate of false rejections must .* but is 0\.9"):
            _ = Scorer(file, none=0.9).loaded
