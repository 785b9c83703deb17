"""Figure of how far LGM-Net is ahead of the same network with nothing generated, in all tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from lgmnet.errors import ConfigError, FileFormatError
from lgmnet.experiments.criteria_tables import (
    HELD_OUT_MARK,
    drawing_criteria,
    ordinary_classes,
    photo_criteria,
    table_domains,
)
from lgmnet.experiments.plane_tables import table_plane
from lgmnet.experiments.results import RunOptions, check_experiment_file, open_picture
from lgmnet.experiments.row_results import Row, is_current, read_rows
from lgmnet.experiments.sectioned_page import MEAN, collect_scores
from lgmnet.experiments.seeds import SeedScores
from lgmnet.experiments.table_definitions import DATA_TITLES, table1, table2
from lgmnet.experiments.table_page import NOT_RUN, Scores, format_difference, format_table
from lgmnet.experiments.table_rows import (
    AUXILIARY,
    LGM_NET_PAPER_CONTEXT,
    NOTHING_GENERATED,
    SEES_LABELS,
    with_auxiliary,
)
from lgmnet.experiments.tables import Table
from lgmnet.io import write_text

NAME = "figure-generation"
SHOT = 5
KINDS = {SEES_LABELS: "generated from the labels", LGM_NET_PAPER_CONTEXT: "the paper's context"}
"""Rows that generate weights, and how they are called here."""
COLOURS = {SEES_LABELS: "#cc3311", LGM_NET_PAPER_CONTEXT: "#888888"}


@dataclass(frozen=True)
class Comparison:
    """Differences to the same network with nothing generated, on the columns of one table."""

    title: str
    """Kind of tasks."""
    table: str
    """Name of the table."""
    differences: dict[str, dict[str, SeedScores]]
    """By row that generates, then by column, means over columns last; empty scores where a row was
    not run."""

    @property
    def columns(self) -> list[str]:
        """Columns that are no means."""
        return [column for column in self.differences[SEES_LABELS] if not column.startswith(MEAN)]


def reproduce(options: RunOptions) -> list[Path]:
    """Draw the figure and its page from the result files of the tables; nothing is run.

    Raises:
        ConfigError: if a number of tasks or steps is given, which the tables have.
        UserError: if no table has results, or a file cannot be read or written.
    """
    if options.episodes or options.steps:
        raise ConfigError(f"{NAME} is drawn from tables; leave out --episodes and --steps.")
    picture, page = options.pages / f"{NAME}.png", options.pages / f"{NAME}.md"
    for path in (picture, page):
        check_experiment_file(path, overwrite=options.overwrite)
    comparisons = [c for title, table in list_tables() if (c := compare(title, table, options))]
    if not comparisons:
        raise FileFormatError(
            f"'{options.results}' has no table in which LGM-Net and the same with nothing "
            "generated were both run. Run 'lgmnet reproduce table-criteria' first."
        )
    write_text(page, format_page(comparisons))
    draw_differences(comparisons, picture)
    return [picture, page]


def list_tables() -> list[tuple[str, Table]]:
    """List the tables that have the rows, and what their tasks are called here."""
    return [
        *(("tasks in the plane", table) for table in table_plane()),
        ("photos by criterion", photo_criteria()),
        ("drawings by criterion", drawing_criteria()),
        *(("photos of other domains", table) for table in table_domains()),
        ("ordinary classes, features of photos", ordinary_classes()),
        ("ordinary classes, trained from scratch", table1()),
        ("ordinary classes, trained from scratch", table2("cifar-fs")),
    ]


def compare(title: str, table: Table, options: RunOptions) -> Comparison | None:
    """Compare the rows of a table that generate weights with that which generates none.

    Rows with the auxiliary loss are compared where the table's own reference has it.

    Returns:
        The differences, or None if there are no results.
    """
    if not (options.results / (table.results or table.name)).is_dir():
        return None
    rows = read_rows(options, table)
    entries = {entry.name: entry for entry in table.entries}

    def find(name: str) -> Sequence[Row]:
        name = with_auxiliary(name) if AUXILIARY in table.references[0] else name
        return [row for row in rows.get(name, ()) if is_current(row, entries[name])]

    def collect(name: str) -> Scores:
        # A table without the row has empty scores; its columns are those of any entry.
        return collect_scores(find(name), entries.get(name, table.entries[0]), table, SHOT)

    constant = collect(NOTHING_GENERATED)
    titles = {
        c.heading: f"{c.title or DATA_TITLES.get(c.data, c.data)}, {c.way}-way"
        for c in table.columns
    }
    differences = {
        kind: {titles.get(h, h): scores.minus(constant[h]) for h, scores in collect(kind).items()}
        for kind in KINDS
    }
    has_any = any(d.by_seed for part in differences.values() for d in part.values())
    return Comparison(title, table.name, differences) if has_any else None


def format_page(comparisons: Sequence[Comparison]) -> str:
    """Write the table of all differences, as Markdown."""
    cells = [
        [f"{c.title} ([table]({c.table}.md))", column]
        + [format_difference(c.differences[kind][column], 1) for kind in KINDS]
        for c in comparisons
        for column in c.differences[SEES_LABELS]
    ]
    blocks = [
        "# Where generated weights pay",
        "![LGM-Net minus the same network with nothing generated, for each kind of task]"
        f"({NAME}.png)",
        f"Accuracy of LGM-Net minus that of the same network with nothing generated, at {SHOT} "
        "shots, in percentage points. With nothing generated, the weights are learned and equal "
        "for all tasks; how else the trainings differ is said in "
        "[does generation pay?](../concepts/does-generation-pay.md). Mean and 95 % interval over "
        "the same episodes; after the semicolon, the same over the seeds of training. Bold: both "
        "exclude zero. "
        f"{HELD_OUT_MARK} marks criteria that never varied in training; '{NOT_RUN}' stands where a "
        "row has not been trained with its present recipe.",
        format_table(["tasks", "column", *KINDS.values()], cells),
        f"Generated by `lgmnet reproduce {NAME}` from the results of the tables.",
    ]
    return "\n\n".join(blocks) + "\n"


def draw_differences(comparisons: Sequence[Comparison], path: Path) -> None:
    """Draw the differences with their intervals over tasks, a panel for each kind of tasks."""
    panels = [
        (title, [(c.differences, column) for c in part for column in c.columns])
        for title, part in groupby(comparisons, lambda comparison: comparison.title)
    ]
    heights = [len(columns) for _, columns in panels]
    with open_picture(path, 7.5, 0.9 + 0.26 * (sum(heights) + 2.5 * len(heights))) as figure:
        all_axes = figure.subplots(
            len(panels), 1, sharex=True, squeeze=False, height_ratios=[h + 1 for h in heights]
        )[:, 0]
        for (title, columns), ax in zip(panels, all_axes, strict=True):
            for offset, (kind, label) in zip((0.12, -0.12), KINDS.items(), strict=True):
                for i, (differences, column) in enumerate(columns):
                    if (difference := differences[kind][column]).by_seed:
                        mean, ci95 = difference.over_tasks
                        y, colour = len(columns) - 1 - i + offset, COLOURS[kind]
                        ax.errorbar(mean, y, xerr=ci95, fmt="o", ms=4, color=colour, lw=1.2)
                ax.plot([], [], "o", color=COLOURS[kind], label=label)
            ax.axvline(0, color="black", lw=0.8)
            ax.set_yticks(range(len(columns)), [column for _, column in columns][::-1], fontsize=8)
            ax.set_ylim(-0.6, len(columns) - 0.4)
            ax.set_title(title, fontsize=9, loc="left")
            ax.grid(axis="x", lw=0.3)
        all_axes[0].legend(fontsize=8, loc="lower right")
        all_axes[-1].set_xlabel(
            f"points ahead of the same network with nothing generated, {SHOT}-shot", fontsize=8
        )
