"""One table of the photos of several data sets, and what may occur in which split."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.registry import default_splits, list_joined_splits
from lgmnet.data.synthetic import photo_table
from lgmnet.data.synthetic.criteria import (
    NOT_VARIED,
    Factor,
    FactorTable,
    draw_criterion_tasks,
    join_tables,
)
from lgmnet.data.synthetic.photo_table import (
    PHOTOS_BY_CRITERION,
    TRAINING_WEIGHTS,
    PhotoTable,
    open_photo_table,
)
from lgmnet.errors import ConfigError, DataError
from tests.support.random import seeded

SUPERCLASSES = {
    "caltech101/Faces": "face",
    "caltech101/Faces_easy": "face",
    "caltech101/ant": "animal",
    "cifar100/fox": "animal",
    "cifar100/bed": "furniture",
}
PER_CLASS = 10
POOL_IMAGES, TURNED_IMAGES, PLAIN_IMAGES = 4, 5, 8
HELD_OUT = ("zoom", "colour-cast", "frame")


def make_datasets(split: str) -> list[ClassDataset]:
    """Make two data sets whose photos have a bright corner and their own gray level."""
    datasets = []
    for name, prefix, side in (("caltech101", "caltech101", 128), ("cifar-fs", "cifar100", 32)):
        names = [n for n in SUPERCLASSES if n.startswith(prefix)]
        numbers = torch.arange(len(names) * PER_CLASS, dtype=torch.uint8)
        images = numbers.view(-1, 1, 1, 1).expand(-1, 3, side, side).clone()
        images[:, :, : side // 4, : side // 2] = 250
        counts = [PER_CLASS] * len(names)
        datasets.append(ClassDataset(images, counts, names, name=name, split=split))
    return datasets[1:] if split == "val" else datasets


def make_domain(
    name: str, labelings: tuple[str, ...]
) -> tuple[Tensor, dict[str, tuple[Tensor, list[str]]]]:
    photos = torch.full((6, 3, 16, 16), len(name), dtype=torch.uint8)
    labels = {
        labeling: (torch.arange(6) % 2, [f"{name}/{labeling}/{i}" for i in range(2)])
        for labeling in labelings
    }
    return photos, labels


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, PhotoTable]:
    """Tables of all splits of small data sets."""
    monkeypatch.setenv("LGMNET_CACHE", str(tmp_path))
    photos_module = "lgmnet.data.synthetic.criterion_photos"
    monkeypatch.setattr(f"{photos_module}.open_datasets", make_datasets)
    monkeypatch.setattr(f"{photos_module}.read_superclasses", lambda: SUPERCLASSES)
    for module in (photos_module, photo_table.__name__):
        monkeypatch.setattr(f"{module}.find_archive", lambda *args: [Path(__file__)])
    monkeypatch.setattr(photo_table, "open_datasets", make_datasets)
    monkeypatch.setattr(photo_table, "load_domain", make_domain)
    turned = dict.fromkeys(("caltech101", "cifar-fs"), TURNED_IMAGES)
    monkeypatch.setattr(photo_table, "TURNED_IMAGES", turned)
    limits = {"caltech101": 1000, "cifar-fs": PLAIN_IMAGES}
    monkeypatch.setattr(photo_table, "PLAIN_IMAGES", limits)
    pool_images = dict.fromkeys(("train", "val", "test"), POOL_IMAGES)
    monkeypatch.setattr(photo_table, "POOL_IMAGES", pool_images)
    return {split: open_photo_table(split) for split in pool_images}


def rows_of(opened: PhotoTable, part: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return values, images and groups of the rows of one part of the photos."""
    lengths = [len(photos) for photos in opened.photos]
    table = opened.table
    parts = (t.split(lengths)[part] for t in (table.values, table.images, table.groups))
    values, images, groups = parts
    return values, images, groups


def column(opened: PhotoTable, values: Tensor, factor: str) -> Tensor:
    return values[:, opened.table.column(factor)]


def test_held_out_criteria_and_sets_for_testing_are_in_no_other_split(
    tables: dict[str, PhotoTable],
) -> None:
    for split, opened in tables.items():
        columns = [opened.table.column(name) for name in HELD_OUT]
        assert bool((opened.table.values[:, columns] >= 0).any()) == (split == "test")
        prefixes = {name.split("/")[0] for name in opened.class_names}
        expected = {
            "train": {"caltech101", "cifar100", "grocery", "clothing"},
            "val": {"cifar100", "coins"},
            "test": {"caltech101", "cifar100"},
        }
        assert prefixes == expected[split]
        assert len(opened.table) == sum(map(len, opened.photos))
    names = {factor.name for factor in tables["train"].table.factors}
    assert set(TRAINING_WEIGHTS) <= names - set(HELD_OUT)


def test_photos_as_they_are_are_there_once(tables: dict[str, PhotoTable]) -> None:
    opened = tables["train"]
    table = opened.table
    rendered = [i for i, factor in enumerate(table.factors) if not factor.is_content]
    is_plain = (table.values[:, rendered] < 0).all(1)
    plain_images = table.images[is_plain]
    assert len(plain_images.unique()) == len(plain_images)
    # All of Caltech-101 without the class that repeats another, and some of CIFAR-FS.
    groups = table.groups[is_plain]
    assert int((groups == 0).sum()) == 2 * PER_CLASS
    assert 2 * PLAIN_IMAGES <= int((groups == 1).sum()) <= 2 * (PLAIN_IMAGES + POOL_IMAGES)
    assert opened.class_names[1] == "caltech101/Faces_easy"
    assert not (table.values[:, 0] == 1).any()


def test_every_row_has_the_labels_of_its_photo(tables: dict[str, PhotoTable]) -> None:
    opened = tables["train"]
    datasets = make_datasets("train")
    labels = torch.cat([datasets[0].labels, datasets[1].labels + datasets[0].classes])
    levels = torch.cat([dataset.images[:, 0, -1, -1] for dataset in datasets])
    for part in range(5):
        values, images, groups = rows_of(opened, part)
        assert torch.equal(values[:, 0].long(), labels[images])
        assert torch.equal(groups, (images >= len(datasets[0].images)).long())
        for row, label in zip(values, labels[images], strict=True):
            name = opened.class_names[int(label)]
            superclass = int(column(opened, row[None], "superclass"))
            known = opened.table.factors[1].values
            assert known[superclass] == SUPERCLASSES[name] if superclass >= 0 else "bed" in name
        is_plain = (values[:, 2:] < 0).all(1)
        photos = opened.photos[part][is_plain]
        assert torch.equal(photos[:, 0, -1, -1], levels[images[is_plain]])
    grocery, _, groups = rows_of(opened, 5)
    for labeling in ("product", "kind"):
        assert column(opened, grocery, labeling).tolist() == [0, 1, 0, 1, 0, 1]
    assert (column(opened, grocery, "class") == NOT_VARIED).all()
    assert groups.tolist() == [2] * 6
    assert (rows_of(opened, 6)[2] == 3).all()
    assert int(rows_of(opened, 5)[1].min()) == len(labels), "photos of sets are other images"


def test_all_turned_photos_have_a_turn_and_half_of_them_other_changes(
    tables: dict[str, PhotoTable],
) -> None:
    opened = tables["train"]
    (turned,) = make_datasets("train")[:1]
    values, images, _ = rows_of(opened, 2)
    assert len(values) == 2 * 2 * TURNED_IMAGES
    for name in ("turn", "mirror"):
        assert (column(opened, values, name) >= 0).all()
    known = {"class", "superclass", "turn", "mirror"}
    others = [i for i, factor in enumerate(opened.table.factors) if factor.name not in known]
    n_others = (values[:, others] >= 0).sum(1)
    assert set(n_others.tolist()) <= {0, 1, 2}
    is_turned_alone = n_others == 0
    assert 0.2 < is_turned_alone.float().mean() < 0.9
    photos = opened.photos[2][is_turned_alone]
    values, images = values[is_turned_alone], images[is_turned_alone]
    for row, image, photo in zip(values, images, photos, strict=True):
        turn, mirror = (int(column(opened, row[None], name)) for name in ("turn", "mirror"))
        expected = turned.images[image]
        candidates = [
            (expected.rot90(k, (1, 2)), expected.flip(2).rot90(k, (1, 2))) for k in (turn, -turn)
        ]
        # Whichever way a quarter turn goes, and mirrored before it or after it.
        shown = [pair[mirror] for pair in candidates]
        assert any((photo.int() - s.int()).abs().max() <= 1 for s in shown)
    assert len(values[:, [2, 3]].unique(dim=0)) > 2


def test_tasks_stay_within_one_data_set(tables: dict[str, PhotoTable]) -> None:
    table = tables["train"].table
    for criterion, way in (("turn", 2), ("class", 2), ("product", 2), ("garment", 2)):
        tasks = draw_criterion_tasks(table, criterion, way, 1, 1, 40, seeded())
        rows = torch.cat([tasks.support_rows, tasks.query_rows], 1)
        groups = table.groups[rows]
        assert (groups == groups[:, :1]).all()
        assert all(len(set(images)) == 4 for images in table.images[rows].tolist())


def test_joined_tables_have_all_factors() -> None:
    a, b = Factor("a", ("0", "1")), Factor("b", ("0", "1"))
    one, two = torch.ones(1, 1, dtype=torch.int16), torch.tensor([[0, 1]], dtype=torch.int16)
    number = torch.zeros(1, dtype=torch.long)
    first = FactorTable((b,), one, number, number)
    second = FactorTable((a, b), two, number + 1, number + 2)
    joined = join_tables([first, second])
    assert [factor.name for factor in joined.factors] == ["b", "a"]
    assert joined.values.tolist() == [[1, NOT_VARIED], [1, 0]]
    assert (joined.images.tolist(), joined.groups.tolist()) == ([0, 1], [0, 2])
    other = FactorTable((Factor("a", ("0", "1", "2")),), one, number, number)
    with pytest.raises(DataError, match="different factors 'a'"):
        join_tables([second, other])


def test_the_data_has_the_splits_of_its_parts() -> None:
    assert default_splits(PHOTOS_BY_CRITERION) == ("train", "val")
    parts = list_joined_splits(PHOTOS_BY_CRITERION, "train")
    assert ("domains:grocery/kind", "train") in parts
    with pytest.raises(ConfigError, match="no split of photos-by-criterion 'tset'"):
        list_joined_splits(PHOTOS_BY_CRITERION, "tset")
