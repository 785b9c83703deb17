"""Checks with samples or labels from which no class can be told: the accuracy must be chance."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lgmnet.data.sampler import Sampler
from lgmnet.data.task_source import TaskSource
from lgmnet.episode import Episode, EpisodeShape
from lgmnet.errors import UserError
from lgmnet.evaluation.audit.chance import (
    MAX_ALARM_PROBABILITY,
    accuracies,
    probability_of_chance,
)
from lgmnet.evaluation.audit.label_free import (
    OnePicture,
    Replacement,
    ShuffledPictures,
    replace_samples,
)
from lgmnet.evaluation.audit.probes import PositionProbe, probe_accuracies
from lgmnet.evaluation.audit.report import Finding, judge
from lgmnet.evaluation.audit.trials import fixed_randomness
from lgmnet.methods.base import Method

EpisodeTransform = Callable[[Episode, torch.Generator], Episode]
"""Processing of an episode before the method receives it, such as an augmentation."""

TASKS_PER_BATCH = 4
MAX_COPIED_BYTES = 1 << 30
"""Bytes of samples that are copied at most while they are dealt among the classes."""
MIN_BATCHES = 16


def leave_unchanged(episode: Episode, generator: torch.Generator) -> Episode:
    """Return the episode as it is: the transform of an honest test."""
    return episode


@dataclass(frozen=True)
class LabelFreeChecks:
    """Checks of the way from the source to the method; each returns its finding."""

    method: Method
    source: TaskSource
    transform: EpisodeTransform
    shape: EpisodeShape
    episodes: int
    seed: int

    @property
    def n_batches(self) -> int:
        """Number of batches of tasks, each with its own arrangement of the samples."""
        return max(MIN_BATCHES, -(-self.episodes // TASKS_PER_BATCH))

    def check_random_labels(self) -> Finding:
        """Draw random query labels before the transform: the accuracy must be that of guessing."""
        if self.transform is leave_unchanged:
            return "passed", "no transform changes the episodes, so none uses their labels."
        generator = torch.Generator().manual_seed(self.seed)

        def randomize(e: Episode) -> Episode:
            return replace(e, query_y=torch.randint(e.way, e.query_y.shape, generator=generator))

        batches = (self.draw(self.source, i, randomize) for i in range(self.n_batches))
        return self.judge_scores(self.score(batches), "random query labels are predicted")

    def check_noise_images(self) -> Finding:
        """Replace the samples by ones without classes: the accuracy must be that of guessing.

        First all samples are the same picture, so that whatever differs was added on the way to the
        method. Then the true samples are dealt among the classes anew for each batch, so that a
        choice of samples by their content shows.
        """
        if not self.is_replaced():
            return "not checked", (
                "the source makes its samples in a way that cannot be replaced, so images without "
                "classes cannot be sent through it."
            )
        pictures = [OnePicture(self.seed + i) for i in (1, 2)]
        copies = [replace_samples(self.source, self.shape, picture) for picture in pictures]
        if self.transform is not leave_unchanged or not is_uniform(self.sample(copies[0], 0)):
            same = (self.draw(copies[i % 2], i) for i in range(self.n_batches))
            scores = self.score(same)
            finding = self.judge_scores(scores, "one picture for all classes is classified")
            if finding[0] == "failed":
                return finding
        shuffled = self.score(self.draw_shuffled())
        return self.judge_scores(shuffled, "images without classes are classified")

    def draw_shuffled(self) -> Iterator[Episode]:
        """Sample episodes whose samples are dealt among the classes anew for each batch."""
        bytes_per_batch = sum(
            tensor.numel() * tensor.element_size()
            for tensor in vars(self.source).values()
            if isinstance(tensor, Tensor)
        )
        n = max(MIN_BATCHES, min(self.n_batches, MAX_COPIED_BYTES // max(1, bytes_per_batch)))
        for i in range(n):
            deal: Replacement = ShuffledPictures(self.seed + 1000 + i)
            yield self.draw(replace_samples(self.source, self.shape, deal), i)

    def is_replaced(self) -> bool:
        """Return True if the drawn samples follow those that were put in their place."""
        drawn = []
        for i in (1, 2):
            copied = replace_samples(self.source, self.shape, OnePicture(self.seed + i))
            try:
                with fixed_randomness(self.seed):
                    drawn.append(self.sample(copied, 0))
            except UserError:
                return False
        return not torch.equal(drawn[0].query_x, drawn[1].query_x)

    def sample(self, source: TaskSource, batch: int) -> Episode:
        """Sample a batch of tasks, before the transform."""
        generator = torch.Generator().manual_seed(self.seed + 10_000 + batch)
        shape = replace(self.shape, tasks=TASKS_PER_BATCH)
        return Sampler(source, generator).sample(shape).clone()

    def draw(
        self, source: TaskSource, batch: int, change: Callable[[Episode], Episode] = lambda e: e
    ) -> Episode:
        """Sample a batch, change it and send it through the transform."""
        generator = torch.Generator().manual_seed(self.seed + 20_000 + batch)
        return self.transform(change(self.sample(source, batch)), generator)

    def score(self, batches: Iterator[Episode]) -> dict[str, Tensor]:
        """Compute the mean accuracy on each batch, of the method and of simple classifiers.

        Queries are shuffled and classes renumbered before, so that equal answers are right by
        chance only.
        """
        generator = torch.Generator().manual_seed(self.seed)
        scores: dict[str, list[float]] = {}
        positions = PositionProbe(self.shape.way)
        for ordered in batches:
            positions.add(ordered)
            e = shuffle_episode(ordered, generator)
            on_device = e.to(self.method.device)
            classifier = self.method.adapt(on_device.support_x, on_device.support_y, e.way)
            found = probe_accuracies(e)
            found["the method"] = accuracies(classifier(on_device.query_x).cpu(), e.query_y)
            for name, values in found.items():
                scores.setdefault(name, []).append(values.mean().item())
        result = {name: torch.tensor(values, dtype=torch.double) for name, values in scores.items()}
        for name, values in zip(positions.names, positions.accuracies().T, strict=True):
            result[f"{name} of the query alone"] = values
        return result

    def judge_scores(self, scores: dict[str, Tensor], subject: str) -> Finding:
        """Judge whether the method or a simple classifier is above chance."""
        chance = 1 / self.shape.way
        probabilities = {
            name: probability_of_chance(values, chance) for name, values in scores.items()
        }
        best = min(probabilities, key=lambda name: probabilities[name])
        is_failed = probabilities[best] < MAX_ALARM_PROBABILITY
        name = best if is_failed else "the method"
        accuracy, others = (
            100 * scores[name].mean().item(),
            "this is chance, and no simple classifier is better",
        )
        who = "" if name == "the method" else f" by a simple classifier ({name})"
        end = "something besides the images reveals the class" if is_failed else others
        return judge(
            is_failed,
            f"{subject}{who} with an accuracy of {accuracy:.1f} %, and guessing gives "
            f"{100 * chance:.1f} %: {end}.",
        )


def is_uniform(e: Episode) -> bool:
    """Return True if all samples of a batch are the same."""
    first = e.support_x[:1, :1]
    return bool((e.support_x == first).all() and (e.query_x == first).all())


def shuffle_episode(e: Episode, generator: torch.Generator) -> Episode:
    """Shuffle the queries and renumber the classes of each task."""
    rows = torch.arange(e.tasks)[:, None]
    names = torch.rand(e.tasks, e.way, generator=generator).argsort(1)
    parts: dict[str, Tensor] = {}
    for part, x, y in (("support", e.support_x, e.support_y), ("query", e.query_x, e.query_y)):
        order = torch.rand(y.shape, generator=generator).argsort(1)
        parts[f"{part}_x"] = x[rows, order]
        parts[f"{part}_y"] = names.gather(1, y.gather(1, order))
    return Episode(**parts, way=e.way)
