"""The parts of a few-shot network in plain NumPy: loops and formulas, no torch and no tricks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Array = np.ndarray


def conv3x3(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """One image [in, h, w] convolved (cross-correlated) with [out, in, 3, 3], padded with zeros."""
    _, high, wide = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    y = np.empty((len(weight), high, wide))
    for out in range(len(weight)):
        for i in range(high):
            for j in range(wide):
                y[out, i, j] = (weight[out] * padded[:, i : i + 3, j : j + 3]).sum()
        if bias is not None:
            y[out] += bias[out]
    return y


def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """One vector [in] times [out, in]."""
    y = np.array([sum(w * v for w, v in zip(row, x, strict=True)) for row in weight])
    return y if bias is None else y + bias


def max_pool(x: Array, *, ceil: bool = False) -> Array:
    """The maxima of 2x2 blocks of [channels, h, w]; a rest of one line is dropped, or kept."""
    channels, high, wide = x.shape
    count = math.ceil if ceil else math.floor
    y = np.empty((channels, count(high / 2), count(wide / 2)))
    for c in range(channels):
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                y[c, i, j] = x[c, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].max()
    return y


def relu(x: Array) -> Array:
    return np.where(x > 0, x, 0.0)


def normalise_by(
    x: Array, mean: Array, variance: Array, weight: Array, bias: Array, eps: float = 1e-5
) -> Array:
    """Each channel of one sample [channels, ...] by given statistics."""
    y = np.empty_like(x)
    for c in range(len(x)):
        y[c] = (x[c] - mean[c]) / math.sqrt(variance[c] + eps) * weight[c] + bias[c]
    return y


def normalise_by_itself(x: Array, weight: Array, bias: Array, eps: float = 1e-5) -> Array:
    """One sample by the mean and variance of all its own values; scaled channel by channel."""
    mean, variance = np.full(len(x), x.mean()), np.full(len(x), x.var())
    return normalise_by(x, mean, variance, weight, bias, eps)


def mean(xs: Sequence[Array]) -> Array:
    total = np.zeros_like(xs[0])
    for x in xs:
        total += x
    return total / len(xs)


def unit(x: Array) -> Array:
    return x / math.sqrt((x**2).sum())


def softmax(x: Array) -> Array:
    powers: Array = np.exp(x - x.max())
    total: float = powers.sum()
    return powers / total


def matching(query: Array, support: Array, labels: Array, way: int, scale: float) -> Array:
    """Probabilities [way] of one query [features], by eq. (5) and (6).

    At uneven shots the attention that a class gets is divided by its number of samples.
    """
    attention = softmax(np.array([scale * (unit(query) @ unit(key)) for key in support]))
    p = np.zeros(way)
    for a, label in zip(attention, labels, strict=True):
        p[label] += a / (labels == label).sum()
    total: float = p.sum()
    return p / total
