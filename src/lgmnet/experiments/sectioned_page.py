"""Page of a table whose columns differ in their data: one section for each shot."""

from collections.abc import Mapping, Sequence

from lgmnet.experiments.row_results import Row
from lgmnet.experiments.seeds import average_columns, find_column
from lgmnet.experiments.table_page import (
    MEANING,
    Scores,
    choose_references,
    format_accuracy,
    format_cost_section,
    format_differences,
    format_gaps,
    format_table,
    format_title,
)
from lgmnet.experiments.tables import Entry, Table

MEAN = "mean: "


def format_sectioned_page(rows: Mapping[str, Sequence[Row]], table: Table) -> str:
    """Write the page of a table from its results.

    Args:
        rows: Result files of each entry, one for each seed of its training.
        table: Definition of the table. Rows whose training differs from the definition are marked.
    """
    entries = [entry for entry in table.entries if entry.name in rows]
    first = rows[entries[0].name][0]
    titles = {entry.name: format_title(entry, rows[entry.name]) for entry in entries}
    references = choose_references(table, titles)
    blocks = [
        f"# {table.title}",
        table.about,
        f"Accuracy in %: mean over all seeds of the training, 95 % interval over the same "
        f"{first['episodes']:,} episodes in each column for all rows (only the first ones where "
        f"marked), and after the comma the standard deviation over the seeds. All answers are "
        f"{first['tasks'][0]['protocol']}: each query is classified on its own. "
        f"{first['query']} queries per class, seed of the tasks {first['task_seed']}. Differences "
        "are paired, in percentage points: mean and 95 % interval over the same episodes; after "
        "the semicolon, the same over seeds. Bold: both exclude zero.",
        *format_gaps(table, titles, references),
        f"{MEANING} Rows that are not meta-trained here are the same for every seed of the others.",
    ]
    for shot in dict.fromkeys(column.shot for column in table.columns):
        scores = {e.name: collect_scores(rows[e.name], e, table, shot) for e in entries}
        blocks += format_section(scores, titles, rows, references, shot)
    return "\n\n".join([*blocks, *format_cost_section(rows, titles, table)]) + "\n"


def collect_scores(rows: Sequence[Row], entry: Entry, table: Table, shot: int) -> Scores:
    """Collect the scores of a row in all columns of one shot, and the means over some of them."""
    is_fixed = not entry.is_trainable or bool(entry.shipped)
    columns = [column for column in table.columns if column.shot == shot]
    scores = {c.heading: find_column(rows, c, is_fixed=is_fixed) for c in columns}
    means = {
        MEAN + mean.title: average_columns([scores[heading] for heading in mean.headings])
        for mean in table.means
    }
    return scores | means


def format_section(
    scores: Mapping[str, Scores],
    titles: Mapping[str, str],
    rows: Mapping[str, Sequence[Row]],
    references: Sequence[str],
    shot: int,
) -> list[str]:
    """Write the accuracies of one shot, and the differences to each reference."""
    headings = [*next(iter(scores.values()))]
    cells = []
    for name, row in scores.items():
        n_tasks = rows[name][0]["episodes"]
        accuracies = (format_accuracy(column, n_tasks, 1) for column in row.values())
        cells.append([titles[name], *accuracies, str(len(rows[name]))])
    blocks = [
        f"## {shot}-shot",
        format_table(["method", *headings, "seeds"], cells),
    ]
    means = [heading for heading in headings if heading.startswith(MEAN)]
    for reference in references:
        title = f"### {shot}-shot: paired differences to {titles[reference]}"
        blocks += [title, *format_differences(scores, titles, reference, means, 1)]
    return [block for block in blocks if block]
