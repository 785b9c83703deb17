"""Drawings put in the middle, evened out in size, and seen from several sides."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import cast

import pytest
import torch
from torch import Tensor

from lgmnet.errors import ConfigError
from lgmnet.methods.lgm_net import LGMClassifier, LGMNet, LGMNetConfig
from lgmnet.nn.alignment import RADIUS, VIEWS, aligned, viewed
from lgmnet.nn.matching import cosine_matching

CONFIG = LGMNetConfig(
    feature_shape=(1, 16, 16),
    embedding_widths=(4, 6),
    embedding_pooled=(True, False),
    encoder_width=5,
    context=3,
    target_widths=(4, 5),
    align=0.5,
    views=3,
)


def spots(*at: tuple[float, float, float, float]) -> Tensor:
    """Images [n, 1, 48, 48] of a soft box each: its middle, half its width and half its height."""
    x, y, wide, high = torch.tensor(at, dtype=torch.float64).T[:, :, None, None]
    down, across = torch.meshgrid(*[torch.arange(48.0).double()] * 2, indexing="ij")
    return torch.exp(-(((across - x) / wide) ** 8) - ((down - y) / high) ** 8)[:, None]


def middle_and_radius(image: Tensor) -> tuple[float, float, float]:
    """Of [1, side, side], in half sides of the image."""
    side = image.shape[-1]
    at = (2 * torch.arange(side).double() + 1) / side - 1
    ink = image[0] / image.sum()
    x, y = (ink.sum(0) * at).sum(), (ink.sum(1) * at).sum()
    square = (ink.sum(0) * (at - x) ** 2).sum() + (ink.sum(1) * (at - y) ** 2).sum()
    return x.item(), y.item(), square.sqrt().item()


def test_ink_comes_to_the_middle_and_to_one_size():
    for image in aligned(spots((20, 28, 10, 14), (26, 22, 13, 13), (23.5, 23.5, 11, 12)), 1.0):
        assert middle_and_radius(image) == pytest.approx((0, 0, RADIUS), abs=0.015)


def test_a_part_of_the_difference_in_size_goes():
    images = spots((24, 22, 9, 9), (22, 25, 14, 14))
    small, large = (middle_and_radius(image)[2] for image in images)
    small_after, large_after = (middle_and_radius(image)[2] for image in aligned(images, 0.5))
    assert large_after / small_after == pytest.approx(math.sqrt(large / small), rel=0.01)
    for before, after in zip(images, aligned(images, 0.0), strict=True):
        assert middle_and_radius(after)[2] == pytest.approx(middle_and_radius(before)[2], rel=0.01)


def test_where_it_lay_makes_no_difference():
    images = torch.zeros(2, 1, 28, 28)
    drawing = torch.rand(9, 12, generator=torch.Generator().manual_seed(0))
    images[0, 0, 3:12, 2:14] = drawing
    images[1, 0, 14:23, 11:23] = drawing
    one, other = aligned(images, 0.5)
    torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


def test_alignment_looks_at_each_image_alone_and_leaves_blank_ones_blank():
    images = spots((20, 28, 9, 12), (26, 22, 11, 11))
    torch.testing.assert_close(aligned(images, 0.5)[:1], aligned(images[:1], 0.5))
    blank = torch.zeros(1, 1, 28, 28)
    assert torch.equal(aligned(blank, 0.5), blank)
    assert aligned(images.bfloat16(), 0.5).dtype == torch.bfloat16


def test_the_first_view_is_the_image_and_the_others_are_turned_and_stretched():
    bar = spots((23.5, 23.5, 15, 7))
    views = viewed(bar, len(VIEWS))
    assert views.shape == (1, len(VIEWS), 1, 48, 48)
    assert torch.equal(views[:, 0], bar)
    at = torch.arange(48).double() - 23.5

    def second_moments(view: Tensor) -> tuple[float, float, float]:
        ink = view / view.sum()
        across, down = (ink.sum(0) * at**2).sum(), (ink.sum(1) * at**2).sum()
        return across.item(), down.item(), torch.einsum("yx,y,x->", ink, at, at).item()

    xx, yy, _ = second_moments(bar[0, 0])
    for view, (degrees, wide, high) in zip(views[0, :, 0], VIEWS, strict=True):
        across, down, both = second_moments(view)
        slope = 0.5 * math.degrees(math.atan2(2 * both, across - down))
        assert slope == pytest.approx(-degrees, abs=0.5)
        if degrees == 0:
            assert across == pytest.approx(xx / wide**2, rel=0.03)
            assert down == pytest.approx(yy / high**2, rel=0.03)


def made(config: LGMNetConfig) -> LGMNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LGMNet(config).double().eval()


def test_views_lie_side_by_side_in_the_head():
    """One TargetNet for all views; a query is compared view by view."""
    method = made(CONFIG)
    generator = torch.Generator().manual_seed(0)
    support, query = (
        torch.rand(2, n, 1, 16, 16, generator=generator, dtype=torch.float64) for n in (3, 4)
    )
    labels = torch.tensor([[0, 1, 2], [2, 0, 1]])
    with torch.no_grad():
        classifier = cast(LGMClassifier, method.adapt(support, labels, 3))
        layers = method.embedding.get_submodule("layers")

        def seen(x: Tensor) -> Tensor:
            """The target embeddings of each task's samples, one view after the other."""
            views = viewed(aligned(x.flatten(0, 1), 0.5), 3).unbind(1)
            features = [layers(view).unflatten(0, x.shape[:2]) for view in views]
            return torch.cat([method.target(classifier.weights, f) for f in features], -1)

        expected = cosine_matching(seen(query), seen(support), labels, 3, classifier.scale)
        torch.testing.assert_close(classifier(query), expected)
        by_one = made(replace(CONFIG, views=1))
        by_one.load_state_dict(method.state_dict())
        assert not torch.allclose(by_one.adapt(support, labels, 3)(query), expected, atol=1e-3)


def test_in_training_there_is_one_view():
    images = spots((20, 28, 9, 12), (26, 22, 11, 11)).float()
    embedding = LGMNet(CONFIG).embedding
    assert embedding.train()(images).shape[:2] == (2, 1)
    assert embedding.eval()(images).shape[:2] == (2, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"align": 1.5}, "'align' must be 0 to 1, or None, but is 1.5"),
        ({"views": 0}, "'views' must be 1 to 5, but is 0"),
        ({"views": 6}, "'views' must be 1 to 5, but is 6"),
        ({"target": "linear", "feature_shape": (2,)}, "'align' must be None where samples are"),
        ({"align": None, "canvas": 36}, "'canvas' must be None, or positive where 'align' is set"),
    ],
)
def test_a_config_that_cannot_be_is_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        replace(CONFIG, **change)
