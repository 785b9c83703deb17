"""Methods that use what they must not use, and transforms that give the classes away."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.episode import Episode, EpisodeShape
from lgmnet.evaluation.audit import EpisodeTransform
from lgmnet.experiments.leak import rotate_by_class
from lgmnet.methods import Classifier, Method, ProtoNet
from tests.audit.samples import N_IMAGES, conv_net, pixels


class Answering(Classifier):
    """Classifier that changes the answers of another one."""

    def __init__(self, base: Classifier, change: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.base, self.way = base, base.way
        self.change = change

    def forward(self, query_x: Tensor) -> Tensor:
        log_p: Tensor = self.base(query_x)
        return self.change(log_p, query_x).log_softmax(-1)


class Leaking(ProtoNet):
    """Prototypical Network whose answers are changed; subclasses say how."""

    def _adapt(
        self, support_x: Tensor, support_y: Tensor, way: int, generator: torch.Generator | None
    ) -> Any:
        base = super()._adapt(support_x, support_y, way, generator)

        def change(log_p: Tensor, query_x: Tensor) -> Tensor:
            return self.change(log_p, query_x, support_x)

        return Answering(base, change)

    def change(self, log_p: Tensor, query_x: Tensor, support_x: Tensor) -> Tensor:
        raise NotImplementedError


def spread(log_p: Tensor) -> Tensor:
    return (log_p - log_p.mean(-1, keepdim=True)).std()


class SortedQueries(Leaking):
    """Knows that queries come sorted by class."""

    strength = 5.0

    def change(self, log_p, query_x, support_x):
        n, way = log_p.shape[1:]
        places = torch.arange(n) * way // n
        return log_p + self.strength * spread(log_p) * F.one_hot(places, way)


class SlightlySortedQueries(SortedQueries):
    strength = 0.01


class BalancedQueries(Leaking):
    """Knows that each class has equally many queries."""

    def change(self, log_p, query_x, support_x):
        return log_p - log_p.logsumexp(1, keepdim=True)


class SlightlyBalancedQueries(Leaking):
    def change(self, log_p, query_x, support_x):
        return log_p - 0.002 * log_p.mean(1, keepdim=True)


class BalancedFromFifty(BalancedQueries):
    """Uses the other queries only if there are many."""

    def change(self, log_p, query_x, support_x):
        many = log_p.shape[1] >= 50
        return super().change(log_p, query_x, support_x) if many else log_p


class BatchStatistics(Leaking):
    """Normalises the queries by their own mean."""

    def _adapt(self, support_x, support_y, way, generator):
        base = ProtoNet._adapt(self, support_x, support_y, way, generator)

        class Normalising(Answering):
            def forward(self, query_x):
                mean = query_x.mean(1, keepdim=True)
                return self.base(query_x - mean + support_x.mean(1, keepdim=True))

        return Normalising(base, lambda log_p, query_x: log_p)


class BatchStatisticsFromFifty(BatchStatistics):
    def _adapt(self, support_x, support_y, way, generator):
        base = ProtoNet._adapt(self, support_x, support_y, way, generator)

        class Normalising(Answering):
            def forward(self, query_x):
                if query_x.shape[1] < 50:
                    return self.base(query_x)
                return self.base(query_x - 0.01 * query_x.mean(1, keepdim=True))

        return Normalising(base, lambda log_p, query_x: log_p)


class TrainingModeStatistics(Leaking):
    """Forgets to switch the batch norm of its embedding to evaluation."""

    def _adapt(self, support_x, support_y, way, generator):
        self.embedding.train()
        for module in self.embedding.modules():
            if hasattr(module, "track_running_stats"):
                statistics: Any = module
                statistics.track_running_stats = False
                statistics.running_mean = statistics.running_var = None
        return ProtoNet._adapt(self, support_x, support_y, way, generator)


class NearestQuery(Leaking):
    """Answers each query as its most similar neighbour among the queries."""

    def change(self, log_p, query_x, support_x):
        flat = query_x.flatten(2)
        distances = torch.cdist(flat, flat) + 1e6 * torch.eye(flat.shape[1])
        nearest = distances.argmin(2)
        return log_p + 0.1 * log_p.gather(1, nearest[:, :, None].expand_as(log_p))


class TaskStatistics(Leaking):
    """Uses the mean over all tasks of a batch."""

    strength = 0.5

    def change(self, log_p, query_x, support_x):
        return log_p - self.strength * log_p.mean(0, keepdim=True)


class SlightTaskStatistics(TaskStatistics):
    strength = 1e-3


class Memory(Leaking):
    """Keeps a mean of all support samples that it was ever given."""

    strength = 1.0

    def _adapt(self, support_x, support_y, way, generator):
        mean = support_x.mean((0, 1))
        kept = self.__dict__.get("kept", torch.zeros_like(mean))
        self.__dict__["kept"] = 0.9 * kept + 0.1 * mean
        change = self.strength * self.__dict__["kept"]
        return ProtoNet._adapt(self, support_x + change, support_y, way, generator)


class SlightMemory(Memory):
    strength = 1e-3


class ScaledMemory(Memory):
    """Hides its memory behind answers that all look alike."""

    def _adapt(self, support_x, support_y, way, generator):
        base = super()._adapt(support_x, support_y, way, generator)
        return Answering(base, lambda log_p, query_x: 1e-3 * log_p)


class QueryMemory(Leaking):
    """Keeps the queries that it has classified, from one task to the next."""

    def change(self, log_p, query_x, support_x):
        mean = query_x.mean((0, 1))
        kept = self.__dict__.setdefault("kept", torch.zeros_like(mean))
        weights = (query_x * kept).flatten(2).sum(2, keepdim=True)
        self.__dict__["kept"] = kept + 0.01 * mean
        return log_p + 1e-3 * weights * torch.arange(log_p.shape[2])


class ClassifierMemory(Leaking):
    """Makes classifiers that keep their earlier queries."""

    def _adapt(self, support_x, support_y, way, generator):
        base = ProtoNet._adapt(self, support_x, support_y, way, generator)
        kept: list[Tensor] = []

        def change(log_p: Tensor, query_x: Tensor) -> Tensor:
            kept.append(query_x.mean((0, 1)))
            weights = (query_x * sum(kept[:-1], torch.zeros(()))).flatten(2).sum(2, keepdim=True)
            return log_p + 1e-3 * weights * torch.arange(log_p.shape[2])

        return Answering(base, change)


class GlobalMemory(Memory):
    """Keeps its memory outside of the method."""

    kept: ClassVar[list[Tensor]] = []

    def _adapt(self, support_x, support_y, way, generator):
        GlobalMemory.kept.append(support_x.mean((0, 1)))
        mean = torch.stack(GlobalMemory.kept).mean(0)
        return ProtoNet._adapt(self, support_x + mean, support_y, way, generator)


class RandomWithMemory(Memory):
    """Hides a memory behind random answers."""

    def _adapt(self, support_x, support_y, way, generator):
        noise = 0.05 * torch.randn(support_x.shape)
        return super()._adapt(support_x + noise, support_y, way, generator)


class RandomAndSorted(Leaking):
    """Hides that it knows the order of the queries behind random answers."""

    def change(self, log_p, query_x, support_x):
        n, way = log_p.shape[1:]
        places = F.one_hot(torch.arange(n) * way // n, way)
        return log_p + spread(log_p) * (0.3 * torch.randn(log_p.shape) + places)


class ReadsCaller(Leaking):
    """Reads the labels of the queries from the variables of its callers."""

    def change(self, log_p, query_x, support_x):
        import inspect

        for frame in inspect.stack():
            e = frame.frame.f_locals.get("e")
            if e is not None and getattr(e, "query_y", torch.zeros(0)).shape == log_p.shape[:2]:
                return log_p + 5 * spread(log_p) * F.one_hot(e.query_y, log_p.shape[2])
        return log_p


LAST_DRAWN: list[Tensor] = []


class TellingSource(ClassDataset):
    """Data set that leaves the classes of its last draw in a global variable."""

    def draw(self, shape: EpisodeShape, generator: torch.Generator, out: Tensor) -> Tensor:
        classes = super().draw(shape, generator, out)
        LAST_DRAWN.append(classes)
        return classes


class ReadsGlobalState(Leaking):
    """Reads the classes that the source drew last."""

    def change(self, log_p, query_x, support_x):
        key = LAST_DRAWN[-1].flatten()[: log_p.shape[2]].float()
        return log_p + 0.01 * key


class TestImagesByHeart(Leaking):
    """Looks test images up, by their bytes, in a table of their classes."""

    table: ClassVar[dict[bytes, int]] = {}

    def change(self, log_p, query_x, support_x):
        if not self.table:
            for row, image in enumerate(pixels()):
                self.table[digest(image.float() / 255)] = row // N_IMAGES
        known = [self.table.get(digest(x), -1) for x in support_x.flatten(0, 1)]
        asked = [self.table.get(digest(x), -1) for x in query_x.flatten(0, 1)]
        own = torch.tensor(known).view(support_x.shape[:2])
        wanted = torch.tensor(asked).view(query_x.shape[:2])
        way = log_p.shape[2]
        equal = (wanted[:, :, None] == own[:, None, :way]) & (wanted[:, :, None] >= 0)
        return log_p + 5 * spread(log_p) * equal if own.shape[1] == way else log_p


def digest(image: Tensor) -> bytes:
    values = (image * 255).round().to(torch.uint8).contiguous().numpy()
    return hashlib.blake2b(values.tobytes(), digest_size=8).digest()


class OrderOfClasses(Leaking):
    """Takes the first class for the answer where queries come from one class after the other."""

    def change(self, log_p, query_x, support_x):
        first = torch.linspace(1, 0, log_p.shape[1])[None, :, None]
        return log_p + spread(log_p) * first * torch.linspace(1, 0, log_p.shape[2])


METHODS: dict[str, Callable[[], Method]] = {
    kind.__name__: lambda kind=kind: conv_net(kind=kind)  # type: ignore[misc]
    for kind in (
        SortedQueries,
        SlightlySortedQueries,
        BalancedQueries,
        SlightlyBalancedQueries,
        BalancedFromFifty,
        BatchStatistics,
        BatchStatisticsFromFifty,
        TrainingModeStatistics,
        NearestQuery,
        TaskStatistics,
        SlightTaskStatistics,
        Memory,
        SlightMemory,
        ScaledMemory,
        QueryMemory,
        ClassifierMemory,
        GlobalMemory,
        RandomWithMemory,
        RandomAndSorted,
        ReadsCaller,
        TestImagesByHeart,
        OrderOfClasses,
    )
}
"""Leaking methods by the name of their class."""


def brighten_by_label(e: Episode, generator: torch.Generator) -> Episode:
    """Add the label to the brightness."""
    amounts = [0.02 * y[:, :, None, None, None] for y in (e.support_y, e.query_y)]
    return replace(e, support_x=e.support_x + amounts[0], query_x=e.query_x + amounts[1])


def pull_queries(e: Episode, generator: torch.Generator) -> Episode:
    """Move each query towards the support image of its class."""
    rows = torch.arange(e.tasks)[:, None]
    own = e.support_x[rows, e.query_y]
    return replace(e, query_x=0.8 * e.query_x + 0.2 * own)


def drop_hard_queries(e: Episode, generator: torch.Generator) -> Episode:
    """Replace the queries that are far from the support image of their class by nearer ones."""
    rows = torch.arange(e.tasks)[:, None]
    own = e.support_x[rows, e.query_y]
    distances = (e.query_x - own).flatten(2).square().sum(2)
    order = distances.view(e.tasks, e.way, -1).argsort(2)
    n = order.shape[2]
    easy = order[:, :, torch.arange(n) // 2]
    query_x = e.query_x.unflatten(1, (e.way, n))
    picked = query_x.gather(2, easy[..., None, None, None].expand_as(query_x))
    return replace(e, query_x=picked.flatten(1, 2))


def rotate_queries_alone(e: Episode, generator: torch.Generator) -> Episode:
    """Rotate queries, but not the support, by an angle that stands for the label."""
    turned = torch.stack([e.query_x.rot90(k, (-2, -1)) for k in range(4)])
    chosen = (e.query_y % 4)[None, :, :, None, None, None].expand(1, *e.query_x.shape)
    return replace(e, query_x=turned.gather(0, chosen)[0])


TRANSFORMS: dict[str, EpisodeTransform] = {
    "rotation by true class, as in the paper's code": rotate_by_class,
    "brightness by label": brighten_by_label,
    "queries pulled to their class": pull_queries,
    "only easy queries": drop_hard_queries,
    "queries rotated by label": rotate_queries_alone,
}
"""Leaking transforms of episodes by the kind of leak."""
