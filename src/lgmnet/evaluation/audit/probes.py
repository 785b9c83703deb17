"""Simple classifiers that find labels which leak into samples, whatever method is audited."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from lgmnet.episode import Episode

MAX_VALUES = 4096
"""Values of a sample that the nearest-neighbour probe compares; larger images are reduced."""

N_SORTED = 200
"""Values of a sample that are sorted for its quantiles."""


def reduce_samples(x: Float[Tensor, "tasks samples *feature"]) -> Float[Tensor, "tasks samples n"]:
    """Flatten samples, after reducing large images to a quarter of their side or less."""
    if x.ndim == 5:
        side = x.shape[-1]
        while x[0, 0].numel() > MAX_VALUES and side > 16:
            side //= 2
            x = F.adaptive_avg_pool2d(x.flatten(0, 1), side).unflatten(0, x.shape[:2])
    return x.flatten(2)


def compute_statistics(
    x: Float[Tensor, "tasks samples *feature"],
) -> dict[str, Float[Tensor, "tasks samples"]]:
    """Compute simple statistics of each sample, among which a label might hide."""
    flat = x.flatten(2)
    few = flat[:, :, :: max(1, flat.shape[2] // N_SORTED)].sort(2).values
    tenth, half = few.shape[2] // 10, few.shape[2] // 2
    values = {
        "mean": flat.mean(2),
        "spread": variance(flat).sqrt(),
        "minimum": flat.amin(2),
        "maximum": flat.amax(2),
        "lower tenth": few[..., tenth],
        "median": few[..., half],
        "upper tenth": few[..., -1 - tenth],
        "first value": flat[..., 0],
        "last value": flat[..., -1],
        "lowest bit": ((flat * 255).round() % 2).mean(2),
    }
    if x.ndim == 5:
        values |= compute_image_statistics(x)
    return values


def variance(x: Float[Tensor, "*rows n"]) -> Float[Tensor, "*rows"]:
    """Compute the variance of each row, in a fraction of the time of `torch.var`."""
    return (x.square().mean(-1) - x.mean(-1).square()).clamp_min(0)


def compute_image_statistics(
    x: Float[Tensor, "tasks samples channels height width"],
) -> dict[str, Float[Tensor, "tasks samples"]]:
    """Compute statistics of images: borders, colours, centre of mass and directions of edges."""
    grey = x.mean(2)
    rows, columns = (torch.linspace(-1, 1, n).to(x) for n in grey.shape[-2:])
    mass = grey.sum((2, 3)).clamp_min(1e-6)
    down = (grey[..., 1:, :-1] - grey[..., :-1, :-1]).flatten(2)
    right = (grey[..., :-1, 1:] - grey[..., :-1, :-1]).flatten(2)
    energy = (down.square() + right.square()).sum(2).clamp_min(1e-9)
    border = [grey[..., 0, :], grey[..., -1, :], grey[..., :, 0], grey[..., :, -1]]
    values = {
        "border": torch.cat(border, 2).mean(2),
        "height of the centre": (grey.sum(3) * rows).sum(2) / mass,
        "side of the centre": (grey.sum(2) * columns).sum(2) / mass,
        "upright edges": (right.square().sum(2) - down.square().sum(2)) / energy,
        "slanted edges": 2 * (right * down).sum(2) / energy,
        "sharpness": energy / variance(grey.flatten(2)).clamp_min(1e-9),
    }
    if x.shape[2] == 3:
        colours = x.mean((3, 4))
        values |= {f"colour {i}": colours[..., i] - colours.mean(2) for i in range(3)}
    return values


def nearest_class_accuracy(
    support: Float[Tensor, "tasks support n"],
    query: Float[Tensor, "tasks query n"],
    episode: Episode,
) -> Float[Tensor, " tasks"]:
    """Compute the accuracy of the nearest class mean for each task."""
    one_hot = F.one_hot(episode.support_y, episode.way).to(support)
    means = one_hot.mT @ support / one_hot.sum(1)[:, :, None]
    distances = (query.double()[:, :, None] - means.double()[:, None]).square().sum(3)
    return (distances.argmin(2) == episode.query_y).double().mean(1)


def probe_accuracies(e: Episode) -> dict[str, Float[Tensor, " tasks"]]:
    """Compute the accuracies of all probes on each task."""
    support, query = reduce_samples(e.support_x), reduce_samples(e.query_x)
    scores = {"nearest picture": nearest_class_accuracy(support, query, e)}
    support, query = (
        F.normalize(x - x.mean(2, keepdim=True), dim=2, eps=1e-6) for x in (support, query)
    )
    scores["nearest picture, any contrast"] = nearest_class_accuracy(support, query, e)
    n_support = e.support_x.shape[1]
    statistics = compute_statistics(torch.cat([e.support_x, e.query_x], 1))
    for name, values in statistics.items():
        parts = values[:, :n_support, None], values[:, n_support:, None]
        scores[name] = nearest_class_accuracy(*parts, e)
    return scores


class PositionProbe:
    """Prediction of a query's label from the query alone, learned from other tasks.

    Labels are positions in a task, which are drawn anew for each task, so that nothing can be
    learned from an honest source.
    """

    def __init__(self, way: int) -> None:
        self.way = way
        self.samples: list[Tensor] = []
        self.labels: list[Tensor] = []
        self.names: list[str] = []

    def add(self, e: Episode) -> None:
        """Collect the queries of a batch of tasks, whose labels are positions."""
        statistics = compute_statistics(e.query_x)
        self.names = list(statistics)
        self.samples.append(torch.stack([*statistics.values()], 2).flatten(0, 1).double())
        self.labels.append(e.query_y.flatten())

    def accuracies(self) -> Float[Tensor, "batches statistics"]:
        """Compute the accuracy of each statistic on each batch of the second half."""
        half = len(self.samples) // 2
        samples, labels = torch.cat(self.samples[:half]), torch.cat(self.labels[:half])
        one_hot = F.one_hot(labels, self.way).to(samples)
        means = one_hot.mT @ samples / one_hot.sum(0)[:, None]
        scores = []
        for x, y in zip(self.samples[half:], self.labels[half:], strict=True):
            predicted = (x[:, None] - means).abs().argmin(1)
            scores.append((predicted == y[:, None]).double().mean(0))
        return torch.stack(scores)
