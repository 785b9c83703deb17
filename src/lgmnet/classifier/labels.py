"""Labels of samples, as scikit-learn takes them."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lgmnet.errors import ConfigError, DataError, FileFormatError

LABEL_TYPES = {"b": bool, "i": int, "u": int, "f": float, "U": str}
"""Types of labels that a file can store, by the letter of their NumPy kind."""


def check_labels(y: Any) -> np.ndarray:
    """Convert labels of samples to a one-dimensional array of one of the `LABEL_TYPES`.

    Raises:
        DataError: if they are of no such type or of several, or not one for each sample.
    """
    from sklearn.utils.multiclass import check_classification_targets

    labels = np.asarray(y) if hasattr(y, "__array__") else merge_labels(y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        from sklearn.utils.validation import column_or_1d

        labels = column_or_1d(labels, warn=True)
    if labels.ndim == 1 and labels.dtype.kind in ("O", "T"):  # T: NumPy's texts of any length.
        labels = merge_labels(labels.tolist())
    with warnings.catch_warnings():
        # One sample of each class is a normal support set.
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        check_classification_targets(labels)
    if labels.dtype.kind not in LABEL_TYPES or labels.ndim != 1:
        raise label_error(f"{labels.dtype} of shape {list(labels.shape)}")
    return labels


def merge_labels(labels: Any) -> np.ndarray:
    """Convert a sequence of labels to an array, none of them into a label of another kind.

    NumPy would turn a number, or NaN, among texts into a text.

    Raises:
        DataError: if they are no such sequence, or not all of one kind.
    """
    if not isinstance(labels, Sequence) or isinstance(labels, (str, bytes, bytearray)):
        raise label_error(f"{labels!r:.80} ({type(labels).__name__})")
    examples: dict[str, Any] = {}
    for label in labels:
        examples.setdefault(label_kind(label), label)
    wrong = [examples[""]] if "" in examples else list(examples.values())
    if "" in examples or len(examples) > 1:
        raise label_error(
            " and ".join(f"{label!r:.80} ({type(label).__name__})" for label in wrong)
        )
    return np.array(labels)


def label_kind(label: Any) -> str:
    """Return the letter of a label's NumPy kind; empty if it cannot be a label."""
    if not np.isscalar(label) and getattr(label, "ndim", None) != 0:
        return ""
    kind = np.asarray(label).dtype.kind
    return "i" if kind == "u" else kind if kind in LABEL_TYPES else ""


def label_error(got: str) -> DataError:
    """Create the error for what cannot be labels; its beginning is that of scikit-learn."""
    return DataError(
        "Unknown label type: expected a list or an array of texts, whole numbers or truth values, "
        f"all of one kind and one for each sample, but got {got}. Convert all labels to text, and "
        "leave out samples that have none."
    )


def check_same_kind(label: Any, classes: np.ndarray) -> None:
    """Check that a label is of the kind of the labels of a classifier.

    Raises:
        ConfigError: if it is not.
    """
    like = classes.tolist()[0]
    if label_kind(label) != label_kind(like):
        raise ConfigError(f"Expected a label like the others, such as {like!r}, but got {label!r}.")


def check_known_labels(y: Any, classes: np.ndarray) -> np.ndarray:
    """Convert labels as `check_labels` does, and check that they are of the kind of the classes.

    Raises:
        ConfigError: if they are of another kind.
        DataError: of `check_labels`.
    """
    labels = check_labels(y)
    for label in labels.tolist()[:1]:  # All are of one kind.
        check_same_kind(label, classes)
    return labels


def check_unknown(unknown: Any, classes: np.ndarray) -> None:
    """Check the label of samples that belong to no class.

    Raises:
        ConfigError: if it is not of the kind of the classes, or one of them.
    """
    like = classes.tolist()[0]
    if label_kind(unknown) != label_kind(like) or unknown in classes:
        raise ConfigError(
            f"'unknown' must be a label of the kind of the classes, such as {like!r}, but of none "
            f"of them, and is {unknown!r}."
        )


def restore_labels(names: Sequence[str], kind: str, path: str | Path) -> np.ndarray:
    """Convert the names of classes in a file to labels of the kind that it states.

    Raises:
        FileFormatError: if they are not of this kind.
    """
    texts = np.array(names)
    try:
        labels: np.ndarray = texts == "True" if kind == "b" else texts.astype(LABEL_TYPES[kind])
    except (KeyError, ValueError) as error:
        raise FileFormatError(
            f"'{path}' states that its labels are of the kind {kind!r}, but they are not: "
            f"{names[:3]}. Use an intact copy, or fit the classifier again."
        ) from error
    return labels
