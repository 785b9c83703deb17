"""LGM-Net for the features of a frozen network: it generates a change of the features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.config import require
from lgmnet.episode import Episode
from lgmnet.input_spec import InputSpec
from lgmnet.methods.base import Classifier, Method
from lgmnet.methods.classifiers import AttentionClassifier, check_shapes, select_keys
from lgmnet.nn.context import ContextConfig, ContextEncoder
from lgmnet.nn.embedding import embed
from lgmnet.nn.matching import class_means, learned_scale
from lgmnet.nn.whitening import SqrtNormalize, Variation, estimate_variation, rescale

STATISTICS = ("mean", "axes", "variances")
N_GROUPS = 4
"""Number of groups that classes without groups are divided into."""


@dataclass(frozen=True)
class ScaleGeneratorConfig:
    """Generator of the change of features.

    Raises:
        ConfigError: if a field has a value that is not allowed.
    """

    context_length: int = 8
    """Length of the task context."""
    width: int = 32
    """Units of the hidden layer."""
    scale_damping: float = 0.5
    """Part of the generated change of scales that is applied outside training: other classes need
    less of it than those that it was learned on."""
    sampled: bool = True
    """Ablation: if False, the context is its mean in training too, never drawn."""

    def __post_init__(self) -> None:
        for field in ("context_length", "width"):
            require(self, field, getattr(self, field) > 0, "positive")
        require(self, "scale_damping", 0 <= self.scale_damping <= 1, "0 to 1")


@dataclass(frozen=True)
class LGMNetFeaturesConfig:
    """All parts of an LGM-Net for features.

    Raises:
        ConfigError: if a field has a value that is not allowed.

    >>> LGMNetFeaturesConfig().feature_shape
    (1280,)
    """

    feature_shape: tuple[int, ...] = (1280,)
    """Length of the features."""
    axes: int = 256
    """Number of axes with scales of their own; all others share one."""
    shrinkage: float = 3.0
    """Added to the variance within classes along every axis, in units of their mean, before each
    axis is divided by the square root."""
    mean_pull: float = 3.0
    """Each support sample is moved towards the mean of its class, which leaves it the weight
    1 / (1 + mean_pull); 0 leaves samples where they are."""
    temperature: float = 10.0
    """Initial inverse temperature of the head, learned from there."""
    generator: ScaleGeneratorConfig | None = ScaleGeneratorConfig()
    """Ablation: with None, centre and scales are those of the training classes for every task, and
    only the temperature is learned."""

    def __post_init__(self) -> None:
        shape = self.feature_shape
        require(self, "feature_shape", len(shape) == 1 and shape[0] > 0, "one positive number")
        require(self, "axes", 0 < self.axes <= shape[0], f"1 to {shape[0]}, the features")
        for field in ("temperature", "shrinkage"):
            require(self, field, getattr(self, field) > 0, "positive")
        require(self, "mean_pull", self.mean_pull >= 0, "0 or more")


class LGMNetFeatures(Method):
    """LGM-Net (see `LGMNet`) on the features of a network that was trained elsewhere.

    An embedding that is learned on a few hundred classes forgets what such a network knows. So no
    embedding is learned here: the square roots of the features are whitened by the variance within
    the training classes (`prepare`), and the MetaNet generates what changes for a task. With the
    normalized features x, and the mean m, axes A and variances v within classes of the training
    classes::

        c ~ N(mean, variance of the support's linear encodings)       (1), (2)
        b = B tanh(c)                                                 (3), the bias
        s_a = exp(g(log v_a, 1 / shot, tanh(c))) / sqrt(v_a + shrinkage)
        W = s_0 I + A diag(s_a - s_0) A^T                             (3), the weight
        x^ = W (x - m - b)                                            (4)

    and the paper's head, eq. (5) and (6), over support samples that are moved towards the mean of
    their class. One small network g serves all axes, so it cannot memorize classes. Each training
    task uses an m, A and v that were computed without its classes, as in every test task.
    Our own method, not a paper's.

    >>> import torch
    >>> method = LGMNetFeatures(LGMNetFeaturesConfig()).eval()
    >>> support_x, support_y = torch.rand(2, 5, 1280), torch.arange(5).expand(2, -1)
    >>> classifier = method.adapt(support_x, support_y, way=5)  # Two tasks, 5-way 1-shot.
    >>> classifier(torch.rand(2, 3, 1280)).shape
    torch.Size([2, 3, 5])
    """

    config_type = LGMNetFeaturesConfig
    config: LGMNetFeaturesConfig
    card_note = (
        "Generated weights alone, on a learned embedding, were worse than cosine prototypes of the "
        "same features. What helped: the square root of every feature, whitening by the variance "
        "within the training classes, and support samples moved towards their class mean. Most of "
        "the gain comes from the whitening; `docs/dev/log.md` has the figures. The generated "
        "change of low rank, learned on classes that the whitening has not seen, gives 0.5 to 0.7 "
        "points at one shot on CIFAR-FS, and nothing or less elsewhere (`docs/results`, tables of "
        "photos)."
    )

    mean: Tensor
    axes: Tensor
    variances: Tensor
    held_mean: Tensor
    held_axes: Tensor
    held_variances: Tensor
    held_groups: Tensor

    def __init__(self, config: LGMNetFeaturesConfig) -> None:
        super().__init__(config)
        n, axes = config.feature_shape[0], config.axes
        self.embedding = SqrtNormalize()
        self.register_buffer("mean", torch.zeros(1, n))
        self.register_buffer("axes", torch.eye(n)[:, n - axes :][None].contiguous())
        self.register_buffer("variances", torch.ones(1, axes + 1))
        # The same without each group of classes, and the group of each class; empty until
        # `prepare`.
        held = {f"held_{name}": getattr(self, name)[:0] for name in STATISTICS}
        for name, tensor in (held | {"held_groups": torch.empty(0, dtype=torch.long)}).items():
            self.register_buffer(name, tensor, persistent=False)
        self.log_scale = learned_scale(config.temperature)
        if config.generator:
            length, width = config.generator.context_length, config.generator.width
            linear = ContextConfig(length, widths=(), pooled=())
            self.encoder = ContextEncoder(n, linear, is_image=False)
            self.shift = nn.Linear(length, n, bias=False)
            hidden, last = nn.Linear(2 + length, width), nn.Linear(width, 1)
            self.scales = nn.Sequential(hidden, nn.GELU(), last)
            self.temperature = nn.Linear(1 + length, 1)
            init_context_layer(self.encoder.layers[-1])
            # So training starts at the statistics of the training classes.
            for layer in (self.shift, last, self.temperature):
                for parameter in layer.parameters():
                    nn.init.zeros_(parameter)

    def prepare(
        self,
        samples: Num[Tensor, "samples *feature"],
        labels: Int[Tensor, " samples"],
        groups: Int[Tensor, " classes"] | None,
    ) -> None:
        """Estimate the variation of features, of all classes and without each group of them."""
        if groups is None:
            groups = torch.arange(int(labels.max()) + 1) % N_GROUPS
        variation = estimate_variation(self.embedding(samples), labels, groups, self.config.axes)
        for name in STATISTICS:
            sets = getattr(variation, name).to(getattr(self, name))
            getattr(self, name).copy_(sets[:1])
            setattr(self, f"held_{name}", sets[1:])
        self.held_groups = groups.to(self.device)

    def learn(
        self, episode: Episode, generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "tasks query way"]]:
        """Compute the loss with statistics that leave out the group of a task's classes.

        If a task's classes belong to several groups, that of its first class is left out.
        """
        e = episode
        if not len(self.held_groups) or e.classes is None:
            return super().learn(episode, generator)
        held = Variation(self.held_mean, self.held_axes, self.held_variances)
        variation = held.select(self.held_groups[e.classes[:, 0]])
        classifier = self.adapt_to(variation, e.support_x, e.support_y, e.way, generator)
        log_p = classifier(e.query_x)
        return F.nll_loss(log_p.flatten(0, 1), e.query_y.flatten()), log_p

    def _adapt(
        self, support_x: Tensor, support_y: Tensor, way: int, generator: torch.Generator | None
    ) -> Classifier:
        variation = Variation(self.mean, self.axes, self.variances)
        return self.adapt_to(variation, support_x, support_y, way, generator)

    def adapt_to(
        self,
        variation: Variation,
        support_x: Float[Tensor, "tasks support features"],
        support_y: Int[Tensor, "tasks support"],
        way: int,
        generator: torch.Generator | None,
    ) -> FeaturesClassifier:
        """Adapt to a support set, given the variation of features in the training classes."""
        tasks, samples = support_x.shape[:2]
        embedded = embed(self.embedding, support_x).flatten(2)
        centre = variation.mean.expand(tasks, -1)
        scales = (variation.variances + self.config.shrinkage).rsqrt().expand(tasks, -1)
        scale = self.log_scale.expand(tasks, 1, 1)
        if config := self.config.generator:
            context = self.encoder(embedded - centre[:, None])  # eq. (1)
            drawn = context.draw(generator if config.sampled else None)  # eq. (2)
            shift, log_scales, log_temperature = self.generate(
                drawn.tanh(), variation.variances, way / samples
            )
            damping = 1.0 if self.training else config.scale_damping
            scales = scales * (damping * log_scales).exp()
            centre, scale = centre + shift, scale + log_temperature
        unit = F.normalize(rescale(embedded, centre, variation.axes, scales), dim=-1)  # eq. (4)
        means = F.normalize(class_means(unit, support_y, way), dim=-1).to(unit)
        own = means.gather(1, support_y.long()[..., None].expand_as(unit))
        keys = F.normalize(unit + self.config.mean_pull * own, dim=-1)
        return FeaturesClassifier(
            self.embedding, centre, variation.axes, scales, keys, support_y, way, scale.exp()
        )

    def generate(
        self,
        context: Float[Tensor, "tasks context"],
        variances: Float[Tensor, "tasks_or_1 axes_and_1"],
        inverse_shot: float,
    ) -> tuple[
        Float[Tensor, "tasks features"],
        Float[Tensor, "tasks axes_and_1"],
        Float[Tensor, "tasks 1 1"],
    ]:
        """Generate what changes for each task, eq. (3).

        Args:
            context: Context of each task, -1 to 1.
            variances: Variances within classes, along all axes.
            inverse_shot: 1 / shot.

        Returns:
            What is added to the centre, to the log of each scale, and to the log of the head's
            inverse temperature.
        """
        tasks, axes = len(context), variances.shape[1]
        per_axis = (variances + 1e-3).log().expand(tasks, axes)[..., None]
        per_task = torch.cat([context.new_full((tasks, 1), inverse_shot), context], 1)
        inputs = torch.cat([per_axis, per_task[:, None].expand(tasks, axes, -1)], -1)
        log_scales = self.scales(inputs)[..., 0]
        return self.shift(context), log_scales, self.temperature(per_task)[..., None]

    @classmethod
    def input_spec(cls, config: LGMNetFeaturesConfig) -> InputSpec:
        """Describe the samples: vectors of features (see `Method.input_spec`)."""
        return InputSpec(tuple(config.feature_shape))

    @classmethod
    def restore(
        cls, config: LGMNetFeaturesConfig, way: int, state: Mapping[str, Tensor]
    ) -> Classifier:
        """Rebuild a classifier (see `Method.restore`)."""
        n, axes = config.feature_shape[0], config.axes
        shapes = {"centre": (1, n), "axes": (1, n, axes), "scales": (1, axes + 1)}
        check_shapes(state, {**shapes, "scale": (1, 1, 1)})
        keys, labels = select_keys(state, way)
        tensors = {name: state[name] for name in (*shapes, "scale")}
        classifier = FeaturesClassifier(
            SqrtNormalize(), keys=keys, support_y=labels, way=way, **tensors
        )
        return classifier.load(state)


def init_context_layer(last: nn.Module) -> None:
    """Initialize contexts far apart and with small variance, so that kinds of photos differ.

    ``last`` is the layer of the context encoder that gives mean and log-variance.
    """
    assert isinstance(last, nn.Linear)
    mean, log_variance = last.weight.chunk(2)
    nn.init.normal_(mean, std=0.1 * (1280 / last.in_features) ** 0.5)
    nn.init.normal_(log_variance, std=0.005)
    nn.init.constant_(last.bias.chunk(2)[1], -4.0)


class FeaturesClassifier(AttentionClassifier):
    """Generated linear TargetNet, ``W (x - centre)``, and its embeddings of the support.

    The other arguments are those of `AttentionClassifier`.

    Args:
        embedding: Normalization of features.
        centre: Centre of each task.
        axes: Axes along which features are rescaled; one set for all tasks, or one for each.
        scales: Scale of the rest, then of each axis.
    """

    centre: Tensor
    axes: Tensor
    scales: Tensor

    def __init__(
        self,
        embedding: nn.Module,
        centre: Float[Tensor, "tasks features"],
        axes: Float[Tensor, "tasks_or_1 features axes"],
        scales: Float[Tensor, "tasks axes_and_1"],
        keys: Float[Tensor, "tasks support features"],
        support_y: Int[Tensor, "tasks support"],
        way: int,
        scale: Float[Tensor, "tasks 1 1"],
    ) -> None:
        super().__init__(keys, support_y, way, scale)
        self.embedding = embedding
        self.register_buffers({"centre": centre, "axes": axes, "scales": scales})

    def embed_queries(
        self, query_x: Float[Tensor, "tasks query features"]
    ) -> Float[Tensor, "tasks query features"]:
        """Compute the target embeddings of queries, eq. (4)."""
        embedded = embed(self.embedding, query_x).flatten(2)
        return rescale(embedded, self.centre, self.axes, self.scales)
