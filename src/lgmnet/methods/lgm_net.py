"""LGM-Net: a MetaNet that generates the weights of a TargetNet from a support set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.episode import check_every_class_shown
from lgmnet.methods.base import Method
from lgmnet.methods.classifiers import AttentionClassifier
from lgmnet.nn.class_conditioning import ClassTokens, ClassWriter
from lgmnet.nn.classification import ClassHead
from lgmnet.nn.context import ContextEncoder, MeanContext
from lgmnet.nn.embedding import (
    EmbeddingConfig,
    build_embedding,
    embed,
    features_of,
    need,
    need_size,
)
from lgmnet.nn.generators import SharedWeights, WeightGenerator
from lgmnet.nn.matching import class_means, learned_scale
from lgmnet.nn.target import ConvTarget, LinearTarget, TargetNet, TargetWeights

MAPS_AT_ONCE = 768


@dataclass(frozen=True)
class LGMNetConfig(EmbeddingConfig):
    """Everything that makes one LGM-Net differ from another.

    Raises:
        ConfigError: naming the field that cannot be.
    """

    target: Literal["conv", "linear"] = "conv"
    """Which TargetNet: generated convolutions for images, generated linear layers for vectors."""
    encoder_width: int = 64
    """Channels (or units) of the context encoder's layers."""
    encoder_pooled: tuple[bool, bool] = (True, False)
    """For each convolution of the context encoder, whether it is pooled; not read for vectors."""
    context: int = 32
    """Length of the task context."""
    target_widths: tuple[int, ...] = (64, 64)
    """Channels (or units) of each generated layer."""
    target_norm: bool = True
    """Whether generated layers are followed by normalisation."""
    target_pooled: bool = True
    """Whether a 2x2 max-pool stands between generated convolutions; not read for vectors."""
    target_skip: bool = False
    """Whether the head looks at the shared embedding beside what TargetNet makes of it."""
    skip_added: bool = False
    """Whether the embedding is added to what TargetNet makes of it, not put beside it; not read
    without ``target_skip``."""
    class_detectors: int = 0
    """How many detectors each class writes into every generated layer; 0 as in the paper, where
    generation sees the support set as a whole only."""
    class_dropout: float = 0.0
    """Part of what detectors are written from that is left out at random in training, so that they
    are not those of the training classes only; not read without ``class_detectors``."""
    head: Literal["attention", "means"] = "attention"
    """``attention``: over all support samples, as in the paper; ``means``: over the mean of each
    class's."""
    temperature: float | None = 10.0
    """Initial inverse temperature of the head, learned from there; None is the paper's head (1)."""
    classification: float = 0.0
    """Weight of a further loss in training: the embedding also tells all training classes apart."""
    classes: int = 64
    """As many as the training split has; not read without ``classification``."""
    generated: bool = True
    """Ablation: off, TargetNet's weights are learned and the same for all tasks."""
    context_encoder: bool = True
    """Ablation: off, the generators read the plain mean of the support's embeddings."""
    random_context: bool = True
    """Ablation: off, the context is its mean in training too."""
    weight_norm: bool = True
    """Ablation: off, generated kernels keep the norm they come with."""

    def __post_init__(self) -> None:
        super().__post_init__()
        need(self, "target", self.target in ("conv", "linear"), "'conv' or 'linear'")
        axes = 3 if self.target == "conv" else 1
        need(
            self,
            "feature_shape",
            len(self.feature_shape) == axes,
            f"{axes} positive numbers for target '{self.target}'",
        )
        need(
            self,
            "target_widths",
            len(self.target_widths) > 0 and min(self.target_widths) > 0,
            "positive numbers, at least one",
        )
        for field in ("encoder_width", "context", "classes"):
            need(self, field, getattr(self, field) > 0, "positive")
        temperature = self.temperature
        need(self, "temperature", temperature is None or temperature > 0, "positive or None")
        need(
            self,
            "class_detectors",
            self.class_detectors >= 0 and (self.generated or self.class_detectors == 0),
            "0 or more, and 0 where nothing is generated",
        )
        need(self, "class_dropout", 0 <= self.class_dropout < 1, "0 or more and below 1")
        need(self, "head", self.head in ("attention", "means"), "'attention' or 'means'")
        need(self, "classification", self.classification >= 0, "0 or more")
        pools = self.target == "conv" and self.target_pooled and len(self.target_widths) > 1
        alike = self.target_widths[-1] == self.channels_out and not pools
        need(
            self,
            "skip_added",
            alike or not (self.target_skip and self.skip_added),
            "false, unless TargetNet keeps the size of the embedding",
        )
        if pools:
            need_size(self, len(self.target_widths) - 1)


class LGMNet(Method):
    """Learning to Generate Matching Networks (Li, Dong, Mei, Ma, Huang and Hu, ICML 2019).

    https://arxiv.org/abs/1905.06331

    A MetaNet looks at the support set and generates the weights of a TargetNet made for exactly
    that task; no fine-tuning. For task i with support set S_i (docs/method.md, same numbers)::

        mu_i, log sigma_i^2 = mean over S_i of encoder(embedding(x))      (1)
        c_i ~ N(mu_i, diag(sigma_i^2))                                    (2)
        theta_i^l = generator^l(c_i), kernels divided by their L2 norm    (3)
        x^ = TargetNet_theta_i(embedding(x))                              (4)
        a = softmax over S_i of scale * cos(x^, x_nk^)                    (5)
        p = sum a * y                                                     (6)

    With ``class_detectors``, each class adds to the kernels before they are normalised what it
    looks like beside the other classes (`lgmnet.nn.class_conditioning`).

    With ``classification``, training makes a second loss small beside the tasks' own: the shared
    embedding tells all training classes apart (as in TADAM, Oreshkin et al., NeurIPS 2018).

    With the head ``means``, the attention (5) is over the mean of each class's x_nk^ of unit
    length, one for each class.

    Where the paper draws the context at test too, ours is its mean unless a generator is given.
    """

    config_type = LGMNetConfig
    config: LGMNetConfig

    def __init__(self, config: LGMNetConfig) -> None:
        super().__init__(config)
        self.embedding = build_embedding(config)
        self.target = build_target(config)
        width = config.channels_out
        self.encoder = (
            ContextEncoder(
                width,
                config.encoder_width,
                config.context,
                convolutional=config.target == "conv",
                pooled=config.encoder_pooled,
                intertask=config.intertask_norm,
            )
            if config.context_encoder and config.generated
            else MeanContext()
        )
        self.generators = nn.ModuleList(
            WeightGenerator(
                config.context if config.context_encoder else width,
                shape,
                normalise=config.weight_norm,
            )
            if config.generated
            else SharedWeights(shape, normalise=config.weight_norm)
            for shape in self.target.weight_shapes
        )
        self.tokens, self.writers = None, nn.ModuleList()
        if config.class_detectors:
            self.tokens = ClassTokens(
                width, convolutional=config.target == "conv", dropout=config.class_dropout
            )
            self.writers.extend(
                ClassWriter(shape, config.class_detectors) for shape in self.target.weight_shapes
            )
        self.log_scale = learned_scale(config.temperature)
        self.classification = None
        if config.classification:
            self.classification = ClassHead(features_of(config, self.embedding), config.classes)

    def learn(
        self,
        support_x: Tensor,
        support_y: Tensor,
        query_x: Tensor,
        query_y: Tensor,
        way: int,
        generator: torch.Generator | None = None,
        classes: Int[Tensor, "tasks way"] | None = None,
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "tasks query way"]]:
        """See `Method.learn`; with ``classification``, its loss is added.

        Raises:
            ConfigError: if there are more training classes than ``classes`` of the config.
        """
        if self.classification is None:
            return super().learn(support_x, support_y, query_x, query_y, way, generator, classes)
        support, query = (
            self.embedding(x.flatten(0, 1)).unflatten(0, x.shape[:2]) for x in (support_x, query_x)
        )
        loss, log_p = Method.learn(
            self.without_embedding(), support, support_y, query, query_y, way, generator
        )
        embedded, labels = torch.cat([support, query], 1), torch.cat([support_y, query_y], 1)
        logits = self.classification(embedded.flatten(2))
        further = self.classification.loss(logits, labels, classes)
        return loss + self.config.classification * further, log_p

    def _adapt(
        self, support_x: Tensor, support_y: Tensor, way: int, generator: torch.Generator | None
    ) -> LGMClassifier:
        embedded = embed(self.embedding, support_x, self.config.views)
        context = self.encoder(embedded.flatten(1, 2))  # eq. (1)
        drawn = context.draw(generator if self.config.random_context else None)  # eq. (2)
        tokens = None
        if self.tokens is not None:
            tokens = self.tokens(embedded, support_y, way, generator)
        weights = self.generate(drawn, tokens)  # eq. (3)
        keys = embed_for_task(self.target, weights, embedded)  # eq. (4)
        if self.config.head == "means":
            keys = class_means(F.normalize(keys, dim=-1), support_y, way)
            support_y = torch.arange(way, device=support_y.device).expand(len(keys), -1)
        return LGMClassifier(
            self.embedding,
            self.target,
            weights,
            keys,
            support_y,
            way,
            self.log_scale.exp(),
            self.config.views,
        )

    @classmethod
    def restore(cls, config: LGMNetConfig, way: int, state: Mapping[str, Tensor]) -> LGMClassifier:
        """The classifier that `adapt` once made (see `Method.restore`)."""
        target = build_target(config)
        names = [
            f"{part}_{i}" for i in range(len(target.weight_shapes)) for part in ("weight", "bias")
        ]
        weights = {name: state[name] for name in names}
        target.check(weights, tasks=1)
        check_every_class_shown(state["support_y"], way)
        classifier = LGMClassifier(
            build_embedding(config),
            target,
            weights,
            state["keys"],
            state["support_y"],
            way,
            state["scale"],
            config.views,
        )
        classifier.load_state_dict(state)
        return classifier.eval()

    def generate(
        self,
        context: Float[Tensor, "tasks context"],
        tokens: Float[Tensor, "tasks way token"] | None = None,
    ) -> TargetWeights:
        """The weights of TargetNet for each task, one generator a layer.

        Args:
            context: Of each task.
            tokens: Of each class of each task, where classes write detectors.
        """
        weights: dict[str, Tensor] = {}
        for i, generator in enumerate(self.generators):
            change = None if tokens is None else self.writers[i](tokens)
            weights[f"weight_{i}"], weights[f"bias_{i}"] = generator(context, change)
        return weights


class LGMClassifier(AttentionClassifier):
    """A TargetNet with its generated weights, and the support samples as it sees them.

    A query goes through TargetNet, eq. (4), and attends to the support, eq. (5) and (6).

    Args:
        embedding: The shared embedding.
        target: TargetNet without its weights.
        weights: The weights generated for each task.
        keys: Target embeddings of the support samples.
        support_y: Labels of the support samples.
        way: Number of classes.
        scale: Inverse temperature of the matching head.
        views: How many views of each sample the embedding gives.
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
        for name, weight in weights.items():
            self.register_buffer(name, weight)

    @property
    def weights(self) -> TargetWeights:
        """The generated weights by name."""
        layers = range(len(self.target.weight_shapes))
        return {
            name: self.get_buffer(name) for i in layers for name in (f"weight_{i}", f"bias_{i}")
        }

    def embed_queries(
        self, query_x: Float[Tensor, "tasks query *feature"]
    ) -> Float[Tensor, "tasks query features"]:
        """Queries as TargetNet sees them, by eq. (4)."""
        embedded = embed(self.embedding, query_x, self.views)
        return embed_for_task(self.target, self.weights, embedded)


def build_target(config: LGMNetConfig) -> TargetNet:
    """The TargetNet that a config asks for, without its weights."""
    shared: dict[str, Any] = {
        "norm": config.target_norm,
        "intertask": config.intertask_norm,
        "skip": ("added" if config.skip_added else "beside") if config.target_skip else None,
    }
    channels, widths = config.channels_out, config.target_widths
    if config.target == "conv":
        return ConvTarget(channels, widths, pooled=config.target_pooled, **shared)
    return LinearTarget(channels, widths, **shared)


def embed_for_task(
    target: TargetNet,
    weights: TargetWeights,
    embedded: Float[Tensor, "tasks samples views *embedding"],
) -> Float[Tensor, "tasks samples views_and_features"]:
    """Every view of every sample under its own task's weights, the views of one side by side."""
    tasks, samples, views = embedded.shape[:3]
    if torch.is_grad_enabled() or tasks * samples * views <= MAPS_AT_ONCE:
        features: Tensor = target(weights, embedded.flatten(1, 2))
    else:  # Where nothing is learned, in parts so small that they stay in the processor's cache.
        part = max(1, MAPS_AT_ONCE // (tasks * views))
        parts = [target(weights, some.flatten(1, 2)) for some in embedded.split(part, 1)]
        features = torch.cat(parts, 1)
    return rearrange(features, "tasks (samples views) f -> tasks samples (views f)", views=views)
