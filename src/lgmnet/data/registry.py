"""Data by the names that recipes and the command line use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from lgmnet.data.datasets.caltech101 import caltech101
from lgmnet.data.datasets.cifar import cifar_fs, fc100
from lgmnet.data.datasets.digits import digits
from lgmnet.data.datasets.image_folder import PHOTO, image_folder, miniimagenet
from lgmnet.data.datasets.omniglot import omniglot
from lgmnet.data.synthetic.characters import SyntheticCharacters
from lgmnet.data.synthetic.plane import PLANES
from lgmnet.data.synthetic.vectors import Clouds
from lgmnet.data.task_source import TaskSource
from lgmnet.errors import ConfigError, DataError, unknown_name

SOURCES: dict[str, Callable[[str], TaskSource]] = {
    "omniglot": omniglot,
    "cifar-fs": cifar_fs,
    "fc100": fc100,
    "caltech101": caltech101,
    "miniimagenet": miniimagenet,
    "strokes": SyntheticCharacters,
    "digits": digits,
    "clouds": Clouds,
    **PLANES,
}
"""How to open a split of each data set."""


MIXED = {
    "photos": {
        "train": (("caltech101", "train"), ("cifar-fs", "train")),
        "val": (("cifar-fs", "val"),),
        "test": (("caltech101", "test"), ("cifar-fs", "test")),
    }
}
"""Splits that are put together from others; their photos are of several sizes, so only their
features can be."""

GROUPS = 4
"""Into so many groups the classes of each part of mixed data are dealt, to draw tasks from."""

SAME_IMAGES = ({"cifar-fs", "fc100"},)
"""Data sets that are cut from the same classes."""


def open_source(data: str, split: str, feature_shape: Sequence[int] = PHOTO) -> TaskSource:
    """The named split of the named data, or of a folder of images.

    Args:
        data: A key of `SOURCES`, or the path of a folder (see `lgmnet.data.datasets.image_folder`).
        split: Name of the split.
        feature_shape: What to make of the images of a folder; other data has its own shape.

    Raises:
        ConfigError: if there is no such data or split.
        DataError: if its files cannot be found or read.
    """
    if data in MIXED:
        raise ConfigError(f"'{data}' are photos of several sizes: they need a backbone.")
    if data in SOURCES:
        return SOURCES[data](split)
    if is_folder(data):
        return image_folder(Path(data), split, feature_shape)
    raise unknown_name("data or folder of images", data, SOURCES)


def parts_of(data: str, split: str) -> tuple[tuple[str, str], ...]:
    """The data and splits that a split is put together from; itself, where it is of one piece.

    Raises:
        ConfigError: if there is no such split.
    """
    if data not in MIXED:
        return ((data, split),)
    if split not in MIXED[data]:
        raise unknown_name(f"split of {data}", split, MIXED[data])
    return MIXED[data][split]


def is_folder(data: str) -> bool:
    """Whether data is named by the path of a folder."""
    return data not in SOURCES and Path(data).is_dir()


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


def same_images(one: str, other: str) -> bool:
    """Whether two names of data are of the same images: one name, one folder, or cut from one."""
    if is_folder(one) and is_folder(other):
        return Path(one).resolve() == Path(other).resolve()
    return one == other or any({one, other} <= names for names in SAME_IMAGES)


def splits_for(data: str) -> tuple[str, str]:
    """Where to train and where to validate on the named data."""
    if data == "omniglot":
        return "vinyals/train", "vinyals/val"
    whole = ("strokes", "clouds", "cifar-fs", "fc100", "miniimagenet", "photos", *PLANES)
    if data in whole or is_folder(data):
        return "train", "val"
    if data in SOURCES:
        raise DataError(f"'{data}' is for testing only; it has no classes to train on.")
    raise unknown_name("data", data, SOURCES)
