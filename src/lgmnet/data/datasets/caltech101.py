"""Caltech-101 (Fei-Fei, Fergus and Perona, 2004): photos of objects of 101 classes."""

from pathlib import Path

import numpy as np
import torch

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.images.archives import decode_photos, find_archive, read_arrays
from lgmnet.data.images.cache import load_decoded
from lgmnet.errors import unknown_name_error

CALTECH101_ARCHIVE = Path("caltech101") / "caltech101_128_jpeg.npz"
CALTECH101_SIDE = 128
N_TEST_CLASSES = 21
SPLIT_SEED = 0
CALTECH101_SPLITS = ("train", "test")


def caltech101(split: str = "train") -> ClassDataset:
    """Open a split of Caltech-101: 80 / 21 classes of 31 to 800 photos each, 128 x 128 pixels.

    The test classes are drawn at random with a fixed seed. The splits are ``train`` and ``test``.

    Raises:
        DataError: if the data cannot be found or read.
        ConfigError: if there is no such split.
    """
    if split not in CALTECH101_SPLITS:
        raise unknown_name_error("split of caltech101", split, CALTECH101_SPLITS)
    (path,) = find_archive("Caltech-101", [CALTECH101_ARCHIVE])
    arrays = read_arrays(path, ("data", "offsets", "label", "class_name"))
    counts = np.bincount(arrays["label"], minlength=len(arrays["class_name"]))
    shape = (len(arrays["label"]), 3, CALTECH101_SIDE, CALTECH101_SIDE)
    images = load_decoded("caltech101", [path], shape, decode_photos(path, arrays))
    order = torch.randperm(len(counts), generator=torch.Generator().manual_seed(SPLIT_SEED))
    is_test = split == "test"
    classes = sorted((order[:N_TEST_CLASSES] if is_test else order[N_TEST_CLASSES:]).tolist())
    by_class = images.split(counts.tolist())
    names = [f"caltech101/{arrays['class_name'][c]}" for c in classes]
    images = torch.cat([by_class[c] for c in classes])
    return ClassDataset(images, counts[classes].tolist(), names, name="caltech101", split=split)
