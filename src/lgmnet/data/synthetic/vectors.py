"""Endless tasks of vectors: clouds of a few kinds of shape, seen through random features.

What a person's vectors may be like, so that a method trained on these knows how few of them to
trust: few features or many, useful or not, clouds apart or nearly one. No task ever comes twice.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lgmnet.data.synthetic.plane import uniform
from lgmnet.data.task_source import InfiniteSource
from lgmnet.episode import EpisodeShape

FEATURES, FACTORS = 64, 16


class Clouds(InfiniteSource):
    """Tasks whose classes are clouds of vectors.

    Behind the features of a task stand fewer factors. A class is one or two clouds among them; the
    features are mixtures of the factors, bent in half of the tasks, with noise of their own, some
    of them nothing but noise, some larger than others.

    Args:
        split: ``train``, ``val`` or ``test``; they differ in name only, for tasks never repeat.

    Raises:
        ConfigError: if there is no such split.
    """

    name = "clouds"
    feature_shape: tuple[int, ...] = (FEATURES,)
    dtype = torch.float32

    def draw(self, shape: EpisodeShape, generator: torch.Generator, out: Tensor) -> None:
        """Draw fresh tasks into ``out`` (see `TaskSource`)."""
        factors = self.factors(shape, generator)
        features = self.features(factors.flatten(1, 2), generator).view(*factors.shape[:3], -1)
        support, query = features.split([shape.shot, shape.query], 2)
        torch.cat([support.reshape(-1, FEATURES), query.reshape(-1, FEATURES)], out=out)

    def factors(self, shape: EpisodeShape, generator: torch.Generator) -> Tensor:
        """What stands behind the samples, [tasks, way, samples of a class, factors]."""
        tasks, way, each = shape.tasks, shape.way, shape.per_class

        def noise(*size: int) -> Tensor:
            return torch.randn(*size, generator=generator)

        apart = uniform(generator, -0.4, 1.6, tasks, 1, 1).exp()
        centres = apart * noise(tasks, way, FACTORS)
        two = uniform(generator, 0.0, 1.0, tasks, way, 1) < 0.3
        others = torch.where(two, apart * noise(tasks, way, FACTORS), centres)
        which = uniform(generator, 0.0, 1.0, tasks, way, each, 1) < 0.5
        widths = (0.7 * noise(tasks, 1, 1, FACTORS)).exp()
        clouds = torch.where(which, centres[:, :, None], others[:, :, None])
        samples = clouds + widths * noise(tasks, way, each, FACTORS)
        used = torch.randint(2, FACTORS + 1, (tasks, 1, 1, 1), generator=generator)
        return samples * (torch.arange(FACTORS) < used)

    def features(self, factors: Tensor, generator: torch.Generator) -> Tensor:
        """What is seen of factors [tasks, samples, factors]: [tasks, samples, features]."""
        tasks = len(factors)

        def noise(*size: int) -> Tensor:
            return torch.randn(*size, generator=generator)

        mixed = factors @ noise(tasks, FACTORS, FEATURES)
        mixed = mixed / mixed.std((1, 2), keepdim=True)
        bent = uniform(generator, 0.0, 1.0, tasks, 1, 1) < 0.5
        mixed = torch.where(bent, torch.tanh(2 * mixed + noise(tasks, 1, FEATURES)), mixed)
        useful = uniform(generator, 0.3, 1.0, tasks, 1, 1)
        mixed = mixed * (uniform(generator, 0.0, 1.0, tasks, 1, FEATURES) < useful)
        own = uniform(generator, -4.0, -0.7, tasks, 1, 1).exp()
        seen = mixed + own * noise(*factors.shape[:2], FEATURES)
        seen = (seen + noise(tasks, 1, FEATURES)) * (0.4 * noise(tasks, 1, FEATURES)).exp()
        many = (2 ** uniform(generator, 1.0, 6.0, tasks, 1, 1)).round()
        return seen * (torch.arange(FEATURES) < many)
