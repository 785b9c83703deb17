"""Models and images for fitting classifiers: choice of the model, and reading for it.

The model may be chosen by the images, and it can be switched later, because a classifier keeps
small pictures of its images (see `lgmnet.studio.pictures`).
"""

import base64
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import UInt8
from torch import Tensor

from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.classifier.fit import fit_classifier
from lgmnet.classifier.image_kind import kind_note
from lgmnet.classifier.thumbnails import add_thumbnails
from lgmnet.errors import ConfigError, ImageError
from lgmnet.model.model import Model
from lgmnet.model.registry import AUTO_MODEL, DEFAULT_MODELS
from lgmnet.studio.classifiers import LabelledFile, image_source
from lgmnet.studio.models import ModelCollection
from lgmnet.studio.pictures import add_pictures, pictured_files
from lgmnet.studio.reading import ImageReader, RequestImages

CHOICE_NOTE = "model_choice"
"""Note of a classifier: the name of its model as the user gave it, maybe ``auto``."""
MIN_SURE_CLASSES = 3
"""Number of classes from which on an edit does not choose the model anew."""


@dataclass(frozen=True)
class ChosenModel:
    """Model for a classifier."""

    model: Model
    reason: str | None
    """Reason for the choice, if it was made by the images."""
    notes: dict[str, str]
    """Notes of a classifier that it fits."""


@dataclass(frozen=True)
class ReadImages:
    """Labelled images in the shape that a model takes."""

    labels: list[str]
    sources: list[str]
    pixels: UInt8[Tensor, "images channels height width"]
    pictures: list[str]
    """Picture of each (see `lgmnet.studio.pictures`)."""
    unreadable: tuple[str, ...]
    """Message for each image that cannot be read, and is none of the above."""

    def merge(self, other: "ReadImages") -> "ReadImages":
        """Return these images and other ones."""
        return ReadImages(
            self.labels + other.labels,
            self.sources + other.sources,
            torch.cat([self.pixels, other.pixels]),
            self.pictures + other.pictures,
            self.unreadable + other.unreadable,
        )


class ModelChooser:
    """Chooses models for images, and reads the images for them."""

    def __init__(self, reader: ImageReader, models: ModelCollection) -> None:
        self.reader, self.models = reader, models

    async def choose(self, name: str, opened: RequestImages) -> ChosenModel:
        """Load the model of a name, for ``auto`` that which suits the images.

        Raises:
            ConfigError: if there is no such model, or it takes vectors.
            DataError: if the images must decide and none of them can be read.
        """
        reason, notes = None, {CHOICE_NOTE: name}
        if name == AUTO_MODEL:
            are_drawings, reason = await self.reader.detect_drawings(opened)
            name = DEFAULT_MODELS["drawing" if are_drawings else "photo"]
            notes |= kind_note(are_drawings)
        model = await self.reader.run(lambda: self.models.get_for_images(name), is_large=False)
        return ChosenModel(model, reason, notes)

    async def choose_for_edit(
        self,
        fitted: FittedClassifier,
        added: Sequence[LabelledFile],
        opened: RequestImages,
        name: str | None,
    ) -> ChosenModel:
        """Choose the model that a classifier has after an edit.

        Args:
            fitted: The classifier before the edit.
            added: Images to add.
            opened: The same.
            name: Name of the model, or ``auto``. None keeps the model; but one that was chosen by
                less than `MIN_SURE_CLASSES` classes is chosen anew by all images.

        Raises:
            ConfigError: if all images must decide, but the classifier lacks pictures of them.
        """
        kept = ChosenModel(self.models.get(fitted.model), None, {})
        if name is not None and name != AUTO_MODEL:
            return await self.choose(name, opened)
        is_open = (
            fitted.notes.get(CHOICE_NOTE) == AUTO_MODEL and len(fitted.classes) < MIN_SURE_CLASSES
        )
        if name is None and not (added and is_open):
            return kept
        try:
            files = [image.file for image in (*pictured_files(fitted), *added)]
        except ConfigError:
            if name is None:
                return kept
            raise
        return await self.choose(AUTO_MODEL, await self.reader.open(files))

    async def read(
        self, model: Model, images: Sequence[LabelledFile], opened: RequestImages
    ) -> ReadImages:
        """Read labelled images, which are opened already, for a model."""
        shape = model.inputs.shape
        labels, sources, pixels, pictures, messages = [], [], [], [], []
        results = await self.reader.read_with_pictures(opened, shape)
        for image, result in zip(images, results, strict=True):
            if isinstance(result, ImageError):
                messages.append(f"Left out of '{image.label}': {result}")
            else:
                labels.append(image.label)
                sources.append(image_source(image.file))
                pixels.append(result[0])
                pictures.append(base64.b64encode(result[1]).decode())
        stacked = torch.stack(pixels) if pixels else torch.empty(0, *shape, dtype=torch.uint8)
        return ReadImages(labels, sources, stacked, pictures, tuple(messages))

    async def read_pictures(self, model: Model, fitted: FittedClassifier) -> ReadImages:
        """Read the pictures of all images of a classifier for a model.

        Raises:
            ConfigError: if the classifier lacks a picture, or one is damaged.
        """
        files = pictured_files(fitted)
        opened = await self.reader.open([image.file for image in files])
        read = await self.read(model, files, opened)
        if read.unreadable:
            raise ConfigError(
                "The model stays as it is, because pictures of the classifier are damaged: "
                f"{' '.join(read.unreadable)} Make the classifier again from the image files."
            )
        return dataclasses.replace(read, sources=list(fitted.support.sources))


def fit_images(model: Model, images: ReadImages, classes: Sequence[str] = ()) -> FittedClassifier:
    """Fit a classifier to labelled images, with these classes first and then in their order."""
    names = list(dict.fromkeys([*classes, *images.labels]))
    labels = [names.index(label) for label in images.labels]
    return fit_classifier(model, images.pixels, labels, names, sources=images.sources)


def store_images(fitted: FittedClassifier, images: ReadImages) -> FittedClassifier:
    """Return a classifier with the thumbnails and pictures of images that are new in it."""
    fitted = add_thumbnails(fitted, images.sources, images.pixels)
    return add_pictures(fitted, dict(zip(images.sources, images.pictures, strict=True)))
