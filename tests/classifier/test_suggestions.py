"""Suggestions of what to label next: diverse, without copies, and better than random images."""

from __future__ import annotations

import pytest
import torch

from lgmnet.classifier import suggest
from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.classifier.edit import add_samples
from lgmnet.classifier.fit import fit_classifier
from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.registry import open_source
from lgmnet.errors import ConfigError
from lgmnet.model.feature_cache import embed_photos
from lgmnet.model.model import Model, load_model
from lgmnet.nn.pretrained import load_backbone
from tests.contract.cases import CASES
from tests.support.models import build_method, drawings, tiny_model

N_TASKS, N_SUGGESTED, N_RANDOM, N_DRAWS = 20, 5, 8, 4


def test_copies_and_near_duplicates_do_not_fill_the_list(fitted):
    """Five groups of eight images that differ in one pixel: one of each group comes first."""
    originals = drawings(5, 1, seed=4)[:, 0]
    pool = originals.repeat_interleave(8, 0)
    for i in range(8):
        pool[i::8, 0, 0, i] ^= 1
    found = suggest(fitted, pool, 5)
    assert sorted(s.index // 8 for s in found) == [0, 1, 2, 3, 4]
    worths = [s.worth for s in found]
    assert worths == sorted(worths, reverse=True)
    assert 0 < sum(worths) <= 1 + 1e-6
    answers = fitted.predict(pool[[s.index for s in found]])
    assert [s.label for s in found] == answers
    # All images of a group are suggested before the same pixels come again.
    copied = torch.cat([pool, pool, fitted.support.samples])
    suggested = [s.index for s in suggest(fitted, copied, 200)]
    assert len(suggested) == len(pool)
    assert max(suggested) < len(pool)


def test_the_first_suggestion_stands_for_most_images(fitted):
    """Among many images of one kind and one outlier, the outlier is not the first."""
    crowd = drawings(2, 12, seed=4)[0]
    outlier = 255 - drawings(2, 1, seed=9)[1]
    found = suggest(fitted, torch.cat([outlier, crowd]), 3)
    assert found[0].index > 0
    assert suggest(fitted, torch.cat([outlier, crowd]), 3) == found, "nothing is random"


def test_invalid_and_empty_requests(fitted):
    assert suggest(fitted, drawings(2, 1)[:0, 0], 3) == []
    assert suggest(fitted, fitted.support.samples, 3) == []
    with pytest.raises(ConfigError, match="must be positive, but is 0"):
        suggest(fitted, drawings(2, 1)[:, 0], 0)


@pytest.mark.parametrize("case", CASES)
def test_every_method_can_suggest(case):
    name, config = CASES[case]
    model = Model(build_method(name, config).eval(), name, tiny_model().training, name="case")
    shape = model.method.inputs.shape
    x = torch.rand(12, *shape, generator=torch.Generator().manual_seed(0))
    x = (255 * x).to(torch.uint8) if len(shape) == 3 else x
    x = x.double() if model.method.inputs.any_length else x
    fitted = fit_classifier(model, x[:6], [0, 1, 2, 0, 1, 2], ("a", "b", "c"))
    found = suggest(fitted, x[6:], 3)
    assert len({s.index for s in found}) == 3


def measure_gains(
    model: Model, images: torch.Tensor, labels: torch.Tensor, *, shot: int = 1
) -> float:
    """Measure the mean gain of suggested images over more random ones, in points of accuracy.

    In each of `N_TASKS` tasks of five classes, five images are tests, and all but ``shot`` of the
    others are the pool that `N_SUGGESTED` or `N_RANDOM` images are taken from and labelled.
    """
    generator = torch.Generator().manual_seed(1)
    names = list("abcde")
    gains = []
    for _ in range(N_TASKS):
        classes = torch.randperm(int(labels.max()) + 1, generator=generator)[:5]
        members = [
            own[torch.randperm(len(own), generator=generator)]
            for own in ((labels == c).nonzero()[:, 0] for c in classes)
        ]
        support, pool, tests = (
            torch.cat([own[part] for own in members])
            for part in (slice(shot), slice(shot, -5), slice(-5, None))
        )
        truth = {i: n for own, n in zip(members, names, strict=True) for i in own.tolist()}
        numbers = torch.arange(5).repeat_interleave(shot).tolist()
        fitted = fit_classifier(model, images[support], numbers, names)
        expected = [truth[i] for i in tests.tolist()]

        def accuracy_with(
            added: torch.Tensor,
            fitted: FittedClassifier = fitted,
            truth: dict[int, str] = truth,
            tests: torch.Tensor = tests,
            expected: list[str] = expected,
        ) -> float:
            own = [truth[i] for i in added.tolist()]
            answers = add_samples(fitted, model, images[added], own).predict(images[tests])
            n_correct = sum(a == e for a, e in zip(answers, expected, strict=True))
            return 100 * n_correct / len(expected)

        suggested = [s.index for s in suggest(fitted, images[pool], N_SUGGESTED)]
        random = [
            accuracy_with(pool[torch.randperm(len(pool), generator=generator)[:N_RANDOM]])
            for _ in range(N_DRAWS)
        ]
        gains.append(accuracy_with(pool[suggested]) - sum(random) / N_DRAWS)
    return sum(gains) / N_TASKS


def test_five_suggested_drawings_help_as_much_as_eight_random_ones():
    """On the package's own drawings, with a model of random weights, which is often wrong."""
    images = drawings(20, 25, seed=3)
    labels = torch.arange(20).repeat_interleave(25)
    assert measure_gains(tiny_model(), images.flatten(0, 1), labels) >= 0


@pytest.mark.long
@pytest.mark.pack("caltech101")
def test_five_suggested_photos_help_as_much_as_eight_random_ones():
    """On photos of classes that the model was not trained on, and that chose no strategy."""
    pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra 'photos'")
    model = load_model("photos")
    dataset = open_source("caltech101", "test", model.inputs.shape)
    assert isinstance(dataset, ClassDataset)
    starts = dataset.starts[:12].tolist()
    photos = torch.cat([dataset.images[start : start + 25] for start in starts])
    features = embed_photos(load_backbone(model.backbone), photos)
    labels = torch.arange(12).repeat_interleave(25)
    assert measure_gains(model, features, labels) >= 0
