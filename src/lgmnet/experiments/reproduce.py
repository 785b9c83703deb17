"""Reproduction of a table or figure of the papers by its name."""

from collections.abc import Callable
from pathlib import Path

from lgmnet.errors import ConfigError, unknown_name_error
from lgmnet.experiments.figures import (
    boundaries,
    generated_weights,
    generation,
    plane_tasks,
    two_labelings,
)
from lgmnet.experiments.results import RunOptions
from lgmnet.experiments.run_tables import run_table
from lgmnet.experiments.table_definitions import TABLES

FIGURES: dict[str, Callable[[RunOptions], list[Path]]] = {
    "figure3": plane_tasks.reproduce,
    "figure4": boundaries.reproduce,
    "figure5": generated_weights.reproduce,
    two_labelings.NAME: two_labelings.reproduce,
    generation.NAME: generation.reproduce,
}


def reproduce(name: str, options: RunOptions) -> list[Path]:
    """Run and draw a table or figure, or only draw it from its result file.

    Returns:
        Paths of the pages and pictures.

    Raises:
        ConfigError: if there is no such table or figure, or the options do not fit it.
        UserError: if a file cannot be read or written, or a package is not installed.
    """
    if options.model and name in (*TABLES, *FIGURES) and name != two_labelings.NAME:
        raise ConfigError(f"{name} has no model to choose; leave out --model.")
    if name in TABLES:
        return run_table(name, options)
    if name not in FIGURES:
        raise unknown_name_error("table or figure", name, [*TABLES, *FIGURES])
    if options.rows:
        raise ConfigError(f"{name} has no rows to choose from; leave out --only.")
    return FIGURES[name](options)
