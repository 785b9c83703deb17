"""Folders of images as a data set of classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.data.datasets.miniimagenet import MINIIMAGENET_SHAPE, list_csv_files
from lgmnet.data.images.cache import load_image_files
from lgmnet.data.images.read import list_class_images
from lgmnet.data.task_source import STANDARD_SPLITS
from lgmnet.errors import DataError

PHOTO_SHAPE = MINIIMAGENET_SHAPE
"""Default shape of photos."""


def image_folder(
    folder: Path, split: str = "test", feature_shape: Sequence[int] = PHOTO_SHAPE
) -> ClassDataset:
    """Open a split of a folder of images; they are decoded once (see `lgmnet.data.images.cache`).

    Three layouts are known and tried in this order:

    - ``<split>.csv`` with the images, as miniImageNet is published (see
      `lgmnet.data.datasets.miniimagenet.list_csv_files`);
    - ``<split>/<class>/<image>``;
    - ``<class>/<image>``: all classes are for testing, so the only split is ``test``.

    Args:
        folder: Folder of the images.
        split: Name of the split.
        feature_shape: [3, height, width] to read photos, cropped around their centre to this shape;
            [1, side, side] to read drawings.

    Raises:
        DataError: if there is no such folder, split or layout, or a file cannot be read.
    """
    files = list_split_files(folder, split)
    images = load_image_files(f"{folder.absolute().name}-{split}", files, feature_shape)
    counts = [len(paths) for paths in files.values()]
    return ClassDataset(images, counts, list(files), name=str(folder), split=split)


def list_split_files(folder: Path, split: str) -> dict[str, list[Path]]:
    """List the image files of each class of a split, sorted by class name.

    Raises:
        DataError: if there is no such folder, split or layout.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder '{folder}'. Expected {folder}/<class>/<image>.")
    if (folder / f"{split}.csv").is_file():
        return list_csv_files(folder, split)
    splits = [
        name
        for name in STANDARD_SPLITS
        if (folder / name).is_dir() or (folder / f"{name}.csv").is_file()
    ]
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
