"""higher: inner loops that gradients flow through."""

from __future__ import annotations

from collections.abc import Callable

import higher
import torch
from torch import nn
from work import INNER_RATE, INNER_STEPS, RATE, conv4_with_head, repeated, task

PACKAGES = ("higher",)


def maml(*, pool_first: bool) -> Callable[[int], None]:
    """Steps of MAML of second order on one task."""
    support, support_y, query, query_y = task()
    model = conv4_with_head(pool_first=pool_first)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    inner = torch.optim.SGD(model.parameters(), lr=INNER_RATE)

    def step() -> None:
        optimizer.zero_grad()
        with higher.innerloop_ctx(model, inner, copy_initial_weights=False) as (learner, descent):
            for _ in range(INNER_STEPS):
                descent.step(nn.functional.cross_entropy(learner(support), support_y))
            nn.functional.cross_entropy(learner(query), query_y).backward()
        optimizer.step()

    return repeated(step)


ACTS = {
    "maml": lambda: maml(pool_first=False),
    "maml, pool first": lambda: maml(pool_first=True),
}
