"""TorchOpt: MAML with its differentiable optimisers."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torchopt
from torch import nn
from workload import INNER_LR, INNER_STEPS, LR, conv4_with_head, make_task, repeat

PACKAGES = ("torchopt",)


def maml(*, pool_first: bool) -> Callable[[int], None]:
    """Perform training steps of second-order MAML, one task per step."""
    support_x, support_y, query_x, query_y = make_task()
    model = conv4_with_head(pool_first=pool_first)
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    inner_optimizer = torchopt.MetaSGD(model, lr=INNER_LR)

    def step() -> None:
        optimizer.zero_grad()
        model_state = torchopt.extract_state_dict(model)
        inner_state = torchopt.extract_state_dict(inner_optimizer)
        for _ in range(INNER_STEPS):
            inner_optimizer.step(nn.functional.cross_entropy(model(support_x), support_y))
        nn.functional.cross_entropy(model(query_x), query_y).backward()
        optimizer.step()
        torchopt.recover_state_dict(model, model_state)
        torchopt.recover_state_dict(inner_optimizer, inner_state)

    return repeat(step)


OPERATIONS = {
    "maml": lambda: maml(pool_first=False),
    "maml, pool first": lambda: maml(pool_first=True),
}
