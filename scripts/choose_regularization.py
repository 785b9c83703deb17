"""Choose the regularization of the rows of the tables by criterion, on validation data alone.

Each row of ``table-criteria`` that learns from the support set alone is scored with several
strengths on the criteria of validation photos and on coins, 1- and 5-shot, and the mean over all
columns is printed for each. `lgmnet.experiments.criteria_tables` has the best ones as constants.
Needs CIFAR-100 and the coins (LGMNET_DATA). Takes four minutes with one thread, once
the features are computed.
"""

import dataclasses
import statistics
from collections.abc import Iterator

from lgmnet.data.synthetic.criterion_photos import CONTENT_FACTORS
from lgmnet.data.synthetic.photo_factors import RENDERED_FACTORS
from lgmnet.evaluation.evaluate import evaluate
from lgmnet.experiments.criteria_tables import (
    CRITERIA_EPISODES,
    DOMAIN_SHOTS,
    criterion_columns,
    photo_criteria,
)
from lgmnet.experiments.table_sources import open_column
from lgmnet.experiments.tables import Column, Entry
from lgmnet.methods import METHODS

LOGISTIC_STRENGTHS = (1.0, 10.0, 100.0, 1_000.0, 10_000.0)
RIDGE_STRENGTHS = (0.5, 0.1, 0.01, 0.001, 0.0001)
EPISODES = CRITERIA_EPISODES // 5


def list_variants(entry: Entry) -> Iterator[tuple[float, Entry]]:
    """List a row with each of the strengths; rows without any are left out."""
    config = entry.run.config
    if entry.run.method == "logistic-regression":
        for strength in LOGISTIC_STRENGTHS:
            yield strength, with_config(entry, dataclasses.replace(config, strength=strength))
    elif entry.run.method == "ridge-regression" and not entry.is_trainable:
        for strength in RIDGE_STRENGTHS:
            head = dataclasses.replace(config.head, strength=strength)
            yield strength, with_config(entry, dataclasses.replace(config, head=head))


def with_config(entry: Entry, config: object) -> Entry:
    """Return the row with another config of its method."""
    return dataclasses.replace(entry, run=dataclasses.replace(entry.run, config=config))


def main() -> None:
    """Print the mean accuracy of each row with each strength."""
    seen = [factor for factor in RENDERED_FACTORS if not factor.is_held_out]
    columns = criterion_columns("criteria-photos", "val", CONTENT_FACTORS, seen, 5)
    columns += tuple(
        Column("domains:coins/value", "val", 5, shot, "coins") for shot in DOMAIN_SHOTS
    )
    table = dataclasses.replace(
        photo_criteria(), columns=tuple(c for c in columns if c.shot in DOMAIN_SHOTS), query=10
    )
    for entry in table.entries:
        for strength, variant in list_variants(entry):
            method = METHODS[variant.run.method](variant.run.config).eval()
            scores: dict[int, list[float]] = {shot: [] for shot in DOMAIN_SHOTS}
            for column, shape in zip(table.columns, table.shapes, strict=True):
                source = open_column(table, column, variant.run.backbone)
                score = evaluate(method, source, shape, episodes=EPISODES)
                scores[column.shot].append(score.accuracy)
            means = [statistics.mean(of_shot) for of_shot in scores.values()]
            by_shot = ", ".join(f"{s}-shot {m:.2f}" for s, m in zip(scores, means, strict=True))
            print(
                f"{entry.name}: strength {strength:g}: {by_shot}, mean {statistics.mean(means):.2f}"
            )


if __name__ == "__main__":
    main()
