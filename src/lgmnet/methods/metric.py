"""Base of the methods that compare queries with their support, and the options that all share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from einops import rearrange
from jaxtyping import Float, Int, Num
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.config import require
from lgmnet.episode import Episode
from lgmnet.methods.base import Classifier, Method
from lgmnet.methods.classifiers import AttentionClassifier, check_shapes, select_keys
from lgmnet.nn.classification import AuxiliaryConfig, ClassHead, require_class_head
from lgmnet.nn.embedding import EmbeddingConfig, build_embedding, embed, require_size
from lgmnet.nn.feature_tasks import draw_feature_tasks
from lgmnet.nn.generators import SharedWeights
from lgmnet.nn.matching import SIMILARITIES, HeadConfig, Scale, class_means, learned_scale
from lgmnet.nn.ridge import learned_strength, ridge_regression
from lgmnet.nn.target import TargetConfig, TargetNet, TargetWeights

MIN_FEATURE_SHOT = 3
"""Least support samples of a class in a task by a random feature: one sample cannot tell which of
thousands of features is meant."""
MAX_MAPS = 768
"""Samples that pass the further layers at a time where no gradients are needed; more leave the
cache."""


@dataclass(frozen=True)
class MetricConfig:
    """Parts that LGM-Net and the methods compared with it have in common.

    Raises:
        ConfigError: if a field has a value that is not allowed.
    """

    generates_nothing: ClassVar[bool] = True
    """True if the weights of the further layers must be learned."""

    embedding: EmbeddingConfig = EmbeddingConfig()
    """Shared embedding."""
    target: TargetConfig | None = None
    """Further layers, with a skip around them, as LGM-Net has them; but their weights are learned
    and the same for all tasks. None for none."""
    head: HeadConfig = HeadConfig()
    """Comparison of queries with the support."""
    auxiliary: AuxiliaryConfig | None = None
    """Auxiliary loss in training; None for none."""
    feature_tasks: float = 0.0
    """Weight of the loss of further training tasks on the same samples, labelled by a random
    feature (`lgmnet.nn.feature_tasks`); 0 for none."""

    def __post_init__(self) -> None:
        embedding, target, auxiliary = self.embedding, self.target, self.auxiliary
        require(self, "feature_tasks", self.feature_tasks >= 0, "0 or more")
        if target:
            if self.generates_nothing:
                require(target, "weights", target.weights == "learned", "'learned' for this method")
            expected = "positive numbers, at least one"
            require(target, "widths", bool(target.widths) or self.has_gains, expected)
            if embedding.gives_maps:
                require_size(embedding, target.n_poolings)
            else:
                require(target, "pooled", not target.pooled, "False where embeddings are vectors")
            n_out = target.widths[-1] if target.widths else embedding.n_out
            keeps_size = n_out == embedding.n_out and not target.n_poolings
            expected = "'none' or 'beside', unless TargetNet keeps the size of the embedding"
            require(target, "skip", keeps_size or target.skip != "added", expected)
        if auxiliary and not embedding.gives_maps:
            require(auxiliary, "pooled", not auxiliary.pooled, "False where embeddings are vectors")

    @property
    def has_gains(self) -> bool:
        """True if a gain is generated for every channel (or feature) of the embedding."""
        return False

    @staticmethod
    def upgrade(values: Mapping[str, Any]) -> dict[str, Any]:
        """Rename the fields that had other names in earlier files (see `lgmnet.config`)."""
        values = dict(values)
        if weight := values.pop("auxiliary_weight", 0):
            values["auxiliary"] = {"weight": weight}
        return values


class MetricMethod(Method):
    """Method that compares the features of queries with those of the support.

    The options of `MetricConfig` are the same for all of them: the auxiliary loss, the head with
    its learned temperature, further layers and the skip around them. So tables can give each method
    what another has.
    """

    training_modules = ("class_head",)
    classifier_type: ClassVar[type[MetricClassifier]]
    """Class of the classifiers."""
    target: TargetNet | None

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.embedding = build_embedding(config.embedding)
        self.target = build_target(config)
        self.build_generators()
        self.log_scale = learned_scale(config.head.temperature)
        self.log_strength = learned_strength() if config.head.kind == "ridge" else None
        self.class_head: ClassHead | None = None

    def build_generators(self) -> None:
        """Build the modules that give the weights of the further layers."""
        self.generators = nn.ModuleList(
            SharedWeights(shape, weight_norm=self.config.target.weight_norm)
            for shape in (self.target.weight_shapes if self.target else ())
        )

    def prepare(
        self,
        samples: Num[Tensor, "samples *feature"],
        labels: Int[Tensor, " samples"],
        groups: Int[Tensor, " classes"] | None,
    ) -> None:
        """Build the head of the auxiliary loss; see `Method.prepare`."""
        if auxiliary := self.config.auxiliary:
            embedding = self.config.embedding
            n_features = embedding.n_out if auxiliary.pooled else embedding.n_features
            self.class_head = ClassHead(n_features, int(labels.max()) + 1).to(self.log_scale)

    def learn(
        self, episode: Episode, generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "tasks query way"]]:
        """Compute the loss, with the auxiliary loss if there is one; see `Method.learn`.

        Raises:
            ConfigError: if there is an auxiliary loss and the data has no fixed set of classes.
        """
        if not self.has_other_losses:
            return super().learn(episode, generator)
        support, query = (
            self.embedding(x.flatten(0, 1)).unflatten(0, x.shape[:2])
            for x in (episode.support_x, episode.query_x)
        )
        embedded = episode.with_samples(support, query)
        loss, log_p = self.learn_embedded(embedded, generator)
        return loss + self.compute_other_losses(embedded, generator), log_p

    def learn_embedded(
        self, embedded: Episode, generator: torch.Generator | None
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "tasks query way"]]:
        """Compute the loss of the queries of tasks whose samples are embedded already."""
        return Method.learn(self.without_embedding(), embedded, generator)

    @property
    def has_other_losses(self) -> bool:
        """True if training has another loss than that of the queries."""
        return self.config.auxiliary is not None or self.config.feature_tasks > 0

    def compute_other_losses(
        self, embedded: Episode, generator: torch.Generator | None
    ) -> Float[Tensor, ""] | float:
        """Compute the other losses of tasks whose samples are embedded already."""
        return self.compute_auxiliary_loss(embedded) + self.compute_feature_tasks_loss(
            embedded, generator
        )

    def compute_feature_tasks_loss(
        self, embedded: Episode, generator: torch.Generator | None
    ) -> Float[Tensor, ""] | float:
        """Compute the loss of further tasks by random features; 0 without a generator."""
        weight = self.config.feature_tasks
        if not weight or generator is None:
            return 0.0
        # The embedding does not learn from them: validation was better so (docs/dev/log.md).
        samples = torch.cat([embedded.support_x, embedded.query_x], 1).detach()
        features = samples.mean((-2, -1)) if self.config.embedding.gives_maps else samples
        shot = max(MIN_FEATURE_SHOT, embedded.support_x.shape[1] // embedded.way)
        groups = self.config.embedding.groups
        further = draw_feature_tasks(
            samples, features.flatten(2), groups, embedded.way, shot, generator
        )
        loss, _ = Method.learn(self.without_embedding(), further, generator)
        return cast(Tensor, weight * loss)

    def compute_auxiliary_loss(self, embedded: Episode) -> Float[Tensor, ""] | float:
        """Compute the auxiliary loss."""
        auxiliary = self.config.auxiliary
        if not auxiliary:
            return 0.0
        head, classes = require_class_head(self.class_head, embedded.classes)
        samples = torch.cat([embedded.support_x, embedded.query_x], 1)
        labels = torch.cat([embedded.support_y, embedded.query_y], 1)
        features = samples.mean((3, 4)) if auxiliary.pooled else samples.flatten(2)
        loss: Tensor = auxiliary.weight * head.loss(head(features), labels, classes)
        return loss

    def _adapt(
        self, support_x: Tensor, support_y: Tensor, way: int, generator: torch.Generator | None
    ) -> MetricClassifier:
        embedded = embed(self.embedding, support_x, self.config.embedding.views)
        weights = self.choose_weights(embedded, support_y, way, generator)
        features = embed_for_task(self.target, weights, embedded)
        keys, key_y = self.fit_keys(features, support_y, way, generator)
        scale = scale_views(self.log_scale.exp(), self.config)
        layers = self.embedding, self.target
        return self.classifier_type(*layers, weights, keys, key_y, way, scale, self.config)

    @classmethod
    def restore(cls, config: Any, way: int, state: Mapping[str, Tensor]) -> Classifier:
        """Rebuild a classifier (see `Method.restore`)."""
        return cls.build_classifier(config, way, state).load(state)

    @classmethod
    def build_classifier(
        cls, config: Any, way: int, state: Mapping[str, Tensor]
    ) -> MetricClassifier:
        """Build a classifier that a state can be loaded into."""
        layers = build_embedding(config.embedding), build_target(config)
        weights: TargetWeights = {}
        if target := layers[1]:
            weights = {name: state[name] for name in target.weight_names}
            target.check(weights, tasks=1)
        check_shapes(state, {"scale": ()})
        keys = select_keys(state, way)
        return cls.classifier_type(*layers, weights, *keys, way, state["scale"], config)

    def choose_weights(
        self,
        embedded: Float[Tensor, "tasks support views *embedding"],
        support_y: Int[Tensor, "tasks support"],
        way: int,
        generator: torch.Generator | None,
    ) -> TargetWeights:
        """Compute the weights of the further layers for each task; here they are the same."""
        weights: dict[str, Tensor] = {}
        for i, shared in enumerate(self.generators):
            weights[f"weight_{i}"], weights[f"bias_{i}"] = shared(embedded.flatten(1))
        return weights

    def fit_keys(
        self,
        features: Float[Tensor, "tasks support features"],
        support_y: Int[Tensor, "tasks support"],
        way: int,
        generator: torch.Generator | None,
    ) -> tuple[Float[Tensor, "tasks keys features"], Int[Tensor, "tasks keys"]]:
        """Turn the features of the support into the keys of the head, and their labels."""
        kind = self.config.head.kind
        if kind == "attention":
            return features, support_y
        if kind == "ridge":
            assert self.log_strength is not None
            keys = ridge_regression(features, support_y, way, self.log_strength)
        else:
            features = F.normalize(features, dim=-1) if kind == "means" else features
            keys = class_means(features, support_y, way)
        return keys, torch.arange(way, device=support_y.device).expand(len(keys), -1)


class MetricClassifier(AttentionClassifier):
    """Keys of the support, and the layers that a query passes before it is compared with them.

    The other arguments are those of `AttentionClassifier`.

    Args:
        embedding: Shared embedding.
        target: Further layers without their weights, or None.
        weights: Weights of these layers for each task.
        config: Config of the method; has the number of views and the kind of the head.
    """

    def __init__(
        self,
        embedding: nn.Module,
        target: TargetNet | None,
        weights: TargetWeights,
        keys: Float[Tensor, "tasks keys features"],
        support_y: Int[Tensor, "tasks keys"],
        way: int,
        scale: Scale,
        config: Any,
    ) -> None:
        super().__init__(keys, support_y, way, scale, SIMILARITIES[config.head.kind])
        self.views = config.embedding.views
        self.embedding = embedding
        self.target = target
        self.register_buffers(weights)

    @property
    def weights(self) -> TargetWeights:
        """Weights of the further layers by name."""
        return self.get_buffers(self.target.weight_names if self.target else ())

    def embed_queries(
        self, query_x: Float[Tensor, "tasks query *feature"]
    ) -> Float[Tensor, "tasks query features"]:
        """Compute the features of queries, eq. (4) of LGM-Net."""
        embedded = embed(self.embedding, query_x, self.views)
        return embed_for_task(self.target, self.weights, embedded)


MetricMethod.classifier_type = MetricClassifier


def build_target(config: Any) -> TargetNet | None:
    """Build the layers behind the embedding, without their weights; None if there are none."""
    if config.target is None:
        return None
    embedding = config.embedding
    return TargetNet(
        embedding.n_out,
        config.target,
        is_image=embedding.gives_maps,
        norm=embedding.norm,
        has_gains=config.has_gains,
    )


def scale_views(scale: Float[Tensor, ""], config: Any) -> Float[Tensor, ""]:
    """Divide the scale of squared distances by the number of views, so that their mean counts."""
    return scale / config.embedding.views if config.head.kind == "euclidean" else scale


def embed_for_task(
    target: TargetNet | None,
    weights: TargetWeights,
    embedded: Float[Tensor, "tasks samples views *embedding"],
) -> Float[Tensor, "tasks samples views_and_features"]:
    """Pass every view of every sample through its own task's layers; concatenate the views."""
    tasks, samples, views = embedded.shape[:3]
    if target is None:
        return embedded.flatten(2)
    if torch.is_grad_enabled() or tasks * samples * views <= MAX_MAPS:
        features: Tensor = target(weights, embedded.flatten(1, 2))
    else:  # In parts so small that they stay in the processor's cache.
        part = max(1, MAX_MAPS // (tasks * views))
        parts = [target(weights, some.flatten(1, 2)) for some in embedded.split(part, 1)]
        features = torch.cat(parts, 1)
    return rearrange(features, "tasks (samples views) f -> tasks samples (views f)", views=views)
