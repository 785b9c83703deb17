"""easyfsl: its task sampler, its Prototypical Networks and its evaluation."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch
from easyfsl.methods import PrototypicalNetworks
from easyfsl.samplers import TaskSampler
from easyfsl.utils import evaluate
from torch import Tensor, nn
from torch.utils.data import DataLoader
from workload import (
    LR,
    N_TEST_CLASSES,
    N_TEST_TASKS,
    N_TRAIN_TASKS,
    QUERY,
    SHOT,
    WAY,
    InMemoryDataset,
    conv4,
    make_dataset,
    make_task,
    omniglot_file,
    repeat,
)

PACKAGES = ("easyfsl",)


def make_loader(dataset: InMemoryDataset, n_tasks: int = 1) -> DataLoader[Any]:
    """Create a loader of tasks without worker processes, which are slower on images in memory."""
    sampler = TaskSampler(dataset, WAY, SHOT, QUERY, n_tasks)
    return DataLoader(dataset, batch_sampler=sampler, collate_fn=sampler.episodic_collate_fn)


def sample(dataset: str) -> Callable[[int], None]:
    """Sample tasks."""
    loader = make_loader(make_dataset(dataset))

    def operation(n_tasks: int) -> None:
        loader.batch_sampler.n_tasks = n_tasks
        for _ in loader:
            pass

    return operation


def training_step(method: PrototypicalNetworks) -> Callable[..., None]:
    """Prepare a method for training and return its training step."""
    method.train()
    optimizer = torch.optim.Adam(method.parameters(), lr=LR)

    def step(support_x: Tensor, support_y: Tensor, query_x: Tensor, query_y: Tensor) -> None:
        optimizer.zero_grad()
        method.process_support_set(support_x, support_y)
        nn.functional.cross_entropy(method(query_x), query_y).backward()
        optimizer.step()

    return step


def train(*, pool_first: bool) -> Callable[[int], None]:
    """Train ProtoNet, one task per step."""
    task, step = make_task(), training_step(PrototypicalNetworks(conv4(pool_first=pool_first)))
    return repeat(lambda: step(*task))


def evaluate_tasks() -> Callable[[int], None]:
    """Evaluate ProtoNet with easyfsl's own function, on as many images as Omniglot's test set."""
    loader = make_loader(make_dataset("omniglot", N_TEST_CLASSES))
    method = PrototypicalNetworks(conv4(pool_first=False)).eval()

    def operation(n_tasks: int) -> None:
        loader.batch_sampler.n_tasks = n_tasks
        evaluate(method, loader, device="cpu", use_tqdm=False)

    return operation


class SquaredDistanceNetworks(PrototypicalNetworks):
    """Prototypical Networks with squared distances, as in the paper and in lgmnet.

    easyfsl's own distances are not squared.
    """

    def l2_distance_to_prototypes(self, samples: Tensor) -> Tensor:
        """Return the negative squared distance of each sample to each prototype."""
        return -(torch.cdist(samples, self.prototypes) ** 2)


def accuracy() -> Callable[[int], list[float]]:
    """Train on Omniglot's training characters and return the test accuracy for each seed."""
    import numpy as np

    arrays = np.load(omniglot_file())

    def load_split(split: str, n_tasks: int) -> DataLoader[Any]:
        images = torch.from_numpy(arrays[f"{split}_x"])
        return make_loader(InMemoryDataset(images, arrays[f"{split}_y"].tolist()), n_tasks)

    train_loader, test_loader = load_split("train", N_TRAIN_TASKS), load_split("test", N_TEST_TASKS)

    def train_and_test(seed: int) -> float:
        torch.manual_seed(seed)
        random.seed(seed)
        method = SquaredDistanceNetworks(conv4(pool_first=True))
        step = training_step(method)
        for support_x, support_y, query_x, query_y, _ in train_loader:
            step(support_x, support_y, query_x, query_y)
        method.eval()
        return 100 * float(evaluate(method, test_loader, device="cpu", use_tqdm=False))

    return lambda n_seeds: [train_and_test(seed) for seed in range(n_seeds)]


OPERATIONS = {
    "sample omniglot": lambda: sample("omniglot"),
    "sample miniimagenet": lambda: sample("miniimagenet"),
    "train": lambda: train(pool_first=False),
    "train, pool first": lambda: train(pool_first=True),
    "evaluate": evaluate_tasks,
    "accuracy": accuracy,
}
