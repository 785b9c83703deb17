"""Sources whose own ``draw`` tells the classes apart, or whose data contains the answer."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.synthetic.characters import SyntheticCharacters
from lgmnet.data.task_source import TaskSource
from lgmnet.episode import EpisodeShape
from lgmnet.experiments.leak import draw_angles, rotate_images
from tests.audit.samples import N_CLASSES, N_IMAGES, dataset, photo_pixels, pixels
from tests.support.random import seeded

Change = Callable[[Tensor, Tensor, EpisodeShape, torch.Generator], None]
"""Changes views of the support [tasks, way, shot, ...] and queries [tasks, way, query, ...]."""


def views(out: Tensor, shape: EpisodeShape) -> tuple[Tensor, Tensor]:
    n = shape.tasks * shape.way * shape.shot
    parts = out[:n], out[n : shape.samples]
    sizes = shape.shot, shape.query
    support, query = (
        part.view(shape.tasks, shape.way, size, *out.shape[1:])
        for part, size in zip(parts, sizes, strict=True)
    )
    return support, query


def changing(change: Change, base: type = ClassDataset) -> type:
    """Derive a class that changes what its base class draws."""

    class Changing(base):  # type: ignore[misc]
        def draw(self, shape: EpisodeShape, generator: torch.Generator, out: Tensor) -> Any:
            classes = super().draw(shape, generator, out)
            change(*views(out, shape), shape, generator)
            return classes

    return Changing


class Wrapper:
    """Source that draws from another one and changes the samples."""

    def __init__(self, base: TaskSource, change: Change) -> None:
        self.base, self.change = base, change
        self.name, self.split, self.split_hash = base.name, base.split, base.split_hash
        self.feature_shape, self.dtype = base.feature_shape, base.dtype

    @property
    def class_names(self) -> Any:
        return self.base.class_names

    def check(self, shape: EpisodeShape) -> None:
        self.base.check(shape)

    def draw(self, shape: EpisodeShape, generator: torch.Generator, out: Tensor) -> Any:
        classes = self.base.draw(shape, generator, out)
        self.change(*views(out, shape), shape, generator)
        return classes


class Stored:
    """Source of our own that stores one array of images for each class."""

    name, split, split_hash = "stored", "test", "0"

    def __init__(self, change: Change | None = None) -> None:
        self.images = {f"class {i}": part for i, part in enumerate(pixels().split(N_IMAGES))}
        self.feature_shape: tuple[int, ...] = (1, 28, 28)
        self.dtype = torch.uint8
        self.change = change

    @property
    def class_names(self) -> list[str]:
        return list(self.images)

    def check(self, shape: EpisodeShape) -> None:
        assert shape.way <= len(self.images)

    def draw(self, shape: EpisodeShape, generator: torch.Generator, out: Tensor) -> Tensor:
        support, query = views(out, shape)
        banks = list(self.images.values())
        drawn = []
        for task in range(shape.tasks):
            classes = torch.randperm(len(banks), generator=generator)[: shape.way]
            for place, c in enumerate(classes.tolist()):
                rows = torch.randperm(N_IMAGES, generator=generator)[: shape.per_class]
                support[task, place] = banks[c][rows[: shape.shot]]
                query[task, place] = banks[c][rows[shape.shot :]]
            drawn.append(classes)
        if self.change is not None:
            self.change(support, query, shape, generator)
        return torch.stack(drawn)


def place_values(part: Tensor) -> Tensor:
    """Position of each class in its task, in the shape of a factor of the images."""
    return torch.arange(part.shape[1]).view(1, -1, 1, 1, 1, 1)


def add(part: Tensor, amount: Tensor | int) -> None:
    part.copy_((part.int() + amount).clamp(0, 255).to(torch.uint8))


def rotate_by_class(
    support: Tensor, query: Tensor, shape: EpisodeShape, generator: torch.Generator
) -> None:
    angles = draw_angles(generator, shape.tasks, shape.way)
    for part in (support, query):
        flat = part.flatten(1, 2).float()
        turned = rotate_images(flat, angles.repeat_interleave(part.shape[2], 1))
        part.copy_(turned.view(part.shape).round().to(torch.uint8))


def quarter_turns_by_class(
    support: Tensor, query: Tensor, shape: EpisodeShape, generator: torch.Generator
) -> None:
    quarters = torch.randint(4, (shape.tasks, shape.way), generator=generator)
    for task in range(shape.tasks):
        for place in range(shape.way):
            k = int(quarters[task, place])
            for part in (support, query):
                part[task, place] = part[task, place].rot90(k, (-2, -1)).clone()


def mirror_by_class(
    support: Tensor, query: Tensor, shape: EpisodeShape, generator: torch.Generator
) -> None:
    for task, place in (torch.rand(shape.tasks, shape.way, generator=generator) < 0.5).nonzero():
        for part in (support, query):
            part[task, place] = part[task, place].flip(-1).clone()


def brighten_by_place(support: Tensor, query: Tensor, *_: Any) -> None:
    for part in (support, query):
        add(part, 6 * place_values(part))


def brighten_queries_only(support: Tensor, query: Tensor, *_: Any) -> None:
    add(query, 4 * place_values(query))


def brighten_randomly_by_class(
    support: Tensor, query: Tensor, shape: EpisodeShape, generator: torch.Generator
) -> None:
    amount = torch.randint(40, (shape.tasks, shape.way, 1, 1, 1, 1), generator=generator)
    for part in (support, query):
        add(part, amount)


def darken_by_class(
    support: Tensor, query: Tensor, shape: EpisodeShape, generator: torch.Generator
) -> None:
    factor = 0.6 + 0.4 * torch.rand(shape.tasks, shape.way, 1, 1, 1, 1, generator=generator)
    for part in (support, query):
        part.copy_((part * factor).to(torch.uint8))


def corner_pixel(support: Tensor, query: Tensor, *_: Any) -> None:
    for part in (support, query):
        part[..., 0, 0] = (50 * place_values(part))[..., 0, 0].to(torch.uint8)


def lowest_bits(support: Tensor, query: Tensor, *_: Any) -> None:
    for part in (support, query):
        part.div_(8, rounding_mode="floor").mul_(8)
        add(part, place_values(part))


def stripes(
    support: Tensor, query: Tensor, shape: EpisodeShape, generator: torch.Generator
) -> None:
    rows = torch.randint(28, (shape.tasks, shape.way), generator=generator)
    for task in range(shape.tasks):
        for place in range(shape.way):
            for part in (support, query):
                part[task, place, :, :, rows[task, place]] = 90


def shift_by_class(
    support: Tensor, query: Tensor, shape: EpisodeShape, generator: torch.Generator
) -> None:
    moves = torch.randint(-3, 4, (shape.tasks, shape.way), generator=generator)
    for task in range(shape.tasks):
        for place in range(shape.way):
            for part in (support, query):
                part[task, place] = part[task, place].roll(int(moves[task, place]), -1).clone()


def blur_by_class(
    support: Tensor, query: Tensor, shape: EpisodeShape, generator: torch.Generator
) -> None:
    for task, place in (torch.rand(shape.tasks, shape.way, generator=generator) < 0.5).nonzero():
        for part in (support, query):
            blurred = torch.nn.functional.avg_pool2d(part[task, place].float(), 3, 1, 1)
            part[task, place] = blurred.to(torch.uint8)


def noise_by_class(
    support: Tensor, query: Tensor, shape: EpisodeShape, generator: torch.Generator
) -> None:
    scale = 30 * torch.rand(shape.tasks, shape.way, 1, 1, 1, 1, generator=generator)
    for part in (support, query):
        add(part, (scale * torch.randn(part.shape, generator=generator)).int())


def same_noise_by_class(
    support: Tensor, query: Tensor, shape: EpisodeShape, generator: torch.Generator
) -> None:
    pattern = 12 * torch.randn(shape.tasks, shape.way, 1, 1, 28, 28, generator=generator)
    for part in (support, query):
        add(part, pattern.int())


def support_among_queries(support: Tensor, query: Tensor, *_: Any) -> None:
    query[:, :, 0] = support[:, :, 0]


def shifted_support_among_queries(support: Tensor, query: Tensor, *_: Any) -> None:
    query[:, :, 0] = support[:, :, 0].roll((1, 1), (-2, -1))


def brighter_support_among_queries(support: Tensor, query: Tensor, *_: Any) -> None:
    query[:, :, 0] = support[:, :, 0]
    add(query[:, :, 0], 3)


def support_mixed_into_queries(support: Tensor, query: Tensor, *_: Any) -> None:
    query.copy_((0.7 * query.float() + 0.3 * support[:, :, :1].float()).to(torch.uint8))


def queries_mixed_into_support(support: Tensor, query: Tensor, *_: Any) -> None:
    mean = query.float().mean(2, keepdim=True)
    support.copy_((0.5 * support.float() + 0.5 * mean).to(torch.uint8))


class NearestQueries(ClassDataset):
    """Data set that draws more queries than needed, and keeps those most like the support."""

    def draw(self, shape: EpisodeShape, generator: torch.Generator, out: Tensor) -> Tensor:
        more = EpisodeShape(shape.way, shape.shot, self.min_count - shape.shot, shape.tasks)
        drawn = torch.empty(more.samples, *self.feature_shape, dtype=self.dtype)
        classes = super().draw(more, generator, drawn)
        support, query = views(drawn, more)
        distances = (query.float() - support[:, :, :1].float()).square().flatten(3).sum(3)
        nearest = distances.argsort(2)[:, :, : shape.query, None, None, None]
        new_support, new_query = views(out, shape)
        new_support.copy_(support)
        new_query.copy_(query.gather(2, nearest.expand(-1, -1, -1, *self.feature_shape)))
        return classes


class EasyImages(ClassDataset):
    """Data set that draws queries from a fixed third of each class."""

    def draw(self, shape: EpisodeShape, generator: torch.Generator, out: Tensor) -> Tensor:
        classes = super().draw(shape, generator, out)
        _, query = views(out, shape)
        rows = torch.randint(8, query.shape[:3], generator=generator)
        query.copy_(self.images[self.starts[classes][:, :, None] + rows])
        return classes


class EasyClasses(ClassDataset):
    """Data set that draws tasks of some classes only."""

    def draw(self, shape: EpisodeShape, generator: torch.Generator, out: Tensor) -> Tensor:
        easy = copy.copy(self)
        easy.class_names, easy.counts = self.class_names[:7], self.counts[:7]
        easy.starts = self.starts[:7]
        return ClassDataset.draw(easy, shape, generator, out)


class SortedClasses(ClassDataset):
    """Data set whose classes stand in each task in the order of their numbers."""

    def draw(self, shape: EpisodeShape, generator: torch.Generator, out: Tensor) -> Tensor:
        drawn = torch.empty_like(out)
        classes = super().draw(shape, generator, drawn)
        order = classes.argsort(1)
        rows = torch.arange(shape.tasks)[:, None]
        for new, old in zip(views(out, shape), views(drawn, shape), strict=True):
            new.copy_(old[rows, order])
        return classes.gather(1, order)


class SameTasks(ClassDataset):
    """Data set that always draws the same tasks."""

    def draw(self, shape: EpisodeShape, generator: torch.Generator, out: Tensor) -> Tensor:
        return super().draw(shape, seeded(7), out)


class MarkedByNumber(ClassDataset):
    """Data set whose ``draw`` adds the number of the class to the brightness."""

    def draw(self, shape: EpisodeShape, generator: torch.Generator, out: Tensor) -> Tensor:
        classes = super().draw(shape, generator, out)
        for part in views(out, shape):
            add(part, 2 * classes.view(shape.tasks, -1, 1, 1, 1, 1))
        return classes


def patched_instance() -> ClassDataset:
    """Make a data set whose method ``draw`` is replaced by a function with a closure."""
    source = dataset(pixels())
    original = source.draw

    def draw(shape: EpisodeShape, generator: torch.Generator, out: Tensor) -> Tensor:
        classes = original(shape, generator, out)
        brighten_randomly_by_class(*views(out, shape), shape, generator)
        return classes

    source.draw = draw  # type: ignore[method-assign]
    return source


def with_twins(change: Callable[[Tensor], Tensor]) -> ClassDataset:
    """Make a data set of which the second half of each class is the first half, changed."""
    images = pixels().view(N_CLASSES, N_IMAGES, 1, 28, 28).clone()
    half = N_IMAGES // 2
    images[:, half:] = change(images[:, :half])
    return dataset(images.flatten(0, 1))


def add_numbers(images: Tensor, step: int) -> ClassDataset:
    """Add a multiple of the number of its class to each stored image."""
    numbers = step * torch.arange(N_CLASSES).repeat_interleave(N_IMAGES).view(-1, 1, 1, 1)
    return dataset((images.int() + numbers).clamp(0, 255).to(torch.uint8))


def watermarked() -> ClassDataset:
    """Make a data set with a pixel whose value stands for the class."""
    images = pixels().clone()
    codes = torch.randperm(N_CLASSES, generator=seeded()) * 15 + 20
    images[:, 0, 27, 14] = codes.repeat_interleave(N_IMAGES).to(torch.uint8)
    return dataset(images)


def plus(images: Tensor, amount: Tensor | int) -> Tensor:
    return (images.int() + amount).clamp(0, 255).to(torch.uint8)


def subclass(change: Change) -> TaskSource:
    return dataset(pixels(), kind=changing(change))


def coloured(change: Change) -> TaskSource:
    return dataset(photo_pixels(), kind=changing(change))


def tint_by_class(
    support: Tensor, query: Tensor, shape: EpisodeShape, generator: torch.Generator
) -> None:
    tint = torch.randint(-8, 9, (shape.tasks, shape.way, 1, 3, 1, 1), generator=generator)
    for part in (support, query):
        add(part, tint)


SOURCES: dict[str, Callable[[], TaskSource]] = {
    "rotation by class": lambda: subclass(rotate_by_class),
    "rotation by class, in a wrapper": lambda: Wrapper(dataset(pixels()), rotate_by_class),
    "rotation by class, generated characters": lambda: changing(
        rotate_by_class, SyntheticCharacters
    )("test"),
    "rotation by class, wrapped generator": lambda: Wrapper(
        SyntheticCharacters("test"), rotate_by_class
    ),
    "rotation by class, source of our own": lambda: Stored(rotate_by_class),
    "quarter turns by class": lambda: subclass(quarter_turns_by_class),
    "mirror by class": lambda: subclass(mirror_by_class),
    "shift by class": lambda: subclass(shift_by_class),
    "blur by class": lambda: subclass(blur_by_class),
    "noise by class": lambda: subclass(noise_by_class),
    "the same noise for a class": lambda: subclass(same_noise_by_class),
    "brightness by position": lambda: subclass(brighten_by_place),
    "brightness of queries by position": lambda: subclass(brighten_queries_only),
    "brightness by class": lambda: subclass(brighten_randomly_by_class),
    "brightness by class, replaced method": patched_instance,
    "contrast by class": lambda: subclass(darken_by_class),
    "brightness by number of the class": lambda: dataset(pixels(), kind=MarkedByNumber),
    "tint by class": lambda: coloured(tint_by_class),
    "label in a corner": lambda: subclass(corner_pixel),
    "label in the lowest bits": lambda: subclass(lowest_bits),
    "stripe by class": lambda: subclass(stripes),
    "support image among the queries": lambda: subclass(support_among_queries),
    "shifted support image among the queries": lambda: subclass(shifted_support_among_queries),
    "brighter support image among the queries": lambda: subclass(brighter_support_among_queries),
    "support mixed into queries": lambda: subclass(support_mixed_into_queries),
    "queries mixed into support": lambda: subclass(queries_mixed_into_support),
    "queries chosen by the support": lambda: dataset(pixels(), kind=NearestQueries),
    "queries from easy images": lambda: dataset(pixels(), kind=EasyImages),
    "tasks of easy classes": lambda: dataset(pixels(), kind=EasyClasses),
    "classes in order": lambda: dataset(pixels(), kind=SortedClasses),
    "always the same tasks": lambda: dataset(pixels(), kind=SameTasks),
    "images twice": lambda: with_twins(lambda x: x),
    "images twice, shifted": lambda: with_twins(lambda x: x.roll(1, -1)),
    "images twice, mirrored": lambda: with_twins(lambda x: x.flip(-1)),
    "images twice, brighter": lambda: with_twins(lambda x: plus(x, 1)),
    "brightness plus number of the class": lambda: add_numbers(pixels(), 1),
    "brightness plus number of the class, photos": lambda: add_numbers(photo_pixels(), 2),
    "a pixel for each class": watermarked,
}
"""Leaking sources by the kind of leak."""
