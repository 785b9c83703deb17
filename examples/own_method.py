"""A method of one's own, with the audit run on it: a class is the mean of its pixels."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

import lgmnet
from lgmnet.data.synthetic.characters import SyntheticCharacters
from lgmnet.input_spec import InputSpec
from lgmnet.methods import Classifier, Method


@dataclass(frozen=True)
class MeanPixelsConfig:
    """Config of `MeanPixels`."""

    feature_shape: tuple[int, ...] = (1, 28, 28)
    scale: float = 100.0
    """Inverse temperature of the softmax."""


class MeanClassifier(Classifier):
    """Softmax over squared distances to the means [tasks, way, features] of the classes."""

    def __init__(self, means: Tensor, scale: float) -> None:
        super().__init__()
        self.way, self.scale = means.shape[1], scale
        self.register_buffers({"means": means})

    def forward(self, query_x: Tensor) -> Tensor:
        """Compute log-probabilities [tasks, query, way]."""
        difference = query_x.flatten(2)[:, :, None] - self.get_buffer("means")[:, None]
        return F.log_softmax(-self.scale * difference.square().mean(-1), dim=-1)


class MeanPixels(Method):
    """Compare a query with the mean image of each class; nothing is trained."""

    config_type = MeanPixelsConfig

    @classmethod
    def input_spec(cls, config: MeanPixelsConfig) -> InputSpec:
        """Describe the samples that the method takes."""
        return InputSpec(tuple(config.feature_shape))

    def _adapt(
        self, support_x: Tensor, support_y: Tensor, way: int, generator: torch.Generator | None
    ) -> Classifier:
        one_hot = F.one_hot(support_y, way).to(support_x.dtype)  # [tasks, support, way]
        means = one_hot.mT @ support_x.flatten(2) / one_hot.sum(1)[:, :, None]
        return MeanClassifier(means, self.config.scale)

    @classmethod
    def restore(cls, config: MeanPixelsConfig, way: int, state: Mapping[str, Tensor]) -> Classifier:
        """Rebuild a classifier from its file."""
        return MeanClassifier(state["means"], config.scale)


def main() -> None:
    """Score the method, and audit its score."""
    method, data = MeanPixels(MeanPixelsConfig()).eval(), SyntheticCharacters("test")
    score = lgmnet.evaluate(method, data, lgmnet.EpisodeShape(5, 5, 10), episodes=200)
    print(f"{score.accuracy:.1f} ± {score.ci95:.1f} % ({score.protocol})")
    result = lgmnet.audit(method, data, trained_on=[], episodes=16)
    print("audit:", result.outcome, *result.names("failed"))


if __name__ == "__main__":
    main()
