"""Factors of photos: each value changes the picture as its name says, and nothing else."""

from __future__ import annotations

import io
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from lgmnet.data.synthetic.photo_factors import (
    BLUR_DEVIATIONS,
    BRIGHTNESSES,
    CASTS,
    FRAME_WIDTH,
    FRAMES,
    GROUND,
    NOISE_DEVIATIONS,
    PHOTO_SIDE,
    PLACED_SIZE,
    PLACES,
    QUALITIES,
    RENDERED_FACTORS,
    ZOOMS,
    render_photos,
)
from tests.support.random import seeded

NAMES = [factor.name for factor in RENDERED_FACTORS]


@pytest.fixture(scope="module")
def photos() -> Tensor:
    """Two photos of soft coloured patches and some fine grain, without pure black or white."""
    patches = torch.rand(2, 3, 9, 9, generator=seeded()) * 0.6 + 0.2
    smooth = F.interpolate(patches, [PHOTO_SIDE] * 2, mode="bilinear")
    grain = 0.1 * torch.randn(smooth.shape, generator=seeded(1))
    return ((smooth + grain).clamp(0.02, 0.98) * 255).round().to(torch.uint8)


def render(photos: Tensor, **values: int) -> Tensor:
    """Render each photo with these values of factors, from 0 to 1."""
    names = {name: values.get(name.replace("-", "_"), -1) for name in NAMES}
    row = torch.tensor([[*names.values()]]).expand(len(photos), -1)
    return render_photos(photos, RENDERED_FACTORS, row, seeded()).double() / 255


def test_a_photo_in_which_nothing_varies_stays_as_it_is(photos: Tensor) -> None:
    assert torch.equal((render(photos) * 255).round().to(torch.uint8), photos)
    unchanged = {"mirror": 0, "turn": 0, "zoom": 0, "blur": 0, "brightness": 2}
    unchanged |= {"colour_cast": 0, "frame": 0, "compression": 0, "noise": 0}
    assert torch.equal(render(photos, **unchanged), render(photos))


def test_small_photos_are_enlarged(photos: Tensor) -> None:
    small = F.avg_pool2d(photos.float(), 4).round().to(torch.uint8)
    large = render(small)
    assert large.shape[2:] == (PHOTO_SIDE, PHOTO_SIDE)
    torch.testing.assert_close(F.avg_pool2d(large, 4), small.double() / 255, atol=0.15, rtol=0)


def test_mirror_and_turns_move_whole_pixels(photos: Tensor) -> None:
    assert_close = partial(torch.testing.assert_close, atol=1.1 / 255, rtol=0)
    assert_close(render(photos, mirror=1), render(photos).flip(3))
    for quarter in (1, 2, 3):
        turned = render(photos).rot90(-quarter, (2, 3))
        assert_close(render(photos, turn=quarter), turned)
        both = render(photos).flip(3).rot90(-quarter, (2, 3))
        assert_close(render(photos, turn=quarter, mirror=1), both)


def test_zoom_shows_the_middle(photos: Tensor) -> None:
    for value, zoom in enumerate(ZOOMS):
        zoomed = F.interpolate(render(photos, zoom=value), scale_factor=1 / zoom, mode="area")
        start = (PHOTO_SIDE - zoomed.shape[2]) // 2
        middle = render(photos)[:, :, start:, start:][:, :, : zoomed.shape[2], : zoomed.shape[3]]
        assert F.mse_loss(F.avg_pool2d(zoomed, 6), F.avg_pool2d(middle, 6)) < 0.002


def test_place_moves_a_smaller_photo_over_a_gray_ground(photos: Tensor) -> None:
    at = (torch.arange(PHOTO_SIDE) + 0.5) / PHOTO_SIDE - 0.5
    dark = photos // 4
    for value, (right, down) in enumerate(PLACES):
        picture = render(dark, place=value)
        is_ground = (picture - GROUND).abs().amax(1) < 0.01
        is_photo = (~is_ground).double()
        assert is_photo.mean().sqrt().item() == pytest.approx(PLACED_SIZE, abs=0.02)
        x = (is_photo.sum(1) @ at.double()) / is_photo.sum((1, 2))
        y = (is_photo.sum(2) @ at.double()) / is_photo.sum((1, 2))
        assert x.tolist() == pytest.approx([right] * 2, abs=0.02)
        assert y.tolist() == pytest.approx([down] * 2, abs=0.02)


def test_blur_takes_detail_away_and_keeps_the_mean(photos: Tensor) -> None:
    blurred = [render(photos, blur=value) for value in range(len(BLUR_DEVIATIONS))]
    detail = [(p[..., 1:] - p[..., :-1]).abs().mean().item() for p in blurred]
    assert all(b < 0.8 * a for a, b in pairwise(detail))
    assert all(abs(p.mean() - blurred[0].mean()) < 0.01 for p in blurred)
    # A line keeps the variance of the Gaussian that it is blurred with.
    line = torch.zeros(1, 3, PHOTO_SIDE, PHOTO_SIDE, dtype=torch.uint8)
    line[..., 64] = 255
    at = torch.arange(PHOTO_SIDE).double() - 64
    for value, deviation in enumerate(BLUR_DEVIATIONS[1:3], 1):
        profile = render(line, blur=value)[0, 0, 64]
        spread = ((profile * at**2).sum() / profile.sum()).sqrt().item()
        assert spread == pytest.approx(deviation, rel=0.1)


def test_brightness_mixes_with_black_or_white(photos: Tensor) -> None:
    means = [render(photos, brightness=v).mean().item() for v in range(len(BRIGHTNESSES))]
    assert means == sorted(means)
    for mean, amount in zip(means, BRIGHTNESSES, strict=True):
        expected = means[2] * (1 + amount) if amount < 0 else 1 - (1 - means[2]) * (1 - amount)
        assert mean == pytest.approx(expected, abs=0.005)


def test_a_colour_cast_scales_the_colours(photos: Tensor) -> None:
    dark = photos // 2  # so that no colour is cut off
    for value, cast in enumerate(CASTS):
        ratio = render(dark, colour_cast=value).mean((0, 2, 3)) / render(dark).mean((0, 2, 3))
        assert ratio.tolist() == pytest.approx(cast, abs=0.02)


def test_a_frame_covers_the_border_alone(photos: Tensor) -> None:
    for value, colour in enumerate(FRAMES[1:], 1):
        framed = render(photos, frame=value)
        inner = (slice(None), slice(None), *[slice(FRAME_WIDTH, -FRAME_WIDTH)] * 2)
        assert torch.equal(framed[inner], render(photos)[inner])
        edge = torch.cat([framed[:, :, :FRAME_WIDTH].flatten(2), framed[..., -1]], 2)
        torch.testing.assert_close(
            edge, torch.tensor(colour).double()[:, None].expand_as(edge), atol=0.003, rtol=0
        )


def test_compression_is_that_of_a_jpeg_file(photos: Tensor) -> None:
    for value, quality in enumerate(QUALITIES[1:], 1):
        for photo, compressed in zip(photos, render(photos, compression=value), strict=True):
            file = io.BytesIO()
            Image.fromarray(photo.movedim(0, 2).numpy()).save(file, "JPEG", quality=quality)
            expected = torch.from_numpy(np.array(Image.open(file))).movedim(2, 0)
            assert torch.equal((compressed * 255).round().to(torch.uint8), expected)


def test_noise_has_its_deviation(photos: Tensor) -> None:
    gray = torch.full_like(photos, 128)
    for value, deviation in enumerate(NOISE_DEVIATIONS):
        found = (render(gray, noise=value) - 128 / 255).std().item()
        assert found == pytest.approx(deviation, rel=0.1, abs=0.003)


def test_photos_of_a_batch_are_rendered_independently(photos: Tensor) -> None:
    """Every photo gets its own values, whatever those of its neighbours are."""
    generator = seeded(3)
    limits = torch.tensor([len(factor.values) for factor in RENDERED_FACTORS])
    values = (torch.rand(8, len(NAMES), generator=generator) * limits).long()
    values[:, NAMES.index("noise")] = -1
    batch = photos[torch.arange(8) % 2]
    together = render_photos(batch, RENDERED_FACTORS, values, seeded())
    for i in range(8):
        row = slice(i, i + 1)
        alone = render_photos(batch[row], RENDERED_FACTORS, values[row], seeded())
        assert (alone.int() - together[row].int()).abs().max() <= 1
