"""CIFAR-FS and FC100: two ways to split the 100 classes of CIFAR-100 for few-shot learning."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.images.archives import decode_photos, find_archive, read_arrays
from lgmnet.data.images.cache import load_decoded
from lgmnet.data.task_source import STANDARD_SPLITS, check_disjoint
from lgmnet.errors import DataError, unknown_name_error

CIFAR_FS_SPLIT_OF_FILE = {"train_1": "train", "train_2": "train", "val": "val", "test": "test"}
"""Split of CIFAR-FS in each file of the archive."""
CIFAR_ARCHIVE = tuple(Path("cifar100") / f"cifar_fs_{name}.npz" for name in CIFAR_FS_SPLIT_OF_FILE)
N_CIFAR_CLASSES, IMAGES_PER_CLASS = 100, 600


def cifar_fs(split: str = "train") -> ClassDataset:
    """Open a split of CIFAR-FS (Bertinetto et al., 2019): 64 / 16 / 20 classes, 600 images each.

    A few images are left out because a later split contains them too (see `find_repeated_images`);
    the test split is complete.

    Raises:
        DataError: if the data cannot be found or read.
        ConfigError: if there is no such split.
    """
    return load_cifar("cifar-fs", split)


def fc100(split: str = "train") -> ClassDataset:
    """Open a split of FC100 (Oreshkin et al., 2018): 60 / 20 / 20 classes, 600 images each.

    All classes of a superclass are in the same split. Images are left out as in `cifar_fs`.

    Raises:
        DataError: if the data cannot be found or read.
        ConfigError: if there is no such split.
    """
    return load_cifar("fc100", split)


def load_cifar(name: str, split: str) -> ClassDataset:
    """Load a split of ``cifar-fs`` or ``fc100``; the superclasses of CIFAR-100 are the groups."""
    if split not in STANDARD_SPLITS:
        raise unknown_name_error(f"split of {name}", split, STANDARD_SPLITS)
    paths = find_archive("CIFAR-100", CIFAR_ARCHIVE)
    classes: list[str] = []
    superclasses: list[str] = []
    class_splits: list[str] = []
    for path, file_split in zip(paths, CIFAR_FS_SPLIT_OF_FILE.values(), strict=True):
        table = read_arrays(path, ("label", "class_name", "coarse_name", "fc100_split"))
        counts = np.bincount(table["label"])
        if (counts != IMAGES_PER_CLASS).any():
            raise DataError(f"'{path}' does not hold {IMAGES_PER_CLASS} images of each class.")
        # Both data sets use the same class names, so that a class trained on in one of them is
        # recognised in the other.
        classes += [f"cifar100/{c}" for c in table["class_name"]]
        superclasses += map(str, table["coarse_name"])
        is_fc100 = name == "fc100"
        class_splits += map(str, table["fc100_split"]) if is_fc100 else [file_split] * len(counts)
    if len(classes) != N_CIFAR_CLASSES:
        raise DataError(f"The data archive of CIFAR-100 holds {len(classes)} classes.")
    members = {s: [i for i, own in enumerate(class_splits) if own == s] for s in STANDARD_SPLITS}
    check_disjoint({s: [classes[i] for i in numbers] for s, numbers in members.items()})
    images = load_all_images(paths)
    class_numbers = torch.tensor([STANDARD_SPLITS.index(s) for s in class_splits])
    split_numbers = class_numbers.repeat_interleave(IMAGES_PER_CLASS)
    is_unique = ~find_repeated_images(images, split_numbers)
    chosen = members[split]
    remaining = is_unique.view(N_CIFAR_CLASSES, IMAGES_PER_CLASS).sum(1)[chosen]
    first, last = chosen[0], chosen[-1]
    if chosen == list(range(first, last + 1)) and int(remaining.min()) == IMAGES_PER_CLASS:
        # A slice of the memory map, where a mask would copy the images.
        images = images[first * IMAGES_PER_CLASS : (last + 1) * IMAGES_PER_CLASS]
    else:
        images = images[is_unique & (split_numbers == STANDARD_SPLITS.index(split))]
    names, groups = ([values[i] for i in chosen] for values in (classes, superclasses))
    return ClassDataset(images, remaining.tolist(), names, name=name, split=split, groups=groups)


def find_repeated_images(
    images: UInt8[Tensor, "images channels height width"], split_numbers: Int[Tensor, " images"]
) -> Bool[Tensor, " images"]:
    """Return a mask of the images that a later split contains too, bit for bit.

    CIFAR-100 contains some images twice, under two classes, such as an otter and a seal. Images of
    validation or test must not be trained on, so the copy in the earlier split is left out.
    """
    words = images.flatten(1).view(torch.int64)
    factors = torch.randint(2**62, words.shape[1:], generator=torch.Generator().manual_seed(0))
    hashes = (words * (2 * factors + 1)).sum(1)
    _, hash_index, counts = hashes.unique(return_inverse=True, return_counts=True)
    is_repeated = torch.zeros(len(images), dtype=torch.bool)
    last_split: dict[bytes, int] = {}
    candidates = (counts[hash_index] > 1).nonzero().flatten().tolist()
    for i in sorted(candidates, key=lambda i: -int(split_numbers[i])):
        last = last_split.setdefault(images[i].numpy().tobytes(), int(split_numbers[i]))
        is_repeated[i] = last > split_numbers[i]
    return is_repeated


def load_all_images(paths: list[Path]) -> UInt8[Tensor, "images channels height width"]:
    """Load all images of CIFAR-100, uint8 [60000, 3, 32, 32], sorted by file and class.

    Raises:
        DataError: if an image is damaged.
    """
    names = "data", "offsets", "label"
    photos = (photo for path in paths for photo in decode_photos(path, read_arrays(path, names)))
    return load_decoded("cifar100", paths, (N_CIFAR_CLASSES * IMAGES_PER_CLASS, 3, 32, 32), photos)
