"""miniImageNet (Vinyals et al., 2016) in the splits of Ravi and Larochelle (2017)."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.images.archives import data_folders
from lgmnet.data.images.cache import load_image_files
from lgmnet.errors import DataError

MINIIMAGENET_SHAPE = (3, 84, 84)
MINIIMAGENET = "miniimagenet"


def miniimagenet(
    split: str = "train", feature_shape: Sequence[int] = MINIIMAGENET_SHAPE
) -> ClassDataset:
    """Open a split of miniImageNet: 64 / 16 / 20 classes, 600 images each.

    The folder ``miniimagenet`` of a data folder must contain the ``train.csv``, ``val.csv`` and
    ``test.csv`` of Ravi and Larochelle, and the images (see `list_csv_files`).

    Args:
        split: ``train``, ``val`` or ``test``.
        feature_shape: Shape to which the photos are cropped and resized, [3, height, width].

    Raises:
        DataError: if these files cannot be found or read.
    """
    folders = [folder / MINIIMAGENET for folder in data_folders()]
    folder = next((folder for folder in folders if (folder / f"{split}.csv").is_file()), None)
    if folder is None:
        searched = " and ".join(f"'{folder / f'{split}.csv'}'" for folder in folders)
        raise DataError(
            f"miniImageNet was not found (looked for {searched}). It may not be redistributed: "
            f"put the CSV files of Ravi and Larochelle into '{folders[0]}', and the "
            f"images into '{folders[0] / 'images'}', or ImageNet's class folders n01532829, ..."
        )
    files = list_csv_files(folder, split)
    images = load_image_files(f"{MINIIMAGENET}-{split}", files, feature_shape)
    counts = [len(paths) for paths in files.values()]
    return ClassDataset(images, counts, list(files), name=MINIIMAGENET, split=split)


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
