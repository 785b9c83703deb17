"""LGM-Net for vectors of any length: each task is brought into a frame of its own first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lgmnet.input_spec import InputSpec
from lgmnet.methods.base import Classifier, Method, QueryAnalysis
from lgmnet.methods.lgm_net import LGMNet, LGMNetConfig
from lgmnet.nn.embedding import need

FRAME = ("mean", "scale", "basis")
LEAST = 1e-6
"""Singular values below this part of the largest are taken for zero."""


@dataclass(frozen=True)
class LGMNetVectorsConfig(LGMNetConfig):
    """As `LGMNetConfig`, for vectors.

    Raises:
        ConfigError: naming the field that cannot be.
    """

    feature_shape: tuple[int, ...] = (64,)
    """Length to which vectors are brought, whatever theirs is."""
    embedding_widths: tuple[int, ...] = ()
    """Units of each layer of the shared embedding; none, if TargetNet is to see vectors as they are
    in their frame."""
    target: str = "linear"  # type: ignore[assignment]
    """Which TargetNet; of vectors, the linear one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        need(self, "target", self.target == "linear", "'linear'")


class LGMNetVectors(Method):
    """LGM-Net (see `LGMNet`) behind a frame that follows from the support set.

    Every feature has the support's mean taken off, and all are divided by the support's root mean
    square: features in different units are the caller's to standardise. Vectors shorter than
    ``feature_shape`` are filled up with zeros; others are told by their coordinates along the
    support's principal axes, which keeps every inner product with a support sample, as long as
    there are no more of them than axes. A last coordinate is always 1, so that the cosine between
    two vectors knows how long they are.

    So one set of weights serves vectors of any length. Ours; no paper's.
    """

    config_type = LGMNetVectorsConfig
    config: LGMNetVectorsConfig

    def __init__(self, config: LGMNetVectorsConfig) -> None:
        super().__init__(config)
        self.net = LGMNet(config)

    @classmethod
    def input_spec(cls, config: LGMNetVectorsConfig) -> InputSpec:
        """Describe the samples: vectors of any length (see `Method.input_spec`)."""
        return InputSpec(tuple(config.feature_shape), any_length=True)

    def _adapt(
        self, support_x: Tensor, support_y: Tensor, way: int, generator: torch.Generator | None
    ) -> FramedClassifier:
        frame = Frame.of(support_x, self.config.feature_shape[0])
        inner = self.net.adapt(frame(support_x), support_y, way, generator=generator)
        return FramedClassifier(frame, inner)

    @classmethod
    def restore(
        cls, config: LGMNetVectorsConfig, way: int, state: Mapping[str, Tensor]
    ) -> FramedClassifier:
        """The classifier that `adapt` once made (see `Method.restore`)."""
        inner = {
            name.removeprefix("inner."): tensor
            for name, tensor in state.items()
            if name.startswith("inner.")
        }
        frame = Frame(*(state[f"frame.{name}"] for name in FRAME))
        return FramedClassifier(frame, LGMNet.restore(config, way, inner)).eval()


class FramedClassifier(Classifier):
    """A classifier whose queries are brought into its task's frame.

    Args:
        frame: Of each task.
        inner: The classifier of what is in it.
    """

    def __init__(self, frame: Frame, inner: Classifier) -> None:
        super().__init__()
        self.frame = frame
        self.inner = inner
        self.way = inner.way

    def forward(
        self, query_x: Float[Tensor, "tasks query features"]
    ) -> Float[Tensor, "tasks query way"]:
        """Log-probabilities of each query."""
        answer: Tensor = self.inner(self.frame(query_x))
        return answer

    def analyze(self, query_x: Float[Tensor, "tasks query features"]) -> QueryAnalysis:
        """See `Classifier.analyze`."""
        return self.inner.analyze(self.frame(query_x))

    @property
    def support_embedding(self) -> Float[Tensor, "tasks keys features"] | None:
        """See `Classifier.support_embedding`."""
        return self.inner.support_embedding


class Frame(nn.Module):
    """Where the vectors of a task are seen from; no query has a part in it.

    Args:
        mean: Of each feature over the support.
        scale: What each feature is divided by.
        basis: Columns are the axes along which vectors are told, one fewer than coordinates.
    """

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

    mean: Tensor
    scale: Tensor
    basis: Tensor

    @classmethod
    def of(cls, support_x: Float[Tensor, "tasks support features"], length: int) -> Frame:
        """The frame of a support set, of so many axes and the constant."""
        axes_wanted = length - 1
        tasks, _, features = support_x.shape
        mean = support_x.mean(1)
        spread = support_x.std(1, correction=0)
        # What is alike in the whole support says nothing, whatever it is in a query.
        varies = spread > LEAST * mean.abs()
        size = (spread.square() * varies).sum(1) / varies.sum(1).clamp_min(1)
        scale = torch.where(varies, size.sqrt()[:, None], torch.inf)
        if features <= axes_wanted:
            basis = torch.eye(features, axes_wanted).to(support_x).expand(tasks, -1, -1)
            return cls(mean, scale, basis.contiguous())
        _, sizes, axes = torch.linalg.svd((support_x - mean[:, None]) / scale[:, None], False)
        axes = torch.where((sizes > LEAST * sizes[:, :1])[..., None], axes, 0)[:, :axes_wanted]
        # An axis may point either way: the way in which its largest component is positive.
        largest = axes.gather(2, axes.abs().argmax(2, keepdim=True))
        axes = axes * torch.where(largest < 0, -1, 1)
        return cls(mean, scale, nn.functional.pad(axes.mT, (0, axes_wanted - axes.shape[1])))

    def forward(
        self, x: Float[Tensor, "tasks samples features"]
    ) -> Float[Tensor, "tasks samples length"]:
        """Vectors as they are seen in the frame."""
        seen: Tensor = ((x - self.mean[:, None]) / self.scale[:, None]) @ self.basis
        return nn.functional.pad(seen, (0, 1), value=1.0)
