"""Data sets by name, as recipes and the command line use them."""

from collections.abc import Callable, Sequence
from pathlib import Path

from lgmnet.data.datasets.caltech101 import caltech101
from lgmnet.data.datasets.cifar import cifar_fs, fc100
from lgmnet.data.datasets.digits import digits
from lgmnet.data.datasets.domains import DOMAIN_SOURCES, DOMAINS, PURPOSES
from lgmnet.data.datasets.image_folder import PHOTO_SHAPE, image_folder
from lgmnet.data.datasets.miniimagenet import miniimagenet
from lgmnet.data.datasets.omniglot import omniglot
from lgmnet.data.synthetic.characters import SyntheticCharacters
from lgmnet.data.synthetic.criterion_drawings import DRAWING_SOURCES
from lgmnet.data.synthetic.criterion_photos import PHOTO_SOURCES
from lgmnet.data.synthetic.photo_table import PHOTOS_BY_CRITERION
from lgmnet.data.synthetic.plane import PLANES
from lgmnet.data.synthetic.vectors import SyntheticVectors
from lgmnet.data.task_source import TaskSource
from lgmnet.errors import ConfigError, DataError, unknown_name_error

SOURCES: dict[str, Callable[[str], TaskSource]] = {
    "omniglot": omniglot,
    "cifar-fs": cifar_fs,
    "fc100": fc100,
    "caltech101": caltech101,
    "miniimagenet": miniimagenet,
    "strokes": SyntheticCharacters,
    "digits": digits,
    "clouds": SyntheticVectors,
    **PLANES,
    **DRAWING_SOURCES,
    **PHOTO_SOURCES,
    **DOMAIN_SOURCES,
}
"""Function that opens a split of each data set. What follows a colon is the criterion, or the set
and its labeling."""

JOINED_SPLITS = {
    "photos": {
        "train": (("caltech101", "train"), ("cifar-fs", "train")),
        "val": (("cifar-fs", "val"),),
        "test": (("caltech101", "test"), ("cifar-fs", "test")),
    },
    PHOTOS_BY_CRITERION: {
        "train": (
            ("caltech101", "train"),
            ("cifar-fs", "train"),
            ("domains:grocery/product", "train"),
            ("domains:grocery/kind", "train"),
            ("domains:clothing/garment", "train"),
        ),
        "val": (("cifar-fs", "val"), ("domains:coins/value", "val")),
        "test": (("caltech101", "test"), ("cifar-fs", "test")),
    },
}
"""Splits that join splits of several data sets. Their photos differ in size, so only features of
the photos can be joined."""

N_JOINED_GROUPS = 4
"""Number of groups that the classes of each joined split are dealt into, to draw tasks from."""

SAME_IMAGES = (
    {"cifar-fs", "fc100", "criteria-photos"},
    {"caltech101", "criteria-photos"},
    {"omniglot", "criteria-drawings"},
)
"""Sets of data sets that have the same images."""


def open_source(data: str, split: str, feature_shape: Sequence[int] = PHOTO_SHAPE) -> TaskSource:
    """Open a split of a data set or of a folder of images.

    Args:
        data: Key of `SOURCES`, or path of a folder (see `lgmnet.data.datasets.image_folder`).
        split: Name of the split.
        feature_shape: Shape to which the images of a folder are brought; data sets have their own.

    Raises:
        ConfigError: if there is no such data or split.
        DataError: if its files cannot be found or read.
    """
    if data in JOINED_SPLITS:
        raise ConfigError(f"'{data}' joins photos of several sizes, so they need a backbone.")
    if data in SOURCES:
        return SOURCES[data](split)
    if is_folder(data):
        return image_folder(Path(data), split, feature_shape)
    raise unknown_data_error("data or folder of images", data)


def unknown_data_error(kind: str, data: str) -> ConfigError:
    """Create the error for unknown data; after a family and a colon, it lists the family only."""
    family, colon, rest = data.partition(":")
    members = [name.removeprefix(f"{family}:") for name in SOURCES if name.startswith(f"{family}:")]
    if members and (colon or family not in SOURCES):
        part = "set and labeling" if family == "domains" else "criterion"
        return unknown_name_error(f"{part} of {family}", rest, members)
    families = dict.fromkeys(name.partition(":")[0] for name in SOURCES)
    return unknown_name_error(kind, data, families)


def list_joined_splits(data: str, split: str) -> tuple[tuple[str, str], ...]:
    """Return the data sets and splits that a split joins, or the split itself.

    Raises:
        ConfigError: if there is no such split.
    """
    if data not in JOINED_SPLITS:
        return ((data, split),)
    if split not in JOINED_SPLITS[data]:
        raise unknown_name_error(f"split of {data}", split, JOINED_SPLITS[data])
    return JOINED_SPLITS[data][split]


def is_data_set(data: str) -> bool:
    """Return True if data has a name of its own, and is not a folder, even an absent one."""
    return data in SOURCES or data in JOINED_SPLITS


def is_folder(data: str) -> bool:
    """Return True if data is named by the path of a folder."""
    return data not in SOURCES and Path(data).is_dir()


def image_set(data: str) -> str:
    """Return the name of the images of a data set: without its criterion or its labeling."""
    return data.partition("/" if data in DOMAIN_SOURCES else ":")[0]


def add_scheme(data: str, split: str, trained_on: str | None) -> str:
    """Add the scheme to a split of Omniglot; splits of other data have their full name already.

    The scheme is that of the model's training split ``trained_on``, such as ``lake/train``, or
    ``vinyals`` if it is None.
    """
    if image_set(data) not in ("omniglot", "criteria-drawings") or "/" in split:
        return split
    scheme = (trained_on or "vinyals/train").split("/")[0]
    return f"{scheme}/{split}"


def has_same_images(a: str, b: str) -> bool:
    """Return True if two names of data stand for the same images, such as one folder."""
    if is_folder(a) and is_folder(b):
        return Path(a).resolve() == Path(b).resolve()
    if is_folder(a) or is_folder(b):
        return False
    a, b = image_set(a), image_set(b)
    return a == b or any({a, b} <= names for names in SAME_IMAGES)


def has_other_labels(a: str, b: str) -> bool:
    """Return True if two names of data stand for the same photos with different labels."""
    return a != b and {a, b} <= DOMAIN_SOURCES.keys() and image_set(a) == image_set(b)


def default_splits(data: str) -> tuple[str, str | None]:
    """Return the splits for training and for validation of the named data, None without the latter.

    Raises:
        ConfigError: if there is no such data.
        DataError: if the data is not for training.
    """
    if data == "omniglot":
        return "vinyals/train", "vinyals/val"
    if data in DRAWING_SOURCES:
        return "lake/train", "lake/val"
    if data in DOMAIN_SOURCES:
        only_split = DOMAINS[image_set(data).removeprefix("domains:")].split
        if only_split == "train":
            return "train", None
        purpose = PURPOSES[only_split]
        raise DataError(f"'{data}' is for {purpose} alone; it has no classes to train on.")
    trainable = ("strokes", "clouds", "cifar-fs", "fc100", "miniimagenet", *PLANES, *JOINED_SPLITS)
    if data in (*trainable, *PHOTO_SOURCES) or is_folder(data):
        return "train", "val"
    if data in SOURCES:
        raise DataError(f"'{data}' is for testing only; it has no classes to train on.")
    raise unknown_data_error("data", data)
