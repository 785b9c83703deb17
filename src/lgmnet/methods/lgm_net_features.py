"""LGM-Net for the features of a frozen network: it generates a change of them, not an embedding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.methods.base import Classifier, Method
from lgmnet.methods.classifiers import AttentionClassifier
from lgmnet.nn.context import ContextEncoder
from lgmnet.nn.embedding import embed, need
from lgmnet.nn.matching import class_means, learned_scale
from lgmnet.nn.whitening import SqrtNormalize, Variation, estimate_variation, rescale

PARTS = ("mean", "axes", "variances")
GROUPS = 4
"""Into so many groups classes fall that come in none."""


@dataclass(frozen=True)
class LGMNetFeaturesConfig:
    """Everything that makes one of these differ from another.

    Raises:
        ConfigError: naming the field that cannot be.
    """

    feature_shape: tuple[int, ...] = (1280,)
    """Length of the features."""
    axes: int = 256
    """How many axes have a scale of their own; all others share one."""
    shrinkage: float = 3.0
    """What is added to the variance within classes along every axis, in parts of their mean,
    before an axis is divided by its root."""
    mean_pull: float = 3.0
    """How far each support sample is drawn to the mean of its class, which has the weight 1 / (1 +
    this) left for the sample; 0 leaves samples where they are."""
    context: int = 8
    """Length of the task context."""
    generator_width: int = 32
    """Units of the generator's hidden layer."""
    scale_damping: float = 0.5
    """Part of the generated change of scales that is made outside training: other classes call for
    less of it than those that it was learned on."""
    temperature: float = 10.0
    """Initial inverse temperature of the head, learned from there."""
    random_context: bool = True
    """Ablation: off, the context is its mean in training too."""
    generated: bool = True
    """Ablation: off, centre and scales are those that follow from the training classes, for every
    task; nothing but the temperature is learned."""

    def __post_init__(self) -> None:
        shape = self.feature_shape
        need(self, "feature_shape", len(shape) == 1 and shape[0] > 0, "one positive number")
        need(self, "axes", 0 < self.axes <= shape[0], f"1 to {shape[0]}, the features")
        for field in ("context", "generator_width", "temperature", "shrinkage"):
            need(self, field, getattr(self, field) > 0, "positive")
        need(self, "scale_damping", 0 <= self.scale_damping <= 1, "0 to 1")
        need(self, "mean_pull", self.mean_pull >= 0, "0 or more")


class LGMNetFeatures(Method):
    """LGM-Net (see `LGMNet`) on features that a network gives which others have trained.

    An embedding that is learned on some hundred classes forgets what such a network knows. So
    nothing shared is learned here: features are compressed and whitened by how they vary within the
    training classes (`prepare`), and the MetaNet generates what is to be different for this task.
    With the compressed features x, and of the training classes their mean m, axes A and variances
    v within classes::

        c ~ N(mean, variance of the support's linear encodings)       (1), (2)
        b = B tanh(c)                                                 (3), the bias
        s_a = exp(g(log v_a, 1 / shot, tanh(c))) / sqrt(v_a + shrinkage)
        W = s_0 I + A diag(s_a - s_0) A^T                             (3), the weight
        x^ = W (x - m - b)                                            (4)

    and the paper's head, eq. (5) and (6), over support samples that are drawn to the mean of their
    class. One small network g serves all axes, so it cannot know any class; and each task of
    training sees an m, A and v that know nothing of its classes, as no task of test will.
    Ours; no paper's.
    """

    config_type = LGMNetFeaturesConfig
    config: LGMNetFeaturesConfig
    remark = (
        "Generated weights alone, on a learned embedding, lost to cosine prototypes of the same "
        "features. What it took: the root of every feature, whitening by the training classes' "
        "variance within classes, support samples drawn to their class's mean, and a generated "
        "change of low rank that is learned on classes of which nothing is known beforehand. Most "
        "of the gain is the whitening's; `docs/dev/log.md` has the figures."
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
        # The same without each group of classes, and the group of each class; none unprepared.
        for part in PARTS:
            self.register_buffer(f"held_{part}", getattr(self, part)[:0], persistent=False)
        self.register_buffer("held_groups", torch.empty(0, dtype=torch.long), persistent=False)
        self.log_scale = learned_scale(config.temperature)
        if config.generated:
            self.encoder = ContextEncoder(n, n, config.context, convolutional=False, pooled=())
            self.shift = nn.Linear(config.context, n, bias=False)
            self.scales = nn.Sequential(
                nn.Linear(2 + config.context, config.generator_width),
                nn.GELU(),
                nn.Linear(config.generator_width, 1),
            )
            self.temperature = nn.Linear(1 + config.context, 1)
            last = self.scales[-1]
            assert isinstance(last, nn.Linear)
            init_context_layer(self.encoder.layers[-1])
            # So it starts as what follows from the training classes.
            nn.init.zeros_(self.shift.weight)
            for layer in (last, self.temperature):
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)

    def prepare(
        self,
        samples: Num[Tensor, "samples *feature"],
        labels: Int[Tensor, " samples"],
        groups: Int[Tensor, " classes"] | None,
    ) -> None:
        """See `Method.prepare`: what features are like, of all classes and without each group."""
        if groups is None:
            groups = torch.arange(int(labels.max()) + 1) % GROUPS
        found = estimate_variation(self.embedding(samples), labels, groups, self.config.axes)
        for part in PARTS:
            sets = getattr(found, part).to(getattr(self, part))
            getattr(self, part).copy_(sets[:1])
            setattr(self, f"held_{part}", sets[1:])
        self.held_groups = groups.to(self.device)

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
        """See `Method.learn`; what is known of features leaves out the group of a task's classes.

        Where a task's classes are of several groups, that of its first is left out.
        """
        if not len(self.held_groups) or classes is None:
            return super().learn(support_x, support_y, query_x, query_y, way, generator, classes)
        held = Variation(self.held_mean, self.held_axes, self.held_variances)
        known = held.of(self.held_groups[classes[:, 0]])
        log_p = self.adapted(known, support_x, support_y, way, generator)(query_x)
        return F.nll_loss(log_p.flatten(0, 1), query_y.flatten()), log_p

    def _adapt(
        self, support_x: Tensor, support_y: Tensor, way: int, generator: torch.Generator | None
    ) -> Classifier:
        known = Variation(self.mean, self.axes, self.variances)
        return self.adapted(known, support_x, support_y, way, generator)

    def adapted(
        self,
        known: Variation,
        support_x: Float[Tensor, "tasks support features"],
        support_y: Int[Tensor, "tasks support"],
        way: int,
        generator: torch.Generator | None,
    ) -> FeaturesClassifier:
        """The classifier of each task, from what is known of features beforehand."""
        tasks, samples = support_x.shape[:2]
        embedded = embed(self.embedding, support_x).flatten(2)
        centre = known.mean.expand(tasks, -1)
        scales = (known.variances + self.config.shrinkage).rsqrt().expand(tasks, -1)
        scale = self.log_scale.expand(tasks, 1, 1)
        if self.config.generated:
            context = self.encoder(embedded - centre[:, None])  # eq. (1)
            drawn = context.draw(generator if self.config.random_context else None)  # eq. (2)
            shift, change, warmth = self.generate(drawn.tanh(), known.variances, way / samples)
            scale_damping = 1.0 if self.training else self.config.scale_damping
            scales = scales * (scale_damping * change).exp()
            centre, scale = centre + shift, scale + warmth
        unit = F.normalize(rescale(embedded, centre, known.axes, scales), dim=-1)  # eq. (4)
        means = F.normalize(class_means(unit, support_y, way), dim=-1).to(unit)
        own = means.gather(1, support_y.long()[..., None].expand_as(unit))
        keys = F.normalize(unit + self.config.mean_pull * own, dim=-1)
        return FeaturesClassifier(
            self.embedding, centre, known.axes, scales, keys, support_y, way, scale.exp()
        )

    def generate(
        self,
        context: Float[Tensor, "tasks context"],
        variances: Float[Tensor, "tasks_or_1 axes_and_1"],
        of_a_class: float,
    ) -> tuple[
        Float[Tensor, "tasks features"],
        Float[Tensor, "tasks axes_and_1"],
        Float[Tensor, "tasks 1 1"],
    ]:
        """What is different for each task, eq. (3): shift of the centre, and logarithms.

        They are those by which the scales and the inverse temperature of the head change.

        Args:
            context: Of each task, -1 to 1.
            variances: Within classes, along all axes.
            of_a_class: One sample's part in its class, 1 / shot.
        """
        tasks, axes = len(context), variances.shape[1]
        of_axis = (variances + 1e-3).log().expand(tasks, axes)[..., None]
        of_task = torch.cat([context.new_full((tasks, 1), of_a_class), context], 1)
        asked = torch.cat([of_axis, of_task[:, None].expand(tasks, axes, -1)], -1)
        return self.shift(context), self.scales(asked)[..., 0], self.temperature(of_task)[..., None]

    @classmethod
    def restore(
        cls, config: LGMNetFeaturesConfig, way: int, state: Mapping[str, Tensor]
    ) -> FeaturesClassifier:
        """The classifier that `adapt` once made (see `Method.restore`)."""
        parts = ("centre", "axes", "scales", "keys", "support_y")
        kept = {part: state[part] for part in parts}
        return FeaturesClassifier(SqrtNormalize(), way=way, scale=state["scale"], **kept).eval()


def init_context_layer(last: nn.Module) -> None:
    """Let contexts start far apart, and surer than that, so that kinds of photos differ in them.

    Args:
        last: The layer of the context encoder that gives mean and log-variance.
    """
    assert isinstance(last, nn.Linear)
    mean, log_variance = last.weight.chunk(2)
    nn.init.normal_(mean, std=0.1 * (1280 / last.in_features) ** 0.5)
    nn.init.normal_(log_variance, std=0.005)
    nn.init.constant_(last.bias.chunk(2)[1], -4.0)


class FeaturesClassifier(AttentionClassifier):
    """A generated linear TargetNet, ``W (x - centre)``, and the support samples as it sees them.

    Args:
        embedding: What features pass first.
        centre: Of each task.
        axes: Along which features are rescaled; one set for all tasks, or one for each.
        scales: Of the rest, and of each axis.
        keys: The support samples as queries are compared to them.
        support_y: Labels of the support samples.
        way: Number of classes.
        scale: Inverse temperature of the matching head.
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
        self.register_buffer("centre", centre)
        self.register_buffer("axes", axes)
        self.register_buffer("scales", scales)

    def embed_queries(
        self, query_x: Float[Tensor, "tasks query features"]
    ) -> Float[Tensor, "tasks query features"]:
        """Queries as their own task sees them, by eq. (4)."""
        embedded = embed(self.embedding, query_x).flatten(2)
        return rescale(embedded, self.centre, self.axes, self.scales)
