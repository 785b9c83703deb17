"""Endless tasks in the plane: blobs, lines, spirals and circles, after the paper's figure 3.

A task is a few random numbers; its classes are regions of the plane around curves, and its samples
are points near them. No task ever comes twice.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lgmnet.data.task_source import InfiniteSource
from lgmnet.episode import EpisodeShape


class Plane(InfiniteSource, ABC):
    """A family of tasks whose samples are points of the plane.

    Args:
        split: ``train``, ``val`` or ``test``; they differ in name only, for tasks never repeat.

    Raises:
        ConfigError: if there is no such split.
    """

    name: str
    feature_shape: tuple[int, ...] = (2,)
    dtype = torch.float32
    noise: ClassVar[float]
    """Standard deviation of points about their curve."""

    def draw(self, shape: EpisodeShape, generator: torch.Generator, out: Tensor) -> None:
        """Draw fresh tasks into ``out`` (see `TaskSource`)."""
        drawn = self.tasks(shape.tasks, shape.way, generator)
        points = self.points(drawn, shape.per_class, generator)
        support, query = points.split([shape.shot, shape.query], 2)
        torch.cat([support.reshape(-1, 2), query.reshape(-1, 2)], out=out)

    @abstractmethod
    def tasks(self, n: int, way: int, generator: torch.Generator) -> Float[Tensor, "tasks way _"]:
        """The numbers that make ``n`` tasks, for each of their classes."""

    @abstractmethod
    def points(
        self, tasks: Float[Tensor, "tasks way _"], n: int, generator: torch.Generator
    ) -> Float[Tensor, "tasks way n 2"]:
        """``n`` points of every class."""

    @abstractmethod
    def distances(
        self, tasks: Float[Tensor, "tasks way _"], at: Float[Tensor, "points 2"]
    ) -> Float[Tensor, "tasks points way"]:
        """How far points are from each class: the true region of a class is where it is nearest."""

    def regions(
        self, tasks: Float[Tensor, "tasks way _"], at: Float[Tensor, "points 2"]
    ) -> Int[Tensor, "tasks points"]:
        """The class to which each point truly belongs."""
        return self.distances(tasks, at).argmin(-1)


def uniform(generator: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    """Random numbers between two limits, of the given shape."""
    return low + (high - low) * torch.rand(*shape, generator=generator)


def shuffled(
    places: Float[Tensor, "tasks way _"], generator: torch.Generator
) -> Float[Tensor, "tasks way _"]:
    """The classes of each task in random order, so that a label says nothing about a place."""
    order = torch.rand(places.shape[:2], generator=generator).argsort(1)
    return places.gather(1, order[..., None].expand_as(places))


class Blobs(Plane):
    """Each class a round cloud around a centre of its own."""

    name = "blobs"
    noise = 0.35

    def tasks(self, n: int, way: int, generator: torch.Generator) -> Tensor:
        """Centres."""
        return uniform(generator, -2.0, 2.0, n, way, 2)

    def points(self, tasks: Tensor, n: int, generator: torch.Generator) -> Tensor:
        """Centre and noise."""
        shape = *tasks.shape[:2], n, 2
        return tasks[:, :, None] + self.noise * torch.randn(shape, generator=generator)

    def distances(self, tasks: Tensor, at: Tensor) -> Tensor:
        """To the centre."""
        return torch.cdist(at.expand(len(tasks), -1, -1), tasks)


class Lines(Plane):
    """Each class a segment of one of several parallel lines."""

    name = "lines"
    noise = 0.12

    def tasks(self, n: int, way: int, generator: torch.Generator) -> Tensor:
        """Direction, and the place of each line across it."""
        angle = uniform(generator, 0.0, math.pi, n, 1, 1).expand(n, way, 1)
        gap = uniform(generator, 0.5, 3.2 / way + 0.3, n, 1, 1)
        places = gap * (torch.arange(way)[:, None] - (way - 1) / 2)
        places = places + uniform(generator, -0.8, 0.8, n, 1, 1)
        return torch.cat([angle, shuffled(places, generator)], -1)

    def points(self, tasks: Tensor, n: int, generator: torch.Generator) -> Tensor:
        """Anywhere along the line."""
        angle, place = tasks[..., :1], tasks[..., 1:]
        along = uniform(generator, -2.0, 2.0, *tasks.shape[:2], n)
        across = place + self.noise * torch.randn(along.shape, generator=generator)
        x = along * angle.cos() - across * angle.sin()
        y = along * angle.sin() + across * angle.cos()
        return torch.stack([x, y], -1)

    def distances(self, tasks: Tensor, at: Tensor) -> Tensor:
        """To the line."""
        angle, place = tasks[:, None, :, 0], tasks[:, None, :, 1]
        across = at[:, 1:] * angle.cos() - at[:, :1] * angle.sin()
        return (across - place).abs()


class Circles(Plane):
    """Each class one of several rings around one centre."""

    name = "circles"
    noise = 0.08

    def tasks(self, n: int, way: int, generator: torch.Generator) -> Tensor:
        """Centre and radius."""
        centre = uniform(generator, -0.8, 0.8, n, 1, 2).expand(n, way, 2)
        inner = uniform(generator, 0.3, 0.8, n, 1, 1)
        gap = uniform(generator, 0.4, max(1.4 / (way - 1), 0.45), n, 1, 1)
        radius = inner + gap * torch.arange(way)[:, None]
        return torch.cat([centre, shuffled(radius, generator)], -1)

    def points(self, tasks: Tensor, n: int, generator: torch.Generator) -> Tensor:
        """Anywhere on the ring."""
        angle = uniform(generator, 0.0, math.tau, *tasks.shape[:2], n)
        radius = tasks[..., 2:] + self.noise * torch.randn(angle.shape, generator=generator)
        ring = torch.stack([radius * angle.cos(), radius * angle.sin()], -1)
        return tasks[:, :, None, :2] + ring

    def distances(self, tasks: Tensor, at: Tensor) -> Tensor:
        """To the ring."""
        away: Tensor = torch.linalg.vector_norm(at[:, None] - tasks[:, None, :, :2], dim=-1)
        return (away - tasks[:, None, :, 2]).abs()


class Spirals(Plane):
    """Each class one of several arms that turn around one centre."""

    name = "spirals"
    noise = 0.06
    inner, outer = 0.3, 2.0

    def tasks(self, n: int, way: int, generator: torch.Generator) -> Tensor:
        """Centre, how far an arm turns on its way out, and where it sets off."""
        centre = uniform(generator, -0.6, 0.6, n, 1, 2).expand(n, way, 2)
        turn = uniform(generator, 3.0, 7.0, n, 1, 1)
        turn = (turn * (torch.rand(turn.shape, generator=generator) - 0.5).sign()).expand(n, way, 1)
        arms = math.tau / way * torch.arange(way)[:, None] + uniform(
            generator, 0.0, math.tau, n, 1, 1
        )
        return torch.cat([centre, turn, shuffled(arms, generator)], -1)

    def points(self, tasks: Tensor, n: int, generator: torch.Generator) -> Tensor:
        """Anywhere on the arm."""
        out = uniform(generator, 0.0, 1.0, *tasks.shape[:2], n)
        angle = tasks[..., 3:] + tasks[..., 2:3] * out
        radius = self.inner + (self.outer - self.inner) * out
        arm = torch.stack([radius * angle.cos(), radius * angle.sin()], -1)
        spread = self.noise * torch.randn(arm.shape, generator=generator)
        return tasks[:, :, None, :2] + arm + spread

    def distances(self, tasks: Tensor, at: Tensor) -> Tensor:
        """To the arm along the circle around the centre, as an angle."""
        from_centre = at[:, None] - tasks[:, None, :, :2]
        out = (torch.linalg.vector_norm(from_centre, dim=-1) - self.inner) / (
            self.outer - self.inner
        )
        angle = tasks[:, None, :, 3] + tasks[:, None, :, 2] * out
        apart = torch.atan2(from_centre[..., 1], from_centre[..., 0]) - angle
        return torch.remainder(apart + math.pi, math.tau).sub(math.pi).abs()


PLANES: dict[str, type[Plane]] = {
    family.name: family for family in (Blobs, Lines, Spirals, Circles)
}
"""The families by their names."""
