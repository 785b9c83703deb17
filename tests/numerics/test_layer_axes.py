"""Axes of features against NumPy, and the recognition of changes."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from lgmnet.errors import ConfigError
from lgmnet.nn.axes import CLASS_SHRINKAGE, AxisGroup, GroupedAxes
from lgmnet.nn.embedding import EmbeddingConfig, build_embedding
from lgmnet.nn.factor_probe import FactorProbe, FactorProbeConfig, ProbedFactor
from lgmnet.nn.layer_axes import AxesConfig, LayerAxes, layer_groups
from lgmnet.nn.layer_statistics import LAYER_STATISTICS, N_LAYER_STATISTICS
from tests.support.random import seeded

HALF = AxisGroup("half", 0, 6, 4)
CLASSES = AxisGroup("classes", 4, 10, 3, "classes", is_rooted=True)
N_SAMPLES = 400


def draw_features(seed=0):
    """Draw correlated positive features of four classes: samples [samples, 10], labels."""
    generator = seeded(seed)
    labels = torch.arange(N_SAMPLES) % 4
    mixing = torch.randn(10, 10, generator=generator)
    noise = torch.randn(N_SAMPLES, 10, generator=generator) @ mixing
    means = torch.randn(4, 10, generator=generator)
    return (noise + 3 * means[labels]).abs() + 0.1, labels


def fit_axes(*groups, labels=None, is_plain=None):
    x, known = draw_features()
    axes = GroupedAxes(groups)
    labels = known if labels is None else labels
    is_plain = torch.ones(N_SAMPLES, dtype=torch.bool) if is_plain is None else is_plain
    axes.fit(x, labels, is_plain)
    return x, axes(x)


def test_half_whitened_axes_have_the_roots_of_the_principal_variances():
    x, z = fit_axes(HALF)
    z = z.numpy()
    part = x[:, :6].numpy()
    variances = np.linalg.eigvalsh(np.cov(part.T))[::-1][:4]
    expected = np.sqrt(variances) / np.sqrt(variances).sum()
    np.testing.assert_allclose(z.var(0, ddof=1), expected, rtol=1e-3)
    off = np.corrcoef(z.T) - np.eye(4)
    assert np.abs(off).max() < 1e-3, "axes are uncorrelated"
    assert np.square(z).sum(1).mean() == pytest.approx(1, rel=0.01)


def test_in_their_natural_scale_axes_are_a_rotation():
    x, labels = draw_features()
    axes = GroupedAxes([AxisGroup("all", 0, 6, 6), CLASSES])
    axes.fit(x, labels, torch.ones(N_SAMPLES, dtype=torch.bool))
    natural = axes(x) * axes.get_buffer("natural")
    torch.testing.assert_close(
        torch.cdist(natural[:, :6], natural[:, :6]),
        torch.cdist(x[:, :6], x[:, :6]),
        rtol=1e-3,
        atol=0.02,
    )
    assert not natural[:, 6:].any(), "whitened axes have no natural scale"


def test_axes_whitened_by_classes_are_those_of_numpy():
    x, z = fit_axes(CLASSES)
    _, labels = draw_features()
    part = x[:, 4:10].numpy().astype(float)
    part = np.sqrt(part / part.sum(1, keepdims=True))
    means = np.stack([part[labels.numpy() == k].mean(0) for k in range(4)])
    differences = part - means[labels.numpy()]
    within = differences.T @ differences / (N_SAMPLES - 4)
    variances, vectors = np.linalg.eigh(within)
    whitening = vectors @ np.diag((variances + CLASS_SHRINKAGE * variances.mean()) ** -0.5)
    white = (part - part.mean(0)) @ whitening @ vectors.T
    variances, vectors = np.linalg.eigh(np.cov(white.T))
    expected = white @ vectors[:, ::-1][:, :3] / np.sqrt(variances[::-1][:3].sum())
    signs = np.sign((expected * z.numpy()).sum(0))
    np.testing.assert_allclose(z.numpy(), expected * signs, atol=0.01)


def test_changed_samples_and_unknown_classes_do_not_count_for_the_variance_within_classes():
    x, labels = draw_features()
    is_plain = torch.rand(N_SAMPLES, generator=seeded(1)) < 0.5
    axes = [GroupedAxes([CLASSES]) for _ in range(2)]
    axes[0].fit(x, labels, is_plain)
    hidden = torch.where(is_plain, labels, torch.full_like(labels, -1))
    axes[1].fit(x, hidden, torch.ones_like(is_plain))
    assert torch.equal(axes[0](x), axes[1](x))


def test_axes_and_their_groups_are_those_of_the_config():
    config = AxesConfig((HALF, CLASSES), FactorProbeConfig((ProbedFactor("turn", 4),), steps=1))
    embedding = EmbeddingConfig((10,), "linear", (), (), axes=config)
    assert embedding.groups == (4, 3, 4)
    built = build_embedding(embedding)
    assert built(torch.rand(5, 10)).shape == (5, embedding.n_out) == (5, 11)
    assert not any(p.requires_grad for p in built.parameters()), "nothing is left to train"


def test_the_groups_of_layers_lie_within_the_statistics():
    starts = {(part.start, part.stop) for part in LAYER_STATISTICS}
    for group in layer_groups():
        assert (group.start, group.stop) in starts
    assert max(group.stop for group in layer_groups()) == N_LAYER_STATISTICS


@pytest.mark.parametrize(
    ("config", "match"),
    [
        (lambda: EmbeddingConfig((9,), "linear", (), (), axes=AxesConfig((CLASSES,))), "within"),
        (lambda: EmbeddingConfig(axes=AxesConfig((HALF,))), "without layers"),
        (lambda: AxisGroup("x", 3, 3, 1), "stop"),
        (lambda: AxisGroup("x", 0, 3, 4), "axes"),
        (lambda: AxesConfig(()), "groups"),
        (lambda: FactorProbeConfig(()), "factors"),
    ],
)
def test_impossible_configs_are_refused(config, match):
    with pytest.raises(ConfigError, match=match):
        config()


def draw_changes(n=600, n_values=3):
    """Draw samples with a change that 8 of 40 features show weakly: samples, values, images."""
    generator = seeded(3)
    values = torch.randint(n_values, (n, 1), generator=generator)
    signs = torch.randn(n_values, 40, generator=generator)
    x = torch.randn(n, 40, generator=generator) + signs[values[:, 0]]
    return x, values, torch.arange(n)


def fit_probe(x, values, images, **settings):
    torch.manual_seed(0)
    settings = {"hidden": 64, "steps": 300, "dropout": 0.0, "weight_decay": 0.0} | settings
    probe = FactorProbe(x.shape[1], FactorProbeConfig((ProbedFactor("blur", 3),), **settings))
    return probe, probe.fit(x, values, images)


def accuracy(answers, values):
    return (answers.argmax(1) == values[:, 0]).float().mean().item()


def test_changes_are_recognised_and_their_answers_sum_to_zero():
    x, values, images = draw_changes()
    probe, answers = fit_probe(x, values, images)
    assert accuracy(answers, values) > 0.9
    assert answers.sum(1).abs().max() < 1e-5
    assert torch.allclose(probe(x).sum(1), torch.zeros(len(x)), atol=1e-5)


def test_each_sample_is_answered_by_a_network_that_has_not_seen_its_image():
    x, values, _ = draw_changes()
    x = torch.randn(300, 40, generator=seeded(5)).repeat(2, 1)  # Two samples of each image.
    values = values[:300].repeat(2, 1)
    probe, answers = fit_probe(x, values, torch.arange(300).repeat(2))
    assert accuracy(probe(x), values) > 0.95, "the whole network knows what it was trained on"
    assert accuracy(answers, values) < 0.5, "of random values, nothing can be known"


def test_unknown_values_are_left_out():
    x, values, images = draw_changes()
    generator = seeded(7)
    wrong = torch.rand(len(x), generator=generator) < 0.5
    x[wrong] = torch.randn(int(wrong.sum()), 40, generator=generator)
    known = torch.where(wrong[:, None], torch.full_like(values, -1), values)
    _, answers = fit_probe(x, known, images)
    assert accuracy(answers[~wrong], values[~wrong]) > 0.9


def test_the_embedding_of_training_samples_is_compression_and_cross_fitted_answers():
    x, labels = draw_features()
    torch.manual_seed(0)
    probe = FactorProbeConfig((ProbedFactor("blur", 2),), hidden=8, steps=5)
    layers = LayerAxes(AxesConfig((HALF, CLASSES), probe))
    values = torch.stack([labels, torch.arange(N_SAMPLES) % 3 - 1], 1)
    embedded = layers.fit(x, ("class", "blur"), values, torch.arange(N_SAMPLES))
    assert torch.equal(embedded[:, :7], layers.axes(x))
    assert embedded.shape == (N_SAMPLES, 9)
    assert not torch.allclose(embedded[:, 7:], layers(x)[:, 7:]), "not by the final network"


def test_axes_on_the_meta_device_do_not_load_the_compiler():
    """Classifiers from files are checked there; the compiler would take a second to import."""
    program = (
        "import sys, torch\n"
        "from lgmnet.nn.axes import AxisGroup, GroupedAxes\n"
        "with torch.device('meta'):\n"
        "    GroupedAxes([AxisGroup('a', 0, 4, 2)])\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    start = GroupedAxes([AxisGroup("a", 0, 4, 2)]).get_buffer("projection_0")
    assert torch.equal(start, torch.eye(4)[:, :2])
