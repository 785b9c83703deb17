"""Stored classifiers: their names, images, thumbnails and map, and what computing gives."""

import dataclasses
import re
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.data.images.read import ImageBytes
from lgmnet.errors import ImageError
from lgmnet.methods.base import QueryAnalysis
from lgmnet.studio.index import Metadata, Record

NAME_NOTE = "name"
"""Note of a classifier: the name that the user gave it."""


@dataclass(frozen=True)
class LabelledFile:
    """Image file with the name of its class."""

    label: str
    file: ImageBytes


@dataclass(frozen=True)
class StoredClassifier:
    """Classifier with its record in the store."""

    record: Record
    fitted: FittedClassifier

    @cached_property
    def image_keys(self) -> list[str]:
        """Key of each support image, which stays the same when the image's place changes."""
        support = self.fitted.support
        return [
            sha256(source.encode() + sample.numpy().tobytes()).hexdigest()[:16]
            for source, sample in zip(support.sources, support.samples, strict=True)
        ]

    @cached_property
    def judged_by(self) -> dict[str, float]:
        """Share of each aspect by which the classes are told apart (see `FittedClassifier`)."""
        return self.fitted.judged_by()

    @cached_property
    def plane(self) -> tuple[Float[Tensor, " features"], Float[Tensor, "2 features"]] | None:
        """Center and two main axes (PCA) of the support embeddings, each scaled to length 1.

        None if the method embeds no single support images.
        """
        embedding = self.fitted.support_embedding
        if embedding is None or len(embedding) != len(self.fitted.support.samples):
            return None
        unit = F.normalize(embedding.float(), dim=-1)
        center = unit.mean(0)
        axes = torch.linalg.svd(unit - center, full_matrices=False).Vh[:2]
        # The sign of an axis is arbitrary: make its largest entry positive, so that the map does
        # not flip from one version of a classifier to the next.
        signs = axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()
        return center, F.pad(axes * signs, (0, 0, 0, 2 - len(axes)))

    def project(
        self, embedding: Float[Tensor, "samples features"] | None
    ) -> list[tuple[float, float]]:
        """Return the point in the plane of each embedding; empty if there is no plane."""
        if self.plane is None or embedding is None:
            return []
        center, axes = self.plane
        points = (F.normalize(embedding.float(), dim=-1) - center) @ axes.mT
        return [(round(x, 4), round(y, 4)) for x, y in points.tolist()]


@dataclass(frozen=True)
class FitResult:
    """Classifier that was just fitted or edited, and stored."""

    stored: StoredClassifier
    milliseconds: float
    """Time that fitting took."""
    unreadable: tuple[str, ...] = ()
    """Message for each image that cannot be read."""
    model_reason: str | None = None
    """Reason for the choice of the model, if it was chosen automatically."""


@dataclass(frozen=True)
class PredictResult:
    """Predictions of a classifier for image files."""

    stored: StoredClassifier
    errors: list[ImageError | None]
    """For each file its error, or None if it can be read."""
    analysis: QueryAnalysis | None
    """Analysis of the files that can be read; None if there are none."""


def to_metadata(fitted: FittedClassifier) -> Metadata:
    """Describe a classifier for the store's index."""
    return Metadata(fitted.notes.get(NAME_NOTE, ""), fitted.model, fitted.classes, fitted.shots)


def with_name(fitted: FittedClassifier, name: str) -> FittedClassifier:
    """Return the classifier under a name."""
    return dataclasses.replace(fitted, notes={**fitted.notes, NAME_NOTE: name})


def image_source(file: ImageBytes) -> str:
    """Return the source of an image in a support set: a hash of its content, and its file name."""
    return f"{sha256(file.data).hexdigest()[:16]} {file.name}"


def source_file_name(source: str) -> str:
    """Return the file name in the source of an image (see `image_source`), which may be empty."""
    return re.sub(r"^[0-9a-f]{16} ", "", source)
