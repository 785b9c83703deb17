"""Reference implementation in plain NumPy: loops and formulas, without torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Array = np.ndarray


def conv3x3(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """Convolve an image [in, h, w] with kernels [out, in, 3, 3], with a border of zeros.

    Like `torch.nn.functional.conv2d`, this is a cross-correlation: kernels are not flipped.
    """
    _, height, width = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    y = np.empty((len(weight), height, width))
    for out in range(len(weight)):
        for i in range(height):
            for j in range(width):
                y[out, i, j] = (weight[out] * padded[:, i : i + 3, j : j + 3]).sum()
        if bias is not None:
            y[out] += bias[out]
    return y


def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """Multiply a weight [out, in] by a vector [in]."""
    y = np.array([sum(w * v for w, v in zip(row, x, strict=True)) for row in weight])
    return y if bias is None else y + bias


def max_pool(x: Array, *, ceil: bool = False) -> Array:
    """Compute the maxima of the 2x2 blocks of maps [channels, h, w].

    Args:
        x: Maps.
        ceil: If True, a last odd row or column makes blocks of its own; else it is dropped.
    """
    channels, height, width = x.shape
    round_half = math.ceil if ceil else math.floor
    y = np.empty((channels, round_half(height / 2), round_half(width / 2)))
    for c in range(channels):
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                y[c, i, j] = x[c, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].max()
    return y


def relu(x: Array) -> Array:
    """Replace negative numbers with 0."""
    return np.where(x > 0, x, 0.0)


def normalize(
    x: Array, mean: Array, variance: Array, weight: Array, bias: Array, eps: float = 1e-5
) -> Array:
    """Normalize each channel of one sample [channels, ...] by given statistics."""
    y = np.empty_like(x)
    for c in range(len(x)):
        y[c] = (x[c] - mean[c]) / math.sqrt(variance[c] + eps) * weight[c] + bias[c]
    return y


def normalize_samples(
    xs: Sequence[Array], weight: Array, bias: Array, eps: float = 1e-5
) -> list[Array]:
    """Normalize each channel of samples [channels, ...] by the statistics of all of them."""
    channels = [np.stack([x[c] for x in xs]) for c in range(len(xs[0]))]
    means = np.array([channel.mean() for channel in channels])
    variances = np.array([channel.var() for channel in channels])
    return [normalize(x, means, variances, weight, bias, eps) for x in xs]


def normalize_alone(x: Array, weight: Array, bias: Array, eps: float = 1e-5) -> Array:
    """Normalize one sample by the mean and variance of all its own values."""
    mean, variance = np.full(len(x), x.mean()), np.full(len(x), x.var())
    return normalize(x, mean, variance, weight, bias, eps)


def mean(xs: Sequence[Array]) -> Array:
    """Compute the mean of arrays of one shape."""
    total = np.zeros_like(xs[0])
    for x in xs:
        total += x
    return total / len(xs)


def unit(x: Array) -> Array:
    """Divide a vector or a kernel by its length."""
    return x / math.sqrt((x**2).sum())


def softmax(x: Array) -> Array:
    """Compute the softmax of a vector."""
    powers: Array = np.exp(x - x.max())
    total: float = powers.sum()
    return powers / total


def matching(query: Array, support: Array, labels: Array, way: int, scale: float) -> Array:
    """Compute the probabilities [way] of one query [features] (eq. 5 and 6 of LGM-Net).

    At uneven shots the attention that a class gets is divided by its number of samples.
    """
    attention = softmax(np.array([scale * (unit(query) @ unit(key)) for key in support]))
    p = np.zeros(way)
    for a, label in zip(attention, labels, strict=True):
        p[label] += a / (labels == label).sum()
    total: float = p.sum()
    return p / total
