"""CIFAR-FS and FC100: splits are disjoint, images are those of the archive, errors are clear."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.datasets.cifar import CIFAR_ARCHIVE, cifar_fs, fc100, find_repeated_images
from lgmnet.data.images.archives import find_archive, read_arrays
from lgmnet.data.task_source import STANDARD_SPLITS, shares_classes
from lgmnet.errors import ConfigError, DataError

ARRAY_NAMES = ("data", "offsets", "label", "class_name")


@pytest.mark.pack("cifar100")
@pytest.mark.parametrize(
    ("open_split", "classes"), [(cifar_fs, (64, 16, 20)), (fc100, (60, 20, 20))]
)
def test_splits_have_their_published_sizes_and_share_no_class(
    open_split: Callable[[str], ClassDataset], classes: tuple[int, ...]
) -> None:
    datasets = [open_split(split) for split in STANDARD_SPLITS]
    assert tuple(dataset.classes for dataset in datasets) == classes
    assert all(600 * s.classes - 20 < len(s.images) <= 600 * s.classes for s in datasets)
    assert len(datasets[2].images) == 12_000, "the test split is complete"
    images: list[set[bytes]] = [{x.tobytes() for x in s.images.numpy()} for s in datasets]
    assert not any(a & b for a, b in combinations(images, 2))
    assert not any(shares_classes(a, b) for a, b in combinations(datasets, 2))


def test_the_copy_of_a_repeated_image_in_the_last_split_stays() -> None:
    images = torch.randint(256, (7, 3, 32, 32)).byte()
    images[4] = images[1]  # splits 1 and 0
    images[6] = images[1]  # split 2
    images[3] = images[2]  # both in split 0
    split_numbers = torch.tensor([0, 0, 0, 0, 1, 1, 2])
    assert find_repeated_images(images, split_numbers).nonzero().flatten().tolist() == [1, 4]


@pytest.mark.pack("cifar100")
def test_a_superclass_is_in_one_split_of_fc100() -> None:
    splits_of: dict[str, set[str]] = {}
    for path in find_archive("CIFAR-100", CIFAR_ARCHIVE):
        table = read_arrays(path, ("coarse_name", "fc100_split"))
        for superclass, split in zip(table["coarse_name"], table["fc100_split"], strict=True):
            splits_of.setdefault(str(superclass), set()).add(str(split))
    assert len(splits_of) == 20
    assert all(len(splits) == 1 for splits in splits_of.values())


@pytest.mark.pack("cifar100")
def test_both_data_sets_use_the_same_class_names() -> None:
    assert shares_classes(cifar_fs("train"), fc100("test"))


@pytest.mark.pack("cifar100")
def test_images_are_those_of_the_archive_sorted_by_class() -> None:
    dataset = cifar_fs("test")
    with np.load(find_archive("CIFAR-100", CIFAR_ARCHIVE)[3]) as arrays:
        data, offsets, label, names = (arrays[n] for n in ARRAY_NAMES)
    for k in (0, 599, 7_000, len(label) - 1):
        with Image.open(io.BytesIO(data[offsets[k] : offsets[k + 1]].tobytes())) as image:
            pixels = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
        at = 600 * int(label[k]) + int((label[:k] == label[k]).sum())
        assert np.array_equal(dataset.images[at].numpy(), pixels)
        assert dataset.class_names[at // 600] == f"cifar100/{names[label[k]]}"


def test_a_missing_file_of_the_archive_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LGMNET_DATA", str(tmp_path))
    (tmp_path / "cifar100").mkdir()
    for file in CIFAR_ARCHIVE[:-1]:
        (tmp_path / file).touch()
    with pytest.raises(DataError, match=r"not complete: '.*cifar_fs_test\.npz' missing"):
        cifar_fs("train")


def test_a_damaged_file_of_the_archive_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LGMNET_DATA", str(tmp_path))
    (tmp_path / "cifar100").mkdir()
    for file in CIFAR_ARCHIVE:
        (tmp_path / file).write_bytes(b"not an archive")
    with pytest.raises(DataError, match=r"cifar_fs_train_1\.npz' is damaged"):
        fc100("test")


def test_absent_data_and_unknown_splits_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LGMNET_DATA", str(tmp_path))
    with pytest.raises(DataError, match="CIFAR-100 was not found"):
        cifar_fs("train")
    with pytest.raises(ConfigError, match="no split of fc100 'vinyals'"):
        fc100("vinyals")
