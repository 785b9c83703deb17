"""Folders of images as a data set of classes, with or without CSV files."""

import csv
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.images.cache import load_image_files
from lgmnet.data.images.read import list_class_images
from lgmnet.data.task_source import STANDARD_SPLITS
from lgmnet.errors import DataError

PHOTO_SHAPE = (3, 84, 84)
"""Default shape of photos, that of miniImageNet."""


def image_folder(
    folder: Path,
    split: str = "test",
    feature_shape: Sequence[int] = PHOTO_SHAPE,
    name: str | None = None,
) -> ClassDataset:
    """Open a split of a folder of images; they are decoded once (see `lgmnet.data.images.cache`).

    Three layouts are known and tried in this order:

    - ``<split>.csv`` with the images, as miniImageNet is published (see `list_csv_files`);
    - ``<split>/<class>/<image>``;
    - ``<class>/<image>``: all classes are for testing, so the only split is ``test``.

    Args:
        folder: Folder of the images.
        split: Name of the split.
        feature_shape: [3, height, width] to read photos, cropped around their centre to this shape;
            [1, side, side] to read drawings.
        name: Name of the data; None for the path of the folder.

    Raises:
        DataError: if there is no such folder, split or layout, or a file cannot be read.
    """
    files = list_split_files(folder, split)
    images = load_image_files(f"{folder.absolute().name}-{split}", files, feature_shape)
    counts = [len(paths) for paths in files.values()]
    return ClassDataset(images, counts, list(files), name=name or str(folder), split=split)


def list_split_files(folder: Path, split: str) -> dict[str, list[Path]]:
    """List the image files of each class of a split, sorted by class name.

    Raises:
        DataError: if there is no such folder, split or layout.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder '{folder}'. Expected {folder}/<class>/<image>.")
    if (folder / f"{split}.csv").is_file():
        return list_csv_files(folder, split)
    layouts = {s: (folder / s, folder / f"{s}.csv") for s in STANDARD_SPLITS}
    splits = [s for s, (top, table) in layouts.items() if top.is_dir() or table.is_file()]
    if splits and split not in splits:
        raise DataError(f"'{folder}' has no split '{split}', only {', '.join(splits)}.")
    if not splits and split != "test":
        raise DataError(
            f"'{folder}' has no splits, so its classes are for testing only; to use '{split}', "
            f"sort the class folders into {', '.join(str(folder / s) for s in STANDARD_SPLITS)}."
        )
    top = folder / split if splits else folder
    files = list_class_images(top)
    empty = [name for name, paths in files.items() if not paths]
    if empty or not files:
        problem = f"no images in {', '.join(empty)}" if empty else "no class folders"
        raise DataError(f"Expected {top}/<class>/<image>, but there are {problem}.")
    return files


def list_csv_files(folder: Path, split: str) -> dict[str, list[Path]]:
    """List the image files of each class that ``<split>.csv`` names, sorted by class name.

    The CSV file has the header ``filename,label``. The images are in ``images/`` or beside the CSV
    file, with or without a folder per label, or they are the files of ImageNet in ``<label>/``
    (see `find_image`).

    Raises:
        DataError: naming the CSV file, and the row or the image that is wrong.
    """
    table = folder / f"{split}.csv"
    files: dict[str, list[Path]] = {}
    try:
        with table.open(newline="", encoding="utf-8") as lines:
            reader = csv.reader(lines)
            header = next(reader, [])
            if header != ["filename", "label"]:
                raise DataError(
                    f"'{table}' must begin with the line 'filename,label', but begins with "
                    f"'{','.join(header)}'."
                )
            for number, row in enumerate(reader, 2):
                if len(row) != 2:
                    raise DataError(f"Line {number} of '{table}' has {len(row)} values, not 2.")
                files.setdefault(row[1], []).append(find_image(folder, *row))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"'{table}' cannot be read as CSV: {error}.") from error
    if not files:
        raise DataError(f"'{table}' names no files.")
    return dict(sorted(files.items()))


def find_image(folder: Path, filename: str, label: str) -> Path:
    """Find the image that a row of the CSV file names.

    In the class folders of ImageNet, ``n0153282900000005.jpg`` is the fifth image of the class
    n01532829, sorted by the numbers in the file names and counted from 1 (as in
    https://github.com/yaoyao-liu/mini-imagenet-tools).

    Raises:
        DataError: if there is no such image.
    """
    tops = [folder / "images", folder]
    for top in tops:
        for path in (top / filename, top / label / filename):
            if path.is_file():
                return path
    number = Path(filename).stem.removeprefix(label)
    for top in tops:
        paths = list_numbered_files(top / label)
        if number.isdigit() and 1 <= int(number) <= len(paths):
            return paths[int(number) - 1]
    raise DataError(
        f"No image '{filename}' of the class '{label}' in '{tops[0]}' or '{folder}', and no folder "
        f"'{label}' of ImageNet with enough images."
    )


@cache
def list_numbered_files(folder: Path) -> list[Path]:
    """List the files with names like ``n01532829_42.JPEG``, sorted by their numbers."""
    paths = folder.glob("*_*.*") if folder.is_dir() else ()
    matches = {path: re.search(r"_(\d+)\.", path.name) for path in paths}
    numbers = {path: int(match[1]) for path, match in matches.items() if match}
    return sorted(numbers, key=lambda path: numbers[path])
