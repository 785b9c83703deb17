"""CIFAR-FS and FC100: cuts that never meet, images that are the pack's, and plain complaints."""

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
from lgmnet.data.datasets.cifar import PACK, PARTS, cifar_fs, fc100, find_repeated_images
from lgmnet.data.images.archives import find_archive, read_arrays
from lgmnet.data.task_source import shares_classes
from lgmnet.errors import ConfigError, DataError


@pytest.mark.pack("cifar100")
@pytest.mark.parametrize(("cut", "classes"), [(cifar_fs, (64, 16, 20)), (fc100, (60, 20, 20))])
def test_cuts_have_their_published_sizes_and_share_no_class(
    cut: Callable[[str], ClassDataset], classes: tuple[int, ...]
) -> None:
    stores = [cut(part) for part in PARTS]
    assert tuple(store.classes for store in stores) == classes
    assert all(600 * s.classes - 20 < len(s.images) <= 600 * s.classes for s in stores)
    assert len(stores[2].images) == 12_000, "the test split is whole"
    shown: list[set[bytes]] = [{x.tobytes() for x in store.images.numpy()} for store in stores]
    assert not any(a & b for a, b in combinations(shown, 2))
    assert not any(shares_classes(a, b) for a, b in combinations(stores, 2))


def test_of_images_that_are_there_twice_the_one_in_the_last_part_stays() -> None:
    images = torch.randint(256, (7, 3, 32, 32)).byte()
    images[4] = images[1]  # parts 1 and 0
    images[6] = images[1]  # part 2
    images[3] = images[2]  # both of part 0
    part_of = torch.tensor([0, 0, 0, 0, 1, 1, 2])
    assert find_repeated_images(images, part_of).nonzero().flatten().tolist() == [1, 4]


@pytest.mark.pack("cifar100")
def test_fc100_keeps_superclasses_whole() -> None:
    cut: dict[str, set[str]] = {}
    for path in find_archive("CIFAR-100", PACK, ""):
        table = read_arrays(path, ("coarse_name", "fc100_split"))
        for coarse, part in zip(table["coarse_name"], table["fc100_split"], strict=True):
            cut.setdefault(str(coarse), set()).add(str(part))
    assert len(cut) == 20
    assert all(len(parts) == 1 for parts in cut.values())


@pytest.mark.pack("cifar100")
def test_a_class_of_one_cut_is_known_in_the_other() -> None:
    assert shares_classes(cifar_fs("train"), fc100("test"))


@pytest.mark.pack("cifar100")
def test_images_are_those_of_the_pack_class_by_class() -> None:
    store = cifar_fs("test")
    with np.load(find_archive("CIFAR-100", PACK, "")[3]) as pack:
        data, offsets, label, names = (pack[n] for n in ("data", "offsets", "label", "class_name"))
    for k in (0, 599, 7_000, len(label) - 1):
        with Image.open(io.BytesIO(data[offsets[k] : offsets[k + 1]].tobytes())) as image:
            pixels = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
        at = 600 * int(label[k]) + int((label[:k] == label[k]).sum())
        assert np.array_equal(store.images[at].numpy(), pixels)
        assert store.class_names[at // 600] == f"cifar100/{names[label[k]]}"


def test_a_missing_file_of_the_pack_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LGMNET_DATA", str(tmp_path))
    (tmp_path / "cifar100").mkdir()
    for part in PACK[:-1]:
        (tmp_path / part).touch()
    with pytest.raises(DataError, match=r"not whole: '.*cifar_fs_test\.npz' missing"):
        cifar_fs("train")


def test_a_damaged_file_of_the_pack_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LGMNET_DATA", str(tmp_path))
    (tmp_path / "cifar100").mkdir()
    for part in PACK:
        (tmp_path / part).write_bytes(b"not an archive")
    with pytest.raises(DataError, match=r"cifar_fs_train_1\.npz' is damaged"):
        fc100("test")


def test_absent_data_and_foreign_splits_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LGMNET_DATA", str(tmp_path))
    with pytest.raises(DataError, match="CIFAR-100 was not found"):
        cifar_fs("train")
    with pytest.raises(ConfigError, match="no split of fc100 'vinyals'"):
        fc100("vinyals")
