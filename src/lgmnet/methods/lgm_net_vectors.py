"""LGM-Net for vectors of any length: each task is first moved into a frame of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lgmnet.config import require
from lgmnet.input_spec import InputSpec
from lgmnet.methods.base import Classifier, Method, QueryAnalysis
from lgmnet.methods.classifiers import check_shapes
from lgmnet.methods.lgm_net import LGMNet, LGMNetConfig
from lgmnet.nn.context import ContextConfig
from lgmnet.nn.embedding import EmbeddingConfig, vector_embedding
from lgmnet.nn.target import TargetConfig

MIN_RATIO = 1e-6
"""Singular values below this part of the largest count as zero."""


@dataclass(frozen=True)
class LGMNetVectorsConfig(LGMNetConfig):
    """All parts of an LGM-Net for vectors; see `LGMNetConfig`.

    Raises:
        ConfigError: if a field has a value that is not allowed.

    >>> LGMNetVectorsConfig().head.kind
    'attention'
    """

    embedding: EmbeddingConfig = vector_embedding(64)
    """Shared embedding. Vectors of any length are brought to its ``feature_shape`` first; without
    layers, TargetNet gets them as they are in their frame."""
    context: ContextConfig | None = ContextConfig(pooled=())
    """Task context encoder."""
    target: TargetConfig = TargetConfig(pooled=False)
    """TargetNet and its weights."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.embedding, "layers", not self.embedding.is_image, "'linear'")
        require(self, "auxiliary", self.auxiliary is None, "None for this method")
        require(self, "feature_tasks", self.feature_tasks == 0, "0 for this method")


class LGMNetVectors(Method):
    """LGM-Net (see `LGMNet`) behind a frame that follows from the support set.

    The support's mean is subtracted from every feature, and all features are divided by the
    support's root mean square; features in different units must be standardized beforehand. Vectors
    shorter than ``feature_shape`` are filled up with zeros. Longer ones are described by their
    coordinates along the support's principal axes, which keeps every inner product with a support
    sample as long as there are no more support samples than axes. A last coordinate is always 1, so
    that the cosine between two vectors depends on their lengths.

    So one set of weights serves vectors of any length. Our own method, not a paper's.

    >>> import torch
    >>> method = LGMNetVectors(LGMNetVectorsConfig()).eval()
    >>> support_x, support_y = torch.rand(2, 5, 7), torch.arange(5).expand(2, -1)
    >>> classifier = method.adapt(support_x, support_y, way=5)  # Two tasks, 5-way 1-shot.
    >>> classifier(torch.rand(2, 3, 7)).shape
    torch.Size([2, 3, 5])
    """

    config_type = LGMNetVectorsConfig
    config: LGMNetVectorsConfig

    def __init__(self, config: LGMNetVectorsConfig) -> None:
        super().__init__(config)
        self.net = LGMNet(config)

    @classmethod
    def input_spec(cls, config: LGMNetVectorsConfig) -> InputSpec:
        """Describe the samples: vectors of any length (see `Method.input_spec`)."""
        return InputSpec(tuple(config.embedding.feature_shape), any_length=True)

    def _adapt(
        self, support_x: Tensor, support_y: Tensor, way: int, generator: torch.Generator | None
    ) -> FramedClassifier:
        frame = Frame.from_support(support_x, self.config.embedding.feature_shape[0])
        inner = self.net.adapt(frame(support_x), support_y, way, generator=generator)
        return FramedClassifier(frame, inner)

    @classmethod
    def restore(
        cls, config: LGMNetVectorsConfig, way: int, state: Mapping[str, Tensor]
    ) -> Classifier:
        """Rebuild a classifier (see `Method.restore`)."""
        inner = {n.removeprefix("inner."): t for n, t in state.items() if n.startswith("inner.")}
        axes = config.embedding.feature_shape[0] - 1
        check_shapes(state, {"frame.basis": (1, None, axes)})
        features = state["frame.basis"].shape[1]
        check_shapes(state, {f"frame.{name}": (1, features) for name in ("mean", "scale")})
        frame = Frame(*(state[f"frame.{name}"] for name in ("mean", "scale", "basis")))
        return FramedClassifier(frame, LGMNet.restore(config, way, inner)).load(state)


class FramedClassifier(Classifier):
    """Classifier whose queries are moved into its task's frame first."""

    def __init__(self, frame: Frame, inner: Classifier) -> None:
        super().__init__()
        self.frame = frame
        self.inner = inner
        self.way = inner.way

    def forward(
        self, query_x: Float[Tensor, "tasks query features"]
    ) -> Float[Tensor, "tasks query way"]:
        """Compute log-probabilities of each query."""
        log_p: Tensor = self.inner(self.frame(query_x))
        return log_p

    def analyze(self, query_x: Float[Tensor, "tasks query features"]) -> QueryAnalysis:
        """See `Classifier.analyze`."""
        return self.inner.analyze(self.frame(query_x))

    @property
    def support_embedding(self) -> Float[Tensor, "tasks keys features"] | None:
        """See `Classifier.support_embedding`."""
        return self.inner.support_embedding


class Frame(nn.Module):
    """Coordinate system of a task; queries have no influence on it.

    Args:
        mean: Mean of each feature over the support.
        scale: Divisor of each feature.
        basis: Axes as columns; one fewer than there are coordinates.
    """

    mean: Tensor
    scale: Tensor
    basis: Tensor

    def __init__(
        self,
        mean: Float[Tensor, "tasks features"],
        scale: Float[Tensor, "tasks features"],
        basis: Float[Tensor, "tasks features axes"],
    ) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.register_buffer("basis", basis)

    @classmethod
    def from_support(cls, support_x: Float[Tensor, "tasks support features"], length: int) -> Frame:
        """Compute the frame of a support set; ``length`` counts the axes and the constant."""
        n_axes = length - 1
        tasks, _, features = support_x.shape
        mean = support_x.mean(1)
        spread = support_x.std(1, correction=0)
        # Features that are constant over the support carry no information about the classes.
        varies = spread > MIN_RATIO * mean.abs()
        size = (spread.square() * varies).sum(1) / varies.sum(1).clamp_min(1)
        scale = torch.where(varies, size.sqrt()[:, None], torch.inf)
        if features <= n_axes:
            basis = torch.eye(features, n_axes).to(support_x).expand(tasks, -1, -1)
            return cls(mean, scale, basis.contiguous())
        _, sizes, axes = torch.linalg.svd((support_x - mean[:, None]) / scale[:, None], False)
        axes = torch.where((sizes > MIN_RATIO * sizes[:, :1])[..., None], axes, 0)[:, :n_axes]
        # An axis may point either way: choose the one in which its largest component is positive.
        largest = axes.gather(2, axes.abs().argmax(2, keepdim=True))
        axes = axes * torch.where(largest < 0, -1, 1)
        return cls(mean, scale, nn.functional.pad(axes.mT, (0, n_axes - axes.shape[1])))

    def forward(
        self, x: Float[Tensor, "tasks samples features"]
    ) -> Float[Tensor, "tasks samples length"]:
        """Compute the coordinates of vectors in the frame."""
        coordinates: Tensor = ((x - self.mean[:, None]) / self.scale[:, None]) @ self.basis
        return nn.functional.pad(coordinates, (0, 1), value=1.0)
