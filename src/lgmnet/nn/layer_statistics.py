"""Statistics of the maps of several layers of a network: how much, how varied and where."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from lgmnet.devices import without_autocast

LAYERS = (
    ("stem", 32),
    ("block 0", 16),
    ("block 2", 24),
    ("block 4", 40),
    ("block 7", 80),
    ("block 10", 112),
    ("block 14", 192),
    ("block 15", 320),
    ("head", 1280),
)
"""Layers of EfficientNet-Lite0, each with its number of channels."""
GRID_LAYER = "block 10"
"""Layer whose map is kept as a coarse grid, too."""
GRID_SIDE = 3
GRID_CELL = 4
"""Side of a cell of the grid in positions of the map, whose middle the grid covers."""
MOMENTS = ("mean", "deviation", "first y", "first x", "second y", "second x")
"""Statistics of each channel, in the order of `compute_map_moments`."""


@dataclass(frozen=True)
class StatisticGroup:
    """Columns of the vector that hold one statistic of all channels of one layer."""

    layer: str
    statistic: str
    start: int
    stop: int

    @property
    def columns(self) -> slice:
        """Slice of the columns."""
        return slice(self.start, self.stop)


def list_groups() -> Iterator[StatisticGroup]:
    """List the groups of columns in the order of `compute_layer_statistics`."""
    start = 0
    for layer, channels in LAYERS:
        widths = dict.fromkeys(MOMENTS if layer != "head" else MOMENTS[:1], channels)
        if layer == GRID_LAYER:
            widths["grid"] = channels * GRID_SIDE**2
        for statistic, width in widths.items():
            yield StatisticGroup(layer, statistic, start, start + width)
            start += width


LAYER_STATISTICS = tuple(list_groups())
"""All groups of columns; together they are the whole vector, in order."""
N_LAYER_STATISTICS = LAYER_STATISTICS[-1].stop
"""Length of the vector."""


def compute_layer_statistics(
    maps: Sequence[Float[Tensor, "images _ _ _"]],
) -> Float[Tensor, "images statistics"]:
    """Compute the statistics of the maps of all `LAYERS`, in 32 bits whatever the maps have.

    The statistics are those of `compute_map_moments`, of the head the mean alone, and of the layer
    `GRID_LAYER` also the means of a grid of 3x3 cells.

    Args:
        maps: Map of each of `LAYERS`, [images, channels, height, width].

    Returns:
        Vector with the columns of `LAYER_STATISTICS`.
    """
    parts = []
    with without_autocast(maps[0].device):
        for (layer, _), layer_map in zip(LAYERS, maps, strict=True):
            values = layer_map.float()
            if layer == "head":
                parts.append(values.mean((2, 3)))
                continue
            parts.append(compute_map_moments(values).flatten(1))
            if layer == GRID_LAYER:
                parts.append(compute_grid(values).flatten(1))
        return torch.cat(parts, 1)


def compute_map_moments(
    values: Float[Tensor, "images channels height width"],
) -> Float[Tensor, "images 6 channels"]:
    r"""Compute mean, deviation, and where in the picture each channel is strong.

    With coordinates y and x from -1 to 1 and means over the picture, they are::

        mean(v), sqrt(mean((v - mean(v))^2) + 1e-6), mean(v y), mean(v x),
        mean(v (y^2 - mean(y^2))), mean(v (x^2 - mean(x^2)))
    """
    # Networks run on channels-last maps, of which this is a view.
    flat = values.permute(0, 2, 3, 1).flatten(1, 2)
    # One product with five weight maps reads the map once; a mean along each axis reads it twice.
    means = moment_weights(*values.shape[2:]).to(values.device) @ flat
    mean_square = torch.linalg.vector_norm(flat, dim=1).square() / flat.shape[1]
    variance = (mean_square - means[:, 0].square()).clamp_min(0)
    return torch.cat([means[:, :1], (variance + 1e-6).sqrt()[:, None], means[:, 1:]], 1)


def moment_weights(height: int, width: int) -> Float[Tensor, "5 positions"]:
    """Compute the weight of each position of a map in its mean and in its four moments."""
    y = torch.linspace(-1, 1, height)[:, None].expand(height, width).flatten()
    x = torch.linspace(-1, 1, width).repeat(height)
    squares = [axis.square() - axis.square().mean() for axis in (y, x)]
    return torch.stack([torch.ones_like(y), y, x, *squares]) / (height * width)


def compute_grid(
    values: Float[Tensor, "images channels height width"],
) -> Float[Tensor, "images channels 3 3"]:
    """Compute the means of the 3x3 cells, of 4x4 positions each, in the middle of a map."""
    side = GRID_SIDE * GRID_CELL
    top, left = (values.shape[2] - side) // 2, (values.shape[3] - side) // 2
    return F.avg_pool2d(values[:, :, top : top + side, left : left + side], GRID_CELL)
