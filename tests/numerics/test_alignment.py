"""Alignment of drawings, and their views."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from lgmnet.errors import ConfigError
from lgmnet.methods.lgm_net import LGMClassifier, LGMNet, LGMNetConfig
from lgmnet.nn.alignment import TARGET_RADIUS, VIEWS, AlignmentConfig, align, make_views
from lgmnet.nn.embedding import EmbeddingConfig, vector_embedding
from lgmnet.nn.matching import matching_log_p
from tests.support.configs import lgm_net_config
from tests.support.models import build_method
from tests.support.random import seeded

EMBEDDING = EmbeddingConfig(
    feature_shape=(1, 16, 16),
    widths=(4, 6),
    pooled=(True, False),
    alignment=AlignmentConfig(power=0.5, views=3),
)


def boxes(*geometry: tuple[float, float, float, float]) -> Tensor:
    """Draw one soft box in each image [n, 1, 48, 48].

    Args:
        geometry: Centre x, centre y, half the width and half the height of each box in pixels.
    """
    x, y, width, height = torch.tensor(geometry, dtype=torch.float64).T[:, :, None, None]
    down, across = torch.meshgrid(*[torch.arange(48.0).double()] * 2, indexing="ij")
    return torch.exp(-(((across - x) / width) ** 8) - ((down - y) / height) ** 8)[:, None]


def centre_and_radius(image: Tensor) -> tuple[float, float, float]:
    """Compute centre and root mean square radius of the ink of an image, in half sides."""
    side = image.shape[-1]
    at = (2 * torch.arange(side).double() + 1) / side - 1
    ink = image[0] / image.sum()
    x, y = (ink.sum(0) * at).sum(), (ink.sum(1) * at).sum()
    square = (ink.sum(0) * (at - x) ** 2).sum() + (ink.sum(1) * (at - y) ** 2).sum()
    return x.item(), y.item(), square.sqrt().item()


def test_alignment_centres_the_ink_and_gives_it_the_target_radius():
    images = boxes((20, 28, 10, 14), (26, 22, 13, 13), (23.5, 23.5, 11, 12))
    for image in align(images, 1.0):
        assert centre_and_radius(image) == pytest.approx((0, 0, TARGET_RADIUS), abs=0.015)


def test_power_says_how_much_of_the_difference_in_size_is_evened_out():
    images = boxes((24, 22, 9, 9), (22, 25, 14, 14))
    small, large = (centre_and_radius(image)[2] for image in images)
    small_after, large_after = (centre_and_radius(image)[2] for image in align(images, 0.5))
    assert large_after / small_after == pytest.approx(math.sqrt(large / small), rel=0.01)
    for before, after in zip(images, align(images, 0.0), strict=True):
        assert centre_and_radius(after)[2] == pytest.approx(centre_and_radius(before)[2], rel=0.01)


def test_the_position_of_a_drawing_makes_no_difference():
    images = torch.zeros(2, 1, 28, 28)
    drawing = torch.rand(9, 12, generator=seeded())
    images[0, 0, 3:12, 2:14] = drawing
    images[1, 0, 14:23, 11:23] = drawing
    first, second = align(images, 0.5)
    torch.testing.assert_close(first, second, atol=1e-4, rtol=0)


def test_each_image_is_aligned_alone_and_blank_images_stay_blank():
    images = boxes((20, 28, 9, 12), (26, 22, 11, 11))
    torch.testing.assert_close(align(images, 0.5)[:1], align(images[:1], 0.5))
    blank = torch.zeros(1, 1, 28, 28)
    assert torch.equal(align(blank, 0.5), blank)
    assert align(images.bfloat16(), 0.5).dtype == torch.bfloat16


def test_the_first_view_is_the_image_and_the_others_are_rotated_and_stretched():
    bar = boxes((23.5, 23.5, 15, 7))
    views = make_views(bar, len(VIEWS))
    assert views.shape == (1, len(VIEWS), 1, 48, 48)
    assert torch.equal(views[:, 0], bar)
    at = torch.arange(48).double() - 23.5

    def second_moments(view: Tensor) -> tuple[float, float, float]:
        ink = view / view.sum()
        across, down = (ink.sum(0) * at**2).sum(), (ink.sum(1) * at**2).sum()
        return across.item(), down.item(), torch.einsum("yx,y,x->", ink, at, at).item()

    xx, yy, _ = second_moments(bar[0, 0])
    for view, (degrees, width, height) in zip(views[0, :, 0], VIEWS, strict=True):
        across, down, mixed = second_moments(view)
        slope = 0.5 * math.degrees(math.atan2(2 * mixed, across - down))
        assert slope == pytest.approx(-degrees, abs=0.5)
        if degrees == 0:
            assert across == pytest.approx(xx / width**2, rel=0.03)
            assert down == pytest.approx(yy / height**2, rel=0.03)


def build_lgm_net(embedding: EmbeddingConfig) -> LGMNet:
    config = lgm_net_config(embedding, context=3, encoder_width=5, target_widths=(4, 5))
    return cast(LGMNet, build_method("lgm-net", config).double().eval())


def test_the_head_compares_all_views_side_by_side():
    """One TargetNet embeds every view; a query is compared view by view."""
    method = build_lgm_net(EMBEDDING)
    generator = seeded()
    support, query = (
        torch.rand(2, n, 1, 16, 16, generator=generator, dtype=torch.float64) for n in (3, 4)
    )
    labels = torch.tensor([[0, 1, 2], [2, 0, 1]])
    with torch.no_grad():
        classifier = cast(LGMClassifier, method.adapt(support, labels, 3))
        layers = method.embedding.get_submodule("layers")

        def embed_views(x: Tensor) -> Tensor:
            """Compute the target embeddings of each task's samples, one view after the other."""
            views = make_views(align(x.flatten(0, 1), 0.5), 3).unbind(1)
            features = [layers(view).unflatten(0, x.shape[:2]) for view in views]
            return torch.cat([method.target(classifier.weights, f) for f in features], -1)

        expected = matching_log_p(
            embed_views(query), embed_views(support), labels, 3, classifier.scale
        )
        torch.testing.assert_close(classifier(query), expected)
        one_view = build_lgm_net(replace(EMBEDDING, alignment=AlignmentConfig(power=0.5)))
        one_view.load_state_dict(method.state_dict())
        assert not torch.allclose(one_view.adapt(support, labels, 3)(query), expected, atol=1e-3)


def test_training_uses_one_view():
    images = boxes((20, 28, 9, 12), (26, 22, 11, 11))
    embedding = build_lgm_net(EMBEDDING).embedding
    assert embedding.train()(images).shape[:2] == (2, 1)
    assert embedding.eval()(images).shape[:2] == (2, 3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"power": 1.5}, "'power' must be 0 to 1, but is 1.5"),
        ({"power": -0.5}, "'power' must be 0 to 1, but is -0.5"),
        ({"views": 0}, "'views' must be 1 to 5, but is 0"),
        ({"views": 6}, "'views' must be 1 to 5, but is 6"),
        ({"canvas": 0}, "'canvas' must be positive or None, but is 0"),
    ],
)
def test_wrong_alignment_configs_are_refused(fields, message):
    AlignmentConfig()
    with pytest.raises(ConfigError, match=message):
        AlignmentConfig(**fields)


def test_vectors_cannot_be_aligned():
    vectors: Any = {**vars(vector_embedding(2, 5)), "alignment": AlignmentConfig()}
    with pytest.raises(ConfigError, match="'alignment' must be None where samples are vectors"):
        LGMNetConfig(embedding=EmbeddingConfig(**vectors))
