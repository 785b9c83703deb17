"""FEAT: prototypes that are adapted to each other by self-attention."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.config import require
from lgmnet.episode import Episode
from lgmnet.methods.metric import MetricConfig, MetricMethod
from lgmnet.nn.class_conditioning import seed_torch
from lgmnet.nn.matching import SIMILARITIES, HeadConfig, class_means, matching_log_p
from lgmnet.nn.target import embed_for_task


@dataclass(frozen=True)
class FEATConfig(MetricConfig):
    """All parts of the method; see `MetricConfig`.

    Raises:
        ConfigError: if a field has a value that is not allowed.

    >>> FEATConfig().embedding.feature_shape
    (1, 28, 28)
    """

    head: HeadConfig = HeadConfig("euclidean", temperature=1 / 64)
    """``euclidean`` or ``means``, the paper's two similarities."""
    width: int = 128
    """Units of the queries, keys and values of the attention; the paper's are as many as there are
    features, which is too many where features are whole maps."""
    dropout: float = 0.5
    """Part of the attention, and of its result, that is left out at random in training."""
    contrast_weight: float = 0.1
    """Weight of the contrastive regularizer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        has_prototypes = self.head.kind in ("euclidean", "means")
        require(self.head, "kind", has_prototypes, "'euclidean' or 'means' for this method")
        require(self, "width", self.width > 0, "positive")
        require(self, "dropout", 0 <= self.dropout < 1, "0 or more and below 1")
        require(self, "contrast_weight", self.contrast_weight >= 0, "0 or more")


class FEAT(MetricMethod):
    """Few-Shot Learning via Embedding Adaptation with Set-to-Set Functions (Ye and others, 2020).

    https://arxiv.org/abs/1812.03664 (CVPR 2020)

    The prototypes p_n of a task's classes see each other in one layer of self-attention, and a
    query is compared with what comes out::

        a_nk = softmax over k of (W_Q p_n) . (W_K p_k) / sqrt(width)
        c_n = layer norm of p_n + W sum over k of a_nk W_V p_k

    In training, the contrastive regularizer passes all samples of one class, support and queries,
    through the same layer; every sample must then be classified by the means of what comes out.
    Training may start from an embedding that another method has learned, as in the paper.

    >>> import torch
    >>> method = FEAT(FEATConfig()).eval()
    >>> support_x, support_y = torch.rand(2, 5, 1, 28, 28), torch.arange(5).expand(2, -1)
    >>> classifier = method.adapt(support_x, support_y, way=5)  # Two tasks, 5-way 1-shot.
    >>> classifier(torch.rand(2, 3, 1, 28, 28)).shape
    torch.Size([2, 3, 5])
    """

    config_type = FEATConfig
    config: FEATConfig

    def __init__(self, config: FEATConfig) -> None:
        super().__init__(config)
        n_features = config.embedding.n_features
        if config.target is not None:
            assert self.target is not None
            n_features = self.target.count_features(config.embedding)
        n_features *= config.embedding.views
        self.attention = SetAttention(n_features, config.width, config.dropout)

    def fit_keys(
        self,
        features: Float[Tensor, "tasks support features"],
        support_y: Int[Tensor, "tasks support"],
        way: int,
        generator: torch.Generator | None,
        log_strength: Float[Tensor, "tasks 1 1"] | float = 0.0,
    ) -> tuple[Float[Tensor, "tasks keys features"], Int[Tensor, "tasks keys"]]:
        """Adapt the prototypes to each other; see `MetricMethod.fit_keys`."""
        prototypes, labels = super().fit_keys(features, support_y, way, generator, log_strength)
        return self.attention(prototypes, None, generator), labels

    @property
    def has_other_losses(self) -> bool:
        """True if training has another loss than that of the queries."""
        return super().has_other_losses or self.config.contrast_weight > 0

    def compute_other_losses(
        self, embedded: Episode, generator: torch.Generator | None
    ) -> Float[Tensor, ""] | float:
        """Compute the contrastive regularizer, and the auxiliary loss if there is one."""
        others, e = super().compute_other_losses(embedded, generator), embedded
        if weight := self.config.contrast_weight:
            samples = torch.cat([e.support_x, e.query_x], 1)[:, :, None]
            labels = torch.cat([e.support_y, e.query_y], 1)
            weights = self.choose_weights(samples, labels, e.way, generator)
            features = embed_for_task(self.target, weights, samples)
            kind = self.config.head.kind
            points = F.normalize(features, dim=-1) if kind == "means" else features
            is_same_class = labels[:, :, None] == labels[:, None]
            adapted = self.attention(points, is_same_class, generator)
            centres = class_means(adapted, labels, e.way)
            classes = torch.arange(e.way, device=labels.device).expand(len(labels), -1)
            log_p = matching_log_p(
                features, centres, classes, e.way, self.log_scale.exp(), SIMILARITIES[kind]
            )
            others = others + weight * F.nll_loss(log_p.flatten(0, 1), labels.flatten())
        return others


class SetAttention(nn.Module):
    """One layer of self-attention with one head over a set of points, as in FEAT.

    Args:
        features: Length of a point.
        width: Units of the queries, keys and values.
        dropout: Part of the attention, and of its result, that is left out at random in training.
    """

    def __init__(self, features: int, width: int, dropout: float) -> None:
        super().__init__()
        self.query, self.key, self.value = (
            nn.Linear(features, width, bias=False) for _ in range(3)
        )
        self.result = nn.Linear(width, features)
        self.norm = nn.LayerNorm(features)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        points: Float[Tensor, "tasks points features"],
        sees: Bool[Tensor, "tasks points points"] | None,
        generator: torch.Generator | None,
    ) -> Float[Tensor, "tasks points features"]:
        """Adapt the points of each task to each other.

        Args:
            points: Points, in any order.
            sees: True where a point may see another one; None if all do.
            generator: Source of the dropout in training.
        """
        scores = self.query(points) @ self.key(points).mT / self.query.out_features**0.5
        if sees is not None:
            scores = scores.masked_fill(~sees, -torch.inf)
        with seed_torch(generator if self.training and self.dropout.p else None, points.device):
            attention = self.dropout(scores.softmax(-1))
            result = self.dropout(self.result(attention @ self.value(points)))
        adapted: Tensor = self.norm(points + result)
        return adapted
