"""Page of a table of results, as Markdown."""

from collections.abc import Mapping, Sequence

from lgmnet.experiments.row_results import Row, find_task, is_current
from lgmnet.experiments.seeds import SeedScores, find_column
from lgmnet.experiments.tables import Entry, Table

Scores = dict[str, SeedScores]
"""Scores of a row by the headings of the columns."""
OUTDATED = "†"
OUTDATED_NOTE = (
    f"{OUTDATED} Trained with an earlier version of its recipe (another number of steps, for "
    "instance); not yet run with the present one, and in no comparison below."
)
ONE_SEED = "one seed"
NOT_RUN = "not run"
MEANING = (
    "One row is said to be ahead of another only if the 95 % interval of the paired difference "
    "over the tasks excludes zero, and that over the seeds of the training too (Student's t; seeds "
    "are paired by number). Where a row has one seed, only its tasks can be compared, and the "
    "sentence says so."
)


def format_page(rows: Mapping[str, Sequence[Row]], table: Table) -> str:
    """Write the page of a table from its results.

    Args:
        rows: Result files of each entry, one for each seed of its training.
        table: Definition of the table. Rows whose training differs from the definition are marked.
    """
    entries = [entry for entry in table.entries if entry.name in rows]
    first = rows[entries[0].name][0]
    columns = [column.task for column in table.columns]
    titles = {entry.name: format_title(entry, rows[entry.name]) for entry in entries}
    scores = {name: {c.task: find_column(rows[name], c) for c in table.columns} for name in titles}
    accuracies = [
        [
            titles[name],
            *(format_accuracy(score, first["episodes"]) for score in scores[name].values()),
            str(len(rows[name])),
            rows[name][0]["tasks"][0]["protocol"],
        ]
        for name in titles
    ]
    references = choose_references(table, titles)
    blocks = [
        f"# {table.title}",
        table.about,
        format_table(["method", *columns, "seeds", "protocol"], accuracies),
        f"Accuracy in %: mean over all seeds of the training, 95 % interval over the same "
        f"{first['episodes']:,} episodes for all rows (only the first ones where marked), and "
        f"after the comma the standard deviation over the seeds. {first['query']} queries per "
        f"class, seed of the tasks {first['task_seed']}. Data: {first['data']}, split "
        f"`{first['split']}` (class hash `{first['split_hash']}`).",
        *format_gaps(table, titles, references),
        MEANING,
    ]
    for reference in references:
        summary, differences = format_differences(scores, titles, reference, columns, 2)
        blocks += [
            f"## Paired differences to {titles[reference]}",
            summary,
            "Percentage points: mean and 95 % interval over the same episodes; after the "
            "semicolon, the same over seeds. Bold: both exclude zero.",
            differences,
        ]
    return "\n\n".join([*blocks, *format_cost_section(rows, titles, table)]) + "\n"


def format_title(entry: Entry, rows: Sequence[Row]) -> str:
    """Format the name of a row, with a mark if it was trained with an earlier recipe."""
    title = entry.title or entry.name
    return title if all(is_current(row, entry) for row in rows) else f"{title} {OUTDATED}"


def choose_references(table: Table, titles: Mapping[str, str]) -> list[str]:
    """Choose the rows to compare the others with; the first row stands in for absent ones.

    Outdated rows are compared with nothing.
    """
    names = [name for name in table.references if name in titles] or [next(iter(titles))]
    return [name for name in names if not titles[name].endswith(OUTDATED)]


def format_gaps(table: Table, titles: Mapping[str, str], references: Sequence[str]) -> list[str]:
    """Say which rows are outdated or missing, and so cannot be compared."""
    missing = [entry.title or entry.name for entry in table.entries if entry.name not in titles]
    blocks = [f"Not run yet: {'; '.join(missing)}."] if missing else []
    if any(title.endswith(OUTDATED) for title in titles.values()):
        blocks.append(OUTDATED_NOTE)
    if not references:
        blocks.append("No rows are compared: the one to compare with is outdated.")
    return blocks


def format_differences(
    scores: Mapping[str, Scores],
    titles: Mapping[str, str],
    reference: str,
    summarized: Sequence[str],
    digits: int,
) -> tuple[str, str]:
    """Write what the differences to one row say, and a table of them.

    Args:
        scores: Scores of each row, by the headings of the columns.
        titles: Titles of the rows.
        reference: Name of the row to compare with.
        summarized: Headings of the columns that sentences are about.
        digits: Decimal places.
    """
    others = [n for n in titles if n != reference and not titles[n].endswith(OUTDATED)]
    differences = {
        name: {h: column.minus(scores[reference][h]) for h, column in scores[name].items()}
        for name in others
    }
    summaries = [
        summarize_column({titles[n]: differences[n][h] for n in others}, titles[reference], h)
        for h in summarized
    ]
    cells = [
        [titles[n], *(format_difference(d, digits) for d in differences[n].values())]
        for n in others
    ]
    table = format_table(["method", *scores[reference]], cells)
    return "\n".join(summary for summary in summaries if summary), table


def summarize_column(differences: Mapping[str, SeedScores], reference: str, column: str) -> str:
    """Say which rows a row is ahead of and behind, from their differences to it."""
    groups: dict[tuple[bool, int], list[str]] = {}
    for title, difference in differences.items():
        if difference.by_seed:
            key = difference.over_seeds is not None, -difference.sign
            groups.setdefault(key, []).append(title)
    words = {1: "ahead of", -1: "behind", 0: "not told apart from"}
    starts = {True: f"{reference} is", False: f"By the tasks alone ({ONE_SEED}), it is"}
    sentences = [
        f"{start} {words[sign]}: {'; '.join(groups[has_seeds, sign])}."
        for has_seeds, start in starts.items()
        for sign in words
        if (has_seeds, sign) in groups
    ]
    return f"- At {column}: {' '.join(sentences)}" if sentences else ""


def format_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table; all columns but the first are aligned to the right."""
    marks = ["---", *["---:"] * (len(titles) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (titles, marks, *rows))


def format_cost_section(
    rows: Mapping[str, Sequence[Row]], titles: Mapping[str, str], table: Table
) -> list[str]:
    """Write the costs and audits of all rows, and the command that draws the page again."""
    task = table.columns[0].task
    headings = ["method", "trained parameters", "training images", "training, minutes"]
    headings += [f"adapt, ms ({task})", f"one query, ms ({task})", "audit", "commit"]
    entries = {entry.name: entry for entry in table.entries}
    cells = [[titles[n], *format_cost(rows[n], table, entries[n])] for n in titles]
    machines = dict.fromkeys(row["machine"] for name in titles for row in rows[name])
    return [
        "## Cost",
        format_table(headings, cells),
        f"Of the first seed; all audits and commits are in the result files. Measured on "
        f"{'; '.join(machines)}. On a CPU, minutes of training are processor time; up to commit "
        "b5318cf they are elapsed time, which other work on the machine stretched. Generated by "
        f"`lgmnet reproduce {table.command or table.name} --from-results`.",
    ]


def format_cost(rows: Sequence[Row], table: Table, entry: Entry) -> list[str]:
    """Format the cells of a row of the table of costs."""
    row = rows[0]
    task, training = find_task(row, table.columns[0]) or row["tasks"][0], row["training"]
    images, minutes = f"{training['images']:,}", f"{training['seconds'] / 60:.1f}"
    return [
        f"{row['parameters']:,}",
        *(["shipped", "shipped"] if entry.shipped else [images, minutes]),
        f"{task['adapt_ms']:.1f}",
        f"{task['query_ms']:.1f}",
        format_audit(rows),
        f"`{row['commit']}`",
    ]


def format_accuracy(scores: SeedScores, episodes: int, digits: int = 2) -> str:
    """Format an accuracy with its interval, its spread, and its number of tasks if unusual."""
    if not scores.by_seed:
        return NOT_RUN
    mean, ci95 = scores.over_tasks
    text = f"{mean:.{digits}f} ± {ci95:.{digits}f}"
    if scores.spread is not None:
        text += f", {scores.spread:.{digits}f}"
    return text if scores.n_tasks == episodes else f"{text} (first {scores.n_tasks})"


def format_audit(rows: Sequence[Row]) -> str:
    """Format the outcome of the audits of a row's seeds; earlier result files had fewer checks."""
    for outcome, key in (("failed", "audit"), ("not checked", "not_checked")):
        if names := list(dict.fromkeys(name for row in rows for name in row.get(key, []))):
            return f"{outcome}: {', '.join(names)}"
    return "passed"


def format_difference(difference: SeedScores, digits: int = 2) -> str:
    """Format a paired difference, in bold if both intervals exclude zero."""
    if not difference.by_seed:
        return NOT_RUN
    mean, ci95 = difference.over_tasks
    text = f"{mean:+.{digits}f} ± {ci95:.{digits}f}"
    if difference.over_seeds is None:
        return f"{text}; {ONE_SEED}"
    mean, ci95 = difference.over_seeds
    text += f"; {mean:+.{digits}f} ± {ci95:.{digits}f}"
    return f"**{text}**" if difference.sign else text
