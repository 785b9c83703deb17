"""Base of the methods that compare queries with their support, and the options that all share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.config import require
from lgmnet.episode import Episode
from lgmnet.methods.base import Classifier, Method, TrainingFactors
from lgmnet.methods.classifiers import check_shapes, select_keys
from lgmnet.methods.metric_classifier import MetricClassifier
from lgmnet.methods.pretraining import PretrainedMethod
from lgmnet.nn.classification import AuxiliaryConfig, ClassHead, require_class_head
from lgmnet.nn.embedding import EmbeddingConfig, build_embedding, embed, require_size
from lgmnet.nn.feature_tasks import draw_feature_tasks
from lgmnet.nn.generators import SharedWeights
from lgmnet.nn.layer_axes import LayerAxes, drop_recognised
from lgmnet.nn.matching import (
    HeadConfig,
    class_means,
    learned_scale,
)
from lgmnet.nn.ridge import learned_strength, mix_ridge_regressions, ridge_regression
from lgmnet.nn.target import TargetConfig, TargetNet, TargetWeights, embed_for_task

MIN_FEATURE_SHOT = 3
"""Least support samples of a class in a task by a random feature: one sample cannot tell which of
thousands of features is meant."""


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
            mixes = self.head.kind == "ridge" and target.gains and embedding.axes is not None
            expected = "False unless axes of features have gains and a ridge head"
            require(target, "natural", mixes or not target.natural, expected)
            keeps_size = n_out == embedding.n_out and not target.n_poolings
            expected = "'none' or 'beside', unless TargetNet keeps the size of the embedding"
            require(target, "skip", keeps_size or target.skip != "added", expected)
        if auxiliary and not embedding.gives_maps:
            require(auxiliary, "pooled", not auxiliary.pooled, "False where embeddings are vectors")

    @property
    def has_gains(self) -> bool:
        """True if every channel (or feature) of the embedding has a gain."""
        return self.target is not None and self.target.gains

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
    classifier_type: ClassVar[type[MetricClassifier]] = MetricClassifier
    """Class of the classifiers."""
    target: TargetNet | None
    natural: Tensor | None

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.embedding = build_embedding(config.embedding)
        self.target = build_target(config)
        self.build_generators()
        self.log_scale = learned_scale(config.head.temperature)
        head = config.head
        self.log_strength = learned_strength(head.strength) if head.kind == "ridge" else None
        has_gains = config.target is not None and config.target.gains
        self.log_gains = nn.Parameter(torch.zeros(config.embedding.n_out)) if has_gains else None
        is_mixed = config.target is not None and config.target.natural
        natural = torch.ones(config.embedding.n_out) if is_mixed else None
        self.register_buffer("natural", natural)
        self.class_head: ClassHead | None = None

    def build_generators(self) -> None:
        """Build the modules that give the weights of the further layers."""
        self.generators = nn.ModuleList(
            SharedWeights(shape, weight_norm=self.config.target.weight_norm)
            for shape in (self.target.weight_shapes if self.target else ())
        )

    def start_from(self, other: Method) -> None:
        """Take over the weights of the same method, or the embedding of one that was pretrained."""
        if isinstance(other, PretrainedMethod):
            self.embedding.load_state_dict(other.embedding.state_dict())
        else:
            super().start_from(other)

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

    def prepare_for_criteria(
        self, samples: Num[Tensor, "samples *feature"], factors: TrainingFactors
    ) -> Tensor | None:
        """Fit axes if the embedding has them; see `Method.prepare_for_criteria`."""
        if not isinstance(self.embedding, LayerAxes):
            return None
        embedded = self.embedding.fit(samples, factors.names, factors.values, factors.images)
        if self.natural is not None:
            self.natural.copy_(self.embedding.natural)
        return embedded

    def learn(
        self, episode: Episode, generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "tasks query way"]]:
        """Compute the loss, with the auxiliary loss if there is one; see `Method.learn`.

        Raises:
            ConfigError: if there is an auxiliary loss and the data has no fixed set of classes.
        """
        if not self.learns_from_embedded:
            return super().learn(episode, generator)
        support, query = (
            self.embedding(x.flatten(0, 1)).unflatten(0, x.shape[:2])
            for x in (episode.support_x, episode.query_x)
        )
        axes = self.config.embedding.axes
        if axes is not None and axes.dropout and generator is not None:
            support, query = drop_recognised((support, query), axes, generator)
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

    @property
    def learns_from_embedded(self) -> bool:
        """True if training needs the embedded samples for more than the queries' answers."""
        axes = self.config.embedding.axes
        return self.has_other_losses or (axes is not None and axes.dropout > 0)

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
        features = samples.mean((-2, -1)) if auxiliary.pooled else samples
        loss: Tensor = auxiliary.weight * head.loss(head(features.flatten(2)), labels, classes)
        return loss

    def _adapt(
        self, support_x: Tensor, support_y: Tensor, way: int, generator: torch.Generator | None
    ) -> MetricClassifier:
        embedded = embed(self.embedding, support_x, self.config.embedding.views)
        weights = dict(self.choose_weights(embedded, support_y, way, generator))
        log_scale = self.log_scale + weights.pop("log_scale", 0)
        log_strength = weights.pop("log_strength", 0.0)
        features = embed_for_task(self.target, weights, embedded)
        keys, key_y = self.fit_keys(features, support_y, way, generator, log_strength)
        scale = scale_views(log_scale.exp(), self.config)
        layers = self.embedding, self.target
        classifier = self.classifier_type(*layers, weights, keys, key_y, way, scale, self.config)
        if self.log_strength is not None and self.natural is not None:
            strength = self.log_strength + log_strength + keys.new_zeros(len(keys), 1, 1)
            classifier.register_buffer("log_strength", strength)
        return classifier

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
        check_shapes(state, {"scale": (1, 1, 1) if state["scale"].ndim else ()})
        keys = select_keys(state, way)
        classifier = cls.classifier_type(*layers, weights, *keys, way, state["scale"], config)
        if config.target is not None and config.target.natural:
            check_shapes(state, {"log_strength": (1, 1, 1)})
            classifier.register_buffer("log_strength", state["log_strength"])
        return classifier

    def choose_weights(
        self,
        embedded: Float[Tensor, "tasks support views *embedding"],
        support_y: Int[Tensor, "tasks support"],
        way: int,
        generator: torch.Generator | None,
    ) -> TargetWeights:
        """Compute the weights of the further layers for each task; here they are the same.

        They may come with changes of the head for each task, [tasks, 1, 1]: ``log_scale`` and, for
        ridge regression, ``log_strength`` are added to the learned values of these names.
        """
        weights = self.learned_gains(len(embedded))
        for i, shared in enumerate(self.generators):
            weights[f"weight_{i}"], weights[f"bias_{i}"] = shared(embedded.flatten(1))
        return weights

    def learned_gains(self, tasks: int) -> dict[str, Tensor]:
        """Return the gains that are the same for all tasks, by name; empty if there are none."""
        gains = {} if self.log_gains is None else {"gains": self.log_gains.exp()}
        if self.natural is not None:
            gains["natural"] = self.natural
        return {name: gain.repeat(tasks, 1) for name, gain in gains.items()}

    def fit_keys(
        self,
        features: Float[Tensor, "tasks support features"],
        support_y: Int[Tensor, "tasks support"],
        way: int,
        generator: torch.Generator | None,
        log_strength: Float[Tensor, "tasks 1 1"] | float = 0.0,
    ) -> tuple[Float[Tensor, "tasks keys features"], Int[Tensor, "tasks keys"]]:
        """Turn the features of the support into the keys of the head, and their labels.

        ``log_strength`` is added to the log of the strength of ridge regression.
        """
        kind = self.config.head.kind
        if kind == "attention":
            return features, support_y
        if kind == "ridge":
            assert self.log_strength is not None
            strength = self.log_strength + log_strength
            if self.natural is None or self.training:
                keys = ridge_regression(features, support_y, way, strength)
            else:
                keys = mixed_keys(features, support_y, way, strength)
        else:
            features = F.normalize(features, dim=-1) if kind == "means" else features
            keys = class_means(features, support_y, way)
        return keys, torch.arange(way, device=support_y.device).expand(len(keys), -1)


def mixed_keys(
    features: Float[Tensor, "tasks support both_halves"],
    support_y: Int[Tensor, "tasks support"],
    way: int,
    log_strength: Float[Tensor, ""] | Float[Tensor, "tasks 1 1"],
) -> Float[Tensor, "tasks way both_halves"]:
    """Compute the weights of `mix_ridge_regressions` for samples whose halves have unit length."""
    first, second = features.chunk(2, -1)
    duals = mix_ridge_regressions((first, second), support_y, way, log_strength)
    keys = [half.to(dual).mT @ dual for half, dual in zip((first, second), duals, strict=True)]
    # Queries are brought to unit length, and both halves together have the length sqrt(2).
    return math.sqrt(2) * torch.cat(keys, 1).mT


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


def scale_views(scale: Float[Tensor, "*tasks"], config: Any) -> Float[Tensor, "*tasks"]:
    """Divide the scale of squared distances by the number of views, so that their mean counts."""
    return scale / config.embedding.views if config.head.kind == "euclidean" else scale
