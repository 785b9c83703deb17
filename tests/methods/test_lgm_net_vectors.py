"""LGM-Net for vectors of any length: the frame against plain NumPy, and its invariances."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor

from lgmnet.errors import ConfigError
from lgmnet.methods.lgm_net_vectors import Frame, LGMNetVectors, LGMNetVectorsConfig
from lgmnet.nn.classification import AuxiliaryConfig
from lgmnet.nn.context import ContextConfig
from lgmnet.nn.embedding import EmbeddingConfig, vector_embedding
from lgmnet.nn.target import TargetConfig
from tests.support.models import build_method
from tests.support.random import noise

CONFIG = LGMNetVectorsConfig(
    embedding=vector_embedding(8, 16), target=TargetConfig((16,), pooled=False, skip="beside")
)
SUPPORT_Y = torch.tensor([[0, 1, 2, 0, 1, 2]] * 2)


@pytest.fixture
def method() -> LGMNetVectors:
    return cast(LGMNetVectors, build_method("lgm-net-vectors", CONFIG).double().eval())


def draw_task(features: int) -> tuple[Tensor, Tensor]:
    """Draw support and queries of two tasks."""
    return noise(2, 6, features), noise(2, 5, features, seed=1)


@pytest.mark.parametrize("features", [1, 2, 8, 9, 40, 300])
def test_vectors_of_any_length_are_classified(features, method):
    support, queries = draw_task(features)
    log_p = method.adapt(support, SUPPORT_Y, 3)(queries)
    assert log_p.shape == (2, 5, 3)
    torch.testing.assert_close(log_p.exp().sum(-1), torch.ones(2, 5, dtype=torch.float64))


@pytest.mark.parametrize("features", [3, 7])
def test_short_vectors_are_centred_scaled_and_filled_up_with_zeros(features):
    support, queries = draw_task(features)
    coordinates = Frame.from_support(support, 8)(queries).numpy()
    for i in range(2):
        samples = support[i].numpy()
        expected = (queries[i].numpy() - samples.mean(0)) / np.sqrt(samples.var(0).mean())
        np.testing.assert_allclose(coordinates[i, :, :features], expected)
        assert (coordinates[i, :, features:-1] == 0).all()
        assert (coordinates[i, :, -1] == 1).all()


def test_long_vectors_keep_their_inner_products_with_the_support():
    """Six support samples span five axes around their mean, fewer than the frame has."""
    support, queries = draw_task(40)
    frame = Frame.from_support(support, 8)
    keys, points = frame(support).numpy(), frame(queries).numpy()
    for i in range(2):
        samples = support[i].numpy()
        size = np.sqrt(samples.var(0).mean())
        centred = [(x[i].numpy() - samples.mean(0)) / size for x in (support, queries)]
        np.testing.assert_allclose(keys[i] @ keys[i].T, centred[0] @ centred[0].T + 1, atol=1e-9)
        np.testing.assert_allclose(points[i] @ keys[i].T, centred[1] @ centred[0].T + 1, atol=1e-9)
        assert (np.abs(keys[i][:, 5:-1]) < 1e-9).all()


def test_with_too_few_coordinates_the_principal_axes_remain():
    support, _ = draw_task(40)
    short = Frame.from_support(support, 4)(support)[..., :-1]
    long = Frame.from_support(support, 8)(support)[..., :-1]
    torch.testing.assert_close(short, long[..., :3])
    sizes = long.square().sum(1)
    assert (sizes.diff(dim=1) <= 1e-9).all()
    assert (sizes[:, 0] > sizes[:, 2]).all()


@pytest.mark.parametrize("features", [4, 40])
def test_neither_the_unit_nor_the_origin_of_features_matters(features, method):
    support, queries = draw_task(features)
    expected = method.adapt(support, SUPPORT_Y, 3)(queries)
    scale, offset = 1234.5, torch.linspace(-9, 9, features, dtype=torch.float64)
    classifier = method.adapt(support * scale + offset, SUPPORT_Y, 3)
    log_p = classifier(queries * scale + offset)
    torch.testing.assert_close(log_p, expected, rtol=1e-6, atol=1e-8)


def test_a_feature_that_is_constant_over_the_support_is_ignored(method):
    support, queries = draw_task(4)
    expected = method.adapt(support, SUPPORT_Y, 3)(queries)

    def append(x: Tensor, value: float) -> Tensor:
        return torch.cat([x, torch.full_like(x[..., :1], value)], -1)

    classifier = method.adapt(append(support, 0.1), SUPPORT_Y, 3)
    torch.testing.assert_close(classifier(append(queries, 77.0)), expected)


def test_embeddings_of_images_are_refused():
    images = EmbeddingConfig((3, 8, 8), widths=(8,), pooled=(True,))
    with pytest.raises(ConfigError, match="'layers' must be 'linear', but is 'conv'"):
        LGMNetVectorsConfig(embedding=images, context=ContextConfig(), target=TargetConfig())


def test_an_auxiliary_loss_is_refused():
    """Synthetic vectors have no fixed set of classes."""
    with pytest.raises(ConfigError, match="'auxiliary' must be None for this method"):
        replace(CONFIG, auxiliary=AuxiliaryConfig())
    with pytest.raises(ConfigError, match="'feature_tasks' must be 0 for this method"):
        replace(CONFIG, feature_tasks=0.5)
