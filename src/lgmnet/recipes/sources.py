"""Data by the names that recipes and the command line use."""

from __future__ import annotations

from collections.abc import Callable

from lgmnet.data import omniglot
from lgmnet.data.source import TaskSource
from lgmnet.data.strokes import Strokes
from lgmnet.errors import DataError, unknown_name

SOURCES: dict[str, Callable[[str], TaskSource]] = {
    "omniglot": omniglot.omniglot,
    "strokes": Strokes,
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


def splits_for(data: str) -> tuple[str, str]:
    """Where to train and where to validate on the named data."""
    if data == "omniglot":
        return "vinyals/train", "vinyals/val"
    if data == "strokes":
        return "train", "val"
    if data in SOURCES:
        raise DataError(f"'{data}' is for testing only; it has no classes to train on.")
    raise unknown_name("data", data, SOURCES)
