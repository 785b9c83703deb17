"""scikit-learn's digits, as drawings: for testing only."""

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


def test_all_digits_are_there_class_by_class():
    pixels, labels = digit_pixels()
    store = digits()
    assert pixels.shape == (1797, 8, 8)
    assert store.images.shape == (1797, 1, 28, 28)
    assert store.counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert store.labels.tolist() == labels.tolist()
    assert store.class_names == tuple("0123456789")


def test_a_drawing_is_its_pixels_with_a_margin():
    """At 10x10 nothing is resized: every pixel can be told."""
    pixels, _ = digit_pixels()
    assert pixels.min() == 0
    assert pixels.max() == 1
    framed = F.pad(torch.from_numpy(255 * pixels), (1, 1, 1, 1))
    assert torch.equal(digits(side=10).images[:, 0], framed.round().to(torch.uint8))


def test_an_enlarged_drawing_is_the_same_drawing():
    small = digits(side=10).images.double()
    large = F.interpolate(digits().images.double(), (10, 10), mode="area")
    pairs = torch.stack([small.flatten(1), large.flatten(1)], 1)
    centred = pairs - pairs.mean(2, keepdim=True)
    assert F.cosine_similarity(centred[:, 0], centred[:, 1]).min() > 0.9


def test_the_side_is_as_asked():
    assert digits(side=16).feature_shape == (1, 16, 16)


def test_there_is_nothing_to_train_on():
    with pytest.raises(ConfigError, match="There is no split of digits 'train'"):
        digits("train")


def test_without_scikit_learn_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(UserError, match=r"pip install 'lgmnet\[quickstart\]'"):
        digits()
