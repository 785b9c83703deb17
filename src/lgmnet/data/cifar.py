"""CIFAR-FS and FC100: the 100 classes of CIFAR-100, cut for few-shot learning in two ways."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from lgmnet.data.classes import ClassStore
from lgmnet.data.decoded import decoded
from lgmnet.data.packs import find_pack, read_arrays
from lgmnet.data.source import prove_disjoint
from lgmnet.errors import DataError, unknown_name

PARTS = ("train", "val", "test")
FILES = {"train_1": "train", "train_2": "train", "val": "val", "test": "test"}
"""The files of the pack, and the part of CIFAR-FS that each belongs to."""
PACK = tuple(Path("cifar100") / f"cifar_fs_{name}.npz" for name in FILES)
SIDE, CLASSES, IMAGES = 32, 100, 600


def cifar_fs(split: str = "train") -> ClassStore:
    """One split of CIFAR-FS (Bertinetto et al., 2019): 64 / 16 / 20 classes, 600 images each.

    Args:
        split: ``train``, ``val`` or ``test``.

    Raises:
        DataError: if the data cannot be found or read.
        ConfigError: if there is no such split.
    """
    return load("cifar-fs", split)


def fc100(split: str = "train") -> ClassStore:
    """One split of FC100 (Oreshkin et al., 2018): 60 / 20 / 20 classes, superclasses kept whole.

    Args:
        split: ``train``, ``val`` or ``test``.

    Raises:
        DataError: if the data cannot be found or read.
        ConfigError: if there is no such split.
    """
    return load("fc100", split)


def load(name: str, split: str) -> ClassStore:
    """One split of either cut; classes are grouped by CIFAR-100's superclasses."""
    if split not in PARTS:
        raise unknown_name(f"split of {name}", split, PARTS)
    paths = find_pack("CIFAR-100", PACK, "")
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
    prove_disjoint(
        {p: [c for c, q in zip(classes, parts, strict=True) if q == p] for p in set(parts)}
    )
    images = all_images(paths).view(CLASSES, IMAGES, 3, SIDE, SIDE)
    chosen = [i for i, part in enumerate(parts) if part == split]
    if chosen == list(range(chosen[0], chosen[-1] + 1)):
        images = images[chosen[0] : chosen[-1] + 1]  # A part of the map, not a copy.
    else:
        images = images[torch.tensor(chosen)]
    return ClassStore(
        images.flatten(0, 1),
        [IMAGES] * len(chosen),
        [classes[i] for i in chosen],
        name=name,
        split=split,
        groups=[coarse[i] for i in chosen],
    )


def all_images(paths: list[Path]) -> torch.Tensor:
    """All images of CIFAR-100, uint8 [60000, 3, 32, 32], class after class, file after file."""

    def pixels() -> Iterator[np.ndarray]:
        for path in paths:
            pack = read_arrays(path, ("data", "offsets", "label"))
            data, offsets = pack["data"], pack["offsets"]
            for i in np.argsort(pack["label"], kind="stable"):
                with Image.open(io.BytesIO(data[offsets[i] : offsets[i + 1]].tobytes())) as image:
                    yield np.asarray(image.convert("RGB")).transpose(2, 0, 1)

    return decoded("cifar100", paths, (CLASSES * IMAGES, 3, SIDE, SIDE), pixels)
