"""Jitter: changes are independent of labels and other images, and stay within their limits."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from lgmnet.data.augment import Jitter
from tests.support.random import seeded

NONE = Jitter(degrees=0.0, scale=0.0, shift=0.0, shear=0.0)


def blobs(tasks: int, samples: int, side: int = 28) -> Tensor:
    """Copies of one drawing: a long and a short bar with soft edges, off the centre."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    long = torch.exp(-(((x - 13.5) / 6) ** 4) - ((y - 13.5) / 1.5) ** 4)
    short = torch.exp(-(((x - 18) / 1.5) ** 4) - ((y - 10) / 3) ** 4)
    return torch.maximum(long, short).expand(tasks, samples, 1, side, side).contiguous()


def bars(n: int) -> Tensor:
    y, x = torch.meshgrid(torch.arange(28) - 13.5, torch.arange(28) - 13.5, indexing="ij")
    return torch.exp(-((x / 7) ** 4) - (y / 1.5) ** 4).expand(1, n, 1, 28, 28)


def moments(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the centres [samples, 2], slopes and lengths of bars [1, samples, 1, 28, 28]."""
    weight = images[0, :, 0] / images[0, :, 0].sum((1, 2), keepdim=True)
    along = torch.arange(28) - 13.5
    x, y = (weight.sum(1) * along).sum(1), (weight.sum(2) * along).sum(1)
    dx, dy = along - x[:, None], along - y[:, None]
    xx = (weight.sum(1) * dx**2).sum(1)
    yy = (weight.sum(2) * dy**2).sum(1)
    xy = torch.einsum("nyx,ny,nx->n", weight, dy, dx)
    return torch.stack([x, y], 1), 0.5 * torch.atan2(2 * xy, xx - yy), xx.sqrt()


def test_the_seed_determines_the_change_and_the_global_generator_is_unused():
    images, jitter = blobs(2, 3), Jitter(thicken=0.5)
    before = torch.get_rng_state()
    first, second, other = (jitter(images, seeded(seed)) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_the_change_does_not_depend_on_other_images():
    """It depends on the position in the batch alone, so neither images nor classes matter."""
    images, jitter = blobs(2, 5), Jitter(thicken=0.5)
    others = torch.rand(images.shape, generator=seeded())
    others[1, 2] = images[1, 2]
    changed, changed_others = jitter(images, seeded()), jitter(others, seeded())
    torch.testing.assert_close(changed[1, 2], changed_others[1, 2])


def test_images_of_one_class_are_changed_in_different_ways():
    """One angle per class would reveal the class, which is the leak in the paper's code."""
    changed = Jitter()(blobs(2, 8), seeded()).flatten(0, 1).flatten(1)
    distances = torch.cdist(changed, changed) + 9 * torch.eye(16)
    assert distances.min() > 0.1
    _, slopes, _ = moments(replace(NONE, degrees=30.0)(bars(60), seeded()))
    correlation = torch.corrcoef(torch.stack([slopes[:-1], slopes[1:]]))[0, 1]
    assert abs(correlation) < 0.3


def test_jitter_without_changes_returns_the_images():
    images = blobs(2, 3)
    torch.testing.assert_close(NONE(images, seeded()), images, atol=1e-5, rtol=0)


def test_shape_and_range_stay_and_the_input_is_not_modified():
    images = torch.rand(2, 3, 1, 20, 28, generator=seeded())
    original = images.clone()
    changed = Jitter(thicken=1.0)(images, seeded())
    assert changed.shape == images.shape
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert torch.equal(images, original)


def test_rotation_reaches_its_limit_in_both_directions():
    _, slopes, _ = moments(replace(NONE, degrees=30.0)(bars(200), seeded()))
    assert slopes.abs().max() < math.radians(31)
    assert slopes.max() > math.radians(27)
    assert slopes.min() < math.radians(-27)


def test_shift_reaches_its_limit_in_both_directions():
    fractional_shift = replace(NONE, shift=0.1, scale=1e-9)
    centres, _, _ = moments(fractional_shift(bars(200), seeded()))
    assert centres.abs().max() < 2.81
    assert (centres.amax(0) > 2.6).all()
    assert (centres.amin(0) < -2.6).all()


def test_scale_reaches_its_limit_in_both_directions():
    _, _, original = moments(bars(1))
    _, _, lengths = moments(replace(NONE, scale=0.2)(bars(200), seeded()))
    ratio = lengths / original
    assert 1 / 1.22 < ratio.min() < 1 / 1.15
    assert 1 / 0.85 < ratio.max() < 1 / 0.78


def test_thickening_only_adds_ink_with_its_probability():
    images = blobs(1, 400)
    thick = replace(NONE, thicken=0.25)(images, seeded()) - NONE(images, seeded())
    assert thick.min() > -1e-6
    fraction = (thick.amax((-1, -2, -3)) > 1e-4).float().mean()
    assert 0.17 < fraction < 0.33


def test_a_change_of_the_whole_task_is_the_same_for_its_images_and_differs_between_tasks():
    images, whole_task = blobs(3, 4), Jitter(degrees=30.0, scale=0.3, shear=0.3, warp=0.03)
    changed = NONE(images, seeded(), whole_task)
    torch.testing.assert_close(changed, changed[:, :1].expand_as(changed), atol=1e-5, rtol=0)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert (changed[a, 0] - changed[b, 0]).abs().max() > 0.1
    assert (changed[:, 0] - images[:, 0]).abs().amax((1, 2, 3)).min() > 0.1


def test_the_change_of_the_whole_task_comes_before_that_of_the_image():
    """The angles of the task and of the image add up, and the scales multiply."""
    turn, stretch = replace(NONE, degrees=20.0), replace(NONE, scale=0.2)
    _, image_angles, _ = moments(turn(bars(50), seeded()))
    _, angles, _ = moments(turn(bars(50), seeded(), turn))
    task_angles = angles - image_angles
    torch.testing.assert_close(task_angles, task_angles[:1].expand(50), atol=0.01, rtol=0)
    assert abs(task_angles[0]) > 0.02
    _, _, image_lengths = moments(stretch(bars(50), seeded()))
    _, _, lengths = moments(stretch(bars(50), seeded(), stretch))
    task_scales = lengths / image_lengths
    torch.testing.assert_close(task_scales, task_scales[:1].expand(50), atol=0.03, rtol=0)
    assert abs(task_scales[0] - 1) > 0.04


def test_a_warp_bends_each_image_differently_and_preserves_its_ink():
    bend = replace(NONE, warp=0.03)
    straight, bent = bars(40), bend(bars(40), seeded())
    assert (bent - straight).abs().amax((0, 2, 3, 4)).min() > 0.1, "every image is bent"
    assert (bent[0, 0] - bent[0, 1]).abs().max() > 0.1, "images are bent differently"
    ink = bent.sum((0, 2, 3, 4)) / straight.sum((0, 2, 3, 4))
    assert abs(ink.mean() - 1) < 0.1
    centres, slopes, _ = moments(bent)
    # The displacement is about 0.03 x 28 pixels at a few points; the centre moves by less.
    assert centres.abs().mean() < 0.03 * 28
    assert slopes.abs().mean() < math.radians(10)


def test_a_shift_without_other_changes_is_by_whole_pixels_and_does_not_blur():
    images = torch.rand(1, 200, 3, 32, 32, generator=seeded())
    moved = replace(NONE, shift=0.125)(images, seeded(1))
    padded = torch.nn.functional.pad(images[0], (4, 4, 4, 4))
    offsets = set()
    for image, frame in zip(moved[0], padded, strict=True):
        matches = [
            (y, x)
            for y in range(9)
            for x in range(9)
            if torch.allclose(image, frame[:, y : y + 32, x : x + 32], atol=1e-4)
        ]
        assert len(matches) == 1
        offsets.add(matches[0])
    assert len({y for y, _ in offsets}) == 9
    assert len({x for _, x in offsets}) == 9


def test_images_are_mirrored_with_the_given_probability():
    images = torch.rand(1, 400, 3, 8, 8, generator=seeded())
    changed = replace(NONE, flip=0.3)(images, seeded(1))
    is_mirrored = (changed - images.flip(4)).abs().amax((0, 2, 3, 4)) < 1e-4
    is_unchanged = (changed - images).abs().amax((0, 2, 3, 4)) < 1e-4
    assert torch.equal(is_mirrored, ~is_unchanged)
    assert 80 < is_mirrored.sum() < 160
