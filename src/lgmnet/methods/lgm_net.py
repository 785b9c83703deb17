"""LGM-Net: a MetaNet that generates the weights of a TargetNet from a support set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float, Int, Num
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.config import require
from lgmnet.episode import Episode
from lgmnet.methods.base import Classifier, Method
from lgmnet.methods.classifiers import AttentionClassifier, check_shapes, select_keys
from lgmnet.nn.class_conditioning import ClassConditioningConfig, ClassTokens, ClassWriter
from lgmnet.nn.classification import ClassHead, require_class_head
from lgmnet.nn.context import ContextConfig, ContextEncoder, MeanContext
from lgmnet.nn.embedding import EmbeddingConfig, build_embedding, embed, require_size
from lgmnet.nn.generators import SharedWeights, WeightGenerator
from lgmnet.nn.matching import HeadConfig, class_means, learned_scale
from lgmnet.nn.target import TargetConfig, TargetNet, TargetWeights

MAX_MAPS = 768
"""Samples that pass TargetNet at a time where no gradients are needed; more leave the cache."""


@dataclass(frozen=True)
class LGMNetConfig:
    """All parts of an LGM-Net.

    Raises:
        ConfigError: if a field has a value that is not allowed.
    """

    embedding: EmbeddingConfig = EmbeddingConfig()
    """Shared embedding."""
    context: ContextConfig | None = ContextConfig()
    """Task context encoder. Ablation: None gives the generators the mean embedding of the
    support; it must be None where the weights are not generated."""
    target: TargetConfig = TargetConfig()
    """TargetNet and its weights."""
    conditioning: ClassConditioningConfig | None = None
    """Class detectors; None as in the paper."""
    head: HeadConfig = HeadConfig()
    """Matching head."""
    auxiliary_weight: float = 0.0
    """Weight of an auxiliary loss in training: the embedding also classifies all training classes
    (as in TADAM, Oreshkin et al., NeurIPS 2018)."""

    def __post_init__(self) -> None:
        embedding, context, target = self.embedding, self.context, self.target
        if target.weights == "learned":
            require(self, "context", context is None, "None where weights are learned")
            require(self, "conditioning", not self.conditioning, "None where weights are learned")
        require(self, "auxiliary_weight", self.auxiliary_weight >= 0, "0 or more")
        if embedding.is_image:
            require_size(embedding, target.n_poolings)
            n = len(context.widths) if context else 0
            require(context, "pooled", not context or len(context.pooled) == n, f"{n} values")
        else:
            require(target, "pooled", not target.pooled, "False where samples are vectors")
            if context:
                require(context, "pooled", not context.pooled, "empty where samples are vectors")
        keeps_size = target.widths[-1] == embedding.n_out and not target.n_poolings
        expected = "'none' or 'beside', unless TargetNet keeps the size of the embedding"
        require(target, "skip", keeps_size or target.skip != "added", expected)


class LGMNet(Method):
    """Learning to Generate Matching Networks (Li, Dong, Mei, Ma, Huang and Hu, ICML 2019).

    https://arxiv.org/abs/1905.06331

    A MetaNet looks at the support set and generates the weights of a TargetNet for exactly this
    task; nothing is fine-tuned. For task i with support set S_i (docs/method.md, same numbers)::

        mu_i, log sigma_i^2 = mean over S_i of encoder(embedding(x))      (1)
        c_i ~ N(mu_i, diag(sigma_i^2))                                    (2)
        theta_i^l = generator^l(c_i), kernels divided by their L2 norm    (3)
        x^ = TargetNet_theta_i(embedding(x))                              (4)
        a = softmax over S_i of scale * cos(x^, x_nk^)                    (5)
        p = sum a * y                                                     (6)

    With ``conditioning``, each class adds detectors to the kernels before they are normalized
    (`lgmnet.nn.class_conditioning`). With the head ``means``, the attention (5) is over the mean of
    each class's x_nk^ of unit length.

    The paper draws the context at test too; here it is its mean unless a generator is given.
    """

    config_type = LGMNetConfig
    training_modules = ("class_head",)
    config: LGMNetConfig

    def __init__(self, config: LGMNetConfig) -> None:
        super().__init__(config)
        self.embedding = build_embedding(config.embedding)
        self.target = build_target(config)
        n_in, norm = config.embedding.n_out, config.embedding.norm
        is_image, weight_norm = config.embedding.is_image, config.target.weight_norm
        self.encoder: nn.Module = MeanContext()
        context_length = n_in
        if config.context:
            self.encoder = ContextEncoder(n_in, config.context, is_image=is_image, norm=norm)
            context_length = config.context.length
        self.generators = nn.ModuleList(
            WeightGenerator(context_length, shape, weight_norm=weight_norm)
            if config.target.weights == "generated"
            else SharedWeights(shape, weight_norm=weight_norm)
            for shape in self.target.weight_shapes
        )
        self.tokens, self.writers = None, nn.ModuleList()
        if config.conditioning:
            dropout = config.conditioning.dropout
            self.tokens = ClassTokens(n_in, is_image=is_image, dropout=dropout)
            self.writers.extend(
                ClassWriter(shape, config.conditioning.detectors)
                for shape in self.target.weight_shapes
            )
        self.log_scale = learned_scale(config.head.temperature)
        self.class_head: ClassHead | None = None

    def prepare(
        self,
        samples: Num[Tensor, "samples *feature"],
        labels: Int[Tensor, " samples"],
        groups: Int[Tensor, " classes"] | None,
    ) -> None:
        """Build the head of the auxiliary loss; see `Method.prepare`."""
        if self.config.auxiliary_weight:
            head = ClassHead(self.config.embedding.n_features, int(labels.max()) + 1)
            self.class_head = head.to(self.log_scale)

    def learn(
        self, episode: Episode, generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "tasks query way"]]:
        """Compute the loss, with the auxiliary loss if there is one; see `Method.learn`.

        Raises:
            ConfigError: if there is an auxiliary loss and the data has no fixed set of classes.
        """
        if not self.config.auxiliary_weight:
            return super().learn(episode, generator)
        head, classes = require_class_head(self.class_head, episode.classes)
        support, query = (
            self.embedding(x.flatten(0, 1)).unflatten(0, x.shape[:2])
            for x in (episode.support_x, episode.query_x)
        )
        embedded = episode.with_samples(support, query)
        loss, log_p = Method.learn(self.without_embedding(), embedded, generator)
        samples = torch.cat([support, query], 1)
        labels = torch.cat([episode.support_y, episode.query_y], 1)
        auxiliary = head.loss(head(samples.flatten(2)), labels, classes)
        return loss + self.config.auxiliary_weight * auxiliary, log_p

    def _adapt(
        self, support_x: Tensor, support_y: Tensor, way: int, generator: torch.Generator | None
    ) -> LGMClassifier:
        config = self.config
        embedded = embed(self.embedding, support_x, config.embedding.views)
        context = self.encoder(embedded.flatten(1, 2))  # eq. (1)
        is_sampled = config.context is not None and config.context.sampled
        drawn = context.draw(generator if is_sampled else None)  # eq. (2)
        tokens = None
        if self.tokens is not None:
            tokens = self.tokens(embedded, support_y, way, generator)
        weights = self.generate(drawn, tokens)  # eq. (3)
        keys = embed_for_task(self.target, weights, embedded)  # eq. (4)
        if config.head.kind == "means":
            keys = class_means(F.normalize(keys, dim=-1), support_y, way)
            support_y = torch.arange(way, device=support_y.device).expand(len(keys), -1)
        layers, scale = (self.embedding, self.target), self.log_scale.exp()
        views = config.embedding.views
        return LGMClassifier(*layers, weights, keys, support_y, way, scale, views)

    @classmethod
    def restore(cls, config: LGMNetConfig, way: int, state: Mapping[str, Tensor]) -> Classifier:
        """Rebuild a classifier (see `Method.restore`)."""
        embedding, target = build_embedding(config.embedding), build_target(config)
        weights = {name: state[name] for name in target.weight_names}
        target.check(weights, tasks=1)
        check_shapes(state, {"scale": ()})
        keys, scale, views = select_keys(state, way), state["scale"], config.embedding.views
        return LGMClassifier(embedding, target, weights, *keys, way, scale, views).load(state)

    def generate(
        self,
        context: Float[Tensor, "tasks context"],
        tokens: Float[Tensor, "tasks way token"] | None = None,
    ) -> TargetWeights:
        """Generate the weights of TargetNet for each task, one generator a layer.

        Where classes add detectors, ``tokens`` has the token of each class.
        """
        weights: dict[str, Tensor] = {}
        for i, generator in enumerate(self.generators):
            change = None if tokens is None else self.writers[i](tokens)
            weights[f"weight_{i}"], weights[f"bias_{i}"] = generator(context, change)
        return weights


class LGMClassifier(AttentionClassifier):
    """TargetNet with its generated weights and the target embeddings of the support.

    A query goes through TargetNet, eq. (4), and attends to the support, eq. (5) and (6). The other
    arguments are those of `AttentionClassifier`.

    Args:
        embedding: Shared embedding.
        target: TargetNet without its weights.
        weights: Weights generated for each task.
        views: Number of views of each sample that the embedding gives.
    """

    def __init__(
        self,
        embedding: nn.Module,
        target: TargetNet,
        weights: TargetWeights,
        keys: Float[Tensor, "tasks support features"],
        support_y: Int[Tensor, "tasks support"],
        way: int,
        scale: Float[Tensor, ""],
        views: int = 1,
    ) -> None:
        super().__init__(keys, support_y, way, scale)
        self.views = views
        self.embedding = embedding
        self.target = target
        self.register_buffers(weights)

    @property
    def weights(self) -> TargetWeights:
        """Generated weights by name."""
        return self.get_buffers(self.target.weight_names)

    def embed_queries(
        self, query_x: Float[Tensor, "tasks query *feature"]
    ) -> Float[Tensor, "tasks query features"]:
        """Compute the target embeddings of queries, eq. (4)."""
        embedded = embed(self.embedding, query_x, self.views)
        return embed_for_task(self.target, self.weights, embedded)


def build_target(config: LGMNetConfig) -> TargetNet:
    """Build TargetNet, without its weights."""
    n_in, is_image, norm = config.embedding.n_out, config.embedding.is_image, config.embedding.norm
    return TargetNet(n_in, config.target, is_image=is_image, norm=norm)


def embed_for_task(
    target: TargetNet,
    weights: TargetWeights,
    embedded: Float[Tensor, "tasks samples views *embedding"],
) -> Float[Tensor, "tasks samples views_and_features"]:
    """Pass every view of every sample through its own task's TargetNet; concatenate the views."""
    tasks, samples, views = embedded.shape[:3]
    if torch.is_grad_enabled() or tasks * samples * views <= MAX_MAPS:
        features: Tensor = target(weights, embedded.flatten(1, 2))
    else:  # In parts so small that they stay in the processor's cache.
        part = max(1, MAX_MAPS // (tasks * views))
        parts = [target(weights, some.flatten(1, 2)) for some in embedded.split(part, 1)]
        features = torch.cat(parts, 1)
    return rearrange(features, "tasks (samples views) f -> tasks samples (views f)", views=views)
