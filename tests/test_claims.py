"""Figures in the sentences of README and docs are those of the result files."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from statistics import mean

import pytest

from lgmnet.experiments.criteria_tables import ordinary_classes, photo_criteria, table_domains
from lgmnet.experiments.plane_tables import table_plane
from lgmnet.experiments.results import RunOptions
from lgmnet.experiments.row_results import Row, is_current, read_rows
from lgmnet.experiments.sectioned_page import MEAN, collect_scores
from lgmnet.experiments.seeds import SeedScores
from lgmnet.experiments.table_definitions import table2
from lgmnet.experiments.table_rows import (
    LGM_NET,
    LGM_NET_PAPER_CONTEXT,
    NOTHING_GENERATED,
    SEES_LABELS,
    with_auxiliary,
)

ROOT = Path(__file__).parents[1]
RESULTS = RunOptions(results=ROOT / "results")
DOMAINS, PLANE = table_domains()[0], table_plane()
TABLES = {
    table.name: table
    for table in (table2("cifar-fs"), photo_criteria(), ordinary_classes(), DOMAINS, *PLANE)
}
PHOTOS, CLASSES = photo_criteria().name, ordinary_classes().name
LOOKS = f"{MEAN}five seen looks"
ALL_CLASSES = f"{MEAN}all"
TEST_ALONE = f"{MEAN}sets for testing alone"
RIDGE = "Ridge regression, all layers"
GENERATING = (LGM_NET, LGM_NET_PAPER_CONTEXT, SEES_LABELS)
SEEDS = {1: "one seed so far", 2: "two seeds so far", 3: "three seeds"}


@functools.cache
def read_table(name: str) -> dict[str, list[Row]]:
    """Read all result files of a table, once."""
    return read_rows(RESULTS, TABLES[name])


@functools.cache
def find_scores(table: str, row: str, shot: int) -> dict[str, SeedScores]:
    """Find the scores of a row in all columns of a table with this shot, and their means."""
    entry = next(entry for entry in TABLES[table].entries if entry.name == row)
    rows = [r for r in read_table(table)[row] if is_current(r, entry)]
    return dict(collect_scores(rows, entry, TABLES[table], shot))


def find_column(table: str, row: str, shot: int, column: str = "") -> SeedScores:
    """Find the scores of a row in one column; a table with one column for a shot needs no name."""
    scores = find_scores(table, row, shot)
    return scores[column] if column else next(iter(scores.values()))


def accuracy(table: str, row: str, shot: int, column: str = "") -> float:
    """Return the accuracy of a row in percent."""
    return find_column(table, row, shot, column).over_tasks[0]


def compare(table: str, first: str, second: str, shot: int, column: str = "") -> SeedScores:
    """Subtract the scores of the second row from those of the first, on the seeds of both."""
    return find_column(table, first, shot, column).minus(find_column(table, second, shot, column))


def lead(table: str, first: str, second: str, shot: int, column: str = "") -> float:
    """Return by how many points the first row is ahead of the second."""
    return compare(table, first, second, shot, column).over_tasks[0]


def lead_in_the_plane(row: str) -> list[float]:
    return [lead(table.name, row, NOTHING_GENERATED, 5) for table in PLANE]


def plane_row(name: str, row: str) -> str:
    leads = lead_in_the_plane(row)
    return f"| {name} | " + " | ".join(f"{x:+.1f}" for x in leads) + " |"


def lead_on_cifar(row: str, shot: int) -> SeedScores:
    """Subtract a row from the one with nothing generated, both with the auxiliary loss."""
    return compare("table2", with_auxiliary(NOTHING_GENERATED), with_auxiliary(row), shot)


def seeds_on_cifar(*rows: str) -> str:
    """Say how many seeds of these rows and of nothing generated are run, with that loss."""
    names = [with_auxiliary(name) for name in (NOTHING_GENERATED, *rows)]
    return SEEDS[min(len(find_column("table2", name, 5).by_seed) for name in names)]


def lead_on_looks(row: str, shot: int, *columns: str) -> list[float]:
    return [lead(PHOTOS, row, NOTHING_GENERATED, shot, c) for c in columns or [LOOKS]]


def with_interval(table: str, row: str, shot: int, column: str) -> str:
    return "{:.1f} ± {:.1f}".format(*find_column(table, row, shot, column).over_tasks)


def lead_on_domains(first: str, second: str, shot: int) -> float:
    return lead(DOMAINS.name, first, second, shot, TEST_ALONE)


def best_of_cifar(task: str) -> float:
    file = ROOT / "results" / f"cifar-fs-ensemble-{task}.json"
    return float(json.loads(file.read_text(encoding="utf-8"))["accuracy"])


def claims_on_where_it_pays() -> list[str]:
    """Write the sentences of 'Does weight generation pay?' that have figures."""
    constant = NOTHING_GENERATED
    seen = [f"{c}, {n}-way" for c, n in (("blur", 4), ("brightness", 5), ("compression", 4))]
    worth = lead_on_looks(SEES_LABELS, 5, *seen, "noise, 4-way")
    level = mean(accuracy(PHOTOS, constant, 5, column) for column in seen)
    labels = lead_on_cifar(SEES_LABELS, 1)
    signs = {(row, shot): lead_on_cifar(row, shot).sign for row in GENERATING for shot in (1, 5)}
    assert signs.pop((SEES_LABELS, 1)) == 1, "the sentence says 'ahead'"
    assert not any(signs.values()), "the sentence says 'level'"
    detectors = [lead_on_cifar(LGM_NET, shot).over_tasks[0] for shot in (1, 5)]
    things = [lead(CLASSES, SEES_LABELS, constant, shot, ALL_CLASSES) for shot in (1, 5)]
    domains = [-lead_on_domains(SEES_LABELS, constant, shot) for shot in (5, 1)]
    ridge = [lead_on_domains(RIDGE, SEES_LABELS, shot) for shot in (5, 1)]
    paper_on_classes = -lead(CLASSES, LGM_NET_PAPER_CONTEXT, constant, 5, ALL_CLASSES)
    paper_on_domains = -lead_on_domains(LGM_NET_PAPER_CONTEXT, constant, 5)
    return [
        f"are worth {lead_on_looks(SEES_LABELS, 5)[0]:.0f} points at five shots",
        plane_row("generated from the labels", SEES_LABELS),
        plane_row("the paper's context", LGM_NET_PAPER_CONTEXT),
        f"{level:.0f} % at blur, brightness and compression",
        f"Place, at {accuracy(PHOTOS, constant, 5, 'place, 5-way'):.0f} %",
        f"worth {min(worth):.0f} to {max(worth):.0f} points for blur, brightness, compression and "
        f"noise at five photos a class, and {lead_on_looks(SEES_LABELS, 5, 'place, 5-way')[0]:.0f} "
        "points for place",
        f"ahead of LGM-Net that sees labels by {labels.over_tasks[0]:.1f} points at one shot. It "
        "is level with it at five shots, and at both with LGM-Net with class detectors, which has "
        "{:.1f} and {:.1f} points less in the mean".format(*detectors),
        f"all with the auxiliary loss; {seeds_on_cifar(*GENERATING)},",
        "are {:.0f} points ahead of learned ones at one photo a class and {:.0f} point at "
        "five".format(*things),
        f"by {paper_on_classes:.1f} points on ordinary classes and by {paper_on_domains:.1f} on "
        f"other domains, and ahead on looks by {lead_on_looks(LGM_NET_PAPER_CONTEXT, 5)[0]:.0f} "
        "points",
        "cost {:.1f} points against learned ones at five shots and {:.1f} at one".format(*domains),
        "is ahead of them by {:.1f} and {:.1f}".format(*ridge),
        f"{things[0]:.0f} points ahead of learned ones on things there, and "
        f"{-lead_on_looks(SEES_LABELS, 1)[0]:.0f} behind on looks, where the paper's context is "
        f"{lead_on_looks(LGM_NET_PAPER_CONTEXT, 1)[0]:.0f} ahead",
    ]


def claims_about_the_method() -> list[str]:
    """Write the sentences of 'The method' that have figures of table 2."""
    names = [entry.name for entry in TABLES["table2"].entries]
    pairs = [(with_auxiliary(name), name) for name in names if with_auxiliary(name) in names]
    worth = [lead("table2", *pair, shot) for pair in pairs for shot in (1, 5)]
    without = with_auxiliary(LGM_NET_PAPER_CONTEXT)
    detectors = [compare("table2", without, with_auxiliary(LGM_NET), shot) for shot in (1, 5)]
    seeds = seeds_on_cifar(*GENERATING)
    assert not any(points.sign for points in detectors), "the sentence says 'not told apart'"
    return [
        "without it, the network has {:.1f} points more at one shot and {:.1f} at five".format(
            *(points.over_tasks[0] for points in detectors)
        ),
        f"which {seeds.split()[0]} seeds do not tell from zero",
        f"worth {min(worth):.1f} to {max(worth):.1f} points to every method here",
        f"but for {lead_on_cifar(SEES_LABELS, 1).over_tasks[0]:.1f} points over gains from labels "
        f"at one shot ({seeds})",
    ]


def claims_of_the_readme() -> list[str]:
    """Write the sentences of the README's results that have figures, but for its table."""
    looks = [
        with_interval(PHOTOS, row, 5, LOOKS) for row in (SEES_LABELS, NOTHING_GENERATED, RIDGE)
    ]
    plane = lead_in_the_plane(SEES_LABELS)[1:] + lead_in_the_plane(LGM_NET_PAPER_CONTEXT)[1:]
    ridge = [lead_on_domains(RIDGE, SEES_LABELS, shot) for shot in (5, 1)]
    ahead = [lead_on_cifar(row, shot) for row in GENERATING for shot in (1, 5)]
    assert all(difference.sign >= 0 for difference in ahead), "generation pays somewhere"
    points = max(difference.over_tasks[0] for difference in ahead)
    return [
        f"level or up to {points:.1f} points better](docs/results/table2.md) "
        f"({seeds_on_cifar(*GENERATING)})",
        f"[{best_of_cifar('5w1s'):.1f} and {best_of_cifar('5w5s'):.1f}]",
        f"{min(plane):.0f} to {max(plane):.0f} points on [lines, spirals and circles]",
        "has {}, with nothing generated {}, ridge regression {}.".format(*looks),
        f"At one shot they cost {-lead_on_looks(SEES_LABELS, 1)[0]:.0f}.",
        "on all layers by {:.0f} and {:.0f}".format(*ridge),
    ]


@pytest.mark.parametrize(
    ("page", "write_claims"),
    [
        ("docs/concepts/does-generation-pay.md", claims_on_where_it_pays),
        ("docs/concepts/method.md", claims_about_the_method),
        ("README.md", claims_of_the_readme),
    ],
    ids=["does generation pay", "method", "readme"],
)
def test_figures_in_sentences_are_those_of_the_results(page, write_claims):
    text = re.sub(r"\s+", " ", (ROOT / page).read_text(encoding="utf-8"))
    missing = [claim for claim in write_claims() if claim not in text]
    assert not missing, f"{page} says something else than: {missing}"
