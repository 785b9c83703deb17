"""Image files named on the command line."""

import glob
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from lgmnet.errors import ConfigError, DataError


def find_images(names: Sequence[str]) -> tuple[Iterable[Path], int | None]:
    """Find the image files that the arguments of a command name.

    These are files, folders, patterns, or ``-`` alone for file names on stdin, one per line.

    Returns:
        The files, and their number; None if it is not known, because stdin is read as it comes.

    Raises:
        ConfigError: if ``-`` is not alone.
        DataError: if a folder has no images, or no file matches a pattern.
    """
    if "-" in names:
        if len(names) > 1:
            raise ConfigError("Give - alone: file names are then read from stdin, one per line.")
        return (Path(line.rstrip("\n")) for line in sys.stdin if line.strip()), None
    paths: list[Path] = []
    for name in names:
        path = Path(name)
        if path.is_dir():
            images = list_images_recursively(path)
            if not images:
                raise DataError(f"There are no images in '{path}' or the folders in it.")
            paths += images
        elif not path.exists() and glob.has_magic(name):
            matches = sorted(map(Path, glob.glob(name, recursive=True)))
            if not matches:
                raise DataError(f"No file matches '{name}'.")
            paths += matches
        else:
            paths.append(path)
    return paths, len(paths)


def list_images_recursively(folder: Path) -> list[Path]:
    """List the image files in a folder and its subfolders, without hidden ones."""
    from lgmnet.data.images.listing import list_images

    paths = []
    for parent, subfolders, _ in os.walk(folder):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        paths += list_images(Path(parent))
    return paths
