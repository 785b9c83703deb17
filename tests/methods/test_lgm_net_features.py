"""LGM-Net on frozen features: its statistics and its TargetNet against plain NumPy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lgmnet.errors import ConfigError
from lgmnet.methods.lgm_net_features import LGMNetFeatures, LGMNetFeaturesConfig
from lgmnet.nn.whitening import SqrtNormalize, estimate_variation, rescale

CONFIG = LGMNetFeaturesConfig(feature_shape=(8,), axes=3, context=4, mean_pull=2.0)
COUNTS = [5, 3, 9, 4, 6, 7]
GROUPS = torch.tensor([0, 1, 0, 1, 2, 2])


@pytest.fixture
def samples() -> tuple[torch.Tensor, torch.Tensor]:
    """Classes that differ in size, and vary more along some features than along others."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(len(COUNTS)).repeat_interleave(torch.tensor(COUNTS))
    centres = torch.randn(len(COUNTS), 8, generator=generator, dtype=torch.float64)
    noise = torch.randn(len(labels), 8, generator=generator, dtype=torch.float64)
    return centres[labels] + noise * torch.linspace(0.2, 3, 8, dtype=torch.float64), labels


@pytest.fixture
def method(samples) -> LGMNetFeatures:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        method = LGMNetFeatures(CONFIG).double()
        for parameter in method.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.3)
    method.prepare(samples[0], samples[1], GROUPS)
    return method.eval()


def known_by_hand(x: np.ndarray, y: np.ndarray, classes: list[int]) -> tuple[np.ndarray, ...]:
    """Mean over classes of their means, and of their covariances."""
    means = [x[y == c].mean(0) for c in classes]
    covariances = [np.cov(x[y == c].T, bias=True) for c in classes]
    return np.mean(means, 0), np.mean(covariances, 0)


def test_variations_are_those_of_all_classes_and_of_all_but_each_group(samples):
    x, y = samples
    found = estimate_variation(x, y, GROUPS, axes=3)
    for i, leave_one_out in enumerate([None, 0, 1, 2]):
        classes = [c for c in range(len(COUNTS)) if int(GROUPS[c]) != leave_one_out]
        mean, covariance = known_by_hand(x.numpy(), y.numpy(), classes)
        np.testing.assert_allclose(found.mean[i], mean)
        sizes, axes = np.linalg.eigh(covariance)
        sizes /= sizes.mean()
        np.testing.assert_allclose(found.variances[i], [sizes[:5].mean(), *sizes[5:]])
        along = np.abs(axes[:, 5:].T @ found.axes[i].numpy())
        np.testing.assert_allclose(along, np.eye(3), atol=1e-9)


def test_what_is_known_does_not_hang_on_how_many_samples_a_class_has(samples):
    x, y = samples
    twice = torch.cat([x, x[y == 2]]), torch.cat([y, y[y == 2]])
    one, two = estimate_variation(x, y, GROUPS, axes=3), estimate_variation(*twice, GROUPS, axes=3)
    torch.testing.assert_close(one.variances, two.variances)
    torch.testing.assert_close(one.mean, two.mean)


def test_rescaled_is_the_whole_matrix_by_hand(samples):
    x = samples[0][:12].view(2, 6, 8)
    axes = torch.linalg.qr(torch.randn(2, 8, 3, dtype=torch.float64))[0]
    centre, scales = x.mean(1), torch.rand(2, 4, dtype=torch.float64)
    came = rescale(x, centre, axes, scales)
    for i in range(2):
        a, s = axes[i].numpy(), scales[i].numpy()
        weight = s[0] * np.eye(8) + a @ np.diag(s[1:] - s[0]) @ a.T
        np.testing.assert_allclose(came[i], (x[i].numpy() - centre[i].numpy()) @ weight.T)


def test_compressed_features_keep_their_signs_and_have_one_length(samples):
    came, x = SqrtNormalize()(samples[0]), samples[0].numpy()
    roots = np.sign(x) * np.sqrt(np.abs(x))
    lengths = np.linalg.norm(roots, axis=1, keepdims=True)
    np.testing.assert_allclose(came, roots / lengths * np.sqrt(8))


def test_ungenerated_it_is_prototypes_by_cosine_behind_a_whitening(samples):
    """Drawn to the mean all the way, and with every axis: no learned number but the temperature."""
    x, y = samples
    config = replace(CONFIG, axes=8, generated=False, mean_pull=1e9)
    method = LGMNetFeatures(config).double().eval()
    method.prepare(x, y, GROUPS)
    support, labels, queries = x[:17], y[:17], x[17:]
    came = method.adapt(support[None], labels[None], 3)(queries[None])[0].exp()

    seen = SqrtNormalize()(x).numpy()
    mean, covariance = known_by_hand(seen, y.numpy(), list(range(len(COUNTS))))
    sizes, axes = np.linalg.eigh(covariance)
    whitening = axes @ np.diag((sizes / sizes.mean() + config.shrinkage) ** -0.5) @ axes.T
    unit = (seen - mean) @ whitening
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    prototypes = np.stack([unit[:17][labels.numpy() == c].mean(0) for c in range(3)])
    prototypes /= np.linalg.norm(prototypes, axis=1, keepdims=True)
    powers = np.exp(10 * unit[17:] @ prototypes.T)
    np.testing.assert_allclose(
        came.detach(), powers / powers.sum(1, keepdims=True), rtol=1e-6, atol=1e-7
    )


def test_in_training_a_task_sees_nothing_known_of_its_own_classes(samples, method):
    x, y = samples
    at = torch.tensor([0, 1, 5, 6, 8, 9])  # Of classes 0, 1 and 2; the first is of group 0.
    support, labels = x[at][None], torch.tensor([[0, 0, 1, 1, 2, 2]])
    asked = (support, labels, x[[2, 7]][None], torch.tensor([[0, 1]]), 3)
    classes = torch.tensor([[0, 1, 2]])
    _, log_p = method.learn(*asked, classes=classes)

    others = LGMNetFeatures(CONFIG).double().eval()
    others.load_state_dict(method.state_dict())
    of_others = torch.isin(y, (GROUPS != 0).nonzero()[:, 0])
    renumbered = torch.unique(y[of_others], return_inverse=True)[1]
    others.prepare(x[of_others], renumbered, torch.zeros(4, dtype=torch.long))
    torch.testing.assert_close(log_p, others(*asked[:3], 3))
    assert not torch.allclose(log_p, method(*asked[:3], 3))


def test_what_is_left_out_is_not_written_down(samples, method):
    assert not any("held" in name for name in method.state_dict())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("axes", 9),
        ("axes", 0),
        ("shrinkage", 0.0),
        ("mean_pull", -1.0),
        ("feature_shape", (3, 8, 8)),
    ],
)
def test_what_cannot_be_is_refused(field, value):
    with pytest.raises(ConfigError, match=f"'{field}' must be"):
        replace(CONFIG, **{field: value})
