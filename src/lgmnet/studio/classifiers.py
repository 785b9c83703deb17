"""Stored classifiers: their names, images and map, and what fitting and predicting give."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.data.images.files import ImageFiles
from lgmnet.data.images.read import ImageBytes
from lgmnet.errors import ImageError
from lgmnet.methods.base import QueryAnalysis
from lgmnet.studio.store import Metadata, Record

NAME_NOTE = "name"
"""Note of a classifier: the name that the user gave it."""


@dataclass(frozen=True)
class LabelledFile:
    """Image file with the name of its class."""

    label: str
    file: ImageBytes


@dataclass(frozen=True)
class Projection:
    """Projection to the two main axes (PCA) of support embeddings of length 1."""

    center: Float[Tensor, " features"]
    axes: Float[Tensor, "2 features"]

    @classmethod
    def fit(cls, embedding: Float[Tensor, "support features"]) -> Projection:
        """Fit the axes along which the support embeddings vary most."""
        unit = F.normalize(embedding.float(), dim=-1)
        center = unit.mean(0)
        axes = torch.linalg.svd(unit - center, full_matrices=False).Vh[:2]
        # The sign of an axis is arbitrary: make its largest entry positive, so that the map does
        # not flip from one version of a classifier to the next.
        signs = axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()
        return cls(center, F.pad(axes * signs, (0, 0, 0, 2 - len(axes))))

    def transform(self, embedding: Float[Tensor, "samples features"]) -> list[tuple[float, float]]:
        """Return the point in the plane of each embedding."""
        points = (F.normalize(embedding.float(), dim=-1) - self.center) @ self.axes.mT
        return [(round(x, 4), round(y, 4)) for x, y in points.tolist()]


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
    def projection(self) -> Projection | None:
        """Projection to the plane; None if the method embeds no single support images."""
        embedding = self.fitted.support_embedding
        if embedding is None or len(embedding) != len(self.fitted.support.samples):
            return None
        return Projection.fit(embedding)

    def project(
        self, embedding: Float[Tensor, "samples features"] | None
    ) -> list[tuple[float, float]]:
        """Return the point in the plane of each embedding; empty if there is no projection."""
        if self.projection is None or embedding is None:
            return []
        return self.projection.transform(embedding)


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


def read_labelled(
    images: Sequence[LabelledFile], shape: Sequence[int], files: ImageFiles | None = None
) -> tuple[list[LabelledFile], UInt8[Tensor, "images channels height width"], tuple[str, ...]]:
    """Read labelled images in a shape; ``files`` are theirs, if some are decoded already.

    Returns:
        The images that can be read, their pixels, and a message for each other image.
    """
    readable, pixels, messages = [], [], []
    files = files or ImageFiles([image.file for image in images])
    for image, result in zip(images, files.read(shape), strict=True):
        if isinstance(result, ImageError):
            messages.append(str(result))
        else:
            readable.append(image)
            pixels.append(result)
    stacked = torch.stack(pixels) if pixels else torch.empty(0, *shape, dtype=torch.uint8)
    return readable, stacked, tuple(messages)
