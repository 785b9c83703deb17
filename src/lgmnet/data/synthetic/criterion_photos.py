"""Tasks by criterion over photos: a pool of photos of Caltech-101 and CIFAR-FS."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.datasets.caltech101 import CALTECH101_ARCHIVE, CALTECH101_SUPERCLASSES, caltech101
from lgmnet.data.datasets.cifar import CIFAR_ARCHIVE, cifar_fs
from lgmnet.data.images.archives import find_archive, read_arrays
from lgmnet.data.images.cache import load_decoded
from lgmnet.data.synthetic.criteria import (
    NOT_VARIED,
    Factor,
    FactorTable,
    check_criterion,
    draw_factor_values,
    draw_n_varied,
)
from lgmnet.data.synthetic.criterion_pool import CriterionPool
from lgmnet.data.synthetic.photo_factors import PHOTO_SIDE, RENDERED_FACTORS, render_photos
from lgmnet.data.task_source import STANDARD_SPLITS
from lgmnet.errors import unknown_name_error

CONTENT_FACTORS = ("class", "superclass")
PHOTO_CRITERIA = (*CONTENT_FACTORS, *(factor.name for factor in RENDERED_FACTORS))
REPEATED_CLASSES = ("caltech101/Faces_easy",)
"""Classes without images here: they show the photos of another class, cropped."""
IMAGES_PER_CLASS = {"train": 20, "val": 40, "test": 30}
VERSIONS = 4
POOL_VERSION = 2
"""Version of the look of the photos; part of the name of the cached file."""
RENDERING_BATCH_SIZE = 32


def criterion_photos(
    split: str = "train",
    criterion: str | None = None,
    *,
    images_per_class: int | None = None,
    versions: int = VERSIONS,
    seed: int = 0,
) -> CriterionPool:
    """Open a pool of photos, rendered in several versions, to draw tasks by criterion from.

    The criterion is the class, the superclass, or a factor of `RENDERED_FACTORS`. The first version
    of each photo is the photo itself; three or four factors vary in each of the others. The photos
    of a task are all from Caltech-101 or all from CIFAR-FS. Classes and photos belong to one split
    only, and held-out factors vary in the split ``test`` only. The split ``val`` has photos of
    CIFAR-FS alone, because Caltech-101 has no validation classes.

    The rendered photos are cached in the user's cache folder as a memory map.

    Args:
        split: ``train``, ``val`` or ``test``.
        criterion: Criterion of all tasks, or None to draw it for each task.
        images_per_class: Number of photos of each class, or as many as there are; None for
            `IMAGES_PER_CLASS`.
        versions: Number of versions of each photo.
        seed: Seed of the choice of the photos, of their factors and of the noise.

    Raises:
        ConfigError: if there is no such split or criterion.
        DataError: if the criterion is held out from the split, or the data cannot be found or read.
    """
    if split not in STANDARD_SPLITS:
        raise unknown_name_error("split of criteria-photos", split, STANDARD_SPLITS)
    named = [Factor(name, (), is_content=True) for name in CONTENT_FACTORS]
    if criterion is not None:  # Before the data is read.
        check_criterion((*named, *RENDERED_FACTORS), criterion, split)
    per_class = images_per_class or IMAGES_PER_CLASS[split]
    table, photos = draw_photo_table(
        open_datasets(split),
        read_superclasses(),
        images_per_class=per_class,
        versions=versions,
        held_out=split == "test",
        generator=torch.Generator().manual_seed(seed),
    )
    samples = load_decoded(
        f"criteria-photos-{split}-{POOL_VERSION}-{per_class}-{versions}-{seed}",
        find_archive("CIFAR-100", CIFAR_ARCHIVE)
        + (find_archive("Caltech-101", [CALTECH101_ARCHIVE]) if split != "val" else []),
        (len(table), 3, PHOTO_SIDE, PHOTO_SIDE),
        render_pool(photos, table, versions, torch.Generator().manual_seed(seed)),
    )
    return CriterionPool(
        samples,
        table,
        table.factors[0].values,
        name="criteria-photos",
        split=split,
        criterion=criterion,
    )


def open_datasets(split: str) -> list[ClassDataset]:
    """Open the data sets whose photos a pool shows; Caltech-101 has no validation classes."""
    return [cifar_fs(split)] if split == "val" else [caltech101(split), cifar_fs(split)]


def draw_photo_table(
    datasets: Sequence[ClassDataset],
    superclasses: Mapping[str, str],
    *,
    images_per_class: int,
    versions: int,
    held_out: bool,
    generator: torch.Generator,
) -> tuple[FactorTable, list[UInt8[Tensor, "_ 3 _ _"]]]:
    """Choose photos of data sets, and draw the factors of several versions of each.

    Args:
        datasets: Data sets, each of which is a group of the table.
        superclasses: Superclass of each class. One with a single class here is no superclass.
        images_per_class: Number of photos of each class, or as many as there are.
        versions: Number of versions of each photo. Nothing varies in the first.
        held_out: If True, held-out factors vary too.
        generator: CPU generator of every draw.

    Returns:
        The table, in which the versions of a photo follow each other, and the chosen photos of
        each data set. The images of the table are numbered through all photos of all data sets.
    """
    names = [class_name for dataset in datasets for class_name in dataset.class_names]
    members = [superclasses[name] for name in names]
    shared = sorted({s for s in members if members.count(s) > 1})
    factors = (
        Factor("class", tuple(names), is_content=True),
        Factor("superclass", tuple(shared), is_content=True),
        *RENDERED_FACTORS,
    )
    photos, classes, numbers, first_class, first_image = [], [], [], 0, 0
    for dataset in datasets:
        chosen = choose_images(dataset, images_per_class, generator)
        photos.append(dataset.images[chosen])
        classes.append(dataset.labels[chosen] + first_class)
        numbers.append(chosen + first_image)
        first_class += dataset.classes
        first_image += len(dataset.images)
    groups = torch.arange(len(datasets)).repeat_interleave(torch.tensor([*map(len, photos)]))
    label = torch.cat(classes)
    n_varied = draw_n_varied(len(label) * versions, generator, extra=1).view(-1, versions)
    n_varied[:, 0] = 0
    values = draw_factor_values(factors, n_varied.flatten(), 1, generator, held_out=held_out)[:, 0]
    superclass = torch.tensor([shared.index(s) if s in shared else NOT_VARIED for s in members])
    values[:, 0] = label.repeat_interleave(versions)
    values[:, 1] = superclass[label].repeat_interleave(versions)
    images = torch.cat(numbers).repeat_interleave(versions)
    return FactorTable(factors, values, images, groups.repeat_interleave(versions)), photos


PHOTO_SOURCES: dict[str, Callable[[str], CriterionPool]] = {
    "criteria-photos": criterion_photos,
    **{f"criteria-photos:{c}": partial(criterion_photos, criterion=c) for c in PHOTO_CRITERIA},
}
"""Function that opens a split of the photos, for all criteria and for each."""


def read_superclasses() -> dict[str, str]:
    """Read the superclass of each class of Caltech-101 and CIFAR-100."""
    superclasses = {f"caltech101/{name}": group for name, group in CALTECH101_SUPERCLASSES.items()}
    for path in find_archive("CIFAR-100", CIFAR_ARCHIVE):
        table = read_arrays(path, ("class_name", "coarse_name"))
        pairs = zip(table["class_name"], table["coarse_name"], strict=True)
        superclasses |= {f"cifar100/{name}": f"cifar100/{coarse}" for name, coarse in pairs}
    return superclasses


def choose_images(dataset: ClassDataset, per_class: int, generator: torch.Generator) -> Tensor:
    """Choose images of each class at random; return their numbers, sorted by class."""
    starts, counts = dataset.starts.tolist(), dataset.counts.tolist()
    return torch.cat(
        [
            torch.randperm(count, generator=generator)[:per_class].sort().values + start
            for name, start, count in zip(dataset.class_names, starts, counts, strict=True)
            if name not in REPEATED_CLASSES
        ]
    )


def render_pool(
    photos: Sequence[UInt8[Tensor, "_ 3 _ _"]],
    table: FactorTable,
    versions: int,
    generator: torch.Generator,
) -> Iterator[np.ndarray]:
    """Render one row of a table after the other; ``photos`` are those of each data set."""
    first = 0
    for group in photos:
        rows = torch.arange(len(group) * versions)
        for batch in rows.split(RENDERING_BATCH_SIZE):
            values = table.values[first + batch]
            pictures = render_photos(group[batch // versions], table.factors, values, generator)
            yield from pictures.numpy()
        first += len(rows)
