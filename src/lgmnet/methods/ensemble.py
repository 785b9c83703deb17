"""Mean answer of many draws of a random method, and how far the draws disagree."""

import math
from numbers import Integral

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from lgmnet.errors import ConfigError
from lgmnet.methods.base import Classifier, Method


class Ensemble(Classifier):
    """Mean answer of ``draws`` classifiers that one method drew for the same support set.

    Args:
        method: Method that is random when it is given a generator.
        support_x: Support samples, as for `Method.adapt`.
        support_y: Their labels.
        way: Number of classes.
        draws: Number of classifiers drawn for each task.
        generator: Source of the draws.

    Raises:
        ConfigError: if ``draws`` is no whole number, or less than 1.

    >>> import torch
    >>> from lgmnet.methods import LGMNet, LGMNetConfig
    >>> method = LGMNet(LGMNetConfig()).eval()
    >>> support_x, support_y = torch.rand(1, 2, 1, 28, 28), torch.tensor([[0, 1]])
    >>> generator = torch.Generator().manual_seed(0)
    >>> ensemble = Ensemble(method, support_x, support_y, 2, draws=3, generator=generator)
    >>> ensemble.spread(torch.rand(1, 4, 1, 28, 28)).shape
    torch.Size([1, 4, 2])
    """

    def __init__(
        self,
        method: Method,
        support_x: Float[Tensor, "tasks support *feature"],
        support_y: Int[Tensor, "tasks support"],
        way: int,
        draws: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        stated: object = draws  # Callers may be untyped.
        if not isinstance(stated, Integral):
            raise ConfigError(f"'draws' must be a whole number, but is {draws!r:.100}.")
        if draws < 1:
            raise ConfigError(f"'draws' must be at least 1, but is {draws}.")
        self.way = way
        self.draws = draws
        # Draws of one task are handled as tasks: the method works on batches of tasks anyway.
        self.drawn = method.adapt(
            support_x.repeat_interleave(draws, 0),
            support_y.repeat_interleave(draws, 0),
            way,
            generator=generator,
        )

    def forward(
        self, query_x: Float[Tensor, "tasks query *feature"]
    ) -> Float[Tensor, "tasks query way"]:
        """Compute the log of the mean probability over the draws."""
        return self._answer_all(query_x).logsumexp(1) - math.log(self.draws)

    def spread(
        self, query_x: Float[Tensor, "tasks query *feature"]
    ) -> Float[Tensor, "tasks query way"]:
        """Compute the standard deviation of each probability over the draws."""
        return self._answer_all(query_x).exp().std(1, correction=0)

    def _answer_all(self, query_x: Tensor) -> Tensor:
        log_p: Tensor = self.drawn(query_x.repeat_interleave(self.draws, 0))
        return rearrange(
            log_p, "(tasks draws) query way -> tasks draws query way", draws=self.draws
        )
