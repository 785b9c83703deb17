"""Tasks by criterion over photos: a pool of photos of Caltech-101 and CIFAR-FS."""

from collections.abc import Iterator
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
    generator = torch.Generator().manual_seed(seed)
    per_class = images_per_class or IMAGES_PER_CLASS[split]
    datasets = ([] if split == "val" else [caltech101(split)]) + [cifar_fs(split)]
    names = [class_name for dataset in datasets for class_name in dataset.class_names]
    superclasses = read_superclasses()
    members = [superclasses[name] for name in names]
    # With one class alone, it would be a class and not a superclass.
    shared = sorted({s for s in members if members.count(s) > 1})
    factors = (
        Factor("class", tuple(names), is_content=True),
        Factor("superclass", tuple(shared), is_content=True),
        *RENDERED_FACTORS,
    )
    numbers = torch.tensor([shared.index(s) if s in shared else NOT_VARIED for s in members])
    chosen = [choose_images(dataset, per_class, generator) for dataset in datasets]
    first_classes = [0, datasets[0].classes]
    classes = torch.cat(
        [d.labels[i] + first for d, i, first in zip(datasets, chosen, first_classes, strict=False)]
    )
    groups = torch.arange(len(datasets)).repeat_interleave(torch.tensor([*map(len, chosen)]))
    n_varied = draw_n_varied(len(classes) * versions, generator, extra=1).view(-1, versions)
    n_varied[:, 0] = 0
    held_out = split == "test"
    values = draw_factor_values(factors, n_varied.flatten(), 1, generator, held_out=held_out)[:, 0]
    values[:, 0] = classes.repeat_interleave(versions)
    values[:, 1] = numbers[classes].repeat_interleave(versions)
    images = torch.arange(len(classes)).repeat_interleave(versions)
    table = FactorTable(factors, values, images, groups.repeat_interleave(versions))
    photos = [dataset.images[i] for dataset, i in zip(datasets, chosen, strict=True)]
    files = [*find_archive("Caltech-101", [CALTECH101_ARCHIVE])] if split != "val" else []
    samples = load_decoded(
        f"criteria-photos-{split}-{POOL_VERSION}-{per_class}-{versions}-{seed}",
        [*files, *find_archive("CIFAR-100", CIFAR_ARCHIVE)],
        (len(table), 3, PHOTO_SIDE, PHOTO_SIDE),
        render_pool(photos, table, versions, seed),
    )
    return CriterionPool(
        samples, table, names, name="criteria-photos", split=split, criterion=criterion
    )


PHOTO_SOURCES = {
    "criteria-photos": criterion_photos,
    **{f"criteria-photos:{c}": partial(criterion_photos, criterion=c) for c in PHOTO_CRITERIA},
}


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
            torch.randperm(n, generator=generator)[:per_class].sort().values + start
            for start, n in zip(starts, counts, strict=True)
        ]
    )


def render_pool(
    photos: list[UInt8[Tensor, "photos 3 height width"]],
    table: FactorTable,
    versions: int,
    seed: int,
) -> Iterator[np.ndarray]:
    """Render one row of a table after the other; ``photos`` are those of each data set."""
    generator = torch.Generator().manual_seed(seed)
    first = 0
    for group in photos:
        rows = torch.arange(len(group) * versions)
        for batch in rows.split(RENDERING_BATCH_SIZE):
            values = table.values[first + batch]
            yield from render_photos(
                group[batch // versions], table.factors, values, generator
            ).numpy()
        first += len(rows)
