"""Statistics of rows that were trained with several seeds and scored on the same tasks."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lgmnet.evaluation.evaluate import mean_and_ci95
from lgmnet.experiments.row_results import Row, find_task
from lgmnet.experiments.tables import Column

T_975 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
"""97.5 % quantiles of Student's t distribution, by degrees of freedom."""


@dataclass(frozen=True)
class SeedScores:
    """Accuracies of one row in one column, in percent."""

    by_seed: dict[int, Float[Tensor, " tasks"]]
    """Accuracy on each task, by the seed of the training."""
    is_fixed: bool = False
    """True if nothing is trained, so that the only scores hold for every seed of other rows."""

    @property
    def n_tasks(self) -> int:
        """Number of tasks."""
        return min((len(scores) for scores in self.by_seed.values()), default=0)

    @property
    def over_tasks(self) -> tuple[float, float]:
        """Mean over all, and half-width of its 95 % interval over the means of the tasks."""
        return mean_and_ci95(torch.stack([*self.by_seed.values()]).mean(0))

    @property
    def seed_means(self) -> list[float]:
        """Mean of each seed."""
        return [scores.mean().item() for scores in self.by_seed.values()]

    @property
    def spread(self) -> float | None:
        """Standard deviation over seeds; None for one seed."""
        return statistics.stdev(self.seed_means) if len(self.by_seed) > 1 else None

    @property
    def over_seeds(self) -> tuple[float, float] | None:
        """Mean, and half-width of its 95 % interval over seeds (Student's t); None for one seed."""
        if self.spread is None:
            return None
        n = len(self.by_seed)
        return statistics.mean(self.seed_means), T_975[n - 1] * self.spread / math.sqrt(n)

    def minus(self, other: "SeedScores") -> "SeedScores":
        """Subtract the scores of another row on the same tasks, seed by seed.

        Only seeds that both have, and the tasks that both were scored on, are kept.
        """
        n = min(self.n_tasks, other.n_tasks)
        first = self.for_seeds(other.by_seed) if self.is_fixed else self.by_seed
        second = other.for_seeds(first) if other.is_fixed else other.by_seed
        seeds = [seed for seed in first if seed in second]
        differences = {seed: first[seed][:n] - second[seed][:n] for seed in seeds}
        return SeedScores(differences, self.is_fixed and other.is_fixed)

    def for_seeds(self, seeds: Iterable[int]) -> dict[int, Float[Tensor, " tasks"]]:
        """Repeat the scores of a row that is not trained for all seeds of another one."""
        return {seed: scores for seed in seeds for scores in self.by_seed.values()}

    @property
    def sign(self) -> int:
        """1 or -1 if the interval over tasks excludes zero, and so does that over seeds.

        Both on the same side; else 0. With one seed, only the interval over tasks counts.
        """
        if not self.by_seed:
            return 0
        signs = {_sign(*self.over_tasks)}
        if self.over_seeds is not None:
            signs.add(_sign(*self.over_seeds))
        return signs.pop() if len(signs) == 1 else 0


def _sign(mean: float, ci95: float) -> int:
    return 0 if abs(mean) <= ci95 else int(math.copysign(1, mean))


def find_column(rows: Sequence[Row], column: Column, *, is_fixed: bool = False) -> SeedScores:
    """Collect the scores of a row in one column from its result files, one for each seed.

    Seeds that were scored on fewer tasks than others set the number of tasks. ``is_fixed`` is that
    of `SeedScores`.
    """
    by_seed = {}
    for row in rows:
        if task := find_task(row, column):
            right = torch.tensor(task["right"], dtype=torch.float64)
            by_seed[row["seed"]] = 100 * right / (column.way * row["query"])
    return SeedScores(by_seed, is_fixed)


def average_columns(columns: Sequence[SeedScores]) -> SeedScores:
    """Average the scores of a row over columns, whose tasks are drawn independently.

    The first tasks of all columns count as one task, and so on. Only seeds that all columns have
    are kept.
    """
    n = min(column.n_tasks for column in columns)
    seeds = [seed for seed in columns[0].by_seed if all(seed in c.by_seed for c in columns)]
    means = {s: torch.stack([c.by_seed[s][:n] for c in columns]).mean(0) for s in seeds}
    return SeedScores(means, all(column.is_fixed for column in columns))
