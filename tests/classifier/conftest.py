"""A classifier of three classes with 1, 2 and 3 drawings, and drawings to classify."""

from __future__ import annotations

import pytest
import torch

from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.classifier.fit import fit_classifier
from tests.support.models import drawings, tiny_model

CLASSES = ("moon", "star", "sun ☀")
LABELS = [0, 1, 1, 2, 2, 2]


def support_images() -> torch.Tensor:
    images = drawings(3, 3)
    return torch.cat([images[0, :1], images[1, :2], images[2, :3]])


@pytest.fixture
def fitted() -> FittedClassifier:
    return fit_classifier(tiny_model(), support_images(), LABELS, CLASSES)


@pytest.fixture
def queries() -> torch.Tensor:
    return drawings(6, 3, seed=1).flatten(0, 1)
