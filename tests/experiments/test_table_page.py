"""A row is ahead only where both its tasks and its seeds say so."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from lgmnet.experiments.seeds import T_975, SeedScores
from lgmnet.experiments.table_page import (
    format_accuracy,
    format_audit,
    format_difference,
    summarize_column,
)


def scores(*rows: Sequence[float]) -> SeedScores:
    """Accuracy on each task in percent, one row for each seed."""
    return SeedScores({i: torch.tensor(row, dtype=torch.float64) for i, row in enumerate(rows)})


def test_quantiles_are_those_of_students_t() -> None:
    stats = pytest.importorskip("scipy.stats")
    for n, quantile in T_975.items():
        assert stats.t.ppf(0.975, n) == pytest.approx(quantile, abs=1e-3)


def test_intervals_are_over_tasks_and_over_seeds() -> None:
    rows = np.array([[60, 70, 80, 50], [62, 71, 85, 50], [58, 69, 75, 46]], dtype=float)
    measured = scores(*rows.tolist())
    by_task, by_seed = rows.mean(0), rows.mean(1)
    mean, ci95 = measured.over_tasks
    assert mean == pytest.approx(rows.mean())
    assert ci95 == pytest.approx(1.96 * by_task.std(ddof=1) / math.sqrt(4))
    assert measured.over_seeds is not None
    assert measured.over_seeds[0] == pytest.approx(rows.mean())
    assert measured.over_seeds[1] == pytest.approx(4.303 * by_seed.std(ddof=1) / math.sqrt(3))
    spread = by_seed.std(ddof=1)
    assert format_accuracy(measured, 4) == f"{mean:.2f} ± {ci95:.2f}, {spread:.2f}"
    assert format_accuracy(measured, 5).endswith("(first 4)")
    one = scores([60, 70])
    assert (one.spread, one.over_seeds) == (None, None)
    assert format_accuracy(one, 2) == f"65.00 ± {1.96 * math.sqrt(50) / math.sqrt(2):.2f}"


def test_differences_are_paired_by_task_and_by_seed() -> None:
    first = scores([60, 70, 75, 50], [61, 71, 76, 51])
    worse = scores([56, 66, 71, 46], [57, 67, 72, 47])
    assert format_difference(worse.minus(first)) == "**-4.00 ± 0.00; -4.00 ± 0.00**"
    fewer = scores([56, 66])
    difference = fewer.minus(first)
    assert format_difference(difference) == "-4.00 ± 0.00; one seed"
    assert (difference.n_tasks, list(difference.by_seed)) == (2, [0])
    missing = SeedScores({7: torch.zeros(4, dtype=torch.float64)}).minus(first)
    assert (format_difference(missing), missing.sign) == ("not run", 0)


def test_scores_without_training_are_compared_with_every_seed_of_another_row() -> None:
    trained = scores([60, 70, 75, 50], [61, 71, 76, 51])
    (fixed,) = scores([58, 68, 73, 48]).by_seed.values()
    rival = SeedScores({0: fixed}, is_fixed=True)
    assert format_difference(rival.minus(trained)) == "-2.50 ± 0.00; -2.50 ± 6.35"
    assert format_difference(trained.minus(rival)) == "+2.50 ± 0.00; +2.50 ± 6.35"
    both = rival.minus(rival)
    assert (both.is_fixed, list(both.by_seed)) == (True, [0])


@pytest.mark.parametrize(
    ("rows", "sign"),
    [
        (([1, 2, 3], [2, 2, 2], [3, 2, 1]), 1),
        (([-1, -2, -3], [-2, -2, -2], [-3, -2, -1]), -1),
        (([9, 9, 9], [-3, -3, -3], [0, 0, 0]), 0),  # The tasks agree, the seeds do not.
        (([-5, 0, 9], [-5, 0, 9], [-5, 0, 9]), 0),  # The seeds agree, the tasks do not.
        (([2, 3, 2],), 1),
        (([-3, 3, 2],), 0),
    ],
)
def test_tasks_and_seeds_must_both_say_so(rows: tuple[list[float], ...], sign: int) -> None:
    assert scores(*rows).sign == sign
    bold = format_difference(scores(*rows)).startswith("**")
    assert bold == (sign != 0 and len(rows) > 1)


def test_the_summary_lists_the_rows_that_a_row_is_ahead_of() -> None:
    clear = ([1, 2, 3], [2, 2, 2], [3, 2, 1])
    differences = {
        "a": scores(*[[-x for x in row] for row in clear]),
        "b": scores([9, 9, 9], [-3, -3, -3], [0, 0, 0]),
        "c": scores(*clear),
        "d": scores([-2, -3, -2]),
        "e": SeedScores({}),
    }
    assert summarize_column(differences, "ours", "5-way 1-shot") == (
        "- At 5-way 1-shot: ours is ahead of: a. ours is behind: c. ours is not told apart from: "
        "b. By the tasks alone (one seed), it is ahead of: d."
    )
    assert summarize_column({}, "ours", "5-way 1-shot") == ""


def test_an_audit_that_could_not_be_made_in_all_is_not_printed_as_passed():
    assert format_audit([{"audit": [], "not_checked": []}]) == "passed"
    unknown = {"audit": [], "not_checked": ["training overlap"]}
    assert format_audit([unknown]) == "not checked: training overlap"
    assert format_audit([unknown, unknown | {"audit": ["memory"]}]) == "failed: memory"
