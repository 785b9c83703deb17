"""Checks of the layout of a folder of images, and descriptions of other layouts."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from lgmnet.data.images.read import list_images
from lgmnet.errors import DataError

SPLIT_NAMES = frozenset(
    ("train", "training", "val", "valid", "validation", "test", "testing", "eval")
)
MAX_NAMES = 3
IN_A_TABLE = ", or name the class of each in a table: lgmnet forge --labels labels.csv."


def check_class_layout(
    folder: Path, files: Mapping[str, Sequence[Path]], min_classes: int, note: str | None = None
) -> None:
    """Check that a folder has the layout ``folder/<class>/<image>``.

    Args:
        folder: The folder.
        files: Image files of each of its folders (see `list_class_images`).
        min_classes: Least number of classes; only `lgmnet forge` needs more than one.
        note: Sentence for the end of the message, about pictures that are not read.

    Raises:
        DataError: naming the layout that was expected, and what was found, if there are too few
            class folders, or one of them has no images.
    """
    are_splits = bool(files) and all(name.lower() in SPLIT_NAMES for name in files)
    if not are_splits and len(files) >= min_classes and all(files.values()):
        return
    wanted = "at least two classes" if min_classes > 1 else "at least one class"
    above = folder.parent if folder.name else folder / os.pardir
    is_to_forge = min_classes > 1
    advice = IN_A_TABLE if is_to_forge else f", or give '{above}' if '{folder}' is itself a class."
    if are_splits:
        found = f"it holds none. {describe_splits(folder, files, advice)}"
    elif not any(files.values()):
        found = f"it holds none. {describe_content(folder, files, advice)}"
    elif all(files.values()):
        found = f"it holds only one, '{next(iter(files))}'."
    else:
        mixture = describe_mixture(folder, files, IN_A_TABLE if is_to_forge else ".")
        found = f"it holds other folders too. {mixture}"
    raise DataError(
        f"'{folder}' must hold a folder of images for each of {wanted}, such as "
        f"{folder}/star/1.png and {folder}/moon/1.png; {found}{f' {note}' if note else ''}"
    )


def describe_splits(folder: Path, files: Mapping[str, Sequence[Path]], other: str) -> str:
    """Describe a folder of splits such as ``train`` and ``test``, and what to do, in sentences."""
    with_classes = [name for name in files if list_folders_below(folder / name)]
    inside = "class folders" if with_classes else "images directly"
    if not with_classes and not any(files.values()):
        return describe_content(folder, files, other)
    first = folder / next(iter(with_classes or files))
    advice = (
        f"Give one of them, such as '{first}'"
        if with_classes
        else "Sort the images of one of them into a folder for each class"
    )
    return f"The splits {list_names(files)} were found, which hold {inside}. {advice}."


def describe_content(folder: Path, files: Mapping[str, Sequence[Path]], other: str) -> str:
    """Describe a folder whose folders hold no images, and what to do, in sentences.

    ``other`` ends the advice to sort images into folders.
    """
    if deeper := list_folders_below(folder):
        parent = deeper[0].parent
        names = [path.name for path in deeper if path.parent == parent]
        return (
            f"Class folders were found deeper, in '{parent}': {list_names(names)}. Give that "
            "folder."
        )
    if images := list_images(folder):
        listed = list_names([path.name for path in images])
        return (
            f"{count_images(images)} found directly in it: {listed}. Sort them into a folder for "
            f"each class{other}"
        )
    if files:
        return f"Folders without images were found: {list_names(files)}."
    return "It has no folders and no images."


def describe_mixture(folder: Path, files: Mapping[str, Sequence[Path]], other: str) -> str:
    """Describe a folder of which some folders hold images and others do not, in sentences."""
    empty = [name for name, paths in files.items() if not paths]
    deeper = {name: below for name in empty if (below := list_folders_below(folder / name))}
    parts = [f"images in {list_names([name for name in files if files[name]])}"]
    if deeper:
        first = next(iter(deeper.values()))[0].relative_to(folder)
        parts.append(f"images only in further folders of {list_names(deeper)}, such as '{first}'")
    if without := [name for name in empty if name not in deeper]:
        parts.append(f"no images in {list_names(without)}")
    if loose := list_images(folder):
        parts.append(f"{len(loose)} directly in it, such as '{loose[0].name}'")
    return (
        f"Found: {'; '.join(parts)}. Put the images of each class directly into one folder, and "
        f"all else elsewhere{other}"
    )


def describe_unused(unused: Sequence[Path]) -> str | None:
    """Describe the images beside class folders, or in folders of these, in one sentence.

    Returns:
        None if there are none.
    """
    if not unused:
        return None
    return (
        f"{count_images(unused)} left out, such as '{unused[0]}': only images directly in a class "
        "folder are used."
    )


def count_images(images: Sequence[Path]) -> str:
    """Return the number of images, as the subject of a sentence in the past."""
    return "1 image was" if len(images) == 1 else f"{len(images)} images were"


def list_folders_below(folder: Path) -> list[Path]:
    """List the folders below a folder that hold images directly, at any depth, sorted.

    Hidden folders are skipped.
    """
    found = []
    for parent, subfolders, _ in os.walk(folder):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        if Path(parent) != folder and list_images(Path(parent)):
            found.append(Path(parent))
    return found


def list_names(names: Mapping[str, object] | Sequence[str]) -> str:
    """List the first names in quotes, and the number of all others."""
    quoted = [f"'{name}'" for name in names]
    others = len(quoted) - MAX_NAMES
    return ", ".join(quoted[:MAX_NAMES]) + (
        f" and {others} other{'s' if others > 1 else ''}" if others > 0 else ""
    )
