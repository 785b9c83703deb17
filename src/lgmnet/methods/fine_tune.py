"""Fine-tuning: a head trained on the support set, on top of a pretrained embedding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.func import grad, vmap
from torch.nn import functional as F

from lgmnet.methods.pretraining import LinearClassifier, Pretrained, PretrainedConfig
from lgmnet.nn.embedding import need
from lgmnet.nn.matching import class_means
from lgmnet.nn.stateless import Weights, adam

Head = Literal["linear", "cosine"]


@dataclass(frozen=True)
class FineTuneConfig(PretrainedConfig):
    """How a head is trained on one support set.

    Raises:
        ConfigError: naming the field that cannot be.
    """

    head: Head = "linear"
    """``linear``: the paper's Baseline; ``cosine``: the head of its Baseline++, which has
    one in pretraining too."""
    steps: int = 100
    """Adam's steps on the whole support set."""
    rate: float = 0.01
    """Adam's learning rate."""
    scale: float = 10.0
    """Inverse temperature of the cosine head; not read with ``linear``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        need(self, "head", self.head in ("linear", "cosine"), "'linear' or 'cosine'")
        for field in ("steps", "rate", "scale"):
            need(self, field, getattr(self, field) > 0, "positive")


class FineTune(Pretrained):
    """The baselines of A Closer Look at Few-shot Classification (Chen and others, ICLR 2019).

    https://arxiv.org/abs/1904.04232

    An embedding is pretrained by ordinary classification and frozen; for each task a new head W is
    trained on the support set alone. Linear, from zeros; or, of features and rows of unit length,
    cosine, from the means of the classes::

        p(k | x) = softmax over k of W_k f(x) + b_k                       (Baseline)
        p(k | x) = softmax over k of scale * cos(W_k, f(x))               (Baseline++)

    (The paper takes batches of 4 and SGD; here it is Adam on the whole support, all tasks at once.)
    """

    config_type = FineTuneConfig
    config: FineTuneConfig

    def _adapt(
        self, support_x: Tensor, support_y: Tensor, way: int, generator: torch.Generator | None
    ) -> LinearClassifier:
        config = self.config

        def head(weights: Weights) -> Weights:
            if config.head == "linear":
                return weights
            rows = config.scale * F.normalize(weights["weight"], dim=-1)
            return {"weight": rows, "bias": weights["bias"]}

        def trained(start: Weights, x: Tensor, y: Tensor) -> Weights:
            def loss(weights: Weights) -> Tensor:
                shown = head(weights)
                log_p = (x @ shown["weight"].mT + shown["bias"]).log_softmax(-1)
                return -(log_p * y).sum(-1).mean()

            return head(adam(grad(loss), start, config.steps, config.rate))

        device = support_x.device.type
        with torch.inference_mode(False), torch.no_grad(), torch.autocast(device, enabled=False):
            x = self.features(support_x.clone())
            x = x.to(torch.promote_types(x.dtype, torch.float32))
            views = x.shape[2]
            x, y = x.flatten(1, 2), support_y.repeat_interleave(views, 1)
            bias = x.new_zeros(len(x), way)
            if config.head == "linear":
                weight = x.new_zeros(len(x), way, x.shape[-1])
            else:
                x = F.normalize(x, dim=-1)
                weight = F.normalize(class_means(x, y, way), dim=-1)
            targets = F.one_hot(y.long(), way).to(x)
            made = vmap(trained)({"weight": weight, "bias": bias}, x, targets)
        unit_length = self.unit_length(config)
        return LinearClassifier(self.embedding, made["weight"], made["bias"], config, unit_length)

    @staticmethod
    def unit_length(config: Any) -> bool:
        """Whether the heads see features divided by their length."""
        return bool(config.head == "cosine")
