"""Kind of the images that a classifier was fitted to, and images that are of another kind."""

from typing import Any

from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.data.images.files import ImageFiles
from lgmnet.data.images.folder import ClassFolder
from lgmnet.data.images.kind import (
    MAX_CHECKED_IMAGES,
    MAX_SAMPLED_FILES,
    describe_mismatch,
    detect_drawings,
)
from lgmnet.data.inputs import are_vectors, measure_inputs
from lgmnet.model.registry import DEFAULT_MODELS

KIND_NOTE = "images"
"""Note of a classifier: ``drawings`` or ``photos``, as found when it was fitted."""


def kind_note(are_drawings: bool) -> dict[str, str]:
    """Return the note that stores the kind of the images that a classifier is fitted to."""
    return {KIND_NOTE: "drawings" if are_drawings else "photos"}


def is_for_drawings(fitted: FittedClassifier) -> bool:
    """Return True if a classifier was fitted to drawings.

    Where nobody looked at the images, their kind is that which the model is for.
    """
    model_kind = "photos" if fitted.backbone else f"{fitted.inputs.kind}s"
    return fitted.notes.get(KIND_NOTE, model_kind) == "drawings"


def choose_model(inputs: Any) -> tuple[str, dict[str, str]]:
    """Choose the shipped model that suits a user's input (see `lgmnet.data.inputs.to_samples`).

    Returns:
        Its name, and the note of the kind of the images, if there are any.

    Raises:
        DataError: if the input is a single image.
    """
    if are_vectors(inputs):
        return DEFAULT_MODELS["vector"], {}
    tones = list(measure_inputs(inputs, MAX_SAMPLED_FILES))
    if not tones:  # Any model will do: converting the images then reports the fault.
        return DEFAULT_MODELS["drawing"], {}
    are_drawings, _ = detect_drawings(tones)
    return DEFAULT_MODELS["drawing" if are_drawings else "photo"], kind_note(are_drawings)


def find_mismatch(
    fitted: FittedClassifier,
    images: ImageFiles | ClassFolder,
    max_images: int = MAX_CHECKED_IMAGES,
) -> str | None:
    """Describe why images do not suit a classifier (see `describe_mismatch`)."""
    if not fitted.inputs.is_image:
        return None
    return describe_mismatch(
        images.measure(max_images), are_for_drawings=is_for_drawings(fitted), model=fitted.model
    )


def find_input_mismatch(fitted: FittedClassifier, inputs: Any) -> str | None:
    """Describe why a user's input does not suit a classifier (see `describe_mismatch`)."""
    are_for_drawings = is_for_drawings(fitted)
    # One array of gray images is what drawings are; looking at it would slow predictions down.
    if not fitted.inputs.is_image or (are_for_drawings and getattr(inputs, "ndim", 1) == 3):
        return None
    tones = measure_inputs(inputs, MAX_CHECKED_IMAGES)
    return describe_mismatch(tones, are_for_drawings=are_for_drawings, model=fitted.model)
