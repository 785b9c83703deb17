"""lgmnet as its trainer, its evaluation and its estimator use it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from training_step import make_batch, make_training_step, see_labels
from workload import (
    DATASET_SHAPES,
    INNER_LR,
    INNER_STEPS,
    N_TEST_CLASSES,
    N_TEST_TASKS,
    N_TRAIN_TASKS,
    QUERY,
    SHOT,
    WAY,
    make_images,
    omniglot_file,
    repeat,
)

from lgmnet import EpisodeShape, evaluate
from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.sampler import Sampler
from lgmnet.devices import inference_autocast
from lgmnet.evaluation.cache import cache_embeddings
from lgmnet.methods import (
    MAML,
    LGMNet,
    LGMNetConfig,
    MAMLConfig,
    Method,
    ProtoNet,
    ProtoNetConfig,
)
from lgmnet.nn.embedding import EmbeddingConfig

PACKAGES = ("lgmnet",)
CONV4 = EmbeddingConfig(widths=(64,) * 4, pooled=(True,) * 4)
N_COMPARED_SCORES = 100


def make_dataset(name: str, n_classes: int | None = None) -> ClassDataset:
    """Create a data set of random images, by default with all classes."""
    _, all_classes, images_per_class = DATASET_SHAPES[name]
    n_classes = n_classes or all_classes
    class_names = [str(i) for i in range(n_classes)]
    images, counts = make_images(name, n_classes), [images_per_class] * n_classes
    return ClassDataset(images, counts, class_names, name=name, split="train")


def sample(dataset: str, tasks: int) -> Callable[[int], None]:
    """Sample tasks in batches."""
    sampler = Sampler(make_dataset(dataset), torch.Generator().manual_seed(0))
    shape = EpisodeShape(WAY, SHOT, QUERY, tasks)
    return repeat(lambda: sampler.sample(shape), tasks)


def train(method: Method, tasks: int, *, bf16: bool = True) -> Callable[[int], None]:
    """Train a method, one batch of tasks per step."""
    step, batch = make_training_step(method, bf16=bf16), make_batch(tasks)
    return repeat(lambda: step(batch), tasks)


def make_proto_net() -> ProtoNet:
    """Create ProtoNet with 64-channel Conv-4."""
    return ProtoNet(ProtoNetConfig(CONV4))


def make_maml() -> MAML:
    """Create second-order MAML with 64-channel Conv-4."""
    return MAML(MAMLConfig(CONV4, inner_steps=INNER_STEPS, inner_rate=INNER_LR))


def evaluate_tasks(*, cached: bool) -> Callable[[int], tuple[float, ...]]:
    """Evaluate ProtoNet on as many images as Omniglot's test set has and return the first scores.

    Args:
        cached: If True, embed all images once, outside the measured time. If False, `evaluate`
            embeds them within the measured time.
    """
    method: Method = make_proto_net().eval()
    dataset = make_dataset("omniglot", N_TEST_CLASSES)
    if cached:
        method, dataset = cache_embeddings(method, dataset)
    shape = EpisodeShape(WAY, SHOT, QUERY)

    def operation(n_tasks: int) -> tuple[float, ...]:
        score = evaluate(method, dataset, shape, episodes=max(2, n_tasks))
        return score.scores[:N_COMPARED_SCORES]

    return operation


def adapt(method: Method, tasks: int) -> Callable[[int], None]:
    """Adapt to support sets, as `FewShotClassifier` does with one of them."""
    method.eval()
    method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    batch = make_batch(tasks)

    @torch.inference_mode()
    def adapt_batch() -> None:
        with inference_autocast(batch.support_x[0]):
            method.adapt(batch.support_x, batch.support_y, WAY)

    return repeat(adapt_batch, tasks)


def accuracy(*, bf16: bool) -> Callable[[int], list[float]]:
    """Train on Omniglot's training characters and return the test accuracy for each seed."""
    import numpy as np

    arrays = np.load(omniglot_file())

    def load_split(split: str) -> ClassDataset:
        counts = np.bincount(arrays[f"{split}_y"]).tolist()
        class_names = [f"{split} {i}" for i in range(len(counts))]
        images = torch.from_numpy(arrays[f"{split}_x"])
        return ClassDataset(images, counts, class_names, name="omniglot", split=split)

    shape = EpisodeShape(WAY, SHOT, QUERY)

    def train_and_test(seed: int) -> float:
        torch.manual_seed(seed)
        method = make_proto_net()
        step = make_training_step(method, bf16=bf16)
        sampler = Sampler(load_split("train"), torch.Generator().manual_seed(seed))
        for _ in range(N_TRAIN_TASKS):
            step(sampler.sample(shape))
        return evaluate(
            method, load_split("test"), shape, episodes=N_TEST_TASKS, seed=seed
        ).accuracy

    return lambda n_seeds: [train_and_test(seed) for seed in range(n_seeds)]


OPERATIONS = {
    "sample omniglot": lambda: sample("omniglot", 1),
    "sample omniglot, batches of 16": lambda: sample("omniglot", 16),
    "sample miniimagenet": lambda: sample("miniimagenet", 1),
    "train": lambda: train(make_proto_net(), 1),
    "train, float32": lambda: train(make_proto_net(), 1, bf16=False),
    "train, batches of 4": lambda: train(make_proto_net(), 4),
    "maml": lambda: train(make_maml(), 1),
    "maml, float32": lambda: train(make_maml(), 1, bf16=False),
    "train default ProtoNet": lambda: train(ProtoNet(ProtoNetConfig()), 4),
    "train default LGM-Net": lambda: train(LGMNet(LGMNetConfig()), 4),
    "evaluate": lambda: evaluate_tasks(cached=False),
    "evaluate, cached": lambda: evaluate_tasks(cached=True),
    "adapt LGM-Net": lambda: adapt(LGMNet(LGMNetConfig()), 1),
    "adapt LGM-Net, batches of 16": lambda: adapt(LGMNet(LGMNetConfig()), 16),
    "adapt LGM-Net that sees labels": lambda: adapt(LGMNet(see_labels(LGMNetConfig())), 1),
    "adapt MAML": lambda: adapt(MAML(MAMLConfig(inner_steps=INNER_STEPS)), 1),
    "adapt MAML, batches of 16": lambda: adapt(MAML(MAMLConfig(inner_steps=INNER_STEPS)), 16),
    "accuracy": lambda: accuracy(bf16=True),
    "accuracy, float32": lambda: accuracy(bf16=False),
}
