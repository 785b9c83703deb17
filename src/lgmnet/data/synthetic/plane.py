"""Synthetic tasks in the plane: blobs, lines, spirals and circles, after figure 3 of the paper.

A few random numbers, the parameters, define a task. Its classes are regions of the plane around
curves, and its samples are points near the curves. The number of tasks is unlimited.
"""

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lgmnet.data.task_source import InfiniteSource
from lgmnet.episode import EpisodeShape


class Plane(InfiniteSource, ABC):
    """Base class of a family of tasks whose samples are points of the plane.

    The splits differ only in name, because tasks never repeat.

    Raises:
        ConfigError: if there is no such split.
    """

    name: str
    feature_shape: tuple[int, ...] = (2,)
    dtype = torch.float32
    noise: ClassVar[float]
    """Standard deviation of the points around their curve."""

    def draw(self, shape: EpisodeShape, generator: torch.Generator, out: Tensor) -> None:
        """Draw new tasks into ``out`` (see `TaskSource`)."""
        tasks = self.draw_tasks(shape.tasks, shape.way, generator)
        points = self.draw_points(tasks, shape.per_class, generator)
        support, query = points.split([shape.shot, shape.query], 2)
        torch.cat([support.reshape(-1, 2), query.reshape(-1, 2)], out=out)

    @abstractmethod
    def draw_tasks(
        self, n: int, way: int, generator: torch.Generator
    ) -> Float[Tensor, "tasks way _"]:
        """Draw the parameters of each class of ``n`` tasks."""

    @abstractmethod
    def draw_points(
        self, tasks: Float[Tensor, "tasks way _"], n: int, generator: torch.Generator
    ) -> Float[Tensor, "tasks way n 2"]:
        """Draw ``n`` points of each class."""

    @abstractmethod
    def compute_distances(
        self, tasks: Float[Tensor, "tasks way _"], at: Float[Tensor, "points 2"]
    ) -> Float[Tensor, "tasks points way"]:
        """Compute the distance of points to the curve of each class."""

    def true_classes(
        self, tasks: Float[Tensor, "tasks way _"], at: Float[Tensor, "points 2"]
    ) -> Int[Tensor, "tasks points"]:
        """Return the true class of each point: the one with the nearest curve."""
        return self.compute_distances(tasks, at).argmin(-1)


def draw_uniform(generator: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    """Draw a tensor of uniform random numbers between two limits."""
    return low + (high - low) * torch.rand(*shape, generator=generator)


def shuffle_classes(
    parameters: Float[Tensor, "tasks way _"], generator: torch.Generator
) -> Float[Tensor, "tasks way _"]:
    """Shuffle the classes of each task, so that a label says nothing about the position."""
    order = torch.rand(parameters.shape[:2], generator=generator).argsort(1)
    return parameters.gather(1, order[..., None].expand_as(parameters))


class Blobs(Plane):
    """Tasks whose classes are round clouds around their own centres."""

    name = "blobs"
    noise = 0.35

    def draw_tasks(self, n: int, way: int, generator: torch.Generator) -> Tensor:
        """Draw the centres."""
        return draw_uniform(generator, -2.0, 2.0, n, way, 2)

    def draw_points(self, tasks: Tensor, n: int, generator: torch.Generator) -> Tensor:
        """Draw points around the centres."""
        shape = *tasks.shape[:2], n, 2
        return tasks[:, :, None] + self.noise * torch.randn(shape, generator=generator)

    def compute_distances(self, tasks: Tensor, at: Tensor) -> Tensor:
        """Compute the distances to the centres."""
        return torch.cdist(at.expand(len(tasks), -1, -1), tasks)


class Lines(Plane):
    """Tasks whose classes are segments of parallel lines."""

    name = "lines"
    noise = 0.12

    def draw_tasks(self, n: int, way: int, generator: torch.Generator) -> Tensor:
        """Draw the direction, and the offset of each line across it."""
        angle = draw_uniform(generator, 0.0, math.pi, n, 1, 1).expand(n, way, 1)
        gap = draw_uniform(generator, 0.5, 3.2 / way + 0.3, n, 1, 1)
        offsets = gap * (torch.arange(way)[:, None] - (way - 1) / 2)
        offsets = offsets + draw_uniform(generator, -0.8, 0.8, n, 1, 1)
        return torch.cat([angle, shuffle_classes(offsets, generator)], -1)

    def draw_points(self, tasks: Tensor, n: int, generator: torch.Generator) -> Tensor:
        """Draw points along the lines."""
        angle, offset = tasks[..., :1], tasks[..., 1:]
        along = draw_uniform(generator, -2.0, 2.0, *tasks.shape[:2], n)
        across = offset + self.noise * torch.randn(along.shape, generator=generator)
        x = along * angle.cos() - across * angle.sin()
        y = along * angle.sin() + across * angle.cos()
        return torch.stack([x, y], -1)

    def compute_distances(self, tasks: Tensor, at: Tensor) -> Tensor:
        """Compute the distances to the lines."""
        angle, offset = tasks[:, None, :, 0], tasks[:, None, :, 1]
        across = at[:, 1:] * angle.cos() - at[:, :1] * angle.sin()
        return (across - offset).abs()


class Circles(Plane):
    """Tasks whose classes are rings around one centre."""

    name = "circles"
    noise = 0.08

    def draw_tasks(self, n: int, way: int, generator: torch.Generator) -> Tensor:
        """Draw the centre, and the radius of each ring."""
        centre = draw_uniform(generator, -0.8, 0.8, n, 1, 2).expand(n, way, 2)
        inner = draw_uniform(generator, 0.3, 0.8, n, 1, 1)
        gap = draw_uniform(generator, 0.4, max(1.4 / (way - 1), 0.45), n, 1, 1)
        radius = inner + gap * torch.arange(way)[:, None]
        return torch.cat([centre, shuffle_classes(radius, generator)], -1)

    def draw_points(self, tasks: Tensor, n: int, generator: torch.Generator) -> Tensor:
        """Draw points on the rings."""
        angle = draw_uniform(generator, 0.0, math.tau, *tasks.shape[:2], n)
        radius = tasks[..., 2:] + self.noise * torch.randn(angle.shape, generator=generator)
        ring = torch.stack([radius * angle.cos(), radius * angle.sin()], -1)
        return tasks[:, :, None, :2] + ring

    def compute_distances(self, tasks: Tensor, at: Tensor) -> Tensor:
        """Compute the distances to the rings."""
        to_centre: Tensor = torch.linalg.vector_norm(at[:, None] - tasks[:, None, :, :2], dim=-1)
        return (to_centre - tasks[:, None, :, 2]).abs()


class Spirals(Plane):
    """Tasks whose classes are spiral arms around one centre."""

    name = "spirals"
    noise = 0.06
    inner, outer = 0.3, 2.0

    def draw_tasks(self, n: int, way: int, generator: torch.Generator) -> Tensor:
        """Draw the centre, the angle by which the arms turn, and the start angle of each arm."""
        centre = draw_uniform(generator, -0.6, 0.6, n, 1, 2).expand(n, way, 2)
        turn = draw_uniform(generator, 3.0, 7.0, n, 1, 1)
        turn = (turn * (torch.rand(turn.shape, generator=generator) - 0.5).sign()).expand(n, way, 1)
        first = draw_uniform(generator, 0.0, math.tau, n, 1, 1)
        arms = first + math.tau / way * torch.arange(way)[:, None]
        return torch.cat([centre, turn, shuffle_classes(arms, generator)], -1)

    def draw_points(self, tasks: Tensor, n: int, generator: torch.Generator) -> Tensor:
        """Draw points on the arms."""
        progress = draw_uniform(generator, 0.0, 1.0, *tasks.shape[:2], n)
        angle = tasks[..., 3:] + tasks[..., 2:3] * progress
        radius = self.inner + (self.outer - self.inner) * progress
        arm = torch.stack([radius * angle.cos(), radius * angle.sin()], -1)
        spread = self.noise * torch.randn(arm.shape, generator=generator)
        return tasks[:, :, None, :2] + arm + spread

    def compute_distances(self, tasks: Tensor, at: Tensor) -> Tensor:
        """Compute the angles to the arms along the circle around the centre."""
        from_centre = at[:, None] - tasks[:, None, :, :2]
        radius = torch.linalg.vector_norm(from_centre, dim=-1)
        progress = (radius - self.inner) / (self.outer - self.inner)
        angle = tasks[:, None, :, 3] + tasks[:, None, :, 2] * progress
        difference = torch.atan2(from_centre[..., 1], from_centre[..., 0]) - angle
        return torch.remainder(difference + math.pi, math.tau).sub(math.pi).abs()


PLANES: dict[str, type[Plane]] = {p.name: p for p in (Blobs, Lines, Spirals, Circles)}
"""Families of tasks by name."""
