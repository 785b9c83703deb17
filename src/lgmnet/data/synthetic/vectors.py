"""Synthetic tasks of vectors: clouds of points, observed through random features.

They imitate the range of vectors that users have, so that a method trained on them learns how far
to trust a few vectors: few features or many, useful or not, classes far apart or nearly the same.
The number of tasks is unlimited.
"""

from functools import partial

import torch
from torch import Tensor

from lgmnet.data.synthetic.plane import draw_uniform
from lgmnet.data.task_source import InfiniteSource
from lgmnet.episode import EpisodeShape

MAX_FEATURES, MAX_FACTORS = 64, 16


class SyntheticVectors(InfiniteSource):
    """Tasks whose classes are clouds of vectors.

    The features of a task depend on a few hidden factors, and a class is one or two clouds in the
    space of these factors. The features are linear mixtures of the factors, followed by tanh in
    half of the tasks. Each feature has noise and a scale of its own, and some features are noise
    alone. The splits differ only in name, because tasks never repeat.

    Raises:
        ConfigError: if there is no such split.
    """

    name = "clouds"
    feature_shape: tuple[int, ...] = (MAX_FEATURES,)
    dtype = torch.float32

    def draw(self, shape: EpisodeShape, generator: torch.Generator, out: Tensor) -> None:
        """Draw new tasks into ``out`` (see `TaskSource`)."""
        factors = self._draw_factors(shape, generator)
        features = self._draw_features(factors.flatten(1, 2), generator)
        features = features.view(*factors.shape[:3], MAX_FEATURES)
        support, query = features.split([shape.shot, shape.query], 2)
        torch.cat([support.reshape(-1, MAX_FEATURES), query.reshape(-1, MAX_FEATURES)], out=out)

    def _draw_factors(self, shape: EpisodeShape, generator: torch.Generator) -> Tensor:
        """Draw the hidden factors of the samples, [tasks, way, samples of a class, factors]."""
        tasks, way, per_class = shape.tasks, shape.way, shape.per_class
        noise = partial(torch.randn, generator=generator)
        spread = draw_uniform(generator, -0.4, 1.6, tasks, 1, 1).exp()
        centres = spread * noise(tasks, way, MAX_FACTORS)
        has_two_clouds = draw_uniform(generator, 0.0, 1.0, tasks, way, 1) < 0.3
        others = torch.where(has_two_clouds, spread * noise(tasks, way, MAX_FACTORS), centres)
        is_first = draw_uniform(generator, 0.0, 1.0, tasks, way, per_class, 1) < 0.5
        widths = (0.7 * noise(tasks, 1, 1, MAX_FACTORS)).exp()
        sample_centres = torch.where(is_first, centres[:, :, None], others[:, :, None])
        samples = sample_centres + widths * noise(tasks, way, per_class, MAX_FACTORS)
        n_factors = torch.randint(2, MAX_FACTORS + 1, (tasks, 1, 1, 1), generator=generator)
        return samples * (torch.arange(MAX_FACTORS) < n_factors)

    def _draw_features(self, factors: Tensor, generator: torch.Generator) -> Tensor:
        """Draw the features [tasks, samples, features] of factors [tasks, samples, factors]."""
        tasks = len(factors)
        noise = partial(torch.randn, generator=generator)
        mixed = factors @ noise(tasks, MAX_FACTORS, MAX_FEATURES)
        mixed = mixed / mixed.std((1, 2), keepdim=True)
        is_bent = draw_uniform(generator, 0.0, 1.0, tasks, 1, 1) < 0.5
        bent = torch.tanh(2 * mixed + noise(tasks, 1, MAX_FEATURES))
        mixed = torch.where(is_bent, bent, mixed)
        useful_part = draw_uniform(generator, 0.3, 1.0, tasks, 1, 1)
        mixed = mixed * (draw_uniform(generator, 0.0, 1.0, tasks, 1, MAX_FEATURES) < useful_part)
        noise_level = draw_uniform(generator, -4.0, -0.7, tasks, 1, 1).exp()
        features = mixed + noise_level * noise(*factors.shape[:2], MAX_FEATURES)
        features = features + noise(tasks, 1, MAX_FEATURES)
        features = features * (0.4 * noise(tasks, 1, MAX_FEATURES)).exp()
        n_features = (2 ** draw_uniform(generator, 1.0, 6.0, tasks, 1, 1)).round()
        return features * (torch.arange(MAX_FEATURES) < n_features)
