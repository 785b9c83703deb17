"""Embedding of the statistics of a frozen network's layers: axes, and recognised changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn

from lgmnet.config import require
from lgmnet.devices import without_autocast
from lgmnet.nn.axes import AxisGroup, GroupedAxes
from lgmnet.nn.factor_probe import FactorProbe, FactorProbeConfig, ProbedFactor
from lgmnet.nn.layer_statistics import LAYER_STATISTICS

MAX_AXES = {
    "mean": 128,
    "deviation": 128,
    "first y": 32,
    "first x": 32,
    "second y": 32,
    "second x": 32,
    "grid": 128,
}
"""Largest number of axes of a group, by its statistic."""
HEAD_AXES, WHITENED_AXES = 256, 256
"""Number of axes of the means of the last layer, as they are and whitened."""
BATCH_SIZE = 4096


def layer_groups() -> tuple[AxisGroup, ...]:
    """Return the groups of `LAYER_STATISTICS`: how much, how varied and where, layer by layer.

    The means of the last layer are there twice: as they are, and whitened by the variance within
    classes, as ordinary classes want them.
    """
    groups = []
    for part in LAYER_STATISTICS:
        name, width = f"{part.layer}, {part.statistic}", part.stop - part.start
        if part.layer == "head":
            groups += [
                AxisGroup(name, part.start, part.stop, HEAD_AXES, is_rooted=True),
                AxisGroup(
                    f"{name}, whitened", part.start, part.stop, WHITENED_AXES, "classes", True
                ),
            ]
        else:
            axes = min(width, MAX_AXES[part.statistic])
            groups.append(AxisGroup(name, part.start, part.stop, axes))
    return tuple(groups)


PHOTO_FACTORS = (
    ProbedFactor("turn", 4),
    ProbedFactor("blur", 4),
    ProbedFactor("brightness", 5),
    ProbedFactor("noise", 4),
    ProbedFactor("place", 5),
    ProbedFactor("compression", 4),
)
"""Factors of photos that are recognised; a mirrored photo looks like any other to the backbone."""


@dataclass(frozen=True)
class AxesConfig:
    """Compression of features, fitted once before meta-training.

    Raises:
        ConfigError: if a field has a value that is not allowed.
    """

    groups: tuple[AxisGroup, ...] = layer_groups()
    """Groups of features, each of which is compressed by itself."""
    probe: FactorProbeConfig | None = FactorProbeConfig(PHOTO_FACTORS)
    """Network that recognises changes of photos from the axes; None for none."""
    classes: str = "class"
    """Factor whose values are ordinary classes, for the whitening within classes."""
    dropout: float = 0.0
    """Part of the training tasks that do without the recognised changes, so that changes which
    nothing recognises are met as well."""

    def __post_init__(self) -> None:
        require(self, "groups", len(self.groups) > 0, "at least one group")
        require(self, "dropout", 0 <= self.dropout < 1, "0 to below 1")

    @property
    def group_sizes(self) -> tuple[int, ...]:
        """Number of axes of each group; the values of each recognised factor are a group."""
        factors = self.probe.factors if self.probe else ()
        return (*(group.axes for group in self.groups), *(factor.values for factor in factors))

    @property
    def n_axes(self) -> int:
        """Number of axes without the values of recognised factors, which follow them."""
        return sum(group.axes for group in self.groups)


def drop_recognised(
    samples: Sequence[Float[Tensor, "tasks _ axes"]], config: AxesConfig, generator: torch.Generator
) -> list[Float[Tensor, "tasks _ axes"]]:
    """Set the values of the recognised factors to 0 in some of the tasks (`AxesConfig.dropout`).

    Args:
        samples: Embedded support, and embedded queries, of the same tasks.
        config: Config of the axes.
        generator: Source of the choice of tasks.
    """
    tasks, _, n_axes = samples[0].shape
    drawn = torch.rand(tasks, 1, 1, generator=generator, device=generator.device)
    is_kept = (drawn >= config.dropout).cpu() | (torch.arange(n_axes) < config.n_axes)
    return [part * is_kept.to(part) for part in samples]


class LayerAxes(nn.Module):
    """Compression of features to axes, and probabilities of changes that are seen in the axes.

    It is fitted by `fit` before meta-training and stays as it is.

    Args:
        config: Groups of features and recognised changes.
    """

    def __init__(self, config: AxesConfig) -> None:
        super().__init__()
        self.config = config
        self.axes = GroupedAxes(config.groups)
        self.probe = FactorProbe(self.axes.n_axes, config.probe) if config.probe else None

    def forward(self, x: Float[Tensor, "samples features"]) -> Float[Tensor, "samples axes"]:
        """Compress features, and recognise changes, in 32 bits or more."""
        with without_autocast(x.device):
            compressed: Tensor = self.axes(x)
            if self.probe is None:
                return compressed
            return torch.cat([compressed, self.probe(compressed)], 1)

    @property
    def natural(self) -> Float[Tensor, " axes"]:
        """Factor of each axis that gives it its natural scale; 0 for what has none."""
        known = self.axes.get_buffer("natural")
        return torch.cat([known, known.new_zeros(sum(self.config.group_sizes) - len(known))])

    def fit(
        self,
        samples: Num[Tensor, "samples features"],
        names: tuple[str, ...],
        values: Int[Tensor, "samples factors"],
        images: Int[Tensor, " samples"],
    ) -> Float[Tensor, "samples axes"]:
        """Fit the compression, then the network that recognises changes.

        Args:
            samples: Features of the training samples.
            names: Names of the factors.
            values: Value of each factor in each sample; negative where it is unknown.
            images: Number of the underlying image of each sample.

        Returns:
            Embedding of the samples. The changes are recognised by networks that have not seen the
            sample's image (see `FactorProbe.fit`).
        """
        probed = self.probe.config.factors if self.probe else ()
        changes = values[:, [names.index(factor.name) for factor in probed]]
        is_plain = (changes < 0).all(1)
        self.axes.fit(samples, values[:, names.index(self.config.classes)], is_plain)
        with torch.no_grad():
            compressed = torch.cat([self.axes(batch) for batch in samples.split(BATCH_SIZE)])
        if self.probe is None:
            return compressed
        return torch.cat([compressed, self.probe.fit(compressed, changes, images)], 1)
