"""Statistics of maps of several layers against plain NumPy, channel by channel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from lgmnet.nn.layer_statistics import (
    GRID_LAYER,
    LAYER_STATISTICS,
    LAYERS,
    MOMENTS,
    N_LAYER_STATISTICS,
    compute_layer_statistics,
    compute_map_moments,
)
from lgmnet.nn.pretrained import load_backbone
from tests.numerics.reference import Array
from tests.support.random import noise


def describe(channel: Array) -> dict[str, float]:
    """Compute the statistics of one channel position by position."""
    height, width = channel.shape
    ys, xs = np.linspace(-1, 1, height), np.linspace(-1, 1, width)
    mean_y2, mean_x2 = sum(y * y for y in ys) / height, sum(x * x for x in xs) / width
    sums = dict.fromkeys(MOMENTS, 0.0)
    for y, row in zip(ys, channel, strict=True):
        for x, value in zip(xs, row, strict=True):
            sums["mean"] += value
            sums["deviation"] += (value - channel.mean()) ** 2
            sums["first y"] += value * y
            sums["first x"] += value * x
            sums["second y"] += value * (y * y - mean_y2)
            sums["second x"] += value * (x * x - mean_x2)
    means = {name: total / channel.size for name, total in sums.items()}
    return means | {"deviation": (means["deviation"] + 1e-6) ** 0.5}


def make_maps(side: int = 5) -> list[Tensor]:
    """Make maps of two pictures with few positions; that of the grid is as large as it must be."""
    sides = [14 if layer == GRID_LAYER else side for layer, _ in LAYERS]
    shapes = zip(LAYERS, sides, strict=True)
    maps = [noise(2, channels, n, n, seed=n + channels).float() for (_, channels), n in shapes]
    return [m.to(memory_format=torch.channels_last) for m in maps]


@pytest.mark.parametrize("shift", [0.0, 20.0], ids=["centred", "far from zero"])
def test_moments_are_sums_over_positions(shift: float) -> None:
    maps = noise(2, 3, 4, 6).float() + shift
    computed = compute_map_moments(maps)
    for picture, moments in zip(maps.double().numpy(), computed, strict=True):
        for i, channel in enumerate(picture):
            expected = [*describe(channel).values()]
            np.testing.assert_allclose(moments[:, i].numpy(), expected, rtol=1e-3, atol=1e-5)


def test_each_group_of_columns_holds_its_statistic() -> None:
    maps = make_maps()
    computed = compute_layer_statistics(maps)
    assert computed.shape == (2, N_LAYER_STATISTICS) == (2, 7184)
    by_layer = dict(zip([layer for layer, _ in LAYERS], maps, strict=True))
    first = 0
    for group in LAYER_STATISTICS:
        assert group.start == first
        first = group.stop
        columns = computed[1, group.columns].numpy()
        picture = by_layer[group.layer][1].double().numpy()
        if group.statistic == "grid":
            cells = [
                channel[row : row + 4, column : column + 4].mean()
                for channel in picture
                for row in (1, 5, 9)
                for column in (1, 5, 9)
            ]
            np.testing.assert_allclose(columns, cells, atol=1e-5)
        else:
            expected = [describe(channel)[group.statistic] for channel in picture[::7]]
            np.testing.assert_allclose(columns[::7], expected, atol=1e-5)
    assert first == N_LAYER_STATISTICS
    assert [g.statistic for g in LAYER_STATISTICS if g.layer == "head"] == ["mean"]


def test_statistics_of_maps_in_bf16_are_computed_in_32_bits() -> None:
    maps = [m.bfloat16() for m in make_maps()]
    expected = compute_layer_statistics([m.float() for m in maps])
    with torch.autocast("cpu", torch.bfloat16):
        computed = compute_layer_statistics(maps)
    assert computed.dtype == torch.float32
    assert torch.equal(computed, expected)


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    small = torch.rand(3, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    return (torch.nn.functional.interpolate(small, 224, mode="bicubic") * 255).clamp(0, 255).byte()


@pytest.mark.slow
def test_the_backbone_describes_the_maps_of_the_network(pictures: Tensor) -> None:
    plain, layers = (load_backbone(f"efficientnet-lite0{end}") for end in ("", "-layers"))
    assert (layers.length, layers.side) == (N_LAYER_STATISTICS, plain.side)
    maps: dict[str, Tensor] = {}
    blocks = plain.network.get_submodule("_blocks").children()
    names = {block: f"block {i}" for i, block in enumerate(blocks)}

    def keep_map(module: nn.Module, inputs: object, output: Tensor) -> None:
        if module in names:
            maps[names[module]] = output

    with torch.inference_mode():
        handle = register_module_forward_hook(keep_map)
        features = plain(pictures)
        handle.remove()
        statistics = layers(pictures)
    assert torch.equal(statistics[:, LAYER_STATISTICS[-1].columns], features)
    for layer, channels in LAYERS[1:-1]:
        (group,) = (g for g in LAYER_STATISTICS if (g.layer, g.statistic) == (layer, "mean"))
        assert group.stop - group.start == channels
        torch.testing.assert_close(statistics[:, group.columns], maps[layer].mean((2, 3)))


@pytest.mark.slow
def test_bf16_and_half_precision_keep_the_statistics(pictures: Tensor) -> None:
    backbone = load_backbone("efficientnet-lite0-layers")
    with torch.inference_mode():
        exact = backbone(pictures)
        with torch.autocast("cpu", torch.bfloat16):
            fast = backbone(pictures)
    assert backbone.stored_dtype == torch.float16
    for group in LAYER_STATISTICS:
        a, b = exact[:, group.columns], fast[:, group.columns]
        assert (torch.cosine_similarity(a, b) > 0.98).all(), group
        torch.testing.assert_close(a.half().float(), a, rtol=1e-3, atol=1e-6)
