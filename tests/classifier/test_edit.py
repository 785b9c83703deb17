"""Edits: an edited classifier equals one that was fitted to the same samples at once."""

from __future__ import annotations

import pytest
import torch

from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.classifier.edit import add_samples, remove_class, remove_samples, rename_class
from lgmnet.classifier.fit import fit_classifier
from lgmnet.errors import ConfigError, DataError
from tests.classifier.conftest import CLASSES
from tests.support.models import drawings, tiny_model


def predict_alike(first: FittedClassifier, second: FittedClassifier, queries: torch.Tensor) -> bool:
    """Compare the probabilities by the names of the classes, whatever their order."""
    columns = dict(zip(first.classes, first.predict_proba(queries).T, strict=True))
    others = dict(zip(second.classes, second.predict_proba(queries).T, strict=True))
    return columns.keys() == others.keys() and all(
        torch.allclose(others[name], column, atol=1e-6) for name, column in columns.items()
    )


def test_an_edit_equals_a_new_fit(fitted, queries):
    model, images = tiny_model(), drawings(2, 2, seed=5)
    grown = add_samples(fitted, model, images.flatten(0, 1), ["tree", "tree", "star", "star"])
    assert grown.classes == (*CLASSES, "tree")
    assert grown.shots == (1, 4, 3, 2)
    pruned = remove_class(grown, model, "tree")
    assert predict_alike(add_samples(pruned, model, images[0], ["tree"] * 2), grown, queries)
    rest = [0, 3, 4, 5]
    expected = fit_classifier(model, fitted.support.samples[rest], [0, 1, 1, 1], ["moon", "sun ☀"])
    assert predict_alike(remove_class(fitted, model, "star"), expected, queries)
    renamed = rename_class(fitted, "star", "stella")
    assert renamed.classes == ("moon", "stella", "sun ☀")
    assert torch.equal(renamed.predict_proba(queries), fitted.predict_proba(queries))
    assert fitted.classes == CLASSES, "the edited classifier itself must not change"


def test_samples_are_removed(fitted, queries):
    model = tiny_model()
    smaller = remove_samples(fitted, model, [2, 4])
    rest = [0, 1, 3, 5]
    expected = fit_classifier(model, fitted.support.samples[rest], [0, 1, 2, 2], CLASSES)
    assert smaller.shots == (1, 1, 2)
    assert predict_alike(smaller, expected, queries)
    with pytest.raises(ConfigError, match="There is no sample 6; there are 0 to 5"):
        remove_samples(fitted, model, [6])
    with pytest.raises(ConfigError, match="'star' would be left without a sample"):
        remove_samples(fitted, model, [1, 2])


def test_invalid_edits(fitted):
    model, image = tiny_model(), drawings(2, 1)[0]
    with pytest.raises(ConfigError, match=r"no class 'str'. Did you mean 'star'"):
        rename_class(fitted, "str", "x")
    with pytest.raises(ConfigError, match="a class 'moon' already"):
        rename_class(fitted, "star", "moon")
    with pytest.raises(ConfigError, match="only 'star' would be left"):
        remove_class(remove_class(fitted, model, "moon"), model, "sun ☀")
    other = tiny_model(seed=1)
    for edit in (
        lambda: remove_class(fitted, other, "moon"),
        lambda: remove_samples(fitted, other, [1]),
        lambda: add_samples(fitted, other, image, ["moon"]),
        lambda: fitted.spread(other, image),
    ):
        with pytest.raises(ConfigError, match="was forged by 'tiny' with the weights"):
            edit()
    with pytest.raises(DataError, match="Images must be uint8"):
        add_samples(fitted, model, torch.zeros(1, 1, 9, 9, dtype=torch.uint8), ["moon"])
