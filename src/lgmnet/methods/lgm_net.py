"""LGM-Net: a MetaNet that generates the weights of a TargetNet from a support set."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lgmnet.config import require
from lgmnet.episode import Episode
from lgmnet.methods.base import Method
from lgmnet.methods.metric import MetricConfig, MetricMethod
from lgmnet.methods.metric_classifier import MetricClassifier
from lgmnet.nn.class_conditioning import ClassConditioningConfig, ClassTokens, ClassWriter
from lgmnet.nn.context import ContextConfig, ContextEncoder, MeanContext
from lgmnet.nn.generators import WeightGenerator
from lgmnet.nn.label_context import LabelContext, LabelContextConfig
from lgmnet.nn.target import TargetConfig, TargetNet, TargetWeights


@dataclass(frozen=True)
class LGMNetConfig(MetricConfig):
    """All parts of an LGM-Net; see `MetricConfig`.

    Raises:
        ConfigError: if a field has a value that is not allowed.

    >>> LGMNetConfig().head.kind
    'attention'
    """

    generates_nothing = False
    target: TargetConfig = TargetConfig()
    """TargetNet and its weights."""
    context: ContextConfig | None = ContextConfig()
    """Task context encoder. Ablation: None gives the generators the mean embedding of the
    support; it must be None where the weights are not generated."""
    conditioning: ClassConditioningConfig | None = None
    """Class detectors; None as in the paper."""
    labels: LabelContextConfig | None = None
    """Gains of the channels (or features) of the embedding, generated from statistics between and
    within the classes; None as in the paper, whose context never reads a label."""
    gains_train_embedding: bool = True
    """If False, the embedding learns from the loss without generated gains, and the gains learn
    from a loss of their own, so that they are added to what the embedding is without them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        context = self.context
        is_valid = self.labels is not None or self.gains_train_embedding
        expected = "True unless gains are generated from labels"
        require(self, "gains_train_embedding", is_valid, expected)
        if not self.target.widths:
            require(self, "context", context is None, "None where TargetNet has no layers")
            expected = "None where TargetNet has no layers"
            require(self, "conditioning", not self.conditioning, expected)
        if self.target.weights == "learned":
            require(self, "context", context is None, "None where weights are learned")
            require(self, "conditioning", not self.conditioning, "None where weights are learned")
        if self.labels:
            is_ridge = self.head.kind == "ridge"
            expected = "False unless the head is 'ridge'"
            require(self.labels, "head", is_ridge or not self.labels.head, expected)
        if context:
            gives_maps, n = self.embedding.gives_maps, len(context.widths)
            expected = f"{n} values" if gives_maps else "empty where embeddings are vectors"
            require(context, "pooled", len(context.pooled) == (n if gives_maps else 0), expected)

    @property
    def has_gains(self) -> bool:
        """True if every channel (or feature) of the embedding has a gain."""
        return super().has_gains or self.labels is not None


class LGMNet(MetricMethod):
    """Learning to Generate Matching Networks (Li, Dong, Mei, Ma, Huang and Hu, ICML 2019).

    https://arxiv.org/abs/1905.06331

    A MetaNet looks at the support set and generates the weights of a TargetNet for exactly this
    task; nothing is fine-tuned. For task i with support set S_i (numbers as in
    docs/concepts/method.md)::

        mu_i, log sigma_i^2 = mean over S_i of encoder(embedding(x))      (1)
        c_i ~ N(mu_i, diag(sigma_i^2))                                    (2)
        theta_i^l = generator^l(c_i), kernels divided by their L2 norm    (3)
        x^ = TargetNet_theta_i(embedding(x))                              (4)
        a = softmax over S_i of scale * cos(x^, x_nk^)                    (5)
        p = sum a * y                                                     (6)

    With ``conditioning``, each class adds detectors to the kernels before they are normalized
    (`lgmnet.nn.class_conditioning`). With ``labels``, every channel (or feature) of the embedding
    is multiplied by a gain before TargetNet, which is generated from what varies between and within
    the classes (`lgmnet.nn.label_context`). With another head than ``attention``, (5) and (6) are
    those of `HeadConfig`.

    The paper draws the context at test too; here it is its mean unless a generator is given.

    >>> import torch
    >>> method = LGMNet(LGMNetConfig()).eval()
    >>> support_x, support_y = torch.rand(2, 5, 1, 28, 28), torch.arange(5).expand(2, -1)
    >>> classifier = method.adapt(support_x, support_y, way=5)  # Two tasks, 5-way 1-shot.
    >>> classifier(torch.rand(2, 3, 1, 28, 28)).shape
    torch.Size([2, 3, 5])
    """

    config_type = LGMNetConfig
    config: LGMNetConfig
    target: TargetNet
    emphasis: Tensor | None = None
    """Factor of the gains of each group of features; None for 1 (see `with_emphasis`)."""

    def with_emphasis(self, factors: Float[Tensor, " groups"]) -> Method:
        """Copy this method for a support whose criterion is known; see `Method`."""
        if not self.config.has_gains:
            return super().with_emphasis(factors)
        copied = copy.copy(self)
        copied.emphasis = factors
        return copied

    def build_generators(self) -> None:
        """Build the MetaNet; see `MetricMethod.build_generators`."""
        config, shapes = self.config, self.target.weight_shapes
        n_in, norm = config.embedding.n_out, config.embedding.norm
        is_image, weight_norm = config.embedding.gives_maps, config.target.weight_norm
        self.encoder: nn.Module = MeanContext()
        length = n_in
        if config.context:
            self.encoder = ContextEncoder(n_in, config.context, is_image=is_image, norm=norm)
            length = config.context.length
        if config.target.weights == "learned":
            super().build_generators()
        else:
            self.generators = nn.ModuleList(
                WeightGenerator(length, shape, weight_norm=weight_norm) for shape in shapes
            )
        self.label_context: LabelContext | None = None
        if config.labels:
            self.label_context = LabelContext(config.embedding.groups, config.labels)
        self.tokens, self.writers = None, nn.ModuleList()
        if config.conditioning:
            dropout = config.conditioning.dropout
            self.tokens = ClassTokens(n_in, is_image=is_image, dropout=dropout)
            n_detectors = config.conditioning.detectors
            self.writers.extend(ClassWriter(shape, n_detectors) for shape in shapes)

    @property
    def has_other_losses(self) -> bool:
        """True if training has another loss than that of the queries."""
        return super().has_other_losses or not self.config.gains_train_embedding

    def learn_embedded(
        self, embedded: Episode, generator: torch.Generator | None
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "tasks query way"]]:
        """Compute the loss of the queries; where gains do not train the embedding, two losses."""
        if self.config.gains_train_embedding:
            return super().learn_embedded(embedded, generator)
        plain = cast(LGMNet, self.without_embedding())
        plain.label_context = None
        loss, _ = Method.learn(plain, embedded, generator)
        detached = embedded.with_samples(embedded.support_x.detach(), embedded.query_x.detach())
        loss_of_gains, log_p = super().learn_embedded(detached, generator)
        return loss + loss_of_gains, log_p

    def choose_weights(
        self,
        embedded: Float[Tensor, "tasks support views *embedding"],
        support_y: Int[Tensor, "tasks support"],
        way: int,
        generator: torch.Generator | None,
    ) -> TargetWeights:
        """Generate the weights of TargetNet from the support; see `MetricMethod`."""
        config = self.config
        gains = self.learned_gains(len(embedded))
        if self.label_context is not None:
            features = embedded.mean((4, 5)) if embedded.ndim == 6 else embedded
            generated = self.label_context.generate(features.mean(2), support_y, way)
            gains |= generated | {"gains": generated["gains"] * gains.get("gains", 1)}
        elif config.labels and "gains" not in gains:  # Where the embedding learns without gains.
            gains["gains"] = embedded.new_ones(len(embedded), config.embedding.n_out)
        if self.emphasis is not None and "gains" in gains:
            sizes = torch.tensor(config.embedding.groups, device=embedded.device)
            factors = self.emphasis.to(embedded).repeat_interleave(sizes)
            gains["gains"] = gains["gains"] * factors
        if not config.target.widths:
            return gains
        context = self.encoder(embedded.flatten(1, 2))  # eq. (1)
        is_sampled = config.context is not None and config.context.sampled
        drawn = context.draw(generator if is_sampled else None)  # eq. (2)
        tokens = None
        if self.tokens is not None:
            tokens = self.tokens(embedded, support_y, way, generator)
        return gains | self.generate(drawn, tokens)  # eq. (3)

    def generate(
        self,
        context: Float[Tensor, "tasks context"],
        tokens: Float[Tensor, "tasks way token"] | None = None,
    ) -> dict[str, Tensor]:
        """Generate the weights of TargetNet for each task, one generator a layer.

        Where classes add detectors, ``tokens`` has the token of each class.
        """
        weights: dict[str, Tensor] = {}
        for i, generator in enumerate(self.generators):
            change = None if tokens is None else self.writers[i](tokens)
            weights[f"weight_{i}"], weights[f"bias_{i}"] = generator(context, change)
        return weights


class LGMClassifier(MetricClassifier):
    """TargetNet with its generated weights, and the keys in the space of its output.

    A query goes through TargetNet, eq. (4), and is compared with the keys, eq. (5) and (6).

    >>> import torch
    >>> method = LGMNet(LGMNetConfig()).eval()
    >>> classifier = method.adapt(torch.rand(1, 2, 1, 28, 28), torch.tensor([[0, 1]]), way=2)
    >>> isinstance(classifier, LGMClassifier)
    True
    """


LGMNet.classifier_type = LGMClassifier
