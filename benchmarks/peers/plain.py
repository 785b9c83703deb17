"""Plain loops as a researcher writes them by hand, with only PyTorch and scikit-learn."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from workload import DATASET_SHAPES, QUERY, SHOT, WAY, conv4, make_images, make_task, repeat

PACKAGES = ("scikit-learn",)


def sample(dataset: str, tasks: int) -> Callable[[int], None]:
    """Draw classes and images at random and gather float images into a buffer that is reused."""
    shape, classes, images_per_class = DATASET_SHAPES[dataset]
    images = make_images(dataset).float() / 255
    n_drawn = SHOT + QUERY
    buffer = torch.empty(tasks * WAY * n_drawn, *shape)

    def sample_batch() -> None:
        drawn_classes = torch.rand(tasks, classes).argsort(1)[:, :WAY].flatten()
        positions = torch.rand(tasks * WAY, images_per_class).argsort(1)[:, :n_drawn]
        index = (drawn_classes[:, None] * images_per_class + positions).flatten()
        torch.index_select(images, 0, index, out=buffer)

    return repeat(sample_batch, tasks)


def fine_tune() -> Callable[[int], None]:
    """Train all weights of Conv-4 and a linear head on the support set: 100 steps of Adam."""
    support_x, support_y, _, _ = make_task()
    initial_state = nn.Sequential(conv4(pool_first=True), nn.Linear(64, WAY)).state_dict()

    def fine_tune_once() -> None:
        network = nn.Sequential(conv4(pool_first=True), nn.Linear(64, WAY))
        network.load_state_dict(initial_state)
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        for _ in range(100):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(support_x), support_y).backward()
            optimizer.step()

    return repeat(fine_tune_once)


def logistic_regression() -> Callable[[int], None]:
    """Fit scikit-learn's logistic regression to the features of a frozen Conv-4."""
    from sklearn.linear_model import LogisticRegression

    support_x, support_y, _, _ = make_task()
    network = conv4(pool_first=True).eval()

    def fit() -> None:
        with torch.inference_mode():
            features = network(support_x).numpy()
        LogisticRegression(max_iter=1000).fit(features, support_y.numpy())

    return repeat(fit)


OPERATIONS = {
    "sample omniglot": lambda: sample("omniglot", 1),
    "sample omniglot, batches of 16": lambda: sample("omniglot", 16),
    "sample miniimagenet": lambda: sample("miniimagenet", 1),
    "fine-tune": fine_tune,
    "logistic regression": logistic_regression,
}
