"""The audit: does anything but the support set tell a method what a query is?

A number that is too good has mostly come in by a side door: queries that see each other, neighbours
in the batch, an augmentation that was told the label, classes already seen in training. Each check
opens one door on purpose and looks whether the answers, or the accuracy, move where they must not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

import torch
from torch import Tensor
from torch.nn import functional as F

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.sampler import Sampler
from lgmnet.data.task_source import TaskSource, shares_classes
from lgmnet.episode import Episode, EpisodeShape
from lgmnet.methods.base import Method

DataPath = Callable[[Episode, torch.Generator], Episode]
"""What is done to an episode between its drawing and the method: an augmentation, for example."""

TOLERANCE = 1e-3
"""Probabilities further apart than this differ by more than the order of summation can explain."""
NOISE_CLASSES, NOISE_IMAGES, GRAIN = 64, 20, 9
SURE = 3.3
"""Standard errors that chance exceeds once in a thousand audits."""
ROUNDING = 1e-9


@dataclass(frozen=True)
class Check:
    """One door, and whether it was found shut."""

    name: str
    passed: bool
    reason: str
    """What was done and what it gave, in a sentence."""


@dataclass(frozen=True)
class Audit:
    """All checks of one method on one source."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every door was found shut."""
        return all(check.passed for check in self.checks)


def leave_unchanged(episode: Episode, generator: torch.Generator) -> Episode:
    """The honest data path at test: nothing is done to an episode."""
    return episode


@torch.no_grad()
def audit(
    method: Method,
    source: TaskSource,
    *,
    trained_on: Sequence[TaskSource] = (),
    path: DataPath = leave_unchanged,
    shape: EpisodeShape | None = None,
    episodes: int = 200,
    seed: int = 0,
    progress: Callable[[str], object] = lambda name: None,
) -> Audit:
    """Try to catch a method, or the data path before it, knowing what it must not know.

    Args:
        method: Any method; is left as it came.
        source: Where test tasks come from.
        trained_on: What it was trained on, to be compared with ``source``.
        path: What is done to test episodes before the method sees them; it may not reorder queries.
        shape: Of a task, 5-way 1-shot with 5 queries a class if not given; ``tasks`` is not read.
        episodes: Tasks for each check that measures an accuracy.
        seed: Of the tasks, the noise and the path.
        progress: Told the name of each check when it begins.

    Raises:
        EpisodeError: if the source cannot give such tasks.
    """
    shape = shape or EpisodeShape(5, 1, 5)
    source.check(shape)
    auditor = Auditor(method, source, path, shape, episodes, seed)
    training = method.training
    method.eval()
    checks: list[Check] = []
    try:
        for name, look in (
            ("queries apart", auditor.queries_apart),
            ("tasks apart", auditor.tasks_apart),
            ("order and balance of queries", auditor.order_and_balance),
            ("labels permuted", auditor.labels_permuted),
            ("images without class", auditor.images_without_class),
            ("training apart", lambda: check_training_overlap(source, trained_on)),
        ):
            progress(name)
            passed, reason = look()
            checks.append(Check(name, passed, reason))
    finally:
        method.train(training)
    return Audit(tuple(checks))


@dataclass(frozen=True)
class Auditor:
    """What the checks of one audit share."""

    method: Method
    source: TaskSource
    path: DataPath
    shape: EpisodeShape
    episodes: int
    seed: int

    def queries_apart(self) -> tuple[bool, str]:
        """One query changed, half of them removed, all reordered: do the others' answers move?"""
        e = next(self.drawn(self.source, tasks=4, batches=1))
        half = e.query_x.shape[1] // 2
        one_changed = e.query_x.clone()
        one_changed[:, 0] = e.query_x.flip(0)[:, -1]
        classifier = self.method.adapt(e.support_x, e.support_y, e.way)
        before = classifier(e.query_x).exp()
        moved = {
            "one is changed": classifier(one_changed).exp()[:, 1:] - before[:, 1:],
            "half are removed": classifier(e.query_x[:, :half]).exp() - before[:, :half],
            "they are reordered": classifier(e.query_x.flip(1)).exp().flip(1) - before,
        }
        largest = {what: difference.abs().max().item() for what, difference in moved.items()}
        return self.verdict(largest, "the other queries' probabilities")

    def tasks_apart(self) -> tuple[bool, str]:
        """A task alone or among others of the batch: do its answers move?"""
        e = next(self.drawn(self.source, tasks=4, batches=1))
        together = self.method.adapt(e.support_x, e.support_y, e.way)(e.query_x)[:1].exp()
        one = self.method.adapt(e.support_x[:1], e.support_y[:1], e.way)(e.query_x[:1]).exp()
        largest = (one - together).abs().max().item()
        if largest <= TOLERANCE:
            return True, "alone or with three other tasks, a task is answered the same."
        return False, (
            "with three other tasks beside it, a task's probabilities move by up to "
            f"{largest:.2g}: its neighbours have a say."
        )

    def verdict(self, largest: dict[str, float], what: str) -> tuple[bool, str]:
        """Whether nothing moved, or the method says itself that queries see each other."""
        worst = max(largest, key=lambda change: largest[change])
        if largest[worst] <= TOLERANCE:
            return True, f"when {', '.join(largest)}, {what} stay as they are."
        moved = f"when {worst}, {what} move by up to {largest[worst]:.2g}"
        if self.method.is_transductive:
            return True, f"{moved}; the method says so itself: its scores are transductive."
        return False, f"{moved}: queries see each other, and scores are not inductive."

    def order_and_balance(self) -> tuple[bool, str]:
        """Queries shuffled, or only those of one class at a time: does accuracy follow?"""
        in_order, shuffled, one_class = [], [], []
        generator = torch.Generator().manual_seed(self.seed)
        for e in self.drawn(self.source):
            classifier = self.method.adapt(e.support_x, e.support_y, e.way)
            in_order.append(accuracies(classifier(e.query_x), e.query_y))
            order = torch.randperm(e.query_x.shape[1], generator=generator)
            shuffled.append(accuracies(classifier(e.query_x[:, order]), e.query_y[:, order]))
            by_class = e.query_x.unflatten(1, (e.way, -1))
            alone = [classifier(by_class[:, c]) for c in range(e.way)]
            one_class.append(accuracies(torch.cat(alone, 1), e.query_y))
        plain = torch.cat(in_order)
        gains = {
            "in the order of their classes": plain - torch.cat(shuffled),
            "with all classes among them": plain - torch.cat(one_class),
        }
        passed, told = True, []
        for how, gain in gains.items():
            mean, error = 100 * gain.mean().item(), 100 * standard_error(gain)
            told.append(f"{mean:+.2f} ± {SURE * error:.2f} points {how}")
            # A mean of no spread at all is one of queries that are answered by themselves.
            passed &= abs(mean) <= max(SURE * error, 0.05)
        reason = f"queries gain {' and '.join(told)}"
        if passed:
            return True, f"{reason}: neither tells anything."
        if self.method.is_transductive:
            return True, f"{reason}; the method says itself that it is transductive."
        return False, f"{reason}: the query set tells what its queries are."

    def labels_permuted(self) -> tuple[bool, str]:
        """Query labels drawn by lot before the data path: does accuracy follow them?"""
        generator = torch.Generator().manual_seed(self.seed)

        def by_lot(e: Episode) -> Episode:
            labels = torch.randint(e.way, e.query_y.shape, generator=generator)
            return replace(e, query_y=labels)

        return self.at_chance(self.source, "query labels drawn by lot are scored at", by_lot)

    def images_without_class(self) -> tuple[bool, str]:
        """Noise that has no class, through the whole data path: is it scored at 1 / way?"""
        noise = make_noise_dataset(
            self.source.feature_shape,
            self.source.dtype,
            self.seed,
            classes=max(NOISE_CLASSES, self.shape.way),
            images=max(NOISE_IMAGES, self.shape.per_class),
        )
        return self.at_chance(noise, "images that have no class are told apart at")

    def at_chance(
        self,
        source: TaskSource,
        words: str,
        change: Callable[[Episode], Episode] = lambda episode: episode,
    ) -> tuple[bool, str]:
        """Whether accuracy is that of guessing."""
        generator = torch.Generator().manual_seed(self.seed + 1)
        scores = []
        for drawn in self.drawn(source, prepare_episode=False):
            e = self.path(change(drawn), generator)
            classifier = self.method.adapt(e.support_x, e.support_y, e.way)
            scores.append(accuracies(classifier(e.query_x), e.query_y))
        every = torch.cat(scores)
        mean, wide = every.mean().item(), SURE * standard_error(every)
        chance = 1 / self.shape.way
        # A method that always says the same is at chance without any spread.
        passed = abs(mean - chance) <= max(wide, ROUNDING)
        what = "which is chance" if passed else "so something besides the images tells the class"
        return passed, (
            f"{words} {100 * mean:.1f} ± {100 * wide:.1f} % where guessing gives "
            f"{100 * chance:.1f} %, {what}."
        )

    def drawn(
        self,
        source: TaskSource,
        *,
        tasks: int = 8,
        batches: int | None = None,
        prepare_episode: bool = True,
    ) -> Iterator[Episode]:
        """Batches of episodes, on the method's device, through the data path if asked."""
        device = self.method.device
        generator = torch.Generator().manual_seed(self.seed)
        sampler = Sampler(source, generator)
        for _ in range(batches or math.ceil(self.episodes / tasks)):
            e = sampler.sample(replace(self.shape, tasks=tasks)).clone()
            if prepare_episode:
                e = self.path(e, generator)
            yield Episode(
                e.support_x.to(device),
                e.support_y.to(device),
                e.query_x.to(device),
                e.query_y.to(device),
                e.way,
            )


def check_training_overlap(
    source: TaskSource, trained_on: Sequence[TaskSource]
) -> tuple[bool, str]:
    """No class and no image of the source was there in training."""
    if not trained_on:
        return True, "no training data was named to compare with."
    for seen in trained_on:
        if shares_classes(source, seen):
            return False, f"'{source.split}' and the training split '{seen.split}' share classes."
    stores = [s for s in trained_on if isinstance(s, ClassDataset)]
    if not isinstance(source, ClassDataset) or not stores:
        return True, "no class was seen in training; samples without end are not compared."
    mine = set(each_image(source))
    for seen in stores:
        twice = sum(image in mine for image in each_image(seen))
        if twice:
            return False, f"{twice} images of '{seen.split}' are in '{source.split}' too."
    counted = sum(len(store.images) for store in stores)
    return True, f"none of {counted:,} training images, and none of their classes, is among them."


def each_image(store: ClassDataset) -> Iterator[bytes]:
    """A digest of every image of a store, of which millions fit into memory."""
    for image in store.images.numpy():
        yield blake2b(image.tobytes(), digest_size=16).digest()


def accuracies(answers: Tensor, labels: Tensor) -> Tensor:
    """The accuracy of each task, [tasks] in 0..1, from [tasks, query, way] and [tasks, query]."""
    return (answers.argmax(-1) == labels).double().mean(1).cpu()


def standard_error(scores: Tensor) -> float:
    """Of the mean of these scores, [tasks]."""
    return scores.std().item() / math.sqrt(len(scores))


def make_noise_dataset(
    shape: Sequence[int],
    dtype: torch.dtype,
    seed: int = 0,
    *,
    classes: int = NOISE_CLASSES,
    images: int = NOISE_IMAGES,
) -> ClassDataset:
    """Samples that no class has a part in: noise, in images with an upright grain.

    The grain lets a method see that an image was turned, and nothing else.

    Args:
        shape: Of one sample, [channels, height, width] or [features].
        dtype: uint8, or a floating point type.
        seed: Of the noise.
        classes: How many names the samples are dealt out to.
        images: Samples of each.
    """
    generator = torch.Generator().manual_seed(seed)
    n = classes * images
    noise = torch.randn(n, *shape, generator=generator)
    if len(shape) == 3:
        noise = F.avg_pool2d(noise, (min(GRAIN, shape[1]), 1), 1, (min(GRAIN, shape[1]) // 2, 0))
        noise = noise[:, :, : shape[1]] * math.sqrt(GRAIN)
    if dtype == torch.uint8:
        noise = (128 + 60 * noise).clamp(0, 255).to(torch.uint8)
    names = [f"noise {i}" for i in range(classes)]
    return ClassDataset(noise, [images] * classes, names, name="noise", split="all")
