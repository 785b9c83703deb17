"""Caltech-101 (Fei-Fei, Fergus and Perona, 2004) from its pack: photos of 101 kinds of things."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.images.archives import decode_photos, find_archive, read_arrays
from lgmnet.data.images.cache import load_decoded
from lgmnet.errors import unknown_name

PACK = Path("caltech101") / "caltech101_128_jpeg.npz"
SIDE, TEST, SEED = 128, 21, 0
SPLITS = ("train", "test")


def caltech101(split: str = "train") -> ClassDataset:
    """One split of Caltech-101: 80 / 21 classes of 31 to 800 photos each, 128 x 128.

    The test classes are drawn once, by a fixed seed.

    Args:
        split: ``train`` or ``test``.

    Raises:
        DataError: if the data cannot be found or read.
        ConfigError: if there is no such split.
    """
    if split not in SPLITS:
        raise unknown_name("split of caltech101", split, SPLITS)
    (path,) = find_archive("Caltech-101", [PACK], "")
    pack = read_arrays(path, ("data", "offsets", "label", "class_name"))
    counts = np.bincount(pack["label"], minlength=len(pack["class_name"]))
    shape = (len(pack["label"]), 3, SIDE, SIDE)
    images = load_decoded("caltech101", [path], shape, lambda: decode_photos(path, pack))
    drawn = torch.randperm(len(counts), generator=torch.Generator().manual_seed(SEED))
    chosen = sorted((drawn[:TEST] if split == "test" else drawn[TEST:]).tolist())
    ends = counts.cumsum()
    parts = [images[ends[i] - counts[i] : ends[i]] for i in chosen]
    return ClassDataset(
        torch.cat(parts),
        [int(counts[i]) for i in chosen],
        [f"caltech101/{pack['class_name'][i]}" for i in chosen],
        name="caltech101",
        split=split,
    )
