"""Tables that name image files and their classes."""

import csv
from pathlib import Path

from lgmnet.data.images.folder import ClassFolder
from lgmnet.errors import DataError, check_utf8

FILE_COLUMN, LABEL_COLUMN = "file", "label"


def read_label_table(table: Path, folder: Path | None = None) -> ClassFolder:
    """List the image files of each class that a CSV file names, sorted by class.

    Args:
        table: CSV file in UTF-8 with the columns ``file`` and ``label``, separated by commas or
            semicolons. Other columns are ignored, and so are spaces around a cell.
        folder: Folder that the names of files are relative to; None for that of the table.

    Raises:
        DataError: naming the table, and the line that is wrong; or if there are less than two
            classes.
    """
    folder = table.parent if folder is None else folder
    files: dict[str, list[Path]] = {}
    try:
        with table.open(newline="", encoding="utf-8-sig") as lines:
            header = lines.readline()
            delimiter = ";" if ";" in header and "," not in header else ","
            names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
            if missing := {FILE_COLUMN, LABEL_COLUMN} - set(names):
                raise DataError(
                    f"'{table}' must begin with a line that names the columns '{FILE_COLUMN}' and "
                    f"'{LABEL_COLUMN}', but it lacks {' and '.join(sorted(missing))}: "
                    f"it begins with '{header.strip()[:200]}'."
                )
            for name in (FILE_COLUMN, LABEL_COLUMN):
                if names.count(name) > 1:
                    raise DataError(
                        f"'{table}' must have one column '{name}', but has {names.count(name)}. "
                        "Rename or remove the others."
                    )
            for number, cells in enumerate(csv.reader(lines, delimiter=delimiter), 2):
                texts = [cell.strip() for cell in cells]
                if not any(texts):
                    continue
                if any(texts[len(names) :]):
                    raise DataError(
                        f"Line {number} of '{table}' has {len(cells)} cells, but the table has "
                        f"{len(names)} columns: '{delimiter.join(cells)[:200]}'. Put a name that "
                        f"holds '{delimiter}' in double quotes."
                    )
                row = dict(zip(names, texts, strict=False))
                file, label = row.get(FILE_COLUMN), row.get(LABEL_COLUMN)
                if not file or not label:
                    raise DataError(
                        f"Line {number} of '{table}' must name a file and its label, but names "
                        f"{file or 'no file'} and {label or 'no label'}."
                    )
                check_utf8("class", label)
                files.setdefault(label, []).append(folder / file)
    except FileNotFoundError as error:
        raise DataError(f"There is no table '{table}'.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"'{table}' cannot be read as a CSV file in UTF-8: {error}.") from error
    if len(files) < 2:
        raise DataError(
            f"'{table}' must name images of at least two classes, but names "
            f"{'only ' + repr(next(iter(files))) if files else 'none'}."
        )
    return ClassFolder(folder, dict(sorted(files.items())))
