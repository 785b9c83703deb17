"""Lists of the image files in folders; without PyTorch."""

from pathlib import Path

from lgmnet.data.images.pixels import IMAGE_SUFFIXES
from lgmnet.errors import check_utf8


def list_class_images(folder: Path) -> dict[str, list[Path]]:
    """List the image files of each class of ``folder/<class>/<image>``, sorted by name.

    Hidden folders are skipped, and files as in `list_images`.

    Raises:
        DataError: if the name of a class is not UTF-8.
    """
    classes = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    for class_folder in classes:
        check_utf8("class folder", class_folder.name)
    return {class_folder.name: list_images(class_folder) for class_folder in classes}


def list_images(folder: Path) -> list[Path]:
    """List the files directly in a folder that have the suffix of an image, sorted by name.

    Hidden files are skipped.
    """
    return sorted(
        p
        for p in folder.iterdir()
        if p.is_file() and not p.name.startswith(".") and p.suffix.lower() in IMAGE_SUFFIXES
    )
