"""Forging: a handful of labelled images become a classifier, in one forward pass and one file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from lgmnet.configs import from_json
from lgmnet.errors import DataError, FileFormatError
from lgmnet.files import read_tensors, write_tensors
from lgmnet.hub import Model
from lgmnet.methods import METHODS
from lgmnet.methods.base import Classifier

KIND, VERSION = "lgmnet-classifier", 1
IMAGES_A_BATCH = 256


@dataclass(frozen=True)
class ForgedClassifier:
    """A classifier of a person's own classes; it needs neither its model nor its images."""

    classifier: Classifier
    classes: tuple[str, ...]
    shots: tuple[int, ...]
    """Images that each class was shown with."""
    model: str
    """Name of the model that made it."""
    method: str
    config: Any
    """Config of the method that made it."""

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of the images it answers: [channels, height, width]."""
        return tuple(self.config.feature_shape)

    @torch.inference_mode()
    def predict_proba(
        self, images: UInt8[Tensor, "images channels height width"]
    ) -> Float[Tensor, "images classes"]:
        """Probability of each class for each image; some hundred images at a time.

        Raises:
            DataError: if the images are not of the shape that the model knows.
        """
        check_images(images, self.image_shape)
        batches = images.split(IMAGES_A_BATCH) if len(images) else ()
        answers = [self.classifier(as_input(batch)[None])[0].exp() for batch in batches]
        return torch.cat(answers) if answers else torch.empty(0, len(self.classes))

    def predict(self, images: UInt8[Tensor, "images channels height width"]) -> list[str]:
        """The most probable class of each image."""
        return [self.classes[i] for i in self.predict_proba(images).argmax(1).tolist()]

    def save(self, path: Path) -> None:
        """Write the whole classifier to one safetensors file, which appears whole or not at all."""
        about = {
            "method": self.method,
            "config": json.dumps(dataclasses.asdict(self.config)),
            "classes": json.dumps(self.classes),
            "shots": json.dumps(self.shots),
            "model": self.model,
        }
        write_tensors(path, self.classifier.state_dict(), KIND, VERSION, about)

    @classmethod
    def load(cls, path: Path) -> ForgedClassifier:
        """Read what `save` wrote.

        Raises:
            FileFormatError: if the file is absent, damaged, not ours, or of another version.
        """
        tensors, about = read_tensors(path, KIND, VERSION)
        try:
            kind = METHODS[about["method"]]
            config = from_json(kind.config_type, json.loads(about["config"]))
            classes = tuple(json.loads(about["classes"]))
            classifier = kind.restore(config, len(classes), tensors)
            shots = tuple(json.loads(about["shots"]))
            if len(shots) != len(classes):
                raise ValueError(f"{len(classes)} classes, but shots of {len(shots)}")
            return cls(classifier, classes, shots, about["model"], about["method"], config)
        except (KeyError, ValueError, TypeError, RuntimeError, AssertionError) as error:
            raise FileFormatError(f"'{path}' is a damaged classifier: {error}") from error


@torch.inference_mode()
def forge(
    model: Model,
    images: UInt8[Tensor, "images channels height width"],
    labels: Sequence[int],
    classes: Sequence[str],
) -> ForgedClassifier:
    """Make a classifier from labelled images, in one forward pass.

    Args:
        model: A trained model, from `lgmnet.load_model`.
        images: Support images as the model knows them; for drawings, ink = 255 on 0.
        labels: For each image, the place of its class in ``classes``. Uneven shots are fine.
        classes: Names of the classes.

    Raises:
        EpisodeError: if a class has no image, a label is out of range, or there is one class only.
        DataError: if the images are not of the shape that the model knows.
    """
    check_images(images, tuple(model.method.config.feature_shape))
    support_y = torch.tensor(labels)[None]
    classifier = model.method.adapt(as_input(images)[None], support_y, len(classes))
    return ForgedClassifier(
        classifier,
        tuple(classes),
        tuple(support_y[0].bincount(minlength=len(classes)).tolist()),
        model.name,
        model.method_name,
        model.method.config,
    )


def check_images(images: Tensor, expected: tuple[int, ...]) -> None:
    """Check that images are uint8 of the shape that a model knows.

    Raises:
        DataError: saying what was expected and what came.
    """
    if images.dtype != torch.uint8 or tuple(images.shape[1:]) != expected:
        raise DataError(
            f"Images must be uint8 [images, {', '.join(map(str, expected))}], but are "
            f"{str(images.dtype).removeprefix('torch.')} {list(images.shape)}."
        )


def as_input(images: UInt8[Tensor, "..."]) -> Float[Tensor, "..."]:
    """uint8 images as the values 0..1 that networks take."""
    return images.to(torch.float32) / 255
