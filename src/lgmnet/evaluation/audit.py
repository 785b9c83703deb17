"""Audit of a method: a search for sources that reveal query classes besides the support set.

A score that is too good mostly has one of these causes: queries or tasks of one batch influence
each other, an augmentation uses the labels, or the test classes were part of the training. Each
check changes the input in one way and tests that the predictions, or the accuracy, do not follow.
"""

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
from lgmnet.progress import track_progress

EpisodeTransform = Callable[[Episode, torch.Generator], Episode]
"""Processing of an episode before the method receives it, such as an augmentation."""

MAX_ROUNDING_ERROR = 1e-3
"""Largest difference of probabilities that the order of summation can explain."""
NOISE_CLASSES, NOISE_IMAGES, NOISE_GRAIN = 64, 20, 9
"""Classes and images per class of noise, and the height of its grain in pixels."""
MAX_STANDARD_ERRORS = 3.3
"""Width of the intervals of the checks; chance leaves them once in a thousand audits."""
MIN_GAIN = 0.05
"""Gain in accuracy, in percentage points, below which a check always passes."""


@dataclass(frozen=True)
class Check:
    """Result of one check."""

    name: str
    passed: bool
    reason: str
    """Sentence about the change that was made and its effect."""


@dataclass(frozen=True)
class Audit:
    """Results of all checks of one method on one source."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """True if all checks passed."""
        return all(check.passed for check in self.checks)


def leave_unchanged(episode: Episode, generator: torch.Generator) -> Episode:
    """Return the episode as it is: the transform of an honest test."""
    return episode


@torch.no_grad()
def audit(
    method: Method,
    source: TaskSource,
    *,
    trained_on: Sequence[TaskSource] = (),
    transform: EpisodeTransform = leave_unchanged,
    shape: EpisodeShape | None = None,
    episodes: int = 200,
    seed: int = 0,
) -> Audit:
    """Test if a method, or the transform before it, uses information that it must not have.

    The training or evaluation mode of the method is restored. ``trained_on`` is its training data,
    to be compared with the source of the test tasks. ``transform`` processes test episodes before
    the method; it must not reorder queries. Tasks are 5-way 1-shot with 5 queries per class, unless
    a shape is given; ``shape.tasks`` is ignored. ``episodes`` is the number of tasks of each check
    that measures an accuracy.

    Raises:
        EpisodeError: if the source does not have enough classes or samples.
    """
    shape = shape or EpisodeShape(5, 1, 5)
    source.check(shape)
    auditor = Auditor(method, source, transform, shape, episodes, seed)
    run_checks: dict[str, Callable[[], tuple[bool, str]]] = {
        "query independence": auditor.check_query_independence,
        "task independence": auditor.check_task_independence,
        "query order and class balance": auditor.check_order_and_balance,
        "random query labels": auditor.check_random_labels,
        "images without classes": auditor.check_noise_images,
        "training overlap": lambda: check_training_overlap(source, trained_on),
    }
    training = method.training
    method.eval()
    checks: list[Check] = []
    try:
        with track_progress("checks", len(run_checks)) as progress:
            for name, run_check in run_checks.items():
                progress.advance(1, name)
                checks.append(Check(name, *run_check()))
    finally:
        method.train(training)
    return Audit(tuple(checks))


@dataclass(frozen=True)
class Auditor:
    """Settings that the checks of one audit share; each check returns its result and the reason."""

    method: Method
    source: TaskSource
    transform: EpisodeTransform
    shape: EpisodeShape
    episodes: int
    seed: int

    def check_query_independence(self) -> tuple[bool, str]:
        """Change one query, remove half of them or reorder all: the others' answers must stay."""
        e = next(self.sample_episodes(self.source, tasks=4))
        half = e.query_x.shape[1] // 2
        one_changed = e.query_x.clone()
        one_changed[:, 0] = e.query_x.flip(0)[:, -1]
        classifier = self.method.adapt(e.support_x, e.support_y, e.way)
        before = classifier(e.query_x).exp()
        differences = {
            "one query is changed": classifier(one_changed).exp()[:, 1:] - before[:, 1:],
            "half of the queries are removed": classifier(e.query_x[:, :half]).exp()
            - before[:, :half],
            "the queries are reordered": classifier(e.query_x.flip(1)).exp().flip(1) - before,
        }
        largest = {change: d.abs().max().item() for change, d in differences.items()}
        worst = max(largest, key=lambda change: largest[change])
        if largest[worst] <= MAX_ROUNDING_ERROR:
            return True, f"the other probabilities stay the same when {' or '.join(largest)}."
        reason = f"the other probabilities change by up to {largest[worst]:.2g} when {worst}"
        if self.method.is_transductive:
            return True, f"{reason}; the method is declared transductive, as are its scores."
        return False, f"{reason}: queries influence each other, so scores are not inductive."

    def check_task_independence(self) -> tuple[bool, str]:
        """Adapt to a task alone and in a batch: its answers must stay."""
        e = next(self.sample_episodes(self.source, tasks=4))
        batched = self.method.adapt(e.support_x, e.support_y, e.way)(e.query_x)[:1].exp()
        alone = self.method.adapt(e.support_x[:1], e.support_y[:1], e.way)(e.query_x[:1]).exp()
        largest = (alone - batched).abs().max().item()
        if largest <= MAX_ROUNDING_ERROR:
            return True, "a task has the same probabilities alone and in a batch of four tasks."
        return False, (
            f"the probabilities of a task change by up to {largest:.2g} in a batch of four tasks: "
            "the tasks of a batch influence each other."
        )

    def check_order_and_balance(self) -> tuple[bool, str]:
        """Shuffle the queries, or give those of one class only: the accuracy must stay."""
        sorted_queries, shuffled, single_class = [], [], []
        generator = torch.Generator().manual_seed(self.seed)
        for e in self.sample_episodes(self.source):
            classifier = self.method.adapt(e.support_x, e.support_y, e.way)
            sorted_queries.append(accuracies(classifier(e.query_x), e.query_y))
            order = torch.randperm(e.query_x.shape[1], generator=generator)
            shuffled.append(accuracies(classifier(e.query_x[:, order]), e.query_y[:, order]))
            by_class = e.query_x.unflatten(1, (e.way, -1))
            log_p = [classifier(by_class[:, c]) for c in range(e.way)]
            single_class.append(accuracies(torch.cat(log_p, 1), e.query_y))
        baseline = torch.cat(sorted_queries)
        gains = {
            "queries are sorted by class": baseline - torch.cat(shuffled),
            "queries of all classes are mixed": baseline - torch.cat(single_class),
        }
        passed, parts = True, []
        for change, gain in gains.items():
            mean = 100 * gain.mean().item()
            margin = 100 * MAX_STANDARD_ERRORS * standard_error(gain)
            parts.append(f"by {mean:+.2f} ± {margin:.2f} points when {change}")
            # Independent queries gain nothing, so their margin is zero up to rounding.
            passed &= abs(mean) <= max(margin, MIN_GAIN)
        reason = f"the accuracy changes {' and '.join(parts)}"
        if passed:
            return True, f"{reason}: neither reveals the classes."
        if self.method.is_transductive:
            return True, f"{reason}; the method is declared transductive."
        return False, f"{reason}: the set of queries reveals their classes."

    def check_random_labels(self) -> tuple[bool, str]:
        """Draw random query labels before the transform: the accuracy must be that of guessing."""
        generator = torch.Generator().manual_seed(self.seed)

        def randomize_labels(e: Episode) -> Episode:
            return replace(e, query_y=torch.randint(e.way, e.query_y.shape, generator=generator))

        return self.check_chance(self.source, "random query labels are predicted", randomize_labels)

    def check_noise_images(self) -> tuple[bool, str]:
        """Send noise through the transform: the accuracy must be that of guessing."""
        shape, dtype = self.source.feature_shape, self.source.dtype
        n_classes = max(NOISE_CLASSES, self.shape.way)
        n_images = max(NOISE_IMAGES, self.shape.per_class)
        noise = make_noise_dataset(shape, dtype, self.seed, classes=n_classes, images=n_images)
        return self.check_chance(noise, "images without classes are classified")

    def check_chance(
        self, source: TaskSource, subject: str, change: Callable[[Episode], Episode] = lambda e: e
    ) -> tuple[bool, str]:
        """Check that the accuracy on changed episodes is that of guessing."""
        generator = torch.Generator().manual_seed(self.seed + 1)
        scores = []
        for episode in self.sample_episodes(source, transformed=False):
            e = self.transform(change(episode), generator)
            classifier = self.method.adapt(e.support_x, e.support_y, e.way)
            scores.append(accuracies(classifier(e.query_x), e.query_y))
        accuracy = torch.cat(scores)
        mean, margin = accuracy.mean().item(), MAX_STANDARD_ERRORS * standard_error(accuracy)
        chance = 1 / self.shape.way
        # A method that always predicts the same class is at chance with a margin of zero.
        passed = abs(mean - chance) <= max(margin, 1e-9)
        verdict = "this is chance" if passed else "something besides the images reveals the class"
        return passed, (
            f"{subject} with an accuracy of {100 * mean:.1f} ± {100 * margin:.1f} %, and guessing "
            f"gives {100 * chance:.1f} %: {verdict}."
        )

    def sample_episodes(
        self, source: TaskSource, *, tasks: int = 8, transformed: bool = True
    ) -> Iterator[Episode]:
        """Sample batches of episodes on the method's device, transformed if wanted."""
        generator = torch.Generator().manual_seed(self.seed)
        sampler = Sampler(source, generator)
        for _ in range(math.ceil(self.episodes / tasks)):
            e = sampler.sample(replace(self.shape, tasks=tasks)).clone()
            if transformed:
                e = self.transform(e, generator)
            yield e.to(self.method.device)


def check_training_overlap(
    source: TaskSource, trained_on: Sequence[TaskSource]
) -> tuple[bool, str]:
    """Check that no class and no image of the source is part of the training data."""
    if not trained_on:
        return True, "no training data was given to compare with."
    for trained in trained_on:
        if shares_classes(source, trained):
            reason = f"'{source.split}' and the training split '{trained.split}' share classes."
            return False, reason
    datasets = [trained for trained in trained_on if isinstance(trained, ClassDataset)]
    if not isinstance(source, ClassDataset) or not datasets:
        return True, "no class is a training class; generated samples are not compared."
    test_images = set(hash_images(source))
    for dataset in datasets:
        shared = sum(image in test_images for image in hash_images(dataset))
        if shared:
            return False, f"{shared} images of '{dataset.split}' are also in '{source.split}'."
    total = sum(len(dataset.images) for dataset in datasets)
    return True, f"no class is a training class, and none of {total:,} training images is here."


def hash_images(dataset: ClassDataset) -> Iterator[bytes]:
    """Hash each image to 16 bytes, so that the hashes of millions of images fit into memory."""
    for image in dataset.images.numpy():
        yield blake2b(image.tobytes(), digest_size=16).digest()


def accuracies(log_p: Tensor, labels: Tensor) -> Tensor:
    """Accuracy of each task, [tasks] in 0..1, from [tasks, query, way] and [tasks, query]."""
    return (log_p.argmax(-1) == labels).double().mean(1).cpu()


def standard_error(scores: Tensor) -> float:
    """Standard error of the mean of scores, [tasks]."""
    return scores.std().item() / math.sqrt(len(scores))


def make_noise_dataset(
    shape: Sequence[int],
    dtype: torch.dtype,
    seed: int = 0,
    *,
    classes: int = NOISE_CLASSES,
    images: int = NOISE_IMAGES,
) -> ClassDataset:
    """Make a data set of noise, with ``images`` samples for each class that do not depend on it.

    Images of noise have an upright grain, so that a method can see that an image was rotated, and
    nothing else.
    """
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(classes * images, *shape, generator=generator)
    if len(shape) == 3:
        grain = min(NOISE_GRAIN, shape[1])
        noise = F.avg_pool2d(noise, (grain, 1), 1, (grain // 2, 0))
        noise = noise[:, :, : shape[1]] * math.sqrt(NOISE_GRAIN)
    if dtype == torch.uint8:
        noise = (128 + 60 * noise).clamp(0, 255).to(torch.uint8)
    names = [f"noise {i}" for i in range(classes)]
    return ClassDataset(noise, [images] * classes, names, name="noise", split="all")
