"""easyfsl: its sampler, its Prototypical Networks, its evaluation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from easyfsl.methods import PrototypicalNetworks
from easyfsl.samplers import TaskSampler
from easyfsl.utils import evaluate
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from work import QUERY, RATE, SHOT, WAY, conv4, images, labels, omniglot_file, repeated, task

PACKAGES = ("easyfsl",)


class InMemory(Dataset[tuple[Tensor, int]]):
    """Images in memory, as easyfsl asks for them."""

    def __init__(self, store: Tensor, of_images: list[int]) -> None:
        self.images, self.labels = store.float() / 255, of_images

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        """An image and its class."""
        return self.images[i], self.labels[i]

    def __len__(self) -> int:
        """How many there are."""
        return len(self.images)

    def get_labels(self) -> list[int]:
        """The class of each image."""
        return self.labels


def loader(store: Tensor, of_images: list[int], tasks: int) -> DataLoader[Any]:
    """Tasks in the process itself: worker processes are slower where images are in memory."""
    data = InMemory(store, of_images)
    sampler = TaskSampler(data, WAY, SHOT, QUERY, tasks)
    return DataLoader(data, batch_sampler=sampler, collate_fn=sampler.episodic_collate_fn)


def draw(name: str) -> Callable[[int], None]:
    """Draw tasks and do nothing with them."""
    tasks = loader(images(name), labels(name), 1)

    def many(count: int) -> None:
        tasks.batch_sampler.n_tasks = count
        for _ in tasks:
            pass

    return many


def train(*, pool_first: bool) -> Callable[[int], None]:
    """Steps of training on one task."""
    support, support_y, query, query_y = task()
    method = PrototypicalNetworks(conv4(pool_first=pool_first)).train()
    optimizer = torch.optim.Adam(method.parameters(), lr=RATE)

    def step() -> None:
        optimizer.zero_grad()
        method.process_support_set(support, support_y)
        nn.functional.cross_entropy(method(query), query_y).backward()
        optimizer.step()

    return repeated(step)


def judge() -> Callable[[int], None]:
    """Its own evaluation on test classes."""
    of_images = labels("omniglot")[: 423 * 20]
    tasks = loader(images("omniglot")[: 423 * 20], of_images, 1)
    method = PrototypicalNetworks(conv4(pool_first=False)).eval()

    def many(count: int) -> None:
        tasks.batch_sampler.n_tasks = count
        evaluate(method, tasks, device="cpu", use_tqdm=False)

    return many


class Squared(PrototypicalNetworks):
    """With squared distances, as the paper and lgmnet have them; easyfsl's own are not squared."""

    def l2_distance_to_prototypes(self, samples: Tensor) -> Tensor:
        """Minus the squared distance of each sample to each prototype."""
        return -(torch.cdist(samples, self.prototypes) ** 2)


def learn(kind: type[PrototypicalNetworks]) -> Callable[[int], list[float]]:
    """Train on Omniglot's training characters, then score 500 tasks of its test characters."""
    from numpy import load

    arrays = load(omniglot_file())

    def run(episodes: int) -> list[float]:
        torch.manual_seed(0)
        method = kind(conv4(pool_first=True)).train()
        optimizer = torch.optim.Adam(method.parameters(), lr=RATE)
        train_x, train_y = torch.from_numpy(arrays["train_x"]), arrays["train_y"].tolist()
        for support, support_y, query, query_y, _ in loader(train_x, train_y, episodes):
            optimizer.zero_grad()
            method.process_support_set(support, support_y)
            nn.functional.cross_entropy(method(query), query_y).backward()
            optimizer.step()
        method.eval()
        scores = []
        test_x, test_y = torch.from_numpy(arrays["test_x"]), arrays["test_y"].tolist()
        with torch.inference_mode():
            for support, support_y, query, query_y, _ in loader(test_x, test_y, 500):
                method.process_support_set(support, support_y)
                scores.append(float((method(query).argmax(1) == query_y).float().mean()))
        return scores

    return run


ACTS = {
    "draw omniglot": lambda: draw("omniglot"),
    "draw miniimagenet": lambda: draw("miniimagenet"),
    "train": lambda: train(pool_first=False),
    "train, pool first": lambda: train(pool_first=True),
    "evaluate": judge,
    "learn": lambda: learn(PrototypicalNetworks),
    "learn, squared": lambda: learn(Squared),
}
