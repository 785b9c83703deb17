"""Checks of the tasks that a source draws: fair choices, no twins, no marks of the class."""

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.sampler import fill_from_bytes
from lgmnet.data.task_source import TaskSource
from lgmnet.episode import Episode, EpisodeShape
from lgmnet.evaluation.audit.chance import (
    MAX_ALARM_PROBABILITY,
    excess_dispersion,
    probability_of_chance,
    tail_probability,
)
from lgmnet.evaluation.audit.fingerprints import (
    MAX_FREQUENCY,
    MIN_CONTRAST,
    digest,
    is_blank,
    is_image_data,
    similarity,
    spectra,
    to_bytes,
    to_grey,
)
from lgmnet.evaluation.audit.probes import (
    PositionProbe,
    compute_statistics,
    reduce_samples,
    variance,
)
from lgmnet.evaluation.audit.report import Finding
from lgmnet.evaluation.audit.trials import fixed_randomness

N_BATCHES, TASKS_PER_BATCH = 24, 5
MAX_BATCH_VALUES = 30_000_000
"""Values of the drawn samples, all batches together, above which fewer tasks are drawn."""
MAX_DISPERSION = 8.0
"""Standard deviations by which choices may be uneven."""
MIN_IDENTIFIED = 0.95
"""Share of drawn samples that must be stored ones, bit for bit, to follow the choice of samples."""
MAX_REPEATED = 0.005
"""Share of queries that may equal a support sample of their class."""
TWIN_SIMILARITY = 0.995
"""Correlation, at full resolution, from which two images are twins."""
MAX_TWINS = 0.04
"""Share of images that may have a twin in their class; real data sets have up to 1 %."""
N_TWIN_IMAGES = 600
MAX_TWIN_PIXELS = 2_000_000
MAX_WITHIN = 0.01
"""Share of the variance of a value that lies within classes, below which it marks the class."""
MIN_MARKED_CLASSES = 8
MIN_RANK_CORRELATION = 0.8


@dataclass(frozen=True)
class DrawChecks:
    """Checks of the samples that a source draws; each returns its finding."""

    source: TaskSource
    shape: EpisodeShape
    seed: int

    @cached_property
    def drawn(self) -> "Draws":
        """Samples of many tasks."""
        values = int(torch.tensor(self.source.feature_shape).prod()) * self.shape.samples
        n = max(4, min(N_BATCHES * TASKS_PER_BATCH, MAX_BATCH_VALUES // values)) // 4
        batches = [self.draw(batch, n) for batch in range(4)]
        classes = [batch.classes for batch in batches]
        known = [c for c in classes if c is not None]
        return Draws(
            torch.cat([batch.samples for batch in batches]),
            torch.cat(known) if len(known) == len(classes) else None,
            self.shape.shot,
        )

    def draw(self, batch: int, tasks: int) -> "Draws":
        """Draw tasks with the seed of a batch."""
        shape = replace(self.shape, tasks=tasks)
        feature = tuple(self.source.feature_shape)
        out = torch.zeros(shape.samples, *feature, dtype=self.source.dtype)
        self.source.check(shape)
        generator = torch.Generator().manual_seed(self.seed + 30_000 + batch)
        with fixed_randomness(self.seed + batch):
            classes = self.source.draw(shape, generator, out)
        n_support = tasks * shape.way * shape.shot
        support = out[:n_support].view(tasks, shape.way, shape.shot, *feature)
        query = out[n_support:].view(tasks, shape.way, shape.query, *feature)
        return Draws(torch.cat([support, query], 2), classes, shape.shot)

    def check_fair_draws(self) -> Finding:
        """Count what is drawn: every class, every image and every order must be equally likely."""
        first, second = (self.draw(batch, 4) for batch in (0, 1))
        if torch.equal(first.samples, second.samples):
            return "failed", "the source draws the same tasks, whatever its generator is."
        problems = [*self.find_unfair_positions(), *self.find_unfair_choices()]
        if problems:
            return "failed", f"{'; '.join(problems)}: the tasks are chosen, not drawn."
        if self.drawn.classes is None:
            return "passed", "the position of a class in a task cannot be told from its images."
        return "passed", "classes, images and positions in a task are drawn evenly."

    def find_unfair_positions(self) -> list[str]:
        """Look for classes or images that prefer a position in their task."""
        problems = []
        if (classes := self.drawn.classes) is not None:
            ranks = classes.double().argsort(1).argsort(1)
            positions = torch.arange(self.shape.way).double()
            centred = (ranks - ranks.double().mean(1, keepdim=True)) * (
                positions - positions.mean()
            )
            p = min(probability_of_chance(side * centred.sum(1), 0.0) for side in (1, -1))
            if p < MAX_ALARM_PROBABILITY:
                problems.append("the order of the classes in a task follows their numbers")
        probe = PositionProbe(self.shape.way)
        for part in self.drawn.as_queries().split(max(2, len(self.drawn.samples) // N_BATCHES)):
            labels = torch.arange(self.shape.way).repeat_interleave(self.shape.query)
            probe.add(Episode.unchecked(query_x=part, query_y=labels.expand(len(part), -1)))
        for name, values in zip(probe.names, probe.accuracies().T, strict=True):
            if probability_of_chance(values, 1 / self.shape.way) < MAX_ALARM_PROBABILITY:
                problems.append(f"the {name} of a query reveals the position of its class")
        return problems

    def find_unfair_choices(self) -> list[str]:
        """Look for classes and images that are drawn more often than others."""
        problems, n_classes = [], len(self.source.class_names)
        same_group = getattr(self.source, "same_group_fraction", 0.0)
        if (classes := self.drawn.classes) is not None and not same_group:
            counts = torch.bincount(classes.flatten(), minlength=n_classes).double()
            if n_classes > self.shape.way:
                expected = torch.full_like(counts, classes.numel() / n_classes)
                if excess_dispersion(counts, expected) > MAX_DISPERSION:
                    problems.append("some classes are drawn more often than others")
        if isinstance(self.source, ClassDataset):
            rows = self.drawn.find_rows(self.source)
            for part, drawn in (("queries", rows[:, :, self.shape.shot :]), ("support", rows)):
                if (drawn >= 0).double().mean() < MIN_IDENTIFIED:
                    continue
                if uneven_choice(drawn[drawn >= 0], self.source) > MAX_DISPERSION:
                    problems.append(f"some images are drawn more often than others ({part})")
                    break
        return problems

    def check_duplicates(self) -> Finding:
        """Look for support images among the queries, and for twins within the classes."""
        samples = to_bytes(self.drawn.samples.flatten(0, 2))
        shape = self.drawn.samples.shape[:3]
        repeated = repeated_queries(samples, shape, self.shape.shot)
        if repeated > MAX_REPEATED:
            return "failed", f"{100 * repeated:.1f} % of the queries are support images."
        if not is_image_data(samples):
            return "passed", "no query is a support sample."
        pairs = [(samples.unflatten(0, shape), "query has a support image of its class as a twin")]
        if isinstance(self.source, ClassDataset):
            groups = gather_classes(self.source, self.seed)
            pairs.append((groups, "image has a twin in its class"))
        texts = []
        for groups, text in pairs:
            share, n = twin_share(groups, self.seed, self.shape.shot if groups.ndim == 6 else None)
            texts.append(f"{100 * share:.1f} % of {n}: {text}")
            if share > MAX_TWINS and share * n >= 2:
                return "failed", (
                    f"{100 * share:.1f} % of {n} images are twins, turned, shifted or in other "
                    f"tones: {text}."
                )
        return "passed", f"twins, turned, shifted or in other tones: {'; '.join(texts)}."

    def check_marks(self) -> Finding:
        """Look for values of the samples that number the classes."""
        samples = self.drawn.samples
        x = scaled(samples.flatten(0, 1))
        if not is_image_data(samples.flatten(0, 2)):
            return "passed", "the samples are no images, so nothing in them is a mark."
        per_class = samples.shape[2]
        if per_class < 3 or len(x) < MIN_MARKED_CLASSES:
            return "not checked", "there are too few images of a class to look for marks."
        statistics = compute_statistics(x)
        values = torch.cat([reduce_samples(x), torch.stack([*statistics.values()], 2)], 2)
        values = values.view(*samples.shape[:3], -1)
        means = values.mean(2)
        within = variance(values.transpose(2, 3)).mean((0, 1)) * per_class / (per_class - 1)
        between = variance(means.transpose(1, 2)).mean(0)  # Tasks may differ as a whole.
        different = (means - means.roll(1, 1)).abs() > 3 * within.sqrt() + 1e-4
        is_mark = (between > 1e-7) & (within < MAX_WITHIN * between)
        is_mark &= different.double().mean((0, 1)) > 0.5
        if is_mark.any():
            return "failed", (
                "a value of the images is the same within each class and differs between classes: "
                "it marks the class."
            )
        return self.check_numbers(statistics)

    def check_numbers(self, statistics: dict[str, Tensor]) -> Finding:
        """Look for statistics of the images that rise or fall with the number of the class."""
        classes = self.drawn.classes
        if classes is None:
            return "passed", "no value of the images marks a class; their numbers are not known."
        numbers, index = classes.flatten().unique(return_inverse=True)
        if len(numbers) >= MIN_MARKED_CLASSES:
            for name, values in statistics.items():
                for reduce in ("mean", "amin", "amax"):
                    start = torch.zeros(len(numbers), dtype=values.dtype)
                    by_class = start.scatter_reduce(
                        0,
                        index[:, None].expand_as(values).flatten(),
                        values.flatten(),
                        reduce,
                        include_self=False,
                    )
                    if follows_number(by_class):
                        return "failed", (
                            f"the {name} of the images follows the number of their class: it "
                            "reveals the class."
                        )
        return "passed", "no value of the images marks a class or follows its number."


@dataclass(frozen=True)
class Draws:
    """Tasks as a source draws them."""

    samples: Tensor
    """[tasks, way, shot + query, *feature]"""
    classes: Tensor | None
    """Numbers of the classes, [tasks, way]."""
    shot: int

    def as_queries(self) -> Tensor:
        """Return the queries scaled to 0..1, [tasks, way * query, *feature]."""
        return scaled(self.samples[:, :, self.shot :].flatten(1, 2))

    def find_rows(self, dataset: ClassDataset) -> Tensor:
        """Find the row of each sample in a data set, [tasks, way, samples].

        It is -1 if the sample is not stored, or stored more than once.
        """
        stored = digest(dataset.images)
        often = {key for key, n in Counter(stored).items() if n > 1}
        rows = {key: i for i, key in enumerate(stored) if key not in often}
        keys = digest(self.samples.flatten(0, 2))
        return torch.tensor([rows.get(key, -1) for key in keys]).view(self.samples.shape[:3])


def scaled(samples: Tensor) -> Tensor:
    """Scale bytes to 0..1, as the sampler does."""
    if samples.dtype != torch.uint8:
        return samples
    values = torch.empty(samples.shape)
    fill_from_bytes(values, samples)
    return values


def uneven_choice(rows: Tensor, dataset: ClassDataset) -> float:
    """Standardise how unevenly the rows of each class are drawn; 0 on average if evenly."""
    counts = torch.bincount(rows.flatten(), minlength=len(dataset.images)).double()
    per_class = torch.zeros(dataset.classes, dtype=torch.double)
    per_class.index_add_(0, dataset.labels, counts)
    is_counted = ~stored_repeatedly(dataset)  # Equal images cannot be counted apart.
    n_counted = torch.zeros(dataset.classes, dtype=torch.double)
    n_counted.index_add_(0, dataset.labels, is_counted.double())
    expected = (per_class / n_counted.clamp_min(1))[dataset.labels]
    is_counted &= expected > 0
    return excess_dispersion(counts[is_counted], expected[is_counted])


def stored_repeatedly(dataset: ClassDataset) -> Tensor:
    """Return a mask of the samples that a data set holds more than once."""
    keys = digest(dataset.images)
    n = Counter(keys)
    return torch.tensor([n[key] > 1 for key in keys])


def repeated_queries(samples: Tensor, shape: tuple[int, ...], shot: int) -> float:
    """Compute the share of queries that equal a support sample of their task, blank ones apart."""
    _, ids = torch.tensor([int.from_bytes(key[:7], "big") for key in digest(samples)]).unique(
        return_inverse=True
    )
    tasks, way, per_class = shape
    ids = ids.view(tasks, way, per_class)
    support, query = ids[:, :, :shot].flatten(1), ids[:, :, shot:].flatten(1)
    equal = (query[:, :, None] == support[:, None]).any(2)
    shown = ~is_blank(samples).view(tasks, way, per_class)[:, :, shot:].flatten(1)
    return float((equal & shown).double().mean())


def gather_classes(dataset: ClassDataset, seed: int) -> Tensor:
    """Choose images with the most similar one of their class: what `twin_share` compares.

    Returns:
        Images [pairs, 2, channels, height, width]: each image, and the most similar other one of
        its class.
    """
    generator = torch.Generator().manual_seed(seed)
    images = to_bytes(dataset.images)
    n = max(60, min(N_TWIN_IMAGES, MAX_TWIN_PIXELS // images[0].numel()))
    chosen = torch.randperm(len(images), generator=generator)[:n]
    groups = []
    for row in chosen.tolist():
        start = int(dataset.starts[dataset.labels[row]])
        count = int(dataset.counts[dataset.labels[row]])
        if count < 2:
            continue
        groups.append((row, start, count))
    spectrum: dict[int, Tensor] = {}
    pairs = []
    for row, start, count in groups:
        if start not in spectrum:
            spectrum[start] = spectra(to_grey(images[start : start + count]), MAX_FREQUENCY)
        products = spectrum[start] @ spectrum[start][row - start]
        products[row - start] = -1
        pairs.append(torch.stack([images[row], images[start + int(products.argmax())]]))
    return torch.stack(pairs) if pairs else images[:0].unsqueeze(1)


def twin_share(groups: Tensor, seed: int, shot: int | None) -> tuple[float, int]:
    """Compute the share of images that have a twin, and the number of images compared.

    Args:
        groups: Pairs [pairs, 2, channels, height, width], or tasks [tasks, way, shot + query, ...].
        seed: Seed of the choice of images.
        shot: Support images of each class of a task; None for pairs.
    """
    if shot is not None:
        support, query = groups[:, :, :shot], groups[:, :, shot:]
        first = query.flatten(0, 2)
        second = support[:, :, :1].expand(-1, -1, query.shape[2], -1, -1, -1).flatten(0, 2)
        generator = torch.Generator().manual_seed(seed)
        limit = max(60, min(N_TWIN_IMAGES, MAX_TWIN_PIXELS // first[0].numel()))
        chosen = torch.randperm(len(first), generator=generator)[:limit]
        first, second = first[chosen], second[chosen]
    else:
        first, second = groups[:, 0], groups[:, 1] if groups.shape[1] > 1 else groups[:, 0]
    if not len(first):
        return 0.0, 0
    a, b = to_grey(first, None), to_grey(second, None)
    shown = a.flatten(1).std(1) > MIN_CONTRAST
    if not shown.any():
        return 0.0, 0
    found = similarity(a[shown], b[shown]) >= TWIN_SIMILARITY
    return found.double().mean().item(), int(shown.sum())


def follows_number(values: Tensor) -> bool:
    """Return True if values are ranked as their positions are, or in reverse."""
    n = len(values)
    if len(values.unique()) < n // 2:
        return False
    smaller, equal = values[:, None] > values, values[:, None] == values
    ranks = smaller.double().sum(1) + equal.double().sum(1) / 2
    correlation = torch.corrcoef(torch.stack([ranks, torch.arange(n).double()]))[0, 1].item()
    if abs(correlation) < MIN_RANK_CORRELATION:
        return False
    t = abs(correlation) * ((n - 2) / max(1e-9, 1 - correlation**2)) ** 0.5
    return tail_probability(t, n - 2) < MAX_ALARM_PROBABILITY
