"""Addresses of images: local paths, and those that fsspec opens, such as ``s3://bucket/photos``."""

import glob
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lgmnet.data.images.pixels import IMAGE_SUFFIXES
from lgmnet.errors import ConfigError, DataError, UserError, require_extra

STDIN = "-"
MISSING = (FileNotFoundError, IsADirectoryError, PermissionError)
"""Errors of a storage that tell about one file, and not about the storage."""


def list_addresses(names: Sequence[str]) -> list[str]:
    """List the addresses of the images that names stand for, sorted, each once.

    Args:
        names: Files, folders with all their subfolders, and patterns such as
            ``s3://bucket/photos/**``; or ``-`` alone for addresses on stdin, one per line. Local
            ones become absolute.

    Raises:
        DataError: if a folder holds no images, no file matches a pattern, or stdin names none.
        UserError: if a storage cannot be listed.
    """
    if STDIN in names:
        if len(names) > 1:
            raise ConfigError("Give - alone: addresses are then read from stdin, one per line.")
        lines = [line.rstrip("\n") for line in sys.stdin if line.strip()]
        addresses = sorted({address for name in lines for address in absolute(name)})
    else:
        addresses = sorted({address for name in names for address in expand(name)})
    if not addresses:
        raise DataError("There are no images: expected the address of at least one.")
    return addresses


def absolute(name: str) -> Iterator[str]:
    """Yield the absolute form of one address."""
    filesystem, path = open_filesystem(name)
    yield to_address(filesystem, path)


def expand(name: str) -> list[str]:
    """List the images that one name stands for.

    Raises:
        DataError: if it is a folder without images, or a pattern that no file matches.
        UserError: if the storage cannot be listed.
    """
    filesystem, path = open_filesystem(name)
    with explain_errors(f"list '{name}'"):
        if glob.has_magic(path) and not filesystem.exists(path):
            found = filesystem.glob(path, detail=True)
            paths = [p for p, info in found.items() if info["type"] != "directory"]
            if "**" not in path:  # Which matches what is in the folders, too.
                for p in found.keys() - set(paths):
                    paths += find_images(filesystem, p)
            if not paths:
                raise DataError(f"No file matches '{name}'.")
        elif filesystem.isdir(path):
            paths = find_images(filesystem, path)
            if not paths:
                raise DataError(f"There are no images in '{name}' or the folders in it.")
        else:
            paths = [path]
    return [to_address(filesystem, p) for p in paths]


def find_images(filesystem: Any, folder: str) -> list[str]:
    """List the images in a folder and its subfolders, without hidden ones."""
    return [p for p in filesystem.find(folder) if is_visible_image(p, folder)]


def is_visible_image(path: str, folder: str) -> bool:
    """Return True if a path below a folder has the suffix of an image and no hidden part."""
    parts = path[len(folder) :].strip("/").split("/")
    is_hidden = any(part.startswith(".") for part in parts)
    return not is_hidden and "." + parts[-1].rpartition(".")[2].lower() in IMAGE_SUFFIXES


def open_filesystem(address: str) -> tuple[Any, str]:
    """Open the fsspec file system of an address.

    Returns:
        The file system, and the path in it.

    Raises:
        UserError: if there is no such kind of address, its package is not installed, or it cannot
            be connected to.
    """
    with require_extra("parquet", "scores in Parquet"):
        import fsspec
    if "://" in address and "::" in address:
        raise ConfigError(f"'{address}' chains addresses; give that of each image alone.")
    with explain_errors(f"open '{address}'"):
        filesystem, path = fsspec.url_to_fs(address)
    return filesystem, str(path)


def is_local(filesystem: Any) -> bool:
    """Return True if the files of a file system lie in folders of this machine."""
    protocols = filesystem.protocol
    return "file" in ((protocols,) if isinstance(protocols, str) else protocols)


def to_address(filesystem: Any, path: str) -> str:
    """Return the address of a path in a file system: the path itself if it is local."""
    return path if is_local(filesystem) else str(filesystem.unstrip_protocol(path))


def read_files(addresses: Sequence[str]) -> list[bytes | Exception]:
    """Read files, those of one storage at the same time.

    Returns:
        For each file its content, or an error that is about this file alone.

    Raises:
        UserError: if a storage fails; that tells nothing about the files.
    """
    contents: dict[str, bytes | Exception] = {}
    by_storage: dict[str, list[str]] = {}
    for address in addresses:
        by_storage.setdefault(re.split("://[^/]*", address)[0], []).append(address)
    for group in by_storage.values():
        filesystem, _ = open_filesystem(group[0])
        paths = [open_filesystem(address)[1] for address in group]
        with explain_errors(f"read '{group[0]}'"):
            results = filesystem.cat_ranges(paths, None, None, on_error="return")
            for address, result in zip(group, results, strict=True):
                is_failure = isinstance(result, Exception) and not isinstance(result, MISSING)
                if is_failure and not is_local(filesystem):
                    raise result
                contents[address] = result
    return [contents[address] for address in addresses]


@contextmanager
def explain_errors(act: str) -> Iterator[None]:
    """Turn any error of a storage into one that says how to mend it.

    Args:
        act: What failed, such as "list 's3://bucket'".

    Raises:
        UserError: naming what was done and the reason.
    """
    try:
        yield
    except UserError:
        raise
    except ImportError as error:
        raise UserError(f"Cannot {act}: {error}.") from error
    except Exception as error:  # Each storage raises exceptions of its own.
        reason = str(error).strip() or type(error).__name__
        raise UserError(f"Cannot {act}: {reason.rstrip('.')}.{advise(error)}") from error


def advise(error: Exception) -> str:
    """Return advice on an error of a storage, as sentences with a leading space."""
    text = f"{type(error).__name__} {error}".lower()
    if isinstance(error, PermissionError) or "credential" in text:
        return (
            " Expected credentials that may list and read there, in the form that the storage "
            "takes: for S3, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or a profile, on every "
            "machine that reads; for a public bucket, FSSPEC_S3_ANON=true."
        )
    return ""


def batched(items: Sequence[str], size: int) -> Iterable[Sequence[str]]:
    """Split a sequence into parts of a size."""
    return (items[start : start + size] for start in range(0, len(items), size))
