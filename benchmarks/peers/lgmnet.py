"""lgmnet, as its trainer, its evaluation and its forge use it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from work import (
    INNER_RATE,
    INNER_STEPS,
    QUERY,
    RATE,
    SHAPES,
    SHOT,
    WAY,
    images,
    omniglot_file,
    repeated,
    task,
)

from lgmnet import (
    MAML,
    EpisodeShape,
    LGMNet,
    LGMNetConfig,
    MAMLConfig,
    Method,
    ProtoNet,
    ProtoNetConfig,
    evaluate,
)
from lgmnet.data.classes import ClassStore
from lgmnet.data.sampler import Sampler
from lgmnet.devices import fastest, keep_freed_memory
from lgmnet.evaluation.cache import embed_store

PACKAGES = ("lgmnet",)
CONV4: dict[str, Any] = {"embedding_widths": (64,) * 4, "embedding_pooled": (True,) * 4}
TEST_CLASSES = 423  # Of Omniglot, whose images are 20 a class.


def store(name: str, classes: int | None = None) -> ClassStore:
    """Random images as a store."""
    _, all_classes, each = SHAPES[name]
    classes = classes or all_classes
    names = [str(i) for i in range(classes)]
    kept = images(name)[: classes * each]
    return ClassStore(kept, [each] * classes, names, name=name, split="train")


def draw(name: str, tasks: int) -> Callable[[int], None]:
    """Draw tasks and do nothing with them."""
    sampler = Sampler(store(name), torch.Generator().manual_seed(0))
    shape = EpisodeShape(WAY, SHOT, QUERY, tasks)
    return lambda count: repeated(lambda: sampler.sample(shape))(-(-count // tasks))


def batch(tasks: int) -> tuple[Tensor, ...]:
    """Tasks of Omniglot's shape."""
    return tuple(torch.stack(parts) for parts in zip(*(task() for _ in range(tasks)), strict=True))


def train(method: Method, tasks: int, *, bf16: bool) -> Callable[[int], None]:
    """Steps of training."""
    keep_freed_memory()  # As the trainer does.
    method.train()
    method.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        [p for p in method.parameters() if p.requires_grad],
        lr=RATE,
        weight_decay=0.0,
        fused=True,
    )
    episodes = batch(tasks)
    generator = torch.Generator().manual_seed(0)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss, _ = method.learn(*episodes, WAY, generator)
        loss.backward()
        optimizer.step()

    return lambda count: repeated(step)(-(-count // tasks))


def proto_net() -> ProtoNet:
    """With Conv-4 of 64 channels."""
    return ProtoNet(ProtoNetConfig(**CONV4))


def maml() -> MAML:
    """With Conv-4 of 64 channels, second order, five steps."""
    return MAML(MAMLConfig(**CONV4, inner_steps=INNER_STEPS, inner_rate=INNER_RATE))


def judge(*, cached: bool) -> Callable[[int], tuple[float, ...]]:
    """Evaluate on as many images as Omniglot's test classes have; embedding them counts or not."""
    method: Method = proto_net().eval()
    source = store("omniglot", TEST_CLASSES)
    if cached:
        method, source = embed_store(method, source)
    shape = EpisodeShape(WAY, SHOT, QUERY)

    def run(count: int) -> tuple[float, ...]:
        return evaluate(method, source, shape, episodes=max(2, count)).scores[:200]

    return run


def adapt(method: Method, tasks: int) -> Callable[[int], None]:
    """From support sets to classifiers, as `FewShotClassifier` does it with one."""
    method.eval()
    method.to(memory_format=torch.channels_last)
    support, support_y, _, _ = batch(tasks)

    @torch.inference_mode()
    def once() -> None:
        with fastest(support[0]):
            method.adapt(support, support_y, WAY)

    return lambda count: repeated(once)(-(-count // tasks))


def learn(*, bf16: bool) -> Callable[[int], list[float]]:
    """Train on Omniglot's training characters, then score 500 tasks of its test characters."""
    import numpy as np

    arrays = np.load(omniglot_file())

    def of(split: str) -> ClassStore:
        labels = arrays[f"{split}_y"]
        counts = np.bincount(labels).tolist()
        names = [f"{split} {i}" for i in range(len(counts))]
        pixels = torch.from_numpy(arrays[f"{split}_x"])
        return ClassStore(pixels, counts, names, name="omniglot", split=split)

    def run(episodes: int) -> list[float]:
        torch.manual_seed(0)
        method = proto_net().train()
        optimizer = torch.optim.AdamW(method.parameters(), lr=RATE, weight_decay=0.0, fused=True)
        sampler = Sampler(of("train"), torch.Generator().manual_seed(0))
        for _ in range(episodes):
            episode = sampler.sample(EpisodeShape(WAY, SHOT, QUERY))
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss, _ = method.learn(
                    episode.support_x, episode.support_y, episode.query_x, episode.query_y, WAY
                )
            loss.backward()
            optimizer.step()
        shape = EpisodeShape(WAY, SHOT, QUERY)
        return list(evaluate(method, of("test"), shape, episodes=500).scores)

    return run


ACTS = {
    "draw omniglot": lambda: draw("omniglot", 1),
    "draw omniglot, 16 at once": lambda: draw("omniglot", 16),
    "draw miniimagenet": lambda: draw("miniimagenet", 1),
    "train": lambda: train(proto_net(), 1, bf16=True),
    "train, 32 bits": lambda: train(proto_net(), 1, bf16=False),
    "train, 4 at once": lambda: train(proto_net(), 4, bf16=True),
    "maml": lambda: train(maml(), 1, bf16=True),
    "maml, 32 bits": lambda: train(maml(), 1, bf16=False),
    "train proto-net": lambda: train(ProtoNet(ProtoNetConfig()), 4, bf16=True),
    "train lgm-net": lambda: train(LGMNet(LGMNetConfig()), 4, bf16=True),
    "evaluate": lambda: judge(cached=False),
    "evaluate, cached": lambda: judge(cached=True),
    "adapt lgm-net": lambda: adapt(LGMNet(LGMNetConfig()), 1),
    "adapt lgm-net, 16 at once": lambda: adapt(LGMNet(LGMNetConfig()), 16),
    "adapt maml": lambda: adapt(MAML(MAMLConfig(inner_steps=INNER_STEPS)), 1),
    "adapt maml, 16 at once": lambda: adapt(MAML(MAMLConfig(inner_steps=INNER_STEPS)), 16),
    "learn": lambda: learn(bf16=True),
    "learn, 32 bits": lambda: learn(bf16=False),
}
