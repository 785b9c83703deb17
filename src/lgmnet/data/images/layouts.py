"""Checks of the layout of a folder of images, and descriptions of other layouts."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from lgmnet.data.images.read import list_class_images, list_images
from lgmnet.errors import DataError

SPLIT_NAMES = frozenset(
    ("train", "training", "val", "valid", "validation", "test", "testing", "eval")
)
MAX_NAMES = 3


def check_class_layout(folder: Path, files: Mapping[str, Sequence[Path]], min_classes: int) -> None:
    """Check that a folder has the layout ``folder/<class>/<image>``.

    A class folder without images passes, if another one has some: reading it reports what is wrong.

    Args:
        folder: The folder.
        files: Image files of each of its folders (see `list_class_images`).
        min_classes: Least number of classes.

    Raises:
        DataError: naming the layout that was expected, and what was found.
    """
    are_splits = bool(files) and all(name.lower() in SPLIT_NAMES for name in files)
    has_images = any(files.values())
    if has_images and not are_splits and len(files) >= min_classes:
        return
    wanted = "at least two classes" if min_classes > 1 else "at least one class"
    if has_images and not are_splits:
        found = f"it holds only one, '{next(iter(files))}'."
    else:
        found = f"it holds none. {describe_content(folder, files, are_splits=are_splits)}"
    raise DataError(
        f"'{folder}' must hold a folder of images for each of {wanted}, such as "
        f"{folder}/star/1.png and {folder}/moon/1.png; {found}"
    )


def describe_content(folder: Path, files: Mapping[str, Sequence[Path]], *, are_splits: bool) -> str:
    """Describe what a folder holds in place of class folders, and what to do, in sentences."""
    deeper = {
        name: classes
        for name in files
        if any((classes := list_class_images(folder / name)).values())
    }
    if are_splits and (deeper or any(files.values())):
        inside = "class folders" if deeper else "images directly"
        first = folder / next(iter(deeper or files))
        advice = (
            f"Give one of them, such as '{first}'"
            if deeper
            else "Sort the images of one of them into a folder for each class"
        )
        return f"The splits {list_names(files)} were found, which hold {inside}. {advice}."
    if deeper:
        name, classes = next(iter(deeper.items()))
        return (
            f"Class folders were found one level deeper, in '{folder / name}': "
            f"{list_names(classes)}. Give that folder."
        )
    if images := list_images(folder):
        names = list_names([path.name for path in images])
        return (
            f"{len(images)} images were found directly in it: {names}. Sort them into a folder for "
            "each class, or name the class of each in a table: lgmnet forge --labels labels.csv."
        )
    if files:
        return f"Folders without images were found: {list_names(files)}."
    return "It has no folders and no images."


def list_names(names: Mapping[str, object] | Sequence[str]) -> str:
    """List the first names in quotes, and the number of all others."""
    quoted = [f"'{name}'" for name in names]
    others = len(quoted) - MAX_NAMES
    return ", ".join(quoted[:MAX_NAMES]) + (f" and {others} others" if others > 0 else "")
