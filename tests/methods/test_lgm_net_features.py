"""LGM-Net for features: its statistics and its TargetNet against plain NumPy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from lgmnet.episode import Episode
from lgmnet.errors import ConfigError
from lgmnet.methods.lgm_net_features import (
    LGMNetFeatures,
    LGMNetFeaturesConfig,
    ScaleGeneratorConfig,
)
from lgmnet.nn.whitening import SqrtNormalize, estimate_variation, rescale
from tests.support.models import build_method
from tests.support.random import noise

CONFIG = LGMNetFeaturesConfig(
    feature_shape=(8,), axes=3, mean_pull=2.0, generator=ScaleGeneratorConfig(context_length=4)
)
COUNTS = [5, 3, 9, 4, 6, 7]
GROUPS = torch.tensor([0, 1, 0, 1, 2, 2])


@pytest.fixture
def samples() -> tuple[Tensor, Tensor]:
    """Classes of different sizes that vary more along some features than along others."""
    labels = torch.arange(len(COUNTS)).repeat_interleave(torch.tensor(COUNTS))
    spread = torch.linspace(0.2, 3, 8, dtype=torch.float64)
    return noise(len(COUNTS), 8)[labels] + noise(len(labels), 8, seed=1) * spread, labels


@pytest.fixture
def method(samples) -> LGMNetFeatures:
    """Method prepared for these samples, without weights of zero."""
    method = cast(LGMNetFeatures, build_method("lgm-net-features", CONFIG).double())
    for i, parameter in enumerate(method.parameters()):
        if not parameter.any():
            parameter.data.copy_(0.3 * noise(*parameter.shape, seed=i))
    method.prepare(samples[0], samples[1], GROUPS)
    return method.eval()


def estimate_by_class(x: np.ndarray, y: np.ndarray, classes: list[int]) -> tuple[np.ndarray, ...]:
    """Compute the mean over classes of their means, and of their covariances."""
    means = [x[y == c].mean(0) for c in classes]
    covariances = [np.cov(x[y == c].T, bias=True) for c in classes]
    return np.mean(means, 0), np.mean(covariances, 0)


def test_variation_is_estimated_for_all_classes_and_without_each_group(samples):
    x, y = samples
    variation = estimate_variation(x, y, GROUPS, axes=3)
    for i, left_out in enumerate([None, 0, 1, 2]):
        classes = [c for c in range(len(COUNTS)) if int(GROUPS[c]) != left_out]
        mean, covariance = estimate_by_class(x.numpy(), y.numpy(), classes)
        np.testing.assert_allclose(variation.mean[i], mean)
        variances, axes = np.linalg.eigh(covariance)
        variances /= variances.mean()
        expected = [variances[:5].mean(), *variances[5:]]
        np.testing.assert_allclose(variation.variances[i], expected)
        along = np.abs(axes[:, 5:].T @ variation.axes[i].numpy())
        np.testing.assert_allclose(along, np.eye(3), atol=1e-9)


def test_the_number_of_samples_of_a_class_does_not_weight_it(samples):
    x, y = samples
    once = estimate_variation(x, y, GROUPS, axes=3)
    is_class_2 = y == 2
    x, y = torch.cat([x, x[is_class_2]]), torch.cat([y, y[is_class_2]])
    twice = estimate_variation(x, y, GROUPS, axes=3)
    torch.testing.assert_close(once.variances, twice.variances)
    torch.testing.assert_close(once.mean, twice.mean)


def test_rescaling_multiplies_by_the_whole_matrix(samples):
    x = samples[0][:12].view(2, 6, 8)
    axes = torch.linalg.qr(noise(2, 8, 3))[0]
    centre, scales = x.mean(1), noise(2, 4, seed=1).abs()
    rescaled = rescale(x, centre, axes, scales)
    for i in range(2):
        a, s = axes[i].numpy(), scales[i].numpy()
        weight = s[0] * np.eye(8) + a @ np.diag(s[1:] - s[0]) @ a.T
        np.testing.assert_allclose(rescaled[i], (x[i].numpy() - centre[i].numpy()) @ weight.T)


def test_normalized_features_are_signed_roots_of_one_length(samples):
    normalized, x = SqrtNormalize()(samples[0]), samples[0].numpy()
    roots = np.sign(x) * np.sqrt(np.abs(x))
    lengths = np.linalg.norm(roots, axis=1, keepdims=True)
    np.testing.assert_allclose(normalized, roots / lengths * np.sqrt(8))


def test_without_a_generator_it_is_cosine_prototypes_of_whitened_features(samples):
    """Support samples moved all the way to their mean, and a scale for every axis."""
    x, y = samples
    config = replace(CONFIG, axes=8, generator=None, mean_pull=1e9)
    method = LGMNetFeatures(config).double().eval()
    method.prepare(x, y, GROUPS)
    support, labels, queries = x[:17], y[:17], x[17:]
    p = method.adapt(support[None], labels[None], 3)(queries[None])[0].exp()

    features = SqrtNormalize()(x).numpy()
    mean, covariance = estimate_by_class(features, y.numpy(), list(range(len(COUNTS))))
    variances, axes = np.linalg.eigh(covariance)
    scales = (variances / variances.mean() + config.shrinkage) ** -0.5
    unit = (features - mean) @ axes @ np.diag(scales) @ axes.T
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    prototypes = np.stack([unit[:17][labels.numpy() == c].mean(0) for c in range(3)])
    prototypes /= np.linalg.norm(prototypes, axis=1, keepdims=True)
    powers = np.exp(10 * unit[17:] @ prototypes.T)
    np.testing.assert_allclose(
        p.detach(), powers / powers.sum(1, keepdims=True), rtol=1e-6, atol=1e-7
    )


def test_a_training_task_uses_statistics_without_the_group_of_its_classes(samples, method):
    x, y = samples
    rows = torch.tensor([0, 1, 5, 6, 8, 9])  # Classes 0, 1 and 2; the first is in group 0.
    episode = Episode(
        support_x=x[rows][None],
        support_y=torch.tensor([[0, 0, 1, 1, 2, 2]]),
        query_x=x[[2, 7]][None],
        query_y=torch.tensor([[0, 1]]),
        way=3,
        classes=torch.tensor([[0, 1, 2]]),
    )
    _, log_p = method.learn(episode)

    def answer(method: LGMNetFeatures) -> Tensor:
        answers: Tensor = method(episode.support_x, episode.support_y, episode.query_x, 3)
        return answers

    others = LGMNetFeatures(CONFIG).double().eval()
    others.load_state_dict(method.state_dict())
    is_other = torch.isin(y, (GROUPS != 0).nonzero()[:, 0])
    renumbered = torch.unique(y[is_other], return_inverse=True)[1]
    others.prepare(x[is_other], renumbered, torch.zeros(4, dtype=torch.long))
    torch.testing.assert_close(log_p, answer(others))
    assert not torch.allclose(log_p, answer(method))


def test_statistics_without_a_group_are_not_saved(samples, method):
    assert len(method.held_mean) == 3
    assert not any("held" in name for name in method.state_dict())
    assert not any("held" in name for name in method.inference_state())


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("axes", 9, "1 to 8, the features, but is 9"),
        ("axes", 0, "1 to 8, the features, but is 0"),
        ("temperature", 0.0, "positive, but is 0.0"),
        ("shrinkage", 0.0, "positive, but is 0.0"),
        ("mean_pull", -1.0, "0 or more, but is -1.0"),
        ("feature_shape", (3, 8, 8), r"one positive number, but is \(3, 8, 8\)"),
    ],
)
def test_wrong_values_are_refused(field, value, expected):
    change: dict[str, Any] = {field: value}
    with pytest.raises(ConfigError, match=f"'{field}' must be {expected}"):
        replace(CONFIG, **change)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("context_length", 0, "positive, but is 0"),
        ("width", 0, "positive, but is 0"),
        ("scale_damping", 1.5, "0 to 1, but is 1.5"),
    ],
)
def test_wrong_values_of_the_generator_are_refused(field, value, expected):
    with pytest.raises(ConfigError, match=f"'{field}' must be {expected}"):
        ScaleGeneratorConfig(**{field: value})
