"""The audit raises no alarm at honest methods and honest data."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.datasets.digits import digits
from lgmnet.data.datasets.omniglot import omniglot
from lgmnet.data.synthetic.characters import SyntheticCharacters
from lgmnet.data.synthetic.vectors import SyntheticVectors
from lgmnet.data.task_source import TaskSource
from lgmnet.episode import EpisodeShape
from lgmnet.evaluation.audit import audit
from lgmnet.experiments.leak import draw_angles, rotate_by_image, rotate_images
from lgmnet.methods import (
    FineTuneConfig,
    LogisticRegressionConfig,
    MAMLConfig,
    MatchingNetConfig,
    Method,
    ProtoNet,
    ProtoNetConfig,
    RandomWeightsConfig,
    TrainFromScratchConfig,
)
from tests.audit.leaking_methods import Answering, Leaking
from tests.audit.leaking_sources import Stored, Wrapper, changing
from tests.audit.samples import (
    COLOURED,
    EMBEDDING,
    FULL,
    METHOD_CHECKS,
    N_CLASSES,
    N_IMAGES,
    OVERLAP,
    SOURCE_CHECKS,
    choose,
    conv_net,
    dataset,
    explain,
    photo_pixels,
    pixels,
    run_checks,
)
from tests.support.configs import TINY
from tests.support.models import build_method, drawings
from tests.support.random import seeded


class Dropout(Leaking):
    """Drops values of the embedding at test time too (Monte Carlo dropout)."""

    def _adapt(self, support_x, support_y, way, generator):
        method = copy.copy(self)
        method._modules = {**self._modules}
        method.embedding = nn.Sequential(self.embedding, _AlwaysDropout())
        return ProtoNet._adapt(method, support_x, support_y, way, generator)


class _AlwaysDropout(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        dropped: Tensor = F.dropout(x, 0.2, training=True)
        return dropped


class MeanOfDropouts(Leaking):
    """Averages the answers of several passes with dropout."""

    def _adapt(self, support_x, support_y, way, generator):
        base = ProtoNet._adapt(self, support_x, support_y, way, generator)

        def change(log_p: Tensor, query_x: Tensor) -> Tensor:
            passes = [base(F.dropout(query_x, 0.2, training=True)).exp() for _ in range(4)]
            return torch.stack(passes).mean(0).log()

        return Answering(base, change)


class GlobalNoise(Leaking):
    """Adds noise from the global generator to its answers."""

    def change(self, log_p, query_x, support_x):
        return log_p + 0.01 * torch.randn(log_p.shape)


class OwnGenerator(Leaking):
    """Adds noise from a generator of its own, whose state goes on from call to call."""

    def change(self, log_p, query_x, support_x):
        generator = self.__dict__.setdefault("generator", seeded(5))
        return log_p + 0.01 * torch.randn(log_p.shape, generator=generator)


class SystemNoise(Leaking):
    """Adds noise that nobody can seed."""

    def change(self, log_p, query_x, support_x):
        generator = torch.Generator()
        generator.seed()
        return log_p + 0.01 * torch.randn(log_p.shape, generator=generator)


class RandomStart(Leaking):
    """Fine-tunes a linear layer from a random start."""

    def _adapt(self, support_x, support_y, way, generator):
        x = self.embedding(support_x.flatten(0, 1)).flatten(1).unflatten(0, support_y.shape)
        mean, scale = x.mean(1, keepdim=True), x.std((1, 2), keepdim=True) + 1e-6
        x = (x - mean) / scale
        weights = 0.01 * torch.randn(len(x), x.shape[2], way)
        targets = F.one_hot(support_y, way).to(x)
        for _ in range(10):
            weights = weights + 0.1 * x.mT @ (targets - (x @ weights).softmax(2)) / x.shape[1]
        base = ProtoNet._adapt(self, support_x, support_y, way, generator)

        def change(log_p: Tensor, query_x: Tensor) -> Tensor:
            q = self.embedding(query_x.flatten(0, 1)).flatten(1).unflatten(0, query_x.shape[:2])
            logits: Tensor = (q - mean) / scale @ weights
            return logits

        return Answering(base, change)


class RandomViews(Leaking):
    """Averages the answers to randomly shifted views of each query (test-time augmentation)."""

    def _adapt(self, support_x, support_y, way, generator):
        base = ProtoNet._adapt(self, support_x, support_y, way, generator)

        def change(log_p: Tensor, query_x: Tensor) -> Tensor:
            shifts = torch.randint(-2, 3, (3,)).tolist()
            return torch.stack([base(query_x.roll(s, -1)).exp() for s in shifts]).mean(0).log()

        return Answering(base, change)


class FixedViews(Leaking):
    """Averages the answers to two fixed views of each query."""

    def _adapt(self, support_x, support_y, way, generator):
        base = ProtoNet._adapt(self, support_x, support_y, way, generator)
        return Answering(base, lambda log_p, query_x: log_p + base(query_x.roll(1, -1)))


class Constant(Leaking):
    """Gives all classes the same probability."""

    def change(self, log_p, query_x, support_x):
        return torch.zeros_like(log_p)


class Cautious(Leaking):
    """Gives answers that all look alike."""

    def change(self, log_p, query_x, support_x):
        return 1e-3 * log_p


class Rounding(Leaking):
    """Gives answers that hardly differ, and sums in an order that depends on the batch's size."""

    def _adapt(self, support_x, support_y, way, generator):
        base = ProtoNet._adapt(self, support_x, support_y, way, generator)

        def change(log_p: Tensor, query_x: Tensor) -> Tensor:
            x = self.embedding(query_x.flatten(0, 1)).flatten(1).unflatten(0, query_x.shape[:2])
            weights = 100 + 0.01 * torch.randn(x.shape[2], way, generator=seeded()).to(x)
            n = 2 + query_x.shape[0] * query_x.shape[1] % 5
            logits: Tensor = x.new_zeros(())
            for part, rows in zip(x.split(n, 2), weights.split(n), strict=True):
                logits = logits + part @ rows
            answers: Tensor = logits.log_softmax(-1)
            return answers

        return Answering(base, change)


METHODS: dict[str, Callable[[], Method]] = {
    "proto-net": conv_net,
    "lgm-net": lambda: build_method("lgm-net", TINY),
    "matching-net": lambda: build_method("matching-net", MatchingNetConfig(EMBEDDING)),
    "maml": lambda: build_method("maml", MAMLConfig(EMBEDDING, inner_steps=2)),
    "maml, transductive": lambda: build_method(
        "maml", MAMLConfig(EMBEDDING, inner_steps=2, query_statistics=True)
    ),
    "fine-tune": lambda: build_method("fine-tune", FineTuneConfig(EMBEDDING, steps=3)),
    "logistic-regression": lambda: build_method(
        "logistic-regression", LogisticRegressionConfig(EMBEDDING)
    ),
    "from-scratch": lambda: build_method(
        "from-scratch", TrainFromScratchConfig(EMBEDDING, steps=2)
    ),
    "random-weights": lambda: build_method("random-weights", RandomWeightsConfig(EMBEDDING)),
} | {
    kind.__name__: lambda kind=kind: conv_net(kind=kind)
    for kind in (
        Dropout,
        MeanOfDropouts,
        GlobalNoise,
        OwnGenerator,
        SystemNoise,
        RandomStart,
        RandomViews,
        FixedViews,
        Constant,
        Cautious,
        Rounding,
    )
}
RANDOM = (
    "Dropout",
    "MeanOfDropouts",
    "GlobalNoise",
    "OwnGenerator",
    "SystemNoise",
    "RandomStart",
    "RandomViews",
)


@pytest.mark.parametrize("kind", choose(METHODS, 3))
def test_an_honest_method_raises_no_alarm(kind):
    result = run_checks(METHOD_CHECKS, METHODS[kind]().eval())
    expected = "not checked" if kind == "SystemNoise" else "passed"
    assert result.outcome == expected, explain(result)
    is_random = "random: not repeatable" in result.checks[0].reason
    assert is_random == (kind in RANDOM)


def test_rounding_is_told_from_a_leak():
    checks = ("query independence", "task independence")
    result = run_checks(checks, conv_net(kind=Rounding))
    assert result.outcome == "passed", explain(result)


def rotate_alone(
    support: Tensor, query: Tensor, shape: EpisodeShape, generator: torch.Generator
) -> None:
    for part in (support, query):
        flat = part.flatten(1, 2).float()
        angles = draw_angles(generator, *flat.shape[:2])
        part.copy_(rotate_images(flat, angles).view(part.shape).round().to(torch.uint8))


def brighten_task(
    support: Tensor, query: Tensor, shape: EpisodeShape, generator: torch.Generator
) -> None:
    amount = torch.randint(40, (shape.tasks, 1, 1, 1, 1, 1), generator=generator)
    for part in (support, query):
        part.copy_((part.int() + amount).clamp(0, 255).to(torch.uint8))


def imbalanced() -> TaskSource:
    counts = [21 + 3 * i for i in range(N_CLASSES)]
    images = drawings(N_CLASSES, 60, seed=11)
    parts = [images[i, :count] for i, count in enumerate(counts)]
    names = [f"imbalanced {i}" for i in range(N_CLASSES)]
    return ClassDataset(torch.cat(parts), counts, names, name="imbalanced", split="test")


class GlobalDraws(ClassDataset):
    """Data set that draws from the global generator."""

    def draw(self, shape: EpisodeShape, generator: torch.Generator, out: Tensor) -> Tensor:
        own = torch.Generator().manual_seed(int(torch.randint(2**31, ())))
        return super().draw(shape, own, out)


def blank_images() -> TaskSource:
    images = pixels().clone()
    images[::N_IMAGES] = 0
    return dataset(images)


def gaussian_classes() -> TaskSource:
    generator = seeded(2)
    centres = torch.randn(N_CLASSES, 1, 6, generator=generator)
    points = centres + 0.7 * torch.randn(N_CLASSES, N_IMAGES, 6, generator=generator)
    return dataset(points.flatten(0, 1))


SOURCES: dict[str, Callable[[], TaskSource]] = {
    "characters": lambda: dataset(pixels()),
    "characters, generated": lambda: SyntheticCharacters("test"),
    "vectors, generated": lambda: SyntheticVectors("test"),
    "vectors": gaussian_classes,
    "source of our own": Stored,
    "wrapped source": lambda: Wrapper(dataset(pixels()), lambda *_: None),
    "colour photos": lambda: dataset(photo_pixels()),
    "grey photos": lambda: dataset(
        photo_pixels().float().mean(1, keepdim=True).to(torch.uint8).expand(-1, 3, -1, -1)
    ),
    "rotation by image": lambda: dataset(pixels(), kind=changing(rotate_alone)),
    "brightness by task": lambda: dataset(pixels(), kind=changing(brighten_task)),
    "classes of different size": imbalanced,
    "draws from the global generator": lambda: dataset(pixels(), kind=GlobalDraws),
    "blank images": blank_images,
    "nearly black drawings": lambda: dataset(pixels() // 16),
    "digits": digits,
}


def matching_method(source: TaskSource) -> Method:
    """Build a small network that takes the samples of a source."""
    from lgmnet.nn.embedding import vector_embedding

    shape = tuple(source.feature_shape)
    embeddings: dict[tuple[int, ...], Any] = {(1, 28, 28): EMBEDDING, (3, 32, 32): COLOURED}
    embedding: Any = embeddings.get(shape) or vector_embedding(shape[0], 16)
    return build_method("proto-net", ProtoNetConfig(embedding)).eval()


@pytest.mark.parametrize("kind", choose(SOURCES, 3))
def test_honest_data_raises_no_alarm(kind):
    source = SOURCES[kind]()
    result = run_checks(SOURCE_CHECKS, matching_method(source), source)
    assert result.outcome == "passed", explain(result)


def test_an_honest_transform_raises_no_alarm():
    result = run_checks(SOURCE_CHECKS, transform=rotate_by_image)
    assert result.outcome == "passed", explain(result)


@pytest.mark.pack
def test_characters_that_resemble_each_other_raise_no_alarm():
    source, trained = omniglot("vinyals/test"), omniglot("vinyals/train")
    result = run_checks(("duplicates", "fair draws", *OVERLAP), None, source, [trained])
    assert result.outcome == "passed", explain(result)


def test_digits_of_other_classes_raise_no_alarm():
    source = digits()
    is_test = source.labels >= 5
    halves = [
        ClassDataset(
            source.images[rows],
            source.counts[numbers].tolist(),
            source.class_names[numbers],
            name="digits",
            split=split,
        )
        for rows, numbers, split in (
            (is_test, slice(5, 10), "test"),
            (~is_test, slice(0, 5), "train"),
        )
    ]
    for tested, trained in itertools.permutations(halves):
        result = run_checks(OVERLAP, None, tested, [trained])
        assert result.outcome == "passed", explain(result)


@pytest.mark.parametrize("seed", range(400 if FULL else 3))
def test_no_seed_raises_an_alarm(seed):
    source = dataset(pixels(seed % 20))
    shape = EpisodeShape(5, 1, 5)
    result = audit(conv_net(seed), source, trained_on=[], shape=shape, episodes=64, seed=seed)
    assert result.outcome == "passed", explain(result)
