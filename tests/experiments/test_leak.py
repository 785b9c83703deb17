"""The leak in the reference code's test protocol: an audit detects it, a demonstration shows it."""

from __future__ import annotations

import pytest
import torch

from lgmnet.evaluation.audit import audit, make_noise_dataset
from lgmnet.experiments.leak import (
    demonstrate_leak,
    perfect_angle_detector,
    rotate_by_class,
    rotate_by_image,
    rotate_images,
)
from lgmnet.methods.matching_net import MatchingNet, MatchingNetConfig
from lgmnet.nn.embedding import EmbeddingConfig
from lgmnet.nn.matching import HeadConfig


@pytest.fixture(scope="module")
def leaky_method() -> MatchingNet:
    """Matching network with random weights, whose similarities depend on angles."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        embedding = EmbeddingConfig(widths=(16, 16), pooled=(True, True))
        return MatchingNet(MatchingNetConfig(embedding, head=HeadConfig(temperature=None))).eval()


def test_the_augmentation_of_the_reference_code_is_detected(leaky_method):
    """With one angle per class, noise is classified and random labels are predicted."""
    noise = make_noise_dataset((1, 28, 28), torch.uint8)
    result = audit(leaky_method, noise, transform=rotate_by_class)
    failed = {check.name for check in result.checks if not check.passed}
    assert {"images without classes", "random query labels"} <= failed


def test_an_angle_for_each_image_reveals_nothing(leaky_method):
    noise = make_noise_dataset((1, 28, 28), torch.uint8)
    assert audit(leaky_method, noise, trained_on=[], transform=rotate_by_image).passed


def test_the_accuracy_of_a_perfect_angle_detector():
    assert perfect_angle_detector() == pytest.approx(100 * (1 - (4 / 5) ** 5))
    generator = torch.Generator().manual_seed(0)
    angles = torch.randint(5, (200_000, 5), generator=generator)
    shared = (angles == angles[:, :1]).sum(1)
    assert perfect_angle_detector() == pytest.approx(100 * (1 / shared).mean().item(), abs=0.2)


def test_each_image_is_rotated_by_its_own_angle():
    images = torch.zeros(1, 2, 1, 9, 9)
    images[..., 4, 4:] = 1  # a line to the right
    unrotated, rotated = rotate_images(images, torch.tensor([[0.0, 90.0]]))[0, :, 0]
    torch.testing.assert_close(unrotated, images[0, 0, 0])
    torch.testing.assert_close(rotated, unrotated.rot90(1), atol=1e-5, rtol=0)


def test_the_demonstration_reproduces_the_leak():
    by_class, by_image, unrotated = demonstrate_leak(steps=60, episodes=200)
    assert by_class.accuracy - by_class.ci95 > 45
    for honest in (by_image, unrotated):
        assert abs(honest.accuracy - 20) < 3
