"""The accuracy expected with more images, and its interval."""

from __future__ import annotations

import os
import shutil

import pytest
import torch

from lgmnet.classifier import expected_accuracy_with_more
from lgmnet.classifier.fit import embed_support, fit_classifier, fit_support
from lgmnet.classifier.learning_curve import (
    CurvePoint,
    ExpectedAccuracy,
    draw_part,
    extrapolate,
    measure_curve,
)
from lgmnet.classifier.support import Support
from lgmnet.cli.estimates import format_expected
from lgmnet.data.datasets.omniglot import omniglot
from lgmnet.errors import ConfigError
from tests.support.command_line import lgmnet
from tests.support.images import symbols
from tests.support.models import drawings, tiny_model


def test_each_part_has_the_same_number_of_images_of_a_class():
    labels = torch.tensor([0] * 9 + [1] * 4 + [2])
    sizes = torch.tensor([4, 2, 1])
    order = torch.randperm(14, generator=torch.Generator().manual_seed(0))
    first, second = (draw_part(labels, 3, sizes, part, order) for part in (0, 1))
    assert labels[first].bincount().tolist() == labels[second].bincount().tolist() == [4, 2, 1]
    assert (first & second).nonzero().flatten().tolist() == [13], "only the lone image is in both"
    third = draw_part(labels, 3, sizes, 2, order)
    assert labels[third].bincount().tolist() == [4, 2, 1], "where images run out, they start again"


def test_the_curve_is_that_of_classifiers_fitted_to_parts():
    model, images = tiny_model(), drawings(3, 4, seed=5).flatten(0, 1)
    labels = torch.arange(3).repeat_interleave(4)
    support = Support(images, labels, ("",) * 12)
    method = model.inference_method.without_embedding()
    halves, quarters = measure_curve(method, embed_support(model, support), labels, 3)
    assert (halves.shot, quarters.shot) == (2, 1)
    assert halves.n_images == quarters.n_images == 12

    generator = torch.Generator().manual_seed(0)
    wrong, asked = torch.zeros(12), torch.zeros(12)
    for order in [torch.randperm(12, generator=generator) for _ in range(4)]:
        for part in range(2):
            mask = draw_part(labels, 3, torch.tensor([2, 2, 2]), part, order)
            fitted = fit_classifier(model, images[mask], labels[mask].tolist(), ["a", "b", "c"])
            answers = fitted.predict_proba(images).argmax(1)
            wrong += (answers != labels) & ~mask
            asked += ~mask
    assert halves.error == pytest.approx(float((wrong / asked).mean()), abs=1e-6)


def test_a_power_law_is_continued():
    """Of many images, so that what is assumed beforehand does not matter."""
    for slope in (0.0, 0.4, 1.0):
        points = [CurvePoint(s, 0.4 * s**-slope, 20_000) for s in (9.0, 5.0, 2.5)]
        expected = extrapolate(points, 20.0, 5)
        truth = 100 * (1 - 0.4 * 20**-slope)
        assert expected.accuracy == pytest.approx(truth, abs=1)
        assert expected.interval[0] - 0.2 <= truth <= expected.interval[1] + 0.2
        assert expected.interval[1] - expected.interval[0] < 4


def test_few_images_give_a_wide_interval_and_nothing_is_worse_than_guessing():
    few, many = (
        extrapolate([CurvePoint(4.0, 0.2, n), CurvePoint(2.0, 0.3, n)], 10.0, 5) for n in (25, 2500)
    )
    assert few.interval[0] < many.interval[0] < many.accuracy < many.interval[1] < few.interval[1]
    hopeless = extrapolate([CurvePoint(4.0, 1.0, 10), CurvePoint(2.0, 1.0, 10)], 10.0, 2)
    assert hopeless.interval[0] == pytest.approx(50)
    perfect = extrapolate([CurvePoint(4.0, 0.0, 25)], 10.0, 5)
    assert 95 < perfect.accuracy < perfect.interval[1] <= 100


def test_copies_do_not_count_and_single_images_give_nothing(fitted):
    model = tiny_model()
    expected = expected_accuracy_with_more(fitted, model)
    assert expected is not None
    assert expected.shot == 4, "twice the mean of one, two and three images"
    further = expected_accuracy_with_more(fitted, model, 5.0)
    assert further is not None
    assert further.shot == 10
    samples, labels = fitted.support.samples, fitted.support.labels
    doubled = Support(torch.cat([samples, samples]), torch.cat([labels, labels]), ("",) * 12)
    assert expected_accuracy_with_more(fit_support(model, doubled, "abc"), model) == expected
    single = fit_classifier(model, samples[[0, 1, 3]], [0, 1, 2], "abc")
    assert expected_accuracy_with_more(single, model) is None
    pair = fit_classifier(model, samples[[0, 1, 2]], [0, 1, 1], "ab")
    assert expected_accuracy_with_more(pair, model) is not None
    with pytest.raises(ConfigError, match="was forged by 'tiny' with the weights"):
        expected_accuracy_with_more(fitted, tiny_model(seed=1))


def test_the_commands_show_it(tiny, tmp_path):
    model, file = shutil.copytree(tiny, tmp_path / "tiny"), tmp_path / "c.safetensors"
    folder = symbols(tmp_path / "symbols", {"moon": 1, "star": 2, "sun": 4})
    ran = lgmnet("forge", folder, "-o", file, "--model", model)
    line = next(line for line in ran.out.splitlines() if "twice as many images" in line)
    assert "95 % interval" in line
    made = lgmnet("forge", folder, "-o", file, "--model", model, "--json").json
    expected = made["with_twice_the_images"]
    assert expected["interval"][0] < expected["accuracy"] < expected["interval"][1]
    assert "with_twice_the_images" not in lgmnet("edit", file, "--rename", "moon=m", "--json").json
    edited = lgmnet("edit", file, "--remove", "m", "--model", model, "--json").json
    assert edited["with_twice_the_images"]["shot"] == 6
    # The model is not one that ships, so its name in the file does not find it.
    inspected = lgmnet("inspect", file, "--json").json
    assert inspected["with_twice_the_images"] is None
    assert inspected["leave_one_out"] is None
    assert "twice" not in lgmnet("inspect", file).out
    inspected = lgmnet("inspect", file, "--model", model, "--json").json
    for name in ("leave_one_out", "with_twice_the_images"):
        assert inspected[name] == edited[name], "what a command says is said by the next"
    assert "Expected with twice as many images" in lgmnet("inspect", file, "--model", model).out


def test_more_images_never_seem_to_do_harm():
    """Where all images are classified correctly, the estimate of now is 100 %."""
    more = ExpectedAccuracy(10.0, 98.6, (94.6, 100.0))
    interval = "(95 % interval 95 to 100 %)."
    start = "Expected with twice as many images:"
    correct = f"{start} 99 % of new images classified correctly {interval}"
    assert format_expected(more, 95.0) == format_expected(more, None) == [correct]
    for accuracy in (100.0, 98.7):
        assert format_expected(more, accuracy) == [f"{start} about as accurate as now {interval}"]
    assert format_expected(None, 95.0) == []


@pytest.mark.slow
@pytest.mark.pack
@pytest.mark.parametrize(("split", "seed"), [("vinyals/val", 7), ("vinyals/test", 1)])
def test_the_interval_covers_the_accuracy_with_twice_the_images(split, seed):
    """At its nominal rate, for classes that are hard to tell apart (a model of random weights).

    The lab diary has the figure of 200 tasks of validation characters (LGMNET_COVERAGE_TASKS=200).
    """
    n_tasks = int(os.environ.get("LGMNET_COVERAGE_TASKS", "50"))
    images = omniglot(split, rotations=False).images.view(-1, 20, 1, 28, 28)
    model, generator = tiny_model(), torch.Generator().manual_seed(seed)
    n_covered, widths = 0, []
    for task in range(n_tasks):
        way, shot = (5, 10)[task % 2], (5, 2, 3)[task % 3]
        chosen = images[torch.randperm(len(images), generator=generator)[:way]]
        chosen = chosen[:, torch.randperm(20, generator=generator)]
        names = [str(i) for i in range(way)]
        few, many = (
            fit_classifier(
                model,
                chosen[:, :n].flatten(0, 1),
                torch.arange(way).repeat_interleave(n).tolist(),
                names,
            )
            for n in (shot, 2 * shot)
        )
        predicted = many.predict_proba(chosen[:, 2 * shot :].flatten(0, 1)).argmax(1)
        truth = torch.arange(way).repeat_interleave(20 - 2 * shot)
        accuracy = 100 * (predicted == truth).double().mean().item()
        expected = expected_accuracy_with_more(few, model)
        assert expected is not None
        low, high = expected.interval
        n_covered += low <= accuracy <= high
        widths.append(high - low)
    print(f"covered {n_covered} of {n_tasks}, mean width {sum(widths) / n_tasks:.1f}")
    # Fewer than this have a probability of 1 % if each is covered with 95 %.
    assert n_covered >= 0.95 * n_tasks - 2.33 * (n_tasks * 0.95 * 0.05) ** 0.5
    assert sum(widths) / n_tasks < 60
