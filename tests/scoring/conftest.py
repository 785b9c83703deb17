"""Fixtures of scoring: a classifier with a rejection, exported, and drawings to score."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.classifier.export import export
from lgmnet.classifier.fit import fit_classifier
from lgmnet.evaluation.rejection import RATES, Rejection
from tests.support.images import symbols
from tests.support.models import drawings, tiny_model

CLASSES = ["moon", "star ☆", "sun"]


@pytest.fixture(scope="session")
def fitted() -> FittedClassifier:
    """A classifier whose threshold rejects half of the drawings."""
    images = drawings(3, 2).flatten(0, 1)
    fitted = fit_classifier(tiny_model(), images, [0, 0, 1, 1, 2, 2], CLASSES)
    similarity = fitted.analyze(drawings(3, 20, seed=5).flatten(0, 1)).similarity
    assert similarity is not None
    middle, spread = float(similarity.median()), float(similarity.std())
    thresholds = similarity.quantile(torch.tensor(RATES)).tolist()
    rejection = Rejection(
        3, 2, middle, "a:val", "a:test", 1.0, 1.0, 2 / spread, middle, tuple(thresholds)
    )
    return dataclasses.replace(fitted, rejections=(rejection,))


@pytest.fixture(scope="session")
def classifier(fitted, tmp_path_factory) -> Path:
    """The file of that classifier."""
    path: Path = tmp_path_factory.mktemp("classifiers") / "symbols.safetensors"
    fitted.save(path)
    return path


@pytest.fixture(scope="session")
def exported(fitted, tmp_path_factory) -> Path:
    """The same, exported."""
    path: Path = tmp_path_factory.mktemp("exported") / "symbols.onnx"
    export(fitted, path)
    return path


@pytest.fixture(scope="session")
def images(tmp_path_factory) -> Path:
    """A folder of 24 drawings in three subfolders."""
    return symbols(tmp_path_factory.mktemp("images"), {"a": 8, "b": 8, "c": 8}, seed=5)
