"""All photos that a model by criterion is trained on, chosen on or tested on, in one table."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import UInt8
from torch import Tensor

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.datasets.caltech101 import CALTECH101_ARCHIVE
from lgmnet.data.datasets.cifar import CIFAR_ARCHIVE
from lgmnet.data.datasets.domains import DOMAINS, load_domain
from lgmnet.data.images.archives import find_archive
from lgmnet.data.images.cache import load_decoded
from lgmnet.data.synthetic.criteria import (
    NOT_VARIED,
    Factor,
    FactorTable,
    draw_factor_values,
    join_tables,
)
from lgmnet.data.synthetic.criterion_photos import (
    POOL_VERSION,
    choose_images,
    criterion_photos,
    open_datasets,
    render_pool,
)
from lgmnet.data.synthetic.photo_factors import MIRROR, PHOTO_SIDE, TURN

PHOTOS_BY_CRITERION = "photos-by-criterion"
POOL_IMAGES = {"train": 40, "val": 40, "test": 30}
"""Photos of each class that are rendered in several versions."""
PLAIN_IMAGES = {"caltech101": 1000, "cifar-fs": 150}
"""Photos of each class that are there as they are, or as many as there are."""
TURNED_IMAGES = {"caltech101": 1000, "cifar-fs": 200}
"""Photos of each training class that are turned and mirrored, or as many as there are."""
TURNED_VERSIONS = {"caltech101": 2, "cifar-fs": 1}
"""Turned versions of each of these photos."""
N_TURNED_FACTORS = (0, 0, 1, 2)
"""Numbers of other factors that vary in a turned photo, each as likely as the others."""
TRAINING_WEIGHTS: Mapping[str, float] = {
    "class": 6.0,
    "superclass": 1.0,
    "product": 2.0,
    "kind": 1.0,
    "garment": 1.0,
    "turn": 8.0,
    "mirror": 0.3,
    "place": 1.0,
    "blur": 1.0,
    "brightness": 1.0,
    "compression": 1.0,
    "noise": 1.0,
}
"""Weights with which the criteria of training tasks are drawn."""
MIN_RENDERED_SHOT = 3
"""Least support samples of a class of training tasks by a rendered factor."""


@dataclass(frozen=True, eq=False)
class PhotoTable:
    """Photos of several sizes with one table of their factors."""

    photos: tuple[UInt8[Tensor, "_ 3 _ _"], ...]
    """Photos of each size or source; together they are the rows of the table."""
    table: FactorTable
    class_names: tuple[str, ...]
    """Names of all classes that the photos show, in whichever labeling."""


def open_photo_table(split: str) -> PhotoTable:
    """Open all photos of a split, whatever they are labelled by.

    They are the pool of `criterion_photos`, more photos of Caltech-101 and CIFAR-FS as they are,
    and the sets of `DOMAINS` for this split. In training, turned and mirrored photos are added. The
    images of a task are all from one data set.

    Args:
        split: ``train``, ``val`` or ``test``; the last has photos of Caltech-101 and CIFAR-FS only.

    Raises:
        ConfigError: if there is no such split.
        DataError: if the data cannot be found or read.
    """
    pool = criterion_photos(split, images_per_class=POOL_IMAGES[split])
    datasets, is_training = open_datasets(split), split == "train"
    parts = [
        (pool.samples, pool.table),
        *list_more_photos(datasets, pool.table, is_turned_too=is_training),
    ]
    class_names = [*pool.class_names]
    first_image = sum(len(dataset.images) for dataset in datasets)
    for name, known in DOMAINS.items():
        if known.split != split or split == "test":
            continue  # The other sets are for testing alone, one at a time.
        photos, labels = load_domain(name, known.labelings)
        factors = tuple(
            Factor(labeling, tuple(names), is_content=True)
            for labeling, (_, names) in labels.items()
        )
        values = torch.stack([numbers for numbers, _ in labels.values()], 1).short()
        images = torch.arange(len(photos)) + first_image
        first_image += len(photos)
        group = torch.full_like(images, int(parts[-1][1].groups.max()) + 1)
        parts.append((photos, FactorTable(factors, values, images, group)))
        class_names += [value for factor in factors for value in factor.values]
    table = join_tables([table for _, table in parts])
    return PhotoTable(tuple(photos for photos, _ in parts), table, tuple(class_names))


def list_more_photos(
    datasets: Sequence[ClassDataset], pool: FactorTable, *, is_turned_too: bool
) -> Iterator[tuple[UInt8[Tensor, "_ 3 _ _"], FactorTable]]:
    """List more photos of the data sets of a pool.

    Args:
        datasets: Data sets whose photos the pool shows.
        pool: Table of the pool; it has the factors of the photos.
        is_turned_too: If True, there are photos that are turned and mirrored, of which a half is
            changed in other factors too, beside those that are as they are and not in the pool.

    Yields:
        Photos and their table, for each data set and kind.
    """
    superclasses = torch.full((len(pool.factors[0].values),), NOT_VARIED, dtype=torch.int16)
    superclasses[pool.values[:, 0].long()] = pool.values[:, 1]
    generator = torch.Generator().manual_seed(0)
    first_class = first_image = 0

    def tabulate(labels: Tensor, images: Tensor, group: int) -> FactorTable:
        values = torch.full((len(labels), len(pool.factors)), NOT_VARIED, dtype=torch.int16)
        values[:, 0], values[:, 1] = labels, superclasses[labels]
        return FactorTable(pool.factors, values, images, torch.full_like(images, group))

    for group, dataset in enumerate(datasets):
        chosen = choose_images(dataset, PLAIN_IMAGES[dataset.name], generator)
        chosen = chosen[~torch.isin(chosen + first_image, pool.images)]
        labels = dataset.labels + first_class
        yield dataset.images[chosen], tabulate(labels[chosen], chosen + first_image, group)
        if is_turned_too:
            chosen = choose_images(dataset, TURNED_IMAGES[dataset.name], generator)
            rows = chosen.repeat_interleave(TURNED_VERSIONS[dataset.name])
            table = tabulate(labels[rows], rows + first_image, group)
            others = torch.randint(len(N_TURNED_FACTORS), rows.shape, generator=generator)
            n_varied = torch.tensor(N_TURNED_FACTORS)[others]
            drawn = draw_factor_values(pool.factors, n_varied, 1, generator)[:, 0]
            table.values[:] = torch.where(drawn >= 0, drawn, table.values)
            for factor in (TURN, MIRROR):
                drawn = torch.randint(len(factor.values), rows.shape, generator=generator)
                table.values[:, table.column(factor.name)] = drawn.short()
            yield load_turned_photos(dataset.name, dataset.images[chosen], table), table
        first_class += dataset.classes
        first_image += len(dataset.images)


def load_turned_photos(
    name: str, photos: UInt8[Tensor, "_ 3 _ _"], table: FactorTable
) -> UInt8[Tensor, "rows 3 _ _"]:
    """Load turned and mirrored photos through the cache; the first call renders them."""
    versions = TURNED_VERSIONS[name]
    files = [CALTECH101_ARCHIVE] if name == "caltech101" else CIFAR_ARCHIVE
    generator = torch.Generator().manual_seed(0)
    return load_decoded(
        f"turned-{name}-{POOL_VERSION}-{TURNED_IMAGES[name]}-{versions}-{len(N_TURNED_FACTORS)}",
        find_archive(name, files),
        (len(table), 3, PHOTO_SIDE, PHOTO_SIDE),
        render_pool([photos], table, versions, generator),
    )
