"""Audit of a method: a search for sources that reveal query classes besides the support set.

A score that is too good mostly has one of these causes: queries or tasks of one batch influence
each other, the way from the data to the method uses the labels, or the test classes were part of
the training. Each check changes the input in one way and tests that the predictions, or the
accuracy, do not follow.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from lgmnet.data.task_source import TaskSource, check_source
from lgmnet.episode import EpisodeShape
from lgmnet.errors import UserError
from lgmnet.evaluation.audit.draw_checks import DrawChecks
from lgmnet.evaluation.audit.label_free_checks import (
    EpisodeTransform,
    LabelFreeChecks,
    leave_unchanged,
)
from lgmnet.evaluation.audit.method_checks import MethodChecks
from lgmnet.evaluation.audit.overlap import check_training_overlap
from lgmnet.evaluation.audit.report import Audit, Check, Finding
from lgmnet.evaluation.audit.trials import KeptStateError, fixed_randomness
from lgmnet.evaluation.evaluate import tasks_per_batch
from lgmnet.methods.base import Method
from lgmnet.progress import track_progress

MAX_TASKS_AT_ONCE = 16
"""Tasks of the largest batch that the check of task independence uses."""
MAX_QUERIES = 5
"""Queries per class where only an accuracy or a choice of samples is checked."""


@torch.no_grad()
def audit(
    method: Method,
    source: TaskSource,
    *,
    trained_on: Sequence[TaskSource] | None = None,
    unknown_training: Sequence[str] = (),
    training_hash: str = "",
    photos: TaskSource | None = None,
    transform: EpisodeTransform = leave_unchanged,
    shape: EpisodeShape | None = None,
    episodes: int = 200,
    seed: int = 0,
) -> Audit:
    """Test if a method, its source or a transform uses information that it must not have.

    The training or evaluation mode of the method is restored, and so are all global random
    generators.

    Args:
        method: Method to audit.
        source: Source of the test tasks.
        trained_on: Training data of the method, to be compared with the source; None if it is not
            known, which counts as not checked; empty if the method was not trained.
        unknown_training: Sentences about training data that cannot be compared, which count as not
            checked.
        training_hash: Hash of the training classes (``TaskSource.split_hash``), which is compared
            even where the training data is absent; empty if it is not known.
        photos: Test photos, to be compared with the training data where ``source`` has only their
            features; None compares ``source``.
        transform: Processing of test episodes before the method; it must not reorder queries.
        shape: Shape of the tasks, as in the evaluation; None for 5-way 1-shot with 15 queries per
            class. ``shape.tasks`` is ignored.
        episodes: Number of tasks of each check that measures an accuracy.
        seed: Seed of the tasks and of all changes.

    Raises:
        EpisodeError: if the source does not have enough classes or samples.
        DataError: if ``source`` is no source, but a name.

    >>> import lgmnet
    >>> from lgmnet.data.synthetic.vectors import SyntheticVectors
    >>> method = lgmnet.load_model("vectors").method
    >>> audit(method, SyntheticVectors("test"), episodes=16).names("not checked")
    ['training overlap']
    """
    planned = plan_checks(
        method,
        source,
        trained_on=trained_on,
        unknown_training=unknown_training,
        training_hash=training_hash,
        photos=photos,
        transform=transform,
        shape=shape,
        episodes=episodes,
        seed=seed,
    )
    training = method.training
    method.eval()
    checks: list[Check] = []
    try:
        with fixed_randomness(seed), track_progress("checks", len(planned)) as progress:
            for name, run_check in planned.items():
                progress.advance(1, name)
                checks.append(Check(name, *run_safely(run_check)))
    finally:
        method.train(training)
    return Audit(tuple(checks))


def plan_checks(
    method: Method,
    source: TaskSource,
    *,
    trained_on: Sequence[TaskSource] | None = None,
    unknown_training: Sequence[str] = (),
    training_hash: str = "",
    photos: TaskSource | None = None,
    transform: EpisodeTransform = leave_unchanged,
    shape: EpisodeShape | None = None,
    episodes: int = 200,
    seed: int = 0,
) -> dict[str, Callable[[], Finding]]:
    """Return the functions that make the checks, by name, in their order.

    The arguments are those of `audit`. The functions expect a method in evaluation mode.

    Raises:
        EpisodeError: if the source does not have enough classes or samples.
        DataError: if ``source`` is no source, but a name.
    """
    check_source(source)
    shape = shape or EpisodeShape(5, 1, 15)
    source.check(shape)
    few = replace(shape, query=min(shape.query, MAX_QUERIES))
    n_at_once = min(tasks_per_batch(shape), MAX_TASKS_AT_ONCE)
    on_method = MethodChecks(method, source, shape, n_at_once, episodes, seed)
    on_samples = LabelFreeChecks(method, source, transform, few, episodes, seed)
    on_draws = DrawChecks(source, few, seed)
    compared = photos if photos is not None else source
    return {
        "repeatability": on_method.check_repeatability,
        "query independence": on_method.check_query_independence,
        "task independence": on_method.check_task_independence,
        "memory": on_method.check_memory,
        "hidden labels": on_method.check_hidden_labels,
        "query order": on_method.check_order,
        "small changes": on_method.check_small_changes,
        "random query labels": on_samples.check_random_labels,
        "images without classes": on_samples.check_noise_images,
        "fair draws": on_draws.check_fair_draws,
        "duplicates": on_draws.check_duplicates,
        "marks": on_draws.check_marks,
        "training overlap": lambda: check_training_overlap(
            compared, trained_on, unknown_training, training_hash=training_hash
        ),
    }


def run_safely(run_check: Callable[[], Finding]) -> Finding:
    """Run a check; one that the method or the source makes impossible counts as not checked."""
    try:
        return run_check()
    except UserError:
        raise
    except KeptStateError:
        return "failed", (
            "after it has computed in 64 bits, the method can no longer compute in 32: it "
            "remembers what it was given before."
        )
    except Exception as error:  # Anything that the code of a method or of a source can raise.
        return "not checked", f"the check ended with an error: {error!r}."
