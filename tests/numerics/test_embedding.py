"""Shared embeddings against plain NumPy and PyTorch's own layers."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.nn.embedding import EmbeddingConfig, build_embedding, vector_embedding
from lgmnet.nn.layers import LEAKY_SLOPE, ConvEmbedding, ResidualBlock
from lgmnet.nn.norms import EPS, IntertaskNorm
from tests.numerics import reference
from tests.numerics.reference import Array
from tests.support.arrays import assert_equal, layers_to_arrays
from tests.support.random import noise, randomize


def normalize(x: Array, norm: dict[str, Array]) -> Array:
    return reference.normalize(
        x, norm["running_mean"], norm["running_var"], norm["weight"], norm["bias"]
    )


def test_an_embedding_of_images_is_conv_norm_relu_pool():
    """The code pools before the norm; here it pools last, as in the paper.

    The result is the same as long as no scale of the norm is negative.
    """
    pooled = (True, False)
    embedding = build_embedding(EmbeddingConfig((2, 7, 5), widths=(3, 4), pooled=pooled))
    assert isinstance(embedding, ConvEmbedding)
    randomize(embedding).eval()
    with torch.no_grad():
        for name, parameter in embedding.named_parameters():
            if parameter.ndim == 1 and name.endswith("weight"):
                parameter.abs_()
    x = noise(2, 2, 7, 5)
    features, layers = embedding(x), layers_to_arrays(embedding)
    for sample in range(2):
        y = x[sample].numpy()
        for conv, norm, pool in zip(layers[::2], layers[1::2], pooled, strict=True):
            y = reference.relu(normalize(reference.conv3x3(y, conv["weight"]), norm))
            y = reference.max_pool(y) if pool else y
        assert_equal(features[sample], y)


def test_an_embedding_of_vectors_is_linear_norm_relu():
    embedding = build_embedding(vector_embedding(2, 5, 4))
    assert isinstance(embedding, nn.Sequential)
    randomize(embedding).eval()
    x = noise(3, 2)
    features, layers = embedding(x), layers_to_arrays(embedding)
    assert len(layers) == 4
    for sample in range(3):
        y = x[sample].numpy()
        for dense, norm in zip(layers[::2], layers[1::2], strict=True):
            y = reference.relu(normalize(reference.linear(y, dense["weight"]), norm))
        assert_equal(features[sample], y)


def test_a_residual_block_is_three_convolutions_and_a_shortcut():
    block = cast(ResidualBlock, randomize(ResidualBlock(2, 5, "intertask")).eval())
    maps = noise(3, 2, 6, 6)

    def normalize_maps(x: Tensor, norm: nn.Module) -> Tensor:
        assert isinstance(norm, IntertaskNorm)
        mean, variance, weight, bias = (
            t[:, None, None] for t in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        )
        return (x - mean) / (variance + EPS).sqrt() * weight + bias

    def convolve(x: Tensor, layer: nn.Module) -> Tensor:
        assert isinstance(layer, nn.Conv2d)
        assert layer.bias is None
        return F.conv2d(x, layer.weight, padding=layer.weight.shape[-1] // 2)

    with torch.no_grad():
        x = maps
        layers = list(block.layers)
        convs, norms = layers[0::3], layers[1::3]
        for i in range(3):
            x = normalize_maps(convolve(x, convs[i]), norms[i])
            if i < 2:
                x = torch.where(x > 0, x, LEAKY_SLOPE * x)
        x = x + normalize_maps(convolve(maps, block.shortcut[0]), block.shortcut[1])
        expected = torch.where(x > 0, x, LEAKY_SLOPE * x)
        torch.testing.assert_close(block(maps), expected)


def test_a_residual_embedding_halves_images_where_it_pools():
    config = EmbeddingConfig((3, 32, 32), "residual", widths=(4, 6), pooled=(True, False))
    embedding = build_embedding(config).eval()
    assert embedding(torch.rand(2, 3, 32, 32)).shape == (2, 6, 16, 16)
