"""The sampler: batches of tasks from a source, without copies, workers or loops over tasks."""

from __future__ import annotations

from functools import cache

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from lgmnet.data.task_source import TaskSource
from lgmnet.episode import Episode, EpisodeShape


class Sampler:
    """Draws batches of tasks; reuses its buffers.

    An episode is valid until the next draw of the same shape of buffers; `Episode.clone` keeps one.
    The generator is the sampler's whole state: with its state restored, the same tasks come again.

    Args:
        source: Where the tasks come from.
        generator: CPU generator of every draw.
    """

    def __init__(self, source: TaskSource, generator: torch.Generator) -> None:
        self.source = source
        self.generator = generator
        self._raw = torch.empty(0, *source.feature_shape, dtype=source.dtype)
        self._values = torch.empty(0, *source.feature_shape)

    def sample(self, shape: EpisodeShape) -> Episode:
        """Draw one batch of tasks.

        Raises:
            EpisodeError: if the source cannot give tasks of this shape.
        """
        self.source.check(shape)
        raw, values = self._buffers(shape.samples)
        classes = self.source.draw(shape, self.generator, raw)
        of_bytes = raw.dtype == torch.uint8
        if of_bytes:
            fill_from_bytes(values, raw)
        n_support = shape.tasks * shape.way * shape.shot
        feature = self.source.feature_shape
        # What bytes give is finite and the labels are ours: to look would cost as much as to draw.
        make = Episode.unchecked if of_bytes else Episode
        return make(
            support_x=values[:n_support].view(shape.tasks, shape.way * shape.shot, *feature),
            support_y=labels(shape.tasks, shape.way, shape.shot),
            query_x=values[n_support:].view(shape.tasks, shape.way * shape.query, *feature),
            query_y=labels(shape.tasks, shape.way, shape.query),
            way=shape.way,
            classes=classes,
        )

    def _buffers(self, samples: int) -> tuple[Tensor, Tensor]:
        if len(self._raw) < samples:
            feature = self.source.feature_shape
            self._raw = torch.empty(samples, *feature, dtype=self.source.dtype)
            floats = self.source.dtype.is_floating_point
            self._values = self._raw if floats else torch.empty(samples, *feature)
        return self._raw[:samples], self._values[:samples]


def fill_from_bytes(values: Float[Tensor, "*shape"], raw: UInt8[Tensor, "*shape"]) -> None:
    """Fill ``values`` with those of bytes, 0..1; whoever needs them gets the same to the last bit.

    In one step, `torch.mul`, it would take three times as long.
    """
    values.copy_(raw).mul_(1 / 255)


@cache
def labels(tasks: int, way: int, each: int) -> Int[Tensor, "tasks way_times_each"]:
    """Labels ``0..way-1``, each of them ``each`` times, for every task; not to be written into."""
    with torch.inference_mode(False):  # Or those first asked for in evaluation could not train.
        return torch.arange(way).repeat_interleave(each).expand(tasks, -1)
