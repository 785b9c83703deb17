"""Statistics of the maps of all layers of an embedding, as one vector."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.devices import without_autocast
from lgmnet.nn.layers import ConvEmbedding
from lgmnet.nn.norms import NormKind, build_norm

MIN_GRID_SIDE = 7
"""Smallest side in pixels of a map whose values on a coarse grid are kept."""
MIN_SMOOTHED_SIDE = 14
"""Smallest side in pixels of a map that is smoothed before its moments are computed."""
GRID = 2
"""Points on each axis of the coarse grid."""
GROUP_RATE = 3.0
"""Factor of the log gains of groups, so that they are learned faster."""
MIN_VARIANCE = 1e-5
"""Added to variances, so that a map in which nothing varies has its centre in the middle."""


class StatisticsEmbedding(nn.Module):
    """Embedding of images by statistics of the image and of the maps of all layers.

    The last layer of a network keeps what the network was trained to tell apart. Earlier layers
    still know the rest, such as how bright, how sharp or where things are. So the vector has, for
    each channel of the image and of every layer, in groups of one kind each:

    - the standard deviation over the map, the mean and the maximum;
    - the centre of the energy along y and x;
    - the second moments about it: along y, along x and across, so how wide and how slanted what is
      seen lies;
    - on maps of at least 7 pixels, the values at 2 by 2 points;

    and the last map as it is. The energy is the squared deviation from the mean over the map, so
    that neither strength nor sign matters; maps of at least 14 pixels are smoothed before, against
    noise. All values are normalized over the tasks of a batch. A group of n
    values is divided by the root of n, so that all groups count alike at first, and multiplied by a
    learned gain.

    Args:
        layers: Convolutional layers.
        shapes: Channels, height and width of the image and of the maps of all layers.
        norm: Normalization of the values.
    """

    group_of_value: Tensor
    roots: Tensor

    def __init__(
        self, layers: ConvEmbedding, shapes: Sequence[tuple[int, int, int]], norm: NormKind
    ) -> None:
        super().__init__()
        self.layers = layers
        self.statistics = nn.ModuleList(MapStatistics(*shape[1:]) for shape in shapes)
        sizes = count_statistics(shapes)
        self.norm = build_norm(sum(sizes), norm)
        self.group_log_gains = nn.Parameter(torch.zeros(len(sizes)))
        index = torch.tensor([i for i, n in enumerate(sizes) for _ in range(n)])
        self.register_buffer("group_of_value", index, persistent=False)
        self.register_buffer(
            "roots", torch.tensor([n**-0.5 for n in sizes for _ in range(n)]), persistent=False
        )

    def forward(
        self, images: Float[Tensor, "samples channels height width"]
    ) -> Float[Tensor, "samples values"]:
        """Compute the statistics of a batch of images."""
        parts = self.layers.split_images(images)
        values = torch.cat([self.compute_statistics(part) for part in parts])
        gains = self.roots * (GROUP_RATE * self.group_log_gains).exp()[self.group_of_value]
        normalized: Tensor = self.norm(values)
        return normalized * gains

    def compute_statistics(self, images: Tensor) -> Tensor:
        """Compute the statistics before normalization."""
        groups: list[Tensor] = []
        last = images
        maps = self.layers.iterate_maps(images)
        for statistics, last in zip(self.statistics, maps, strict=True):
            groups += statistics(last)
        return torch.cat([*groups, last.flatten(1)], 1)


class MapStatistics(nn.Module):
    """Statistics of each channel over a map, one group for each kind (see `StatisticsEmbedding`).

    Args:
        height: Height of the maps in pixels.
        width: Width of the maps in pixels.
    """

    moments: Tensor
    means: Tensor
    n_neighbours: Tensor

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        y, x = (torch.linspace(-1, 1, n) if n > 1 else torch.zeros(1) for n in (height, width))
        y, x = y[:, None].expand(height, width), x.expand(height, width)
        one, positions = torch.ones(height, width), height * width
        moments = torch.stack([one, y, x, y * y, x * x, y * x]).flatten(1) / positions
        self.register_buffer("moments", moments, persistent=False)
        means = moments[:1]
        if has_grid(height, width):
            points = torch.eye(GRID**2).view(-1, 1, GRID, GRID)
            grid = F.interpolate(points, (height, width), mode="bilinear", align_corners=True)
            means = torch.cat([means, grid.flatten(1) * GRID**2 / positions])
        self.register_buffer("means", means, persistent=False)
        self.is_smoothed = min(height, width) >= MIN_SMOOTHED_SIDE
        n_neighbours = F.conv2d(one[None], torch.ones(1, 1, 3, 3), padding=1)
        self.register_buffer("n_neighbours", n_neighbours, persistent=False)

    def forward(
        self, maps: Float[Tensor, "samples channels height width"]
    ) -> list[Float[Tensor, "samples values"]]:
        """Compute the groups of statistics, in 32 bits or more."""
        with without_autocast(maps.device):
            return self.compute(maps.to(torch.promote_types(maps.dtype, torch.float32)))

    def compute(self, maps: Tensor) -> list[Tensor]:
        """Compute the groups in the precision of the maps."""
        values, moments = flatten_positions(maps), self.moments.to(maps)
        means = self.means.to(maps) @ values
        # The maximum with its index: the gradient of `amax` takes three times as long.
        maximum = values.max(1).values
        energy = moments @ (values - means[:, :1]).square()
        deviation = (energy[:, :1] + MIN_VARIANCE).sqrt()
        if self.is_smoothed:
            smooth = flatten_positions(self.smooth(maps))
            energy = moments @ (smooth - smooth.mean(1, keepdim=True)).square()
        y, x, yy, xx, yx = (energy[:, 1:] / (energy[:, :1] + MIN_VARIANCE)).split(1, 1)
        second = torch.cat([yy - y * y, xx - x * x, yx - y * x], 1)
        groups = [deviation, means[:, :1], maximum, torch.cat([y, x], 1), second]
        if means.shape[1] > 1:
            groups.append(means[:, 1:])
        return [group.flatten(1) for group in groups]

    def smooth(self, maps: Tensor) -> Tensor:
        """Average over 3 by 3 pixels; an average pooling would take several times as long."""
        ones = maps.new_ones(maps.shape[1], 1, 3, 3)
        return F.conv2d(maps, ones, padding=1, groups=len(ones)) / self.n_neighbours.to(maps)


def flatten_positions(
    maps: Float[Tensor, "samples channels height width"],
) -> Float[Tensor, "samples positions channels"]:
    """Reshape maps to a row for each position; maps in channels-last memory are not copied."""
    return maps.permute(0, 2, 3, 1).flatten(1, 2)


def has_grid(height: int, width: int) -> bool:
    """Return True if maps are so large that their values on a coarse grid are kept."""
    return min(height, width) >= MIN_GRID_SIDE


def count_statistics(shapes: Sequence[tuple[int, int, int]]) -> tuple[int, ...]:
    """Count the values of each group, for maps of these channels, heights and widths."""
    per_channel = [1, 1, 1, 2, 3]
    sizes = [
        channels * n
        for channels, height, width in shapes
        for n in [*per_channel, *([GRID**2] if has_grid(height, width) else [])]
    ]
    channels, height, width = shapes[-1]
    return (*sizes, channels * height * width)
