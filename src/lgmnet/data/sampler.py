"""Sampler of batches of tasks, without copies, worker processes or loops over tasks."""

from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from lgmnet.data.task_source import TaskSource
from lgmnet.episode import Episode, EpisodeShape


class Sampler:
    """Sampler of batches of tasks that reuses its buffers.

    An episode is valid until the next call of `sample`, which may overwrite it; `Episode.clone`
    returns a copy that stays. The CPU generator is the whole state of the sampler: if its state is
    restored, the same tasks are drawn again.
    """

    def __init__(self, source: TaskSource, generator: torch.Generator) -> None:
        self.source = source
        self.generator = generator
        self._raw = torch.empty(0, *source.feature_shape, dtype=source.dtype)
        self._values = torch.empty(0, *source.feature_shape)

    def sample(self, shape: EpisodeShape) -> Episode:
        """Draw one batch of tasks.

        Raises:
            EpisodeError: if the source has too few classes or samples for this shape.
        """
        self.source.check(shape)
        raw, values = self._get_buffers(shape.samples)
        classes = self.source.draw(shape, self.generator, raw)
        is_uint8 = raw.dtype == torch.uint8
        if is_uint8:
            fill_from_bytes(values, raw)
        elif values is not raw:
            values.copy_(raw)
        n_support = shape.tasks * shape.way * shape.shot
        feature = self.source.feature_shape
        # Values of bytes are finite and labels are right; a check would cost as much as the draw.
        make_episode = Episode.unchecked if is_uint8 else Episode
        return make_episode(
            support_x=values[:n_support].view(shape.tasks, shape.way * shape.shot, *feature),
            support_y=make_labels(shape.tasks, shape.way, shape.shot),
            query_x=values[n_support:].view(shape.tasks, shape.way * shape.query, *feature),
            query_y=make_labels(shape.tasks, shape.way, shape.query),
            way=shape.way,
            classes=classes,
        )

    def _get_buffers(self, samples: int) -> tuple[Tensor, Tensor]:
        if len(self._raw) < samples:
            feature = self.source.feature_shape
            self._raw = torch.empty(samples, *feature, dtype=self.source.dtype)
            is_wide = self.source.dtype not in (torch.uint8, torch.float16)
            self._values = self._raw if is_wide else torch.empty(samples, *feature)
        raw = self._raw[:samples]
        return raw, raw if self._values is self._raw else self._values[:samples]


def fill_from_bytes(values: Float[Tensor, "*shape"], raw: UInt8[Tensor, "*shape"]) -> None:
    """Fill ``values`` with bytes scaled to 0..1.

    All code that scales bytes calls this function, so that the values agree to the last bit.
    """
    if values.device.type == "cpu":
        # In one pass over the memory; PyTorch makes two, or one that takes three times as long.
        scale = np.float32(1 / 255)
        np.multiply(raw.numpy(), scale, out=values.numpy(), dtype=np.float32)
    else:
        values.copy_(raw).mul_(1 / 255)


@cache
def make_labels(tasks: int, way: int, per_class: int) -> Int[Tensor, "tasks way_times_per_class"]:
    """Return labels ``0..way-1``, each ``per_class`` times, for every task; do not modify them."""
    # A tensor made in inference mode, by an evaluation, could not be used in training later.
    with torch.inference_mode(False):
        return torch.arange(way).repeat_interleave(per_class).expand(tasks, -1)
