"""Data by the names that recipes and the command line use."""

from __future__ import annotations

from collections.abc import Callable

from lgmnet.data.digits import digits
from lgmnet.data.omniglot import omniglot
from lgmnet.data.planes import PLANES
from lgmnet.data.source import TaskSource
from lgmnet.data.strokes import Strokes
from lgmnet.errors import DataError, unknown_name

SOURCES: dict[str, Callable[[str], TaskSource]] = {
    "omniglot": omniglot,
    "strokes": Strokes,
    "digits": digits,
    **PLANES,
}
"""How to open a split of each data set."""


def open_source(data: str, split: str) -> TaskSource:
    """The named split of the named data.

    Raises:
        ConfigError: if there is no such data or split.
        DataError: if its files cannot be found or read.
    """
    if data not in SOURCES:
        raise unknown_name("data", data, SOURCES)
    return SOURCES[data](split)


def full_split(data: str, split: str, trained_on: str | None) -> str:
    """A split's full name: ``test`` of Omniglot is that of the scheme a model was trained by.

    Args:
        data: Name of the data.
        split: As a person gives it, such as ``test`` or ``lake/test``.
        trained_on: The training split of a model trained on this data, such as ``lake/train``.
    """
    if data != "omniglot" or "/" in split:
        return split
    scheme = (trained_on or "vinyals/train").split("/")[0]
    return f"{scheme}/{split}"


def splits_for(data: str) -> tuple[str, str]:
    """Where to train and where to validate on the named data."""
    if data == "omniglot":
        return "vinyals/train", "vinyals/val"
    if data == "strokes" or data in PLANES:
        return "train", "val"
    if data in SOURCES:
        raise DataError(f"'{data}' is for testing only; it has no classes to train on.")
    raise unknown_name("data", data, SOURCES)
