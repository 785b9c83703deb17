"""Kind of the images that a classifier was fitted to, and images that are of another kind."""

from typing import Any

from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.data.images.files import MAX_SAMPLED_FILES, ImageFiles
from lgmnet.data.images.folder import ClassFolder
from lgmnet.data.inputs import are_vectors, detect_input_drawings
from lgmnet.errors import DataError
from lgmnet.model.registry import DEFAULT_MODELS

KIND_NOTE = "images"
"""Note of a classifier: ``drawings`` or ``photos``, as found when it was fitted."""
MAX_CHECKED_IMAGES = 8
"""Number of the images of a batch that are measured before it is predicted."""


def kind_note(are_drawings: bool) -> dict[str, str]:
    """Return the note that stores the kind of the images that a classifier is fitted to."""
    return {KIND_NOTE: "drawings" if are_drawings else "photos"}


def is_for_drawings(fitted: FittedClassifier) -> bool:
    """Return True if a classifier was fitted to drawings.

    Where nobody looked at the images, their kind is that which the model is for.
    """
    model_kind = "photos" if fitted.backbone else f"{fitted.inputs.kind}s"
    return fitted.notes.get(KIND_NOTE, model_kind) == "drawings"


def describe_mismatch(fitted: FittedClassifier, are_drawings: bool, reason: str) -> str | None:
    """Describe why images do not suit a classifier: they are of another kind than its own.

    Args:
        fitted: The classifier.
        are_drawings: True if the images are drawings. For a classifier of photos they must be so
            beyond doubt, because one photo in seven, taken alone, such as that of a thing on white
            paper, passes for a drawing.
        reason: Reason for that.

    Returns:
        One sentence; None if the images suit the classifier.
    """
    if are_drawings == is_for_drawings(fitted):
        return None
    kind, own = ("drawings", "photos") if are_drawings else ("photos", "drawings")
    return (
        f"The images look like {reason}. But this classifier was made from {own}, by the model "
        f"'{fitted.model}', so its answers to {kind} mean little."
    )


def choose_model(inputs: Any) -> tuple[str, dict[str, str]]:
    """Choose the shipped model that suits a user's input (see `lgmnet.data.inputs.to_samples`).

    Returns:
        Its name, and the note of the kind of the images, if there are any.

    Raises:
        DataError: if the input is a single image.
    """
    if are_vectors(inputs):
        return DEFAULT_MODELS["vector"], {}
    decision = detect_input_drawings(inputs, MAX_SAMPLED_FILES)
    if decision is None:  # Any model will do: converting the images then reports the fault.
        return DEFAULT_MODELS["drawing"], {}
    are_drawings, _ = decision
    return DEFAULT_MODELS["drawing" if are_drawings else "photo"], kind_note(are_drawings)


def find_mismatch(
    fitted: FittedClassifier,
    images: ImageFiles | ClassFolder,
    max_images: int = MAX_CHECKED_IMAGES,
) -> str | None:
    """Describe why images do not suit a classifier (see `describe_mismatch`).

    Raises:
        DataError: if none of them can be read.
    """
    if not fitted.inputs.is_image:
        return None
    decision = images.detect_drawings(max_images, certain=not is_for_drawings(fitted))
    return describe_mismatch(fitted, *decision)


def find_files_mismatch(fitted: FittedClassifier, files: ImageFiles) -> str | None:
    """Describe why image files do not suit a classifier (see `describe_mismatch`)."""
    try:
        return find_mismatch(fitted, files)
    except DataError:  # None of them can be read, which will be told of each.
        return None


def find_input_mismatch(fitted: FittedClassifier, inputs: Any) -> str | None:
    """Describe why a user's input does not suit a classifier (see `describe_mismatch`)."""
    is_drawings = is_for_drawings(fitted)
    # One array of gray images is what drawings are; looking at it would slow predictions down.
    if not fitted.inputs.is_image or (is_drawings and getattr(inputs, "ndim", 1) == 3):
        return None
    decision = detect_input_drawings(inputs, MAX_CHECKED_IMAGES, certain=not is_drawings)
    return None if decision is None else describe_mismatch(fitted, *decision)
