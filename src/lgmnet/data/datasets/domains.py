"""Photos of six domains: groceries, clothing, coins, hand signs, textiles, and shape or texture.

Some sets are labelled in two ways. Each set has one split only, which says what it is for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.images.archives import decode_photos, find_archive, read_arrays
from lgmnet.data.images.cache import load_decoded
from lgmnet.data.task_source import STANDARD_SPLITS
from lgmnet.errors import DataError, unknown_name_error

DOMAIN_FOLDER = Path("domains")
PURPOSES = {"train": "training", "val": "validation", "test": "testing"}


@dataclass(frozen=True)
class Domain:
    """Set of photos with its labelings."""

    labelings: tuple[str, ...]
    split: str
    """Only split of the set: ``train``, ``val`` or ``test``."""
    side: int
    """Side of the photos in pixels."""


DOMAINS = {
    "grocery": Domain(("product", "kind"), "train", 160),
    "clothing": Domain(("garment",), "train", 160),
    "coins": Domain(("value",), "val", 150),
    "sign_digits": Domain(("digit",), "test", 100),
    "textile": Domain(("defect",), "test", 160),
    "cue_conflict": Domain(("shape", "texture"), "test", 160),
}
"""Sets of photos by name:

- grocery: GroceryStoreDataset (Klasson et al., 2019);
- clothing: clothing-dataset-small (Grigorev, 2020);
- coins: euro coins;
- sign_digits: Sign-Language-Digits-Dataset (Mavi, 2020);
- textile: simulated defects of textiles;
- cue_conflict: shape of one thing and texture of another (Geirhos et al., 2019).
"""


def domain(name: str, split: str, labeling: str | None = None) -> ClassDataset:
    """Open a set of photos of one domain.

    Args:
        name: Key of `DOMAINS`.
        split: Split of the set.
        labeling: What the classes are; None for the first labeling of the set.

    Raises:
        ConfigError: if there is no such set, labeling or split.
        DataError: if the set is not for this split, or its file cannot be found or read.
    """
    if name not in DOMAINS:
        raise unknown_name_error("set of domains", name, DOMAINS)
    known = DOMAINS[name]
    labeling = known.labelings[0] if labeling is None else labeling
    if labeling not in known.labelings:
        raise unknown_name_error(f"labeling of {name}", labeling, known.labelings)
    if split not in STANDARD_SPLITS:
        raise unknown_name_error(f"split of {name}", split, [known.split])
    if split != known.split:
        raise DataError(
            f"'{name}' is for {PURPOSES[known.split]} alone, so it has no split '{split}'; its "
            f"only split is '{known.split}'."
        )
    images, labels = load_domain(name, [labeling])
    numbers, class_names = labels[labeling]
    return ClassDataset(
        images[numbers.argsort(stable=True)],
        numbers.bincount(minlength=len(class_names)).tolist(),
        class_names,
        name=f"domains:{name}/{labeling}",
        split=split,
    )


def load_domain(
    name: str, labelings: Sequence[str]
) -> tuple[
    UInt8[Tensor, "images 3 side side"], dict[str, tuple[Int[Tensor, " images"], list[str]]]
]:
    """Load the photos of a set in the order of its file, with some of its labelings.

    Returns:
        The photos, and for each labeling the class of each photo and the names of the classes.

    Raises:
        DataError: if the file cannot be found or read.
    """
    (path,) = find_archive(f"'{name}'", [DOMAIN_FOLDER / f"{name}.npz"])
    keys = [f"{kind}_{labeling}" for labeling in labelings for kind in ("label", "class_name")]
    arrays = read_arrays(path, ("data", "offsets", *keys))
    count, side = len(arrays[keys[0]]), DOMAINS[name].side
    # Decoded once, in the order of the file, for all labelings.
    in_order = {**arrays, "label": np.arange(count)}
    shape = (count, 3, side, side)
    images = load_decoded(f"domains-{name}", [path], shape, decode_photos(path, in_order))
    labels = {
        labeling: (
            torch.from_numpy(arrays[f"label_{labeling}"]).long(),
            [f"{name}/{labeling}/{c}" for c in arrays[f"class_name_{labeling}"]],
        )
        for labeling in labelings
    }
    return images, labels


DOMAIN_SOURCES: dict[str, Callable[[str], ClassDataset]] = {
    f"domains:{name}/{labeling}": partial(domain, name, labeling=labeling)
    for name, known in DOMAINS.items()
    for labeling in known.labelings
}
"""Function that opens a split of each set by each of its labelings."""
