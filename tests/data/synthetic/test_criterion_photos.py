"""Pools of photos by criterion: versions of each photo, decided by the criterion alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.datasets.caltech101 import CALTECH101_SUPERCLASSES
from lgmnet.data.synthetic.criteria import FactorTable, draw_criterion_tasks
from lgmnet.data.synthetic.criterion_photos import (
    PHOTO_CRITERIA,
    criterion_photos,
    draw_photo_table,
    read_superclasses,
    render_pool,
)
from lgmnet.errors import ConfigError, DataError
from tests.support.criteria import dependence
from tests.support.random import seeded

HELD_OUT = ("zoom", "colour-cast", "frame")
SUPERCLASSES = {
    "caltech101/Faces": "face",
    "caltech101/Faces_easy": "face",
    "caltech101/ant": "animal",
    "cifar100/fox": "animal",
    "cifar100/bed": "furniture",
}


def make_datasets(per_class: int = 8) -> list[ClassDataset]:
    """Make two data sets whose photos are filled with their own numbers."""
    datasets = []
    for part, side in (("caltech101", 16), ("cifar100", 8)):
        names = [name for name in SUPERCLASSES if name.startswith(part)]
        numbers = torch.arange(len(names) * per_class, dtype=torch.uint8)
        images = numbers.view(-1, 1, 1, 1).expand(-1, 3, side, side).clone()
        counts = [per_class] * len(names)
        datasets.append(ClassDataset(images, counts, names, name=part, split="train"))
    return datasets


def make_table(
    datasets: list[ClassDataset], *, images: int = 5, versions: int = 4, held_out: bool = False
) -> tuple[FactorTable, list[torch.Tensor]]:
    return draw_photo_table(
        datasets,
        SUPERCLASSES,
        images_per_class=images,
        versions=versions,
        held_out=held_out,
        generator=seeded(),
    )


def test_the_first_version_of_each_photo_is_the_photo_itself() -> None:
    datasets = make_datasets()
    table, photos = make_table(datasets)
    rendered = table.values[:, 2:] >= 0
    assert not rendered[::4].any()
    for version in range(1, 4):
        assert set(rendered[version::4].sum(1).tolist()) == {3, 4}
    pictures = torch.from_numpy(np.stack([*render_pool(photos, table, 4, seeded())]))
    assert pictures.shape == (len(table), 3, 128, 128)
    expected = torch.cat([group[:, 0, 0, 0] for group in photos])
    assert torch.equal(pictures[::4, 0, 0, 0], expected)
    again = torch.from_numpy(np.stack([*render_pool(photos, table, 4, seeded())]))
    assert torch.equal(pictures, again)


def test_classes_and_superclasses_are_those_of_the_photos() -> None:
    datasets = make_datasets()
    table, photos = make_table(datasets)
    names = [*SUPERCLASSES]
    chosen = [name for name in names if name != "caltech101/Faces_easy"]
    assert table.factors[0].values == tuple(names)
    labels = table.values[::4, 0].tolist()
    assert labels == [names.index(name) for name in chosen for _ in range(5)]
    # One class alone is no superclass.
    assert table.factors[1].values == ("animal", "face")
    animals = {names.index("caltech101/ant"), names.index("cifar100/fox")}
    for label, superclass in table.values[:, :2].tolist():
        faces = names.index("caltech101/Faces")
        assert superclass == (0 if label in animals else 1 if label == faces else -1)
    first = table.groups[::4].tolist()
    assert first == [0] * len(photos[0]) + [1] * len(photos[1])
    for dataset, group in zip(datasets, photos, strict=True):
        assert len(group.unique(dim=0)) == len(group), "a photo is chosen once"
        assert set(group[:, 0, 0, 0].tolist()) <= set(dataset.images[:, 0, 0, 0].tolist())


def test_only_the_criterion_decides() -> None:
    datasets = make_datasets(per_class=200)
    table, _ = make_table(datasets, images=200, versions=9, held_out=True)
    for own in range(2, len(PHOTO_CRITERIA)):
        rows = table.values[table.values[:, own] >= 0]
        for other in set(range(len(PHOTO_CRITERIA))) - {own}:
            assert dependence(rows[:, own], rows[:, other]) < 4


def test_held_out_criteria_vary_in_the_test_split_only() -> None:
    datasets = make_datasets()
    columns = [PHOTO_CRITERIA.index(name) for name in HELD_OUT]
    for held_out in (False, True):
        table, _ = make_table(datasets, held_out=held_out)
        assert bool((table.values[:, columns] >= 0).any()) == held_out
        assert (set(HELD_OUT) <= set(table.criteria())) == held_out
    for split in ("train", "val"):
        with pytest.raises(DataError, match=r"'frame' is kept for testing.*use the split 'test'"):
            criterion_photos(split, "frame")


def test_unknown_names_and_missing_files_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="split of criteria-photos 'tset'"):
        criterion_photos("tset")
    with pytest.raises(ConfigError, match=r"no criterion 'blurr'\. Did you mean 'blur'"):
        criterion_photos("test", "blurr")
    monkeypatch.setenv("LGMNET_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"Caltech-101 was not found.*caltech101_128_jpeg\.npz"):
        criterion_photos("test", "blur")


@pytest.mark.pack("cifar100")
def test_every_class_has_a_superclass() -> None:
    superclasses = read_superclasses()
    assert len(superclasses) == 101 + 100
    assert len(set(superclasses.values()) - set(CALTECH101_SUPERCLASSES.values())) == 20


@pytest.fixture
def data_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace Caltech-101 and CIFAR-FS by small data sets."""
    caltech101, cifar = make_datasets(per_class=30)
    monkeypatch.setenv("LGMNET_CACHE", str(tmp_path))
    module = "lgmnet.data.synthetic.criterion_photos"
    monkeypatch.setattr(f"{module}.caltech101", lambda split: caltech101)
    monkeypatch.setattr(f"{module}.cifar_fs", lambda split: cifar)
    monkeypatch.setattr(f"{module}.read_superclasses", lambda: SUPERCLASSES)
    monkeypatch.setattr(f"{module}.find_archive", lambda *args: [Path(__file__)])


@pytest.mark.usefixtures("data_sets")
def test_a_pool_is_rendered_once_and_drawn_by_criterion() -> None:
    pool = criterion_photos("test", images_per_class=20, versions=3)
    assert pool.samples.shape == (4 * 20 * 3, 3, 128, 128)
    again = criterion_photos("test", "brightness", images_per_class=20, versions=3)
    assert torch.equal(again.samples, pool.samples)
    assert torch.equal(again.table.values, pool.table.values)
    assert again.name == "criteria-photos:brightness"
    assert again.criteria == ("brightness",)
    other = criterion_photos("test", images_per_class=20, versions=3, seed=1)
    assert not torch.equal(other.table.values, pool.table.values)
    t = draw_criterion_tasks(pool.table, "brightness", 2, 1, 1, 40, seeded())
    means = pool.samples[t.support_rows].float().mean((2, 3, 4))
    # Photos differ in brightness too, so it is so in most tasks, not in all.
    is_brighter = (means[:, 1] > means[:, 0]) == (t.values[:, 1] > t.values[:, 0])
    assert is_brighter.double().mean() > 0.7


@pytest.mark.usefixtures("data_sets")
def test_only_the_test_pool_has_held_out_criteria() -> None:
    for split in ("train", "val", "test"):
        pool = criterion_photos(split, images_per_class=4, versions=2)
        assert (set(HELD_OUT) <= set(pool.criteria)) == (split == "test")
        assert len(pool.table.groups.unique()) == (1 if split == "val" else 2)
