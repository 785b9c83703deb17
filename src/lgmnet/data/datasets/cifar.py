"""CIFAR-FS and FC100: the 100 classes of CIFAR-100, cut for few-shot learning in two ways."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.images.archives import decode_photos, find_archive, read_arrays
from lgmnet.data.images.cache import load_decoded
from lgmnet.data.task_source import check_disjoint
from lgmnet.errors import DataError, unknown_name

PARTS = ("train", "val", "test")
FILES = {"train_1": "train", "train_2": "train", "val": "val", "test": "test"}
"""The files of the pack, and the part of CIFAR-FS that each belongs to."""
PACK = tuple(Path("cifar100") / f"cifar_fs_{name}.npz" for name in FILES)
SIDE, CLASSES, IMAGES = 32, 100, 600


def cifar_fs(split: str = "train") -> ClassDataset:
    """One split of CIFAR-FS (Bertinetto et al., 2019): 64 / 16 / 20 classes, 600 images each.

    A few images are left out, because a later split has them too (see `find_repeated_images`); the
    test split is whole.

    Args:
        split: ``train``, ``val`` or ``test``.

    Raises:
        DataError: if the data cannot be found or read.
        ConfigError: if there is no such split.
    """
    return load("cifar-fs", split)


def fc100(split: str = "train") -> ClassDataset:
    """One split of FC100 (Oreshkin et al., 2018): 60 / 20 / 20 classes, superclasses kept whole.

    A few images are left out, because a later split has them too (see `find_repeated_images`); the
    test split is whole.

    Args:
        split: ``train``, ``val`` or ``test``.

    Raises:
        DataError: if the data cannot be found or read.
        ConfigError: if there is no such split.
    """
    return load("fc100", split)


def load(name: str, split: str) -> ClassDataset:
    """One split of either cut; classes are grouped by CIFAR-100's superclasses."""
    if split not in PARTS:
        raise unknown_name(f"split of {name}", split, PARTS)
    paths = find_archive("CIFAR-100", PACK, "")
    tables = [
        read_arrays(path, ("label", "class_name", "coarse_name", "fc100_split")) for path in paths
    ]
    parts: list[str] = []
    for table, part, path in zip(tables, FILES.values(), paths, strict=True):
        counts = np.bincount(table["label"])
        if (counts != IMAGES).any():
            raise DataError(f"'{path}' does not hold {IMAGES} images of each class.")
        cut = [part] * len(counts)
        parts += cut if name == "cifar-fs" else table["fc100_split"].astype(str).tolist()
    # The same name in both cuts, so that a class seen in one is known in the other.
    classes = [f"cifar100/{c}" for table in tables for c in table["class_name"]]
    coarse = [str(c) for table in tables for c in table["coarse_name"]]
    if len(classes) != CLASSES:
        raise DataError(f"The pack of CIFAR-100 holds {len(classes)} classes.")
    check_disjoint(
        {p: [c for c, q in zip(classes, parts, strict=True) if q == p] for p in set(parts)}
    )
    images = all_images(paths)
    number = {part: i for i, part in enumerate(PARTS)}
    part_of = torch.tensor([number[part] for part in parts]).repeat_interleave(IMAGES)
    kept = ~find_repeated_images(images, part_of)
    chosen = [i for i, part in enumerate(parts) if part == split]
    remaining = kept.view(CLASSES, IMAGES).sum(1)
    if chosen == list(range(chosen[0], chosen[-1] + 1)) and int(remaining[chosen].min()) == IMAGES:
        images = images[chosen[0] * IMAGES : (chosen[-1] + 1) * IMAGES]  # Of the map, not a copy.
    else:
        images = images[kept & (part_of == number[split])]
    return ClassDataset(
        images,
        remaining[chosen].tolist(),
        [classes[i] for i in chosen],
        name=name,
        split=split,
        groups=[coarse[i] for i in chosen],
    )


def find_repeated_images(
    images: UInt8[Tensor, "images channels height width"], part_of: Int[Tensor, " images"]
) -> Bool[Tensor, " images"]:
    """Which images of a part are, to the bit, in a later part too.

    CIFAR-100 has some pictures twice, under two classes: an otter that is a seal elsewhere. What is
    validated or tested on must not have been trained on, so the earlier one is left out.
    """
    words = images.flatten(1).view(torch.int64)
    factors = torch.randint(2**62, words.shape[1:], generator=torch.Generator().manual_seed(0))
    _, same, times = (
        (words * (2 * factors + 1)).sum(1).unique(return_inverse=True, return_counts=True)
    )
    later = torch.zeros(len(images), dtype=torch.bool)
    last: dict[bytes, int] = {}
    again = (times[same] > 1).nonzero().flatten().tolist()
    for i in sorted(again, key=lambda i: -int(part_of[i])):
        part = last.setdefault(images[i].numpy().tobytes(), int(part_of[i]))
        later[i] = part > part_of[i]
    return later


def all_images(paths: list[Path]) -> UInt8[Tensor, "images channels height width"]:
    """All images of CIFAR-100, uint8 [60000, 3, 32, 32], class after class, file after file.

    Raises:
        DataError: if one is damaged.
    """

    def each() -> Iterator[np.ndarray]:
        for path in paths:
            yield from decode_photos(path, read_arrays(path, ("data", "offsets", "label")))

    return load_decoded("cifar100", paths, (CLASSES * IMAGES, 3, SIDE, SIDE), each)
