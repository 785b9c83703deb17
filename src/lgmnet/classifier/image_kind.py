"""Kind of the images that a classifier was fitted to, and images that are of another kind."""

from lgmnet.classifier.classifier import FittedClassifier

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
    """Describe why images do not suit a classifier: they are photos, but it was fitted to drawings.

    The other direction is left out on purpose: one photo in seven, taken alone, such as that of a
    thing on white paper, passes for a drawing.

    Args:
        fitted: The classifier.
        are_drawings: True if the images are drawings (see `ImageFiles.detect_drawings`).
        reason: Reason for that.

    Returns:
        One sentence; None if the images suit the classifier.
    """
    if are_drawings or not is_for_drawings(fitted):
        return None
    return (
        f"The images look like {reason}. But this classifier was made from drawings, by the model "
        f"'{fitted.model}', so its answers to photos mean little."
    )
