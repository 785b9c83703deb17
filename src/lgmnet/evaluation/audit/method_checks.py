"""Checks of a method: its answers must follow the support set and the query, and nothing else."""

from dataclasses import dataclass, replace
from functools import cache, cached_property, partial

import torch
from torch import Tensor

from lgmnet.data.sampler import Sampler
from lgmnet.data.task_source import TaskSource
from lgmnet.episode import Episode, EpisodeShape
from lgmnet.evaluation.audit.chance import (
    MAX_ALARM_PROBABILITY,
    accuracies,
    probability_of_chance,
)
from lgmnet.evaluation.audit.report import Finding, judge
from lgmnet.evaluation.audit.trials import Difference, Trials, fixed_randomness
from lgmnet.methods.base import Method

N_TASKS = 4
"""Tasks of the batches that most checks change."""
N_EARLIER = 4
"""Batches that a method adapts to before the one whose answers are compared."""
N_ORDER_TASKS = 64
"""Tasks on which random methods classify queries in other orders."""
MAX_QUERIES = 5
"""Queries per class whose lowest bits are cleared."""
MAX_LOSS = 0.10
"""Loss of accuracy by changes that nobody can see which still passes."""
NOT_REPEATABLE = "random: not repeatable"


@dataclass(frozen=True)
class MethodChecks:
    """Checks that change what a method is given; each returns its finding."""

    method: Method
    source: TaskSource
    shape: EpisodeShape
    batch_size: int
    """Number of tasks that an evaluation classifies at once."""
    episodes: int
    seed: int

    @cached_property
    def trials(self) -> Trials:
        """Runs of the method."""
        return Trials(self.method, lambda: self.sample(0))

    def sample(self, seed: int, tasks: int = N_TASKS, query: int | None = None) -> Episode:
        """Sample a batch of tasks on the method's device; ``query`` replaces that of the shape."""
        generator = torch.Generator().manual_seed(self.seed + seed)
        shape = replace(self.shape, tasks=tasks, query=query or self.shape.query)
        with fixed_randomness(self.seed + seed):  # A source may draw from the global generators.
            episode = Sampler(self.source, generator).sample(shape)
        return episode.clone().to(self.method.device)

    def check_repeatability(self) -> Finding:
        """Run everything twice: randomness is no leak, but a score cannot be repeated with it."""
        if not self.trials.is_repeatable:
            return "passed", (
                f"{NOT_REPEATABLE}, even with the seeds of all known generators fixed. Its answers "
                "are compared by their means over many runs, which finds large changes only."
            )
        if self.trials.is_random:
            return "passed", (
                f"{NOT_REPEATABLE}, unless the random generators have the same state. They are "
                "given the same state in the other checks."
            )
        return "passed", "two runs give the same answers."

    def check_query_independence(self) -> Finding:
        """Change, remove or reorder the other queries: the answers to a query must stay."""
        e = self.sample(1, 2)
        n = e.query_x.shape[1]
        watched = torch.tensor([0, n // 2, n - 1]).unique()
        changed = e.query_x.flip(1).roll(1, 0).clone()
        changed[:, watched] = e.query_x[:, watched]
        one_class = e.query_x[:, :1].expand_as(e.query_x).clone()
        one_class[:, watched] = e.query_x[:, watched]

        unchanged = cache(lambda seed: self.trials.answer(e, seed=seed))

        def compare(query_x: Tensor, rows: Tensor, places: Tensor, same_shape: bool) -> Difference:
            new = with_queries(e, query_x)
            return self.trials.compare(
                lambda seed: unchanged(seed)[:, rows],
                lambda seed: self.trials.answer(new, seed=seed)[:, places],
                same_shape=same_shape,
            )

        every, half = torch.arange(n), torch.arange((n + 1) // 2)
        order = torch.randperm(n, generator=torch.Generator().manual_seed(self.seed))
        differences = {
            "the other queries are changed": compare(changed, watched, watched, True),
            "the other queries are all the same": compare(one_class, watched, watched, True),
            "half of the queries are removed": compare(e.query_x[:, half], half, half, False),
        }
        if not self.trials.is_random:  # 'query order' tells what the order reveals otherwise.
            alone, shuffled = e.query_x[:, :1], e.query_x[:, order]
            differences |= {
                "a query is classified alone": compare(alone, half[:1], half[:1], False),
                "the queries are reordered": compare(shuffled, every, order.argsort(), False),
            }
        return self.summarize(
            differences,
            "the answers to a query",
            "queries influence each other, so scores are not inductive",
            is_allowed=self.method.is_transductive,
        )

    def check_task_independence(self) -> Finding:
        """Change or remove the other tasks of a batch: the answers to a task must stay."""
        e, other = (self.sample(seed, max(2, self.batch_size)) for seed in (2, 3))
        mixed = replace(
            e,
            support_x=torch.cat([e.support_x[:1], other.support_x[1:]]),
            query_x=torch.cat([e.query_x[:1], other.query_x[1:]]),
        )

        unchanged = cache(lambda seed: self.trials.answer(e, seed=seed)[:1])
        changes = {"the other tasks are changed": (mixed, True)}
        if not self.trials.is_random:
            changes["a task is classified alone"] = (take_tasks(e, 1), False)
        differences = {
            change: self.trials.compare(
                unchanged, partial(self.answer_first, episode), same_shape=same_shape
            )
            for change, (episode, same_shape) in changes.items()
        }
        return self.summarize(
            differences, "the answers to a task", "the tasks of a batch influence each other"
        )

    def answer_first(self, episode: Episode, seed: int) -> Tensor:
        """Answer all tasks, and return the answers to the first one."""
        return self.trials.answer(episode, seed=seed)[:1]

    def check_memory(self) -> Finding:
        """Adapt to other tasks beforehand, or classify other queries: the answers must stay."""
        e = self.sample(4, 1)
        histories = [[self.sample(10 * k + i, 1) for i in range(N_EARLIER)] for k in (1, 2)]
        differences = {
            "it has adapted to other tasks before": self.trials.compare(
                lambda seed: self.trials.answer(e, before=histories[0], seed=seed),
                lambda seed: self.trials.answer(e, before=histories[1], seed=seed),
                same_shape=True,
            ),
            "its classifier has answered other queries before": self.trials.compare(
                lambda seed: self.trials.answer(
                    e, queries_before=histories[0][0].query_x, seed=seed
                ),
                lambda seed: self.trials.answer(
                    e, queries_before=histories[1][0].query_x, seed=seed
                ),
                same_shape=True,
            ),
        }
        if not self.trials.is_random:
            differences["it has adapted to any task before"] = self.trials.compare(
                lambda seed: self.trials.answer(e, seed=seed),
                lambda seed: self.trials.answer(e, before=histories[0], seed=seed),
                same_shape=True,
            )
        return self.summarize(
            differences, "the answers", "the method remembers what it was given before"
        )

    def check_hidden_labels(self) -> Finding:
        """Change the labels, and draw other tasks meanwhile: the answers must stay."""

        def answer(seed: int, *, is_changed: bool) -> Tensor:
            e = self.sample(5)
            if is_changed:
                self.sample(6)
                e = replace(e, query_y=e.query_y.flip(1), classes=None)
            return self.trials.answer(e, seed=seed)

        difference = self.trials.compare(
            lambda seed: answer(seed, is_changed=False),
            lambda seed: answer(seed, is_changed=True),
            same_shape=True,
        )
        change = "the labels are changed and other tasks are drawn"
        return self.summarize(
            {change: difference}, "the answers", "the method finds the labels elsewhere"
        )

    def check_order(self) -> Finding:
        """Shuffle the queries of random methods: the accuracy must stay."""
        if not self.trials.is_random:
            return "passed", "covered by 'query independence': the method is not random."
        ordered, shuffled = [], []
        generator = torch.Generator().manual_seed(self.seed)
        for i in range(N_ORDER_TASKS // N_TASKS):
            e = self.sample(100 + i)
            order = torch.randperm(e.query_x.shape[1], generator=generator)
            ordered.append(accuracies(self.trials.answer(e, seed=2 * i), e.query_y.cpu()))
            mixed = with_queries(e, e.query_x[:, order])
            labels = e.query_y[:, order].cpu()
            shuffled.append(accuracies(self.trials.answer(mixed, seed=2 * i + 1), labels))
        gain = torch.cat(ordered) - torch.cat(shuffled)
        is_failed = probability_of_chance(gain, 0.0) < MAX_ALARM_PROBABILITY
        reason = (
            f"the accuracy changes by {100 * gain.mean():+.1f} points if the queries are sorted "
            f"by class ({len(gain)} tasks)"
        )
        if is_failed and self.method.is_transductive:
            return "passed", f"{reason}; the method is declared transductive."
        return judge(is_failed, f"{reason}{': their order reveals the class' * is_failed}.")

    def check_small_changes(self) -> Finding:
        """Clear the lowest bit of each value of the queries: the accuracy must stay."""
        kept, changed = [], []
        for i in range(max(2, min(self.episodes, N_ORDER_TASKS) // N_TASKS)):
            e = self.sample(200 + i, N_TASKS, min(self.shape.query, MAX_QUERIES))
            cleared = ((e.query_x * 255).round() / 2).floor() * 2 / 255
            if not bool((e.query_x * 255 - (e.query_x * 255).round()).abs().max() < 1e-3):
                cleared = e.query_x * (1 - 1e-3)
            labels = e.query_y.cpu()
            kept.append(accuracies(self.trials.answer(e, seed=i), labels))
            answers = self.trials.answer(with_queries(e, cleared), seed=i)
            changed.append(accuracies(answers, labels))
        loss = torch.cat(kept) - torch.cat(changed)
        is_failed = (
            loss.mean().item() > MAX_LOSS
            and probability_of_chance(loss, 0.0) < MAX_ALARM_PROBABILITY
        )
        reason = (
            f"the accuracy changes by {-100 * loss.mean():+.1f} points when the lowest bit of each "
            "value is cleared"
        )
        cause = ": queries are recognised by marks or by heart, not by what they show"
        return judge(is_failed, f"{reason}{cause * is_failed}.")

    def summarize(
        self,
        differences: dict[str, Difference],
        subject: str,
        cause: str,
        *,
        is_allowed: bool = False,
    ) -> Finding:
        """Make a finding of the differences that changes cause."""
        real = {change: d for change, d in differences.items() if d.is_real}
        if real:
            worst = max(real, key=lambda change: real[change].relative)
            reason = (
                f"{subject} change by up to {100 * real[worst].relative:.2g} % of their spread "
                f"when {worst}"
            )
            if is_allowed:
                return "passed", f"{reason}; the method is declared transductive."
            return "failed", f"{reason}: {cause}."
        unclear = [change for change, d in differences.items() if not d.is_certain]
        if unclear:
            return "not checked", (
                f"{NOT_REPEATABLE}. {subject.capitalize()} vary too much to see a change when "
                f"{' or '.join(unclear)}."
            )
        return "passed", f"{subject} stay the same when {', or '.join(differences)}."


def with_queries(e: Episode, query_x: Tensor) -> Episode:
    """Copy a batch with other queries, in any number; the labels no longer belong to them."""
    labels = e.query_y[:, :1].expand(query_x.shape[:2])
    return replace(e, query_x=query_x, query_y=labels)


def take_tasks(e: Episode, n: int) -> Episode:
    """Return the first ``n`` tasks of a batch."""
    tensors = {name: value[:n] for name, value in vars(e).items() if isinstance(value, Tensor)}
    return Episode(**{**vars(e), **tensors})
