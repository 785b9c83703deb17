"""Leave-one-out validation, and the one embedding pass that it shares with fitting."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch

from lgmnet.classifier.copies import MAX_FEATURE_DISTANCE, find_copies
from lgmnet.classifier.cross_validation import leave_one_out
from lgmnet.classifier.fit import embed_support, fit_classifier, fit_support
from lgmnet.classifier.support import Support
from lgmnet.data.datasets.omniglot import omniglot
from lgmnet.model.model import Model
from tests.classifier.conftest import CLASSES
from tests.contract.cases import CASES
from tests.support.models import build_method, drawings, tiny_model


def test_samples_are_left_out_one_at_a_time(fitted):
    """Each sample of a class with others is predicted once, by a classifier that lacks it."""
    model = tiny_model()
    result = leave_one_out(model, fitted.support, 3)
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
    result = leave_one_out(tiny_model(), single, 3)
    assert (result.n_samples, result.n_single) == (0, 3)
    assert result.accuracy is None
    assert result.interval is None


def test_every_image_is_asked_even_if_there_are_more_than_folds(fitted, monkeypatch):
    monkeypatch.setattr("lgmnet.classifier.cross_validation.MAX_FOLDS", 2)
    result = leave_one_out(tiny_model(), fitted.support, 3)
    assert sorted(result.indices.tolist()) == [1, 2, 3, 4, 5]
    samples = fitted.support.samples
    second = fit_classifier(tiny_model(), samples[[0, 1, 3, 5]], [0, 1, 2, 2], CLASSES)
    place = result.indices.tolist().index(2)
    torch.testing.assert_close(result.probabilities[place], second.predict_proba(samples[2:3])[0])


def test_copies_are_left_out_together():
    """With each image twice, random labels would otherwise be answered by the copies."""
    model, images = tiny_model(), drawings(12, 1, seed=5)[:, 0]
    labels = torch.arange(12) % 2
    once = leave_one_out(model, Support(images, labels, ("",) * 12), 2)
    doubled = Support(torch.cat([images, images]), torch.cat([labels, labels]), ("",) * 24)
    twice = leave_one_out(model, doubled, 2)
    assert (once.n_copies, twice.n_copies) == (0, 12)
    assert (twice.n_samples, int(twice.indices.max())) == (12, 11)
    assert twice.accuracy is not None
    assert twice.accuracy < 90
    assert twice.interval is not None
    assert once.interval is not None
    assert twice.interval[1] - twice.interval[0] == pytest.approx(
        once.interval[1] - once.interval[0], abs=8
    ), "copies are not further answers"


def test_an_image_in_two_classes_is_named():
    images = drawings(6, 1, seed=5)[:, 0]
    samples = torch.cat([images, images[:1]])
    names = tuple(f"{i}.png" for i in range(7))
    support = Support(samples, torch.tensor([0, 0, 0, 1, 1, 1, 1]), names)
    result = leave_one_out(tiny_model(), support, 2)
    assert result.conflicts == ((0, 6),)
    assert result.as_json(names)["in_several_classes"] == [["0.png", "6.png"]]
    assert result.n_samples == 7
    # Neither class has another image than the shared one.
    pair = Support(samples[[0, 0]], torch.tensor([0, 1]), ("a", "b"))
    result = leave_one_out(tiny_model(), pair, 2)
    assert (result.n_samples, result.conflicts) == (0, ((0, 1),))


def test_copies_of_features_may_differ_in_their_last_digits():
    x = torch.rand(300, 50, generator=torch.Generator().manual_seed(0))
    x[299] = x[7] * (1 + 1e-3)
    x[200] = x[7]
    assert find_copies(x)[[7, 200, 299]].tolist() == [7, 7, 299]
    assert find_copies(x, MAX_FEATURE_DISTANCE)[[7, 200, 299]].tolist() == [7, 7, 7]
    assert len(find_copies(x).unique()) == 299


@pytest.mark.slow
@pytest.mark.pack
def test_the_interval_covers_the_accuracy_on_new_images():
    """At its nominal rate, for classes that are hard to tell apart (a model of random weights)."""
    n_tasks = int(os.environ.get("LGMNET_COVERAGE_TASKS", "50"))
    dataset = omniglot("vinyals/test", rotations=False)
    images = dataset.images.view(-1, 20, 1, 28, 28)
    model, generator = tiny_model(), torch.Generator().manual_seed(1)
    n_covered, widths = 0, []
    for task in range(n_tasks):
        way, shot = (5, 10)[task % 2], (5, 2, 3)[task % 3]
        chosen = images[torch.randperm(len(images), generator=generator)[:way]]
        chosen = chosen[:, torch.randperm(20, generator=generator)]
        labels = torch.arange(way).repeat_interleave(shot)
        support = Support(chosen[:, :shot].flatten(0, 1), labels, ("",) * len(labels))
        fitted = fit_support(model, support, [str(i) for i in range(way)])
        predicted = fitted.predict_proba(chosen[:, shot:].flatten(0, 1)).argmax(1)
        truth = torch.arange(way).repeat_interleave(20 - shot)
        accuracy = 100 * (predicted == truth).double().mean().item()
        interval = leave_one_out(model, support, way).interval
        assert interval is not None
        n_covered += interval[0] <= accuracy <= interval[1]
        widths.append(interval[1] - interval[0])
    print(f"covered {n_covered} of {n_tasks}, mean width {sum(widths) / n_tasks:.1f}")
    # Fewer than this have a probability of 1 % if each is covered with 95 %.
    assert n_covered >= 0.95 * n_tasks - 2.33 * (n_tasks * 0.95 * 0.05) ** 0.5
    assert sum(widths) / n_tasks < 60


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
    assert leave_one_out(model, Support(x[:6], labels, ("",) * 6), 3).n_samples == 6
