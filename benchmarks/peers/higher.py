"""higher: MAML with its differentiable inner loop."""

from __future__ import annotations

from collections.abc import Callable

import higher
import torch
from torch import nn
from workload import INNER_LR, INNER_STEPS, LR, conv4_with_head, make_task, repeat

PACKAGES = ("higher",)


def maml(*, pool_first: bool) -> Callable[[int], None]:
    """Perform training steps of second-order MAML, one task per step."""
    support_x, support_y, query_x, query_y = make_task()
    model = conv4_with_head(pool_first=pool_first)
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    inner_optimizer = torch.optim.SGD(model.parameters(), lr=INNER_LR)

    def step() -> None:
        optimizer.zero_grad()
        with higher.innerloop_ctx(model, inner_optimizer, copy_initial_weights=False) as context:
            learner, differentiable_optimizer = context
            for _ in range(INNER_STEPS):
                loss = nn.functional.cross_entropy(learner(support_x), support_y)
                differentiable_optimizer.step(loss)
            nn.functional.cross_entropy(learner(query_x), query_y).backward()
        optimizer.step()

    return repeat(step)


OPERATIONS = {
    "maml": lambda: maml(pool_first=False),
    "maml, pool first": lambda: maml(pool_first=True),
}
