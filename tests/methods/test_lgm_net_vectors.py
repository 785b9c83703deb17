"""LGM-Net for vectors of any length: the frame against plain NumPy, and what it makes equal."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lgmnet.errors import ConfigError
from lgmnet.methods.lgm_net_vectors import Frame, LGMNetVectors, LGMNetVectorsConfig


@pytest.fixture
def method() -> LGMNetVectors:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = LGMNetVectorsConfig(
            feature_shape=(8,), embedding_widths=(16,), target_widths=(16,), target_skip=True
        )
        return LGMNetVectors(config).double().eval()


def task(features: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    support = torch.randn(2, 6, features, generator=generator, dtype=torch.float64)
    queries = torch.randn(2, 5, features, generator=generator, dtype=torch.float64)
    return support, torch.tensor([[0, 1, 2, 0, 1, 2]] * 2), queries


@pytest.mark.parametrize("features", [1, 2, 8, 9, 40, 300])
def test_vectors_of_any_length_are_answered(features, method):
    support, labels, queries = task(features)
    answer = method.adapt(support, labels, 3)(queries)
    assert answer.shape == (2, 5, 3)
    torch.testing.assert_close(answer.exp().sum(-1), torch.ones(2, 5, dtype=torch.float64))


@pytest.mark.parametrize("features", [3, 7])
def test_short_vectors_are_centred_scaled_and_filled_up(features):
    support, _, queries = task(features)
    seen = Frame.of(support, 8)(queries).numpy()
    for i in range(2):
        few = support[i].numpy()
        expected = (queries[i].numpy() - few.mean(0)) / np.sqrt(few.var(0).mean())
        np.testing.assert_allclose(seen[i, :, :features], expected)
        assert (seen[i, :, features:-1] == 0).all()
        assert (seen[i, :, -1] == 1).all()


def test_long_vectors_keep_their_products_with_the_support():
    """Six support samples span five axes about their mean; eight axes are room enough."""
    support, _, queries = task(40)
    frame = Frame.of(support, 8)
    seen, others = frame(support).numpy(), frame(queries).numpy()
    for i in range(2):
        few = support[i].numpy()
        size = np.sqrt(few.var(0).mean())
        plain = [(x[i].numpy() - few.mean(0)) / size for x in (support, queries)]
        np.testing.assert_allclose(seen[i] @ seen[i].T, plain[0] @ plain[0].T + 1, atol=1e-9)
        np.testing.assert_allclose(others[i] @ seen[i].T, plain[1] @ plain[0].T + 1, atol=1e-9)
        assert (np.abs(seen[i][:, 5:-1]) < 1e-9).all()


def test_of_too_many_axes_the_principal_ones_are_kept():
    support, _, _ = task(40)
    few = Frame.of(support, 4)(support)[..., :-1]
    all_ = Frame.of(support, 8)(support)[..., :-1]
    torch.testing.assert_close(few, all_[..., :3])
    sizes = all_.square().sum(1)
    assert (sizes.diff(dim=1) <= 1e-9).all()


@pytest.mark.parametrize("features", [4, 40])
def test_neither_unit_nor_offsets_matter(features, method):
    support, labels, queries = task(features)
    expected = method.adapt(support, labels, 3)(queries)
    scale = 1234.5
    offset = torch.linspace(-9, 9, features, dtype=torch.float64)
    came = method.adapt(support * scale + offset, labels, 3)(queries * scale + offset)
    torch.testing.assert_close(came, expected, rtol=1e-6, atol=1e-8)


def test_a_feature_alike_in_the_whole_support_says_nothing(method):
    support, labels, queries = task(4)
    expected = method.adapt(support, labels, 3)(queries)

    def beside(x: torch.Tensor, value: float) -> torch.Tensor:
        return torch.cat([x, torch.full_like(x[..., :1], value)], -1)

    classifier = method.adapt(beside(support, 0.1), labels, 3)
    torch.testing.assert_close(classifier(beside(queries, 77.0)), expected)


def test_its_target_is_linear():
    with pytest.raises(ConfigError, match="'target' must be 'linear'"):
        LGMNetVectorsConfig(
            feature_shape=(3, 8, 8),
            embedding_widths=(8,),
            embedding_pooled=(True,),
            target="conv",
        )
