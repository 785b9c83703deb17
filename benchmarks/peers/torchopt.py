"""TorchOpt: optimisers that gradients flow through."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torchopt
from torch import nn
from work import INNER_RATE, INNER_STEPS, RATE, conv4_with_head, repeated, task

PACKAGES = ("torchopt",)


def maml(*, pool_first: bool) -> Callable[[int], None]:
    """Steps of MAML of second order on one task."""
    support, support_y, query, query_y = task()
    model = conv4_with_head(pool_first=pool_first)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    inner = torchopt.MetaSGD(model, lr=INNER_RATE)

    def step() -> None:
        optimizer.zero_grad()
        before = torchopt.extract_state_dict(model), torchopt.extract_state_dict(inner)
        for _ in range(INNER_STEPS):
            inner.step(nn.functional.cross_entropy(model(support), support_y))
        nn.functional.cross_entropy(model(query), query_y).backward()
        optimizer.step()
        torchopt.recover_state_dict(model, before[0])
        torchopt.recover_state_dict(inner, before[1])

    return repeated(step)


ACTS = {
    "maml": lambda: maml(pool_first=False),
    "maml, pool first": lambda: maml(pool_first=True),
}
