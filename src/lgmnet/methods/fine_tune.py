"""Fine-tuning: a head trained on the support set, on top of a pretrained embedding."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import grad, vmap
from torch.nn import functional as F

from lgmnet.config import require
from lgmnet.methods.pretraining import LinearClassifier, PretrainedMethod
from lgmnet.nn.embedding import EmbeddingConfig
from lgmnet.nn.matching import class_means
from lgmnet.nn.stateless import Weights, adam


@dataclass(frozen=True)
class FineTuneConfig:
    """Embedding, and training of the head on one support set.

    Raises:
        ConfigError: if a field has a value that is not allowed.

    >>> FineTuneConfig().steps
    100
    """

    embedding: EmbeddingConfig = EmbeddingConfig()
    """Shared embedding."""
    cosine_scale: float | None = None
    """None for the linear head of the paper's Baseline; a number for the cosine head of its
    Baseline++ with this inverse temperature. In pretraining, the head is linear in both cases."""
    steps: int = 100
    """Adam's steps on the whole support set."""
    rate: float = 0.01
    """Adam's learning rate."""

    def __post_init__(self) -> None:
        scale = self.cosine_scale
        require(self, "cosine_scale", scale is None or scale > 0, "positive or None")
        for field in ("steps", "rate"):
            require(self, field, getattr(self, field) > 0, "positive")

    @property
    def normalize(self) -> bool:
        """True for the cosine head, which takes features divided by their length."""
        return self.cosine_scale is not None


class FineTune(PretrainedMethod):
    """The baselines of A Closer Look at Few-shot Classification (Chen and others, ICLR 2019).

    https://arxiv.org/abs/1904.04232

    An embedding is pretrained by ordinary classification and frozen. For each task a new head W is
    trained on the support set alone: a linear one, from zeros; or, for features and rows of unit
    length, a cosine head, from the class means::

        p(k | x) = softmax over k of W_k f(x) + b_k                       (Baseline)
        p(k | x) = softmax over k of scale * cos(W_k, f(x))               (Baseline++)

    The paper trains with SGD in batches of 4; here it is Adam on the whole support, for all tasks
    at once.

    >>> import torch
    >>> method = FineTune(FineTuneConfig(steps=2)).eval()
    >>> support_x, support_y = torch.rand(2, 5, 1, 28, 28), torch.arange(5).expand(2, -1)
    >>> classifier = method.adapt(support_x, support_y, way=5)  # Two tasks, 5-way 1-shot.
    >>> classifier(torch.rand(2, 3, 1, 28, 28)).shape
    torch.Size([2, 3, 5])
    """

    config_type = FineTuneConfig
    config: FineTuneConfig

    def _adapt(
        self, support_x: Tensor, support_y: Tensor, way: int, generator: torch.Generator | None
    ) -> LinearClassifier:
        config = self.config
        scale = config.cosine_scale

        def scale_rows(weights: Weights) -> Weights:
            if scale is None:
                return weights
            return weights | {"weight": scale * F.normalize(weights["weight"], dim=-1)}

        def train(start: Weights, x: Tensor, y: Tensor) -> Weights:
            def loss(weights: Weights) -> Tensor:
                head = scale_rows(weights)
                log_p = (x @ head["weight"].mT + head["bias"]).log_softmax(-1)
                return -(log_p * y).sum(-1).mean()

            return scale_rows(adam(grad(loss), start, config.steps, config.rate))

        device = support_x.device.type
        with torch.inference_mode(False), torch.no_grad(), torch.autocast(device, enabled=False):
            x = self.features(support_x.clone())
            x = x.to(torch.promote_types(x.dtype, torch.float32))
            x, y = x.flatten(1, 2), support_y.repeat_interleave(x.shape[2], 1)
            bias = x.new_zeros(len(x), way)
            if scale is None:
                weight = x.new_zeros(len(x), way, x.shape[-1])
            else:
                x = F.normalize(x, dim=-1)
                weight = F.normalize(class_means(x, y, way), dim=-1)
            targets = F.one_hot(y.long(), way).to(x)
            heads = vmap(train)({"weight": weight, "bias": bias}, x, targets)
        return LinearClassifier(self.embedding, heads["weight"], heads["bias"], config)
