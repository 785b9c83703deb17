"""Labels of samples, as scikit-learn takes them."""

import warnings
from typing import Any

import numpy as np

from lgmnet.errors import DataError

LABEL_TYPES = {"b": bool, "i": int, "u": int, "f": float, "U": str}
"""Types of labels that a file can store, by the letter of their NumPy kind."""


def check_labels(y: Any) -> np.ndarray:
    """Convert labels of samples to a one-dimensional array of one of the `LABEL_TYPES`.

    Raises:
        DataError: if they are of no such type, or not one for each sample.
    """
    from sklearn.utils.multiclass import check_classification_targets

    if y is None:
        raise DataError("This FewShotClassifier requires y to be passed, but the target y is None.")
    labels = np.asarray(y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        from sklearn.utils.validation import column_or_1d

        labels = column_or_1d(labels, warn=True)
    if labels.dtype == object and all(isinstance(label, str) for label in labels.ravel()):
        labels = labels.astype(str)
    with warnings.catch_warnings():
        # One sample of each class is a normal support set.
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        check_classification_targets(labels)
    if labels.dtype.kind not in LABEL_TYPES or labels.ndim != 1:
        raise DataError(
            "Unknown label type: labels must be texts, whole numbers, floats or truth values, "
            f"one for each sample, but are {labels.dtype} of shape {list(labels.shape)}."
        )
    return labels
