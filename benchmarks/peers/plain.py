"""Loops as a researcher writes them by hand: PyTorch, scikit-learn and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from work import QUERY, SHAPES, SHOT, WAY, conv4, images, repeated, task

PACKAGES = ("scikit-learn",)


def gather(name: str, tasks: int) -> Callable[[int], None]:
    """Draw classes and images, gather them from floats in memory into a buffer that is kept."""
    shape, classes, each = SHAPES[name]
    store = images(name).float() / 255
    wanted = SHOT + QUERY
    out = torch.empty(tasks * WAY * wanted, *shape)

    def draw() -> None:
        of_task = torch.rand(tasks, classes).argsort(1)[:, :WAY].flatten()
        within = torch.rand(tasks * WAY, each).argsort(1)[:, :wanted]
        index = (of_task[:, None] * each + within).flatten()
        torch.index_select(store, 0, index, out=out)

    return lambda count: repeated(draw)(-(-count // tasks))


def fine_tune() -> Callable[[int], None]:
    """A hundred steps of Adam on all weights of Conv-4 and a linear head."""
    support, labels, _, _ = task()
    start = nn.Sequential(conv4(pool_first=True), nn.Linear(64, WAY)).state_dict()

    def tune() -> None:
        network = nn.Sequential(conv4(pool_first=True), nn.Linear(64, WAY))
        network.load_state_dict(start)
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        for _ in range(100):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(support), labels).backward()
            optimizer.step()

    return repeated(tune)


def logistic_regression() -> Callable[[int], None]:
    """Features of a frozen Conv-4, and scikit-learn's logistic regression on them."""
    from sklearn.linear_model import LogisticRegression

    support, labels, _, _ = task()
    network = conv4(pool_first=True).eval()

    def fit() -> None:
        with torch.inference_mode():
            features = network(support).numpy()
        LogisticRegression(max_iter=1000).fit(features, labels.numpy())

    return repeated(fit)


ACTS = {
    "draw omniglot": lambda: gather("omniglot", 1),
    "draw omniglot, 16 at once": lambda: gather("omniglot", 16),
    "draw miniimagenet": lambda: gather("miniimagenet", 1),
    "fine-tune": fine_tune,
    "logistic regression": logistic_regression,
}
