"""Digits of scikit-learn as drawings, for testing only."""

from __future__ import annotations

import sys

import pytest
import torch
from torch.nn import functional as F

from lgmnet.data.datasets.digits import digit_pixels, digits
from lgmnet.errors import ConfigError, UserError


@pytest.fixture(scope="module", autouse=True)
def scikit_learn():
    pytest.importorskip("sklearn", reason="the digits need lgmnet[quickstart]")


def test_all_digits_are_loaded_and_sorted_by_class():
    pixels, labels = digit_pixels()
    dataset = digits()
    assert pixels.shape == (1797, 8, 8)
    assert dataset.images.shape == (1797, 1, 28, 28)
    assert dataset.counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert dataset.labels.tolist() == labels.tolist()
    assert dataset.class_names == tuple("0123456789")


def test_a_drawing_is_its_pixels_with_a_margin():
    """At 10x10 pixels nothing is resized, so that every pixel can be compared."""
    pixels, _ = digit_pixels()
    assert pixels.min() == 0
    assert pixels.max() == 1
    padded = F.pad(torch.from_numpy(255 * pixels), (1, 1, 1, 1))
    assert torch.equal(digits(side=10).images[:, 0], padded.round().to(torch.uint8))


def test_an_enlarged_drawing_is_the_same_drawing():
    small = digits(side=10).images.double()
    large = F.interpolate(digits().images.double(), (10, 10), mode="area")
    pairs = torch.stack([small.flatten(1), large.flatten(1)], 1)
    centred = pairs - pairs.mean(2, keepdim=True)
    assert F.cosine_similarity(centred[:, 0], centred[:, 1]).min() > 0.9


def test_the_side_can_be_chosen():
    assert digits(side=16).feature_shape == (1, 16, 16)


def test_there_is_no_training_split():
    with pytest.raises(ConfigError, match="There is no split of digits 'train'"):
        digits("train")


def test_the_error_without_scikit_learn_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(UserError, match=r"pip install 'lgmnet\[quickstart\]'"):
        digits()
