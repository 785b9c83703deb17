"""Image files named on the command line."""

import glob
import itertools
import os
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from lgmnet.cli.console import print_notice
from lgmnet.errors import ConfigError, DataError


def find_images(names: Sequence[str]) -> tuple[Iterable[Path], int | None]:
    """Find the image files that the arguments of a command name.

    These are files, folders, patterns, or ``-`` alone for file names on stdin, one per line.
    Folders stand for the images in them, those that a pattern matches too. Pictures in them that
    are not read give a warning.

    Returns:
        The files, and their number; None if it is not known, because stdin is read as it comes.

    Raises:
        ConfigError: if ``-`` is not alone.
        DataError: if a folder has no images, no file matches a pattern, or stdin names none.
    """
    if "-" in names:
        if len(names) > 1:
            raise ConfigError("Give - alone: file names are then read from stdin, one per line.")
        lines = (Path(line.rstrip("\n")) for line in sys.stdin if line.strip())
        if (first := next(lines, None)) is None:
            raise DataError("No images were named: - expects file names on stdin, one per line.")
        return itertools.chain([first], lines), None
    from lgmnet.data.images.listing import describe_unread

    paths: list[Path] = []
    unread: list[Path] = []
    for name in names:
        path = Path(name)
        if path.is_dir():
            images, others = list_images_recursively(path)
            if not images:
                note = f" {describe_unread(others)}" if others else ""
                raise DataError(f"There are no images in '{path}' or the folders in it.{note}")
            paths += images
            unread += others
        elif not path.exists() and glob.has_magic(name):
            images, others = list_matches(name)
            paths += images
            unread += others
        else:
            paths.append(path)
    if warning := describe_unread(unread):
        print_notice(f"warning: {warning}")
    return paths, len(paths)


def list_matches(pattern: str) -> tuple[list[Path], list[Path]]:
    """List the files that a pattern matches, and the images in folders that it matches, each once.

    Returns:
        The files, sorted, and the pictures that are not read.

    Raises:
        DataError: if there are none.
    """
    matches = sorted(map(Path, glob.glob(pattern, recursive=True)))
    folders = [path for path in matches if path.is_dir()]
    images, unread = list_images_recursively(*sorted(folders, key=depth))
    paths = [path for path in matches if not path.is_dir()] + images
    if not paths:
        raise DataError(f"No file matches '{pattern}'.")
    find_real = cache(os.path.realpath)
    found: dict[tuple[str, str], Path] = {}  # By the real folder, because a link may lead back.
    for path in sorted(paths, key=depth):
        found.setdefault((find_real(path.parent), path.name), path)
    return sorted(found.values()), unread


def depth(path: Path) -> int:
    """Return the number of the parts of a path; a link that leads back makes longer ones."""
    return len(path.parts)


def list_images_recursively(*folders: Path) -> tuple[list[Path], list[Path]]:
    """List the image files in folders and their subfolders, without hidden ones, each once.

    Links to folders are followed, after all else, because a link may lead back. A folder that
    cannot be listed gives a warning.

    Returns:
        The image files, and the pictures that are not read.
    """
    from lgmnet.data.images.listing import list_content

    images: list[Path] = []
    unread: list[Path] = []
    seen: set[str] = set()
    remaining, links = [*reversed(folders)], list[Path]()
    while remaining or links:
        folder = remaining.pop() if remaining else links.pop(0)
        real = os.path.realpath(folder)
        if real in seen:
            continue
        seen.add(real)
        try:
            content = list_content(folder)
        except OSError as error:
            print_notice(f"warning: '{folder}' was left out: {error.strerror}.")
            continue
        images += content.images
        unread += content.unread
        links += [path for path in content.folders if path.is_symlink()]
        remaining += [path for path in reversed(content.folders) if not path.is_symlink()]
    return images, unread
