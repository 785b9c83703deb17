"""Jitter: each image on its own, blind to labels and neighbours, and no more than was asked for."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from lgmnet.data.augment import Jitter

NONE = Jitter(degrees=0.0, scale=0.0, shift=0.0, shear=0.0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blobs(tasks: int, samples: int, side: int = 28) -> Tensor:
    """The same drawing over and over: a long bar and a short one, soft-edged, off the middle."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    long = torch.exp(-(((x - 13.5) / 6) ** 4) - ((y - 13.5) / 1.5) ** 4)
    short = torch.exp(-(((x - 18) / 1.5) ** 4) - ((y - 10) / 3) ** 4)
    return torch.maximum(long, short).expand(tasks, samples, 1, side, side).contiguous()


def bars(n: int) -> Tensor:
    y, x = torch.meshgrid(torch.arange(28) - 13.5, torch.arange(28) - 13.5, indexing="ij")
    return torch.exp(-((x / 7) ** 4) - (y / 1.5) ** 4).expand(1, n, 1, 28, 28)


def moments(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of [1, samples, 1, 28, 28]: the middles [samples, 2], the slopes and the lengths of bars."""
    weight = images[0, :, 0] / images[0, :, 0].sum((1, 2), keepdim=True)
    along = torch.arange(28) - 13.5
    x, y = (weight.sum(1) * along).sum(1), (weight.sum(2) * along).sum(1)
    dx, dy = along - x[:, None], along - y[:, None]
    xx = (weight.sum(1) * dx**2).sum(1)
    yy = (weight.sum(2) * dy**2).sum(1)
    xy = torch.einsum("nyx,ny,nx->n", weight, dy, dx)
    return torch.stack([x, y], 1), 0.5 * torch.atan2(2 * xy, xx - yy), xx.sqrt()


def test_the_seed_decides_and_the_global_generator_is_left_alone():
    images, jitter = blobs(2, 3), Jitter(thicken=0.5)
    before = torch.get_rng_state()
    once, again, other = (jitter(images, seeded(seed)) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_no_neighbour_has_a_say():
    """An image's change depends on its place alone, so no other image, and no class, decides it."""
    images, jitter = blobs(2, 5), Jitter(thicken=0.5)
    others = torch.rand(images.shape, generator=seeded())
    others[1, 2] = images[1, 2]
    one, other = jitter(images, seeded()), jitter(others, seeded())
    torch.testing.assert_close(one[1, 2], other[1, 2])


def test_images_of_one_class_are_changed_in_different_ways():
    """One angle a class would tell the class: the leak in the paper's code."""
    changed = Jitter()(blobs(2, 8), seeded()).flatten(0, 1).flatten(1)
    apart = torch.cdist(changed, changed) + 9 * torch.eye(16)
    assert apart.min() > 0.1
    _, slopes, _ = moments(replace(NONE, degrees=30.0)(bars(60), seeded()))
    neighbours = torch.corrcoef(torch.stack([slopes[:-1], slopes[1:]]))[0, 1]
    assert abs(neighbours) < 0.3


def test_no_jitter_changes_next_to_nothing():
    images = blobs(2, 3)
    torch.testing.assert_close(NONE(images, seeded()), images, atol=1e-5, rtol=0)


def test_images_keep_their_shape_their_range_and_their_original():
    images = torch.rand(2, 3, 1, 20, 28, generator=seeded())
    original = images.clone()
    changed = Jitter(thicken=1.0)(images, seeded())
    assert changed.shape == images.shape
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert torch.equal(images, original)


def test_rotation_reaches_its_limit_both_ways_and_no_further():
    _, slopes, _ = moments(replace(NONE, degrees=30.0)(bars(200), seeded()))
    assert slopes.abs().max() < math.radians(31)
    assert slopes.max() > math.radians(27)
    assert slopes.min() < math.radians(-27)


def test_shift_reaches_its_limit_both_ways_and_no_further():
    among_others = replace(NONE, shift=0.1, scale=1e-9)
    middles, _, _ = moments(among_others(bars(200), seeded()))
    assert middles.abs().max() < 2.81
    assert (middles.amax(0) > 2.6).all()
    assert (middles.amin(0) < -2.6).all()


def test_scale_reaches_its_limit_both_ways_and_no_further():
    _, _, whole = moments(bars(1))
    _, _, lengths = moments(replace(NONE, scale=0.2)(bars(200), seeded()))
    ratio = lengths / whole
    assert 1 / 1.22 < ratio.min() < 1 / 1.15
    assert 1 / 0.85 < ratio.max() < 1 / 0.78


def test_thickening_only_adds_ink_and_to_as_many_as_asked():
    images = blobs(1, 400)
    thick = replace(NONE, thicken=0.25)(images, seeded()) - NONE(images, seeded())
    assert thick.min() > -1e-6
    changed = (thick.amax((-1, -2, -3)) > 1e-4).float().mean()
    assert 0.17 < changed < 0.33


def test_a_change_of_the_whole_task_is_the_same_for_all_its_images_and_no_others():
    images, whole = blobs(3, 4), Jitter(degrees=30.0, scale=0.3, shear=0.3, warp=0.03)
    changed = NONE(images, seeded(), whole)
    torch.testing.assert_close(changed, changed[:, :1].expand_as(changed), atol=1e-5, rtol=0)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (changed[one, 0] - changed[other, 0]).abs().max() > 0.1
    assert (changed[:, 0] - images[:, 0]).abs().amax((1, 2, 3)).min() > 0.1


def test_the_change_of_the_whole_task_comes_before_that_of_the_image():
    """Turned as a task and then as an image: the angles add up, and scales multiply."""
    turn, stretch = replace(NONE, degrees=20.0), replace(NONE, scale=0.2)
    _, each, _ = moments(turn(bars(50), seeded()))
    _, both, _ = moments(turn(bars(50), seeded(), turn))
    torch.testing.assert_close(both - each, (both - each)[:1].expand(50), atol=0.01, rtol=0)
    assert abs((both - each)[0]) > 0.02
    _, _, each = moments(stretch(bars(50), seeded()))
    _, _, both = moments(stretch(bars(50), seeded(), stretch))
    torch.testing.assert_close(both / each, (both / each)[:1].expand(50), atol=0.03, rtol=0)
    assert abs((both / each)[0] - 1) > 0.04


def test_a_warp_bends_each_image_its_own_way_and_keeps_its_ink():
    bend = replace(NONE, warp=0.03)
    straight, bent = bars(40), bend(bars(40), seeded())
    assert (bent - straight).abs().amax((0, 2, 3, 4)).min() > 0.1, "every image is bent"
    assert (bent[0, 0] - bent[0, 1]).abs().max() > 0.1, "each its own way"
    ink = bent.sum((0, 2, 3, 4)) / straight.sum((0, 2, 3, 4))
    assert abs(ink.mean() - 1) < 0.1
    middles, slopes, _ = moments(bent)
    # About 0.03 x 28 pixels at each of a few points: the whole moves by no more than that.
    assert middles.abs().mean() < 0.03 * 28
    assert slopes.abs().mean() < math.radians(10)


def test_shifts_alone_are_by_whole_pixels_and_blur_nothing():
    images = torch.rand(1, 200, 3, 32, 32, generator=seeded())
    moved = replace(NONE, shift=0.125)(images, seeded(1))
    padded = torch.nn.functional.pad(images[0], (4, 4, 4, 4))
    seen = set()
    for image, frame in zip(moved[0], padded, strict=True):
        places = [
            (y, x)
            for y in range(9)
            for x in range(9)
            if torch.allclose(image, frame[:, y : y + 32, x : x + 32], atol=1e-4)
        ]
        assert len(places) == 1
        seen.add(places[0])
    assert len({y for y, _ in seen}) == 9
    assert len({x for _, x in seen}) == 9


def test_as_many_images_are_mirrored_as_asked():
    images = torch.rand(1, 400, 3, 8, 8, generator=seeded())
    shown = replace(NONE, flip=0.3)(images, seeded(1))
    mirrored = (shown - images.flip(4)).abs().amax((0, 2, 3, 4)) < 1e-4
    kept = (shown - images).abs().amax((0, 2, 3, 4)) < 1e-4
    assert torch.equal(mirrored, ~kept)
    assert 80 < mirrored.sum() < 160


def test_light_changes_each_image_by_a_line_and_stays_in_range():
    images = 0.3 + 0.4 * torch.rand(1, 50, 1, 8, 8, generator=seeded())
    shown = replace(NONE, light=0.2)(images, seeded(1))
    assert 0 <= shown.min() <= shown.max() <= 1
    x, y = images[0].flatten(1), shown[0].flatten(1)
    slope = ((x - x.mean(1, True)) * (y - y.mean(1, True))).sum(1) / (
        (x - x.mean(1, True)).square().sum(1)
    )
    torch.testing.assert_close(y - y.mean(1, True), slope[:, None] * (x - x.mean(1, True)))
    assert slope.min() > 0.8**2 - 1e-4
    assert slope.max() < 1.2**2 + 1e-4
    assert slope.std() > 0.05
    assert (y.mean(1) / x.mean(1)).std() > 0.05
