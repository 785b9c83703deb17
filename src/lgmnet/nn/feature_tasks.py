"""Further training tasks on the same samples, by criteria that features define."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from lgmnet.episode import Episode


def draw_feature_tasks(
    samples: Float[Tensor, "tasks samples *embedding"],
    features: Float[Tensor, "tasks samples features"],
    groups: Sequence[int],
    way: int,
    shot: int,
    generator: torch.Generator,
) -> Episode:
    """Sort the samples of each task by something else, and make it a task of its own.

    What the samples are sorted by is a random feature or, in half of the tasks, a random direction
    among the features of a random group. The classes are ranges of equally many samples. So every
    step has criteria that no data set names, and gains that are generated from labels must be found
    for all of them.

    Args:
        samples: Embedded samples, support and queries.
        features: Their features, by which they are sorted.
        groups: Number of features in each group, in their order.
        way: Number of classes; there must be two samples for each.
        shot: Support samples of each class, if there are more samples than that.
        generator: Source of the groups, directions and order.
    """
    tasks, n, n_features = features.shape
    n_class = n // way
    shot = max(1, min(shot, n_class - 1))

    def draw(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=generator.device).to(features)

    sizes = torch.tensor(groups, device=features.device)
    group_of_feature = torch.arange(len(groups), device=sizes.device).repeat_interleave(sizes)
    group = (draw(tasks, 1) * len(groups)).long().clamp(max=len(groups) - 1)
    is_in_group = group_of_feature == group
    keys = draw(tasks, n_features) * is_in_group
    single = torch.zeros_like(keys).scatter_(1, keys.argmax(1, keepdim=True), 1.0)
    direction = (2 * draw(tasks, n_features) - 1) * is_in_group
    direction = torch.where(draw(tasks, 1) < 0.5, single, direction)
    values = (features.detach() @ direction[..., None])[..., 0]
    by_class = values.argsort(1)[:, : way * n_class].unflatten(1, (way, n_class))
    order = by_class.gather(2, draw(tasks, way, n_class).argsort(2))
    labels = torch.arange(way, device=features.device)

    def take(rows: Tensor) -> tuple[Tensor, Tensor]:
        at = rows.flatten(1)
        task = torch.arange(tasks, device=at.device)[:, None]
        return samples[task, at], labels.repeat_interleave(rows.shape[2]).expand(tasks, -1)

    support_x, support_y = take(order[:, :, :shot])
    query_x, query_y = take(order[:, :, shot:])
    return Episode.unchecked(
        support_x=support_x,
        support_y=support_y,
        query_x=query_x,
        query_y=query_y,
        way=way,
        classes=None,
    )
