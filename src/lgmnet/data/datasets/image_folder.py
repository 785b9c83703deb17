"""Image folders of any size as a source of tasks: class folders, or the CSV splits of Ravi."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.images.archives import data_folders
from lgmnet.data.images.cache import load_decoded
from lgmnet.data.images.read import list_images, read_image
from lgmnet.errors import DataError

PARTS = ("train", "val", "test")
PHOTO = (3, 84, 84)
MINIIMAGENET = Path("miniimagenet")


def image_folder(
    folder: Path, split: str = "test", feature_shape: Sequence[int] = PHOTO, name: str = ""
) -> ClassDataset:
    """One split of a folder of images, decoded once (see `lgmnet.data.images.cache`).

    Three layouts are known, in this order:

    - ``<split>.csv`` with a header and rows ``filename,label`` (Ravi and Larochelle, 2017); the
      files lie in ``images/`` or beside the CSV, with or without a folder for each label, or are
      those of ImageNet in ``<label>/`` (see `find_row_file`);
    - ``<split>/<class>/<image>``;
    - ``<class>/<image>``: all classes are for testing, so the only split is ``test``.

    Args:
        folder: The folder.
        split: Name of the split.
        feature_shape: [3, height, width] reads photos, cropped to this shape about their middle;
            [1, side, side] reads drawings (`read_image`).
        name: Name of the data; the folder's path if empty.

    Raises:
        DataError: if there is no such folder, split or layout, or a file cannot be read.
    """
    files = list_split_files(folder, split)
    counts = [len(of_class) for of_class in files.values()]
    paths = [path for of_class in files.values() for path in of_class]

    def pixels() -> Iterator[np.ndarray]:
        for path in paths:
            yield read_image(path, feature_shape).numpy()

    shape = (len(paths), *feature_shape)
    images = load_decoded(f"{folder.absolute().name}-{split}", paths, shape, pixels)
    return ClassDataset(images, counts, list(files), name=name or str(folder), split=split)


def miniimagenet(split: str = "train", feature_shape: Sequence[int] = PHOTO) -> ClassDataset:
    """MiniImageNet as Ravi and Larochelle (2017) split it: 64 / 16 / 20 classes, 600 images each.

    Their ``train.csv``, ``val.csv`` and ``test.csv`` lie in the folder ``miniimagenet`` of a data
    folder, and with them either the images or ImageNet's own class folders (see `image_folder`).

    Raises:
        DataError: if these files are not there.
    """
    places = [folder / MINIIMAGENET for folder in data_folders()]
    folder = next((place for place in places if (place / f"{split}.csv").is_file()), None)
    if folder is None:
        looked = " and ".join(f"'{place / f'{split}.csv'}'" for place in places)
        raise DataError(
            f"miniImageNet was not found (looked for {looked}). It is nobody's to hand on: put the "
            f"CSV files of Ravi and Larochelle into '{places[0]}', and the images into "
            f"'{places[0] / 'images'}', or ImageNet's class folders n01532829, ..."
        )
    return image_folder(folder, split, feature_shape, "miniimagenet")


def list_split_files(folder: Path, split: str) -> dict[str, list[Path]]:
    """The image files of each class of one split, in order of the classes' names.

    Raises:
        DataError: if there is no such folder, split or layout.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder '{folder}'. Expected {folder}/<class>/<image>.")
    if (folder / f"{split}.csv").is_file():
        return list_csv_files(folder, folder / f"{split}.csv")
    has_splits = [p for p in PARTS if (folder / p).is_dir() or (folder / f"{p}.csv").is_file()]
    if has_splits and split not in has_splits:
        raise DataError(f"'{folder}' has no split '{split}', only {', '.join(has_splits)}.")
    if not has_splits and split != "test":
        raise DataError(
            f"'{folder}' has no splits, so its classes are for testing only; to use '{split}', "
            f"sort the class folders into {', '.join(str(folder / p) for p in PARTS)}."
        )
    top = folder / split if has_splits else folder
    classes = sorted(p for p in top.iterdir() if p.is_dir() and not p.name.startswith("."))
    files = {place.name: list_images(place) for place in classes}
    empty = [name for name, of_class in files.items() if not of_class]
    if empty or not files:
        why = f"no images in {', '.join(empty)}" if empty else "no class folders"
        raise DataError(f"Expected {top}/<class>/<image>, but there are {why}.")
    return files


def list_csv_files(folder: Path, table: Path) -> dict[str, list[Path]]:
    """The files that a CSV of ``filename,label`` names, by label.

    Raises:
        DataError: naming the table, and the row or the file that is wrong.
    """
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
                files.setdefault(row[1], []).append(find_row_file(folder, *row))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"'{table}' cannot be read as CSV: {error}.") from error
    if not files:
        raise DataError(f"'{table}' names no files.")
    return dict(sorted(files.items()))


def find_row_file(folder: Path, filename: str, label: str) -> Path:
    """The file that one row means.

    In ImageNet's own folders, ``n0153282900000005.jpg`` is the 5th image of the class n01532829 in
    order of the numbers in their names, counted from 1 (as Liu's mini-imagenet-tools have it,
    https://github.com/yaoyao-liu/mini-imagenet-tools).

    Raises:
        DataError: if there is none.
    """
    tops = [folder / "images", folder]
    for top in tops:
        for place in (top / filename, top / label / filename):
            if place.is_file():
                return place
    number = Path(filename).stem.removeprefix(label)
    for top in tops:
        of_class = list_numbered_files(top / label)
        if number.isdigit() and 1 <= int(number) <= len(of_class):
            return of_class[int(number) - 1]
    raise DataError(
        f"No image '{filename}' of the class '{label}' in '{tops[0]}' or '{folder}', nor a folder "
        f"'{label}' of ImageNet with as many images."
    )


@cache
def list_numbered_files(folder: Path) -> list[Path]:
    """Files named like ``n01532829_42.JPEG``, in order of their numbers."""
    names = folder.glob("*_*.*") if folder.is_dir() else ()
    numbers = {path: re.search(r"_(\d+)\.", path.name) for path in names}
    found = {path: int(match[1]) for path, match in numbers.items() if match}
    return sorted(found, key=lambda path: found[path])
