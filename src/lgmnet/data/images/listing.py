"""Lists of the image files in folders; without PyTorch."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lgmnet.data.images.pixels import IMAGE_SUFFIXES, UNREAD_SUFFIXES, identify_image
from lgmnet.errors import check_utf8


@dataclass(frozen=True)
class FolderContent:
    """Content of a folder, without hidden files and folders; both are sorted by name."""

    images: list[Path]
    """Files with the suffix of an image; links to absent ones are among them, to be named."""
    folders: list[Path]
    unread: list[Path]
    """Pictures that are not read, because of their suffix."""


def list_content(folder: Path) -> FolderContent:
    """List the images and the folders directly in a folder, by reading it once."""
    images, folders, unread = [], [], []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            folders.append(path)
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            images.append(path)
        elif path.suffix.lower() in UNREAD_SUFFIXES or (not path.suffix and is_image(path)):
            unread.append(path)
    return FolderContent(images, folders, unread)


def is_image(path: Path) -> bool:
    """Return True if a file begins as an image does, whatever its name."""
    with suppress(Exception):  # Pillow raises any exception.
        if path.is_file():  # Opening a pipe would wait for its writer.
            identify_image(path).close()
            return True
    return False


def describe_unread(unread: Sequence[Path]) -> str | None:
    """Describe pictures that are not read, in one sentence; None if there are none."""
    if not unread:
        return None
    are_left = "1 picture was" if len(unread) == 1 else f"{len(unread)} pictures were"
    return (
        f"{are_left} left out, such as '{unread[0]}': expected a format that is read, and a name "
        "that tells it; convert to PNG or JPEG, or add the suffix that is missing."
    )


def list_images(folder: Path) -> list[Path]:
    """List the files directly in a folder that have the suffix of an image, sorted by name.

    Hidden files are skipped.
    """
    return list_content(folder).images


def list_class_contents(folders: Iterable[Path]) -> dict[str, FolderContent]:
    """List the content of each class folder, by its name.

    Raises:
        DataError: if the name of a class is not UTF-8.
    """
    for folder in folders:
        check_utf8("class folder", folder.name)
    return {folder.name: list_content(folder) for folder in folders}


def list_class_images(folder: Path) -> dict[str, list[Path]]:
    """List the image files of each class of ``folder/<class>/<image>``, sorted by name.

    Hidden folders are skipped, and files as in `list_images`.

    Raises:
        DataError: if the name of a class is not UTF-8.
    """
    contents = list_class_contents(list_content(folder).folders)
    return {name: content.images for name, content in contents.items()}


def list_images_below(folders: Iterable[Path]) -> list[Path]:
    """List the image files in folders and in those below them, at any depth, without hidden ones.

    A link to a folder is not followed, because it may lead back, and a folder that cannot be read
    is left out.
    """
    images: list[Path] = []
    for folder in folders:
        if not folder.is_symlink():
            with suppress(OSError):
                content = list_content(folder)
                images += content.images + list_images_below(content.folders)
    return images
