"""lgmnet, as its trainer, its evaluation and its forge use it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from ours import batch, trainer
from work import (
    INNER_RATE,
    INNER_STEPS,
    LEARNED,
    QUERY,
    SCORED,
    SHAPES,
    SHOT,
    WAY,
    images,
    omniglot_file,
    repeated,
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
from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.sampler import Sampler
from lgmnet.devices import inference_autocast
from lgmnet.evaluation.cache import cache_embeddings

PACKAGES = ("lgmnet",)
CONV4: dict[str, Any] = {"embedding_widths": (64,) * 4, "embedding_pooled": (True,) * 4}
TEST_CLASSES = 423  # Of Omniglot, whose images are 20 a class.


def store(name: str, classes: int | None = None) -> ClassDataset:
    """Random images as a store."""
    _, all_classes, each = SHAPES[name]
    classes = classes or all_classes
    names = [str(i) for i in range(classes)]
    kept = images(name)[: classes * each]
    return ClassDataset(kept, [each] * classes, names, name=name, split="train")


def draw(name: str, tasks: int) -> Callable[[int], None]:
    """Draw tasks and do nothing with them."""
    sampler = Sampler(store(name), torch.Generator().manual_seed(0))
    shape = EpisodeShape(WAY, SHOT, QUERY, tasks)
    return lambda count: repeated(lambda: sampler.sample(shape))(-(-count // tasks))


def train(method: Method, tasks: int, *, bf16: bool) -> Callable[[int], None]:
    """Steps of training."""
    step, episodes = trainer(method, bf16=bf16), batch(tasks)
    return lambda count: repeated(lambda: step(episodes, WAY))(-(-count // tasks))


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
        method, source = cache_embeddings(method, source)
    shape = EpisodeShape(WAY, SHOT, QUERY)

    def run(count: int) -> tuple[float, ...]:
        return evaluate(method, source, shape, episodes=max(2, count)).scores[:100]

    return run


def adapt(method: Method, tasks: int) -> Callable[[int], None]:
    """From support sets to classifiers, as `FewShotClassifier` does it with one."""
    method.eval()
    method.to(memory_format=torch.channels_last)
    support, support_y, _, _ = batch(tasks)

    @torch.inference_mode()
    def once() -> None:
        with inference_autocast(support[0]):
            method.adapt(support, support_y, WAY)

    return lambda count: repeated(once)(-(-count // tasks))


def learn(*, bf16: bool) -> Callable[[int], list[float]]:
    """Accuracy on Omniglot's test characters after training on its others, from so many seeds."""
    import numpy as np

    arrays = np.load(omniglot_file())

    def of(split: str) -> ClassDataset:
        labels = arrays[f"{split}_y"]
        counts = np.bincount(labels).tolist()
        names = [f"{split} {i}" for i in range(len(counts))]
        pixels = torch.from_numpy(arrays[f"{split}_x"])
        return ClassDataset(pixels, counts, names, name="omniglot", split=split)

    shape = EpisodeShape(WAY, SHOT, QUERY)

    def learned(seed: int) -> float:
        torch.manual_seed(seed)
        method = proto_net()
        step = trainer(method, bf16=bf16)
        sampler = Sampler(of("train"), torch.Generator().manual_seed(seed))
        for _ in range(LEARNED):
            drawn = sampler.sample(shape)
            step((drawn.support_x, drawn.support_y, drawn.query_x, drawn.query_y), WAY)
        return evaluate(method, of("test"), shape, episodes=SCORED, seed=seed).accuracy

    return lambda count: [learned(seed) for seed in range(count)]


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
