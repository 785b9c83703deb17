"""Leave-one-out validation, and the one embedding pass that it shares with fitting."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lgmnet.classifier.classifier import embed_support, fit_classifier, fit_support
from lgmnet.classifier.cross_validation import leave_one_out
from lgmnet.classifier.support import Support
from lgmnet.model.model import Model
from tests.classifier.conftest import CLASSES
from tests.contract.cases import CASES
from tests.support.models import build_method, tiny_model


def test_samples_are_left_out_one_at_a_time(fitted):
    """Each sample of a class with others is predicted once, by a classifier that lacks it."""
    model = tiny_model()
    result = leave_one_out(model, fitted.support, 3)
    assert result is not None
    assert sorted(result.indices.tolist()) == [1, 2, 3, 4, 5], "the only moon cannot be left out"
    assert torch.equal(result.labels, fitted.support.labels[result.indices])
    # The first fold leaves out the first star and the first sun.
    first = fit_classifier(model, fitted.support.samples[[0, 2, 4, 5]], [0, 1, 2, 2], CLASSES)
    expected = first.predict_proba(fitted.support.samples[[1, 3]])
    torch.testing.assert_close(result.probabilities[:2], expected)
    assert result.indices[:2].tolist() == [1, 3]
    correct = result.probabilities.argmax(1) == result.labels
    assert (result.n_samples, result.n_correct) == (5, int(correct.sum()))


def test_classes_of_one_sample_cannot_be_validated(fitted):
    single = fitted.support.select(torch.tensor([True, True, False, True, False, False]))
    assert leave_one_out(tiny_model(), single, 3) is None


def test_the_number_of_folds_is_limited(fitted):
    result = leave_one_out(tiny_model(), fitted.support, 3, max_folds=2)
    assert result is not None
    assert sorted(result.indices.tolist()) == [1, 2, 3, 4], "the third sun is not left out"


def test_fitting_and_validation_share_one_embedding_pass(fitted, queries):
    model = tiny_model()
    batch_sizes = []

    def count(module: Any, inputs: tuple[torch.Tensor], output: Any) -> None:
        batch_sizes.append(len(inputs[0]))

    with model.method.embedding.register_forward_hook(count):
        embedded = embed_support(model, fitted.support)
        both = fit_support(model, fitted.support, CLASSES, {"made": "here"}, embedded=embedded)
        result = leave_one_out(model, fitted.support, 3, embedded=embedded)
    assert batch_sizes == [6]
    assert both.notes == {"made": "here"}
    assert torch.equal(both.predict_proba(queries), fitted.predict_proba(queries))
    expected = leave_one_out(model, fitted.support, 3)
    assert result is not None
    assert expected is not None
    assert torch.equal(result.probabilities, expected.probabilities)


@pytest.mark.parametrize("case", CASES)
def test_a_fitted_classifier_equals_that_of_the_method(case):
    """Each method's classifier gets its embedding back, whatever that embedding is."""
    name, config = CASES[case]
    method = build_method(name, config).eval()
    training = tiny_model().training
    model = Model(method, name, training, name="case")
    shape = method.inputs.shape
    x = torch.rand(9, *shape, generator=torch.Generator().manual_seed(0))
    x = (255 * x).to(torch.uint8) if len(shape) == 3 else x
    x = x.double() if method.inputs.any_length else x
    labels = torch.arange(6) % 3
    fitted = fit_classifier(model, x[:6], labels.tolist(), CLASSES)
    method = model.inference_method
    values = (x / 255 if len(shape) == 3 else x)[None]
    with torch.inference_mode():
        expected = method.adapt(values[:, :6], labels[None], 3)
        torch.testing.assert_close(
            fitted.predict_proba(x[6:]), expected(values[:, 6:])[0].exp(), check_dtype=False
        )
    assert fitted.classifier.state_dict().keys() == expected.state_dict().keys()
    assert leave_one_out(model, Support(x[:6], labels, ("",) * 6), 3) is not None
