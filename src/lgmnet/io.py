"""Atomic writing of files that never replaces a file of the user's unasked."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from lgmnet.errors import ConfigError, FileFormatError, UserError

OVERWRITE_ADVICE = (
    "Choose another path, or allow it: --force in the shell, overwrite=True in Python."
)


def cache_folder() -> Path:
    """Return the folder of cached files: ``LGMNET_CACHE``, else the user's cache folder."""
    import platformdirs  # Most commands write no cache.

    named = os.environ.get("LGMNET_CACHE")
    return Path(named) if named else platformdirs.user_cache_path("lgmnet")


def make_cache_folder(*names: str) -> Path:
    """Make the folder of cached files, or a folder in it, if absent, and return it.

    Raises:
        UserError: if it cannot be made; the message says how to choose another.
    """
    folder = cache_folder().joinpath(*names)
    try:
        make_folder(folder)
    except UserError as error:
        raise UserError(
            f"There is no folder for cached files: {error} Set LGMNET_CACHE to a folder that can "
            "be written to."
        ) from error
    return folder


def to_path(path: str | Path) -> Path:
    """Convert a path, as a caller states it.

    Raises:
        ConfigError: if it is none.
    """
    try:
        return Path(path)
    except TypeError as error:
        raise ConfigError(
            f"Expected a path, such as 'symbols.safetensors', but got {path!r:.100}."
        ) from error


def make_folder(path: Path) -> None:
    """Make a folder and its parents, if absent.

    Raises:
        UserError: if it cannot be made.
    """
    check_path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot make the folder '{path}': {error.strerror}.") from error


def check_path(path: Path) -> None:
    """Check that a path can name a file at all.

    Raises:
        UserError: if it contains the character NUL.
    """
    if "\0" in str(path):
        raise UserError(
            f"Cannot write {str(path)!r}: a path cannot contain the character NUL; remove it."
        )


def check_writable(path: Path) -> None:
    """Check that a file can be written, before time is spent on computing its content.

    Raises:
        UserError: if the folder of the file does not exist, or the path is a folder or a device.
    """
    check_path(path)
    if not path.parent.is_dir():
        raise UserError(f"Cannot write '{path}': the folder '{path.parent}' does not exist.")
    if path.is_dir():
        raise UserError(f"Cannot write '{path}': it is a folder.")
    if path.exists() and not path.is_file():
        raise UserError(f"Cannot write '{path}': it is not a regular file.")


def read_file(path: Path) -> bytes:
    """Read a file with one opening, so that its content is of one version beside a writer.

    Raises:
        FileFormatError: if the file is absent or cannot be read.
    """
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileFormatError(f"There is no file '{path}'.") from error
    except (OSError, ValueError) as error:  # A ValueError if the path holds a null character.
        if os.path.isdir(path):
            raise FileFormatError(f"'{path}' must be a file, but is a folder.") from error
        raise FileFormatError(f"'{path}' cannot be read: {error}.") from error


def check_destination(
    path: Path, kind: str, is_of_kind: Callable[[Path], bool], *, overwrite: bool = False
) -> None:
    """Check that a file can be written without the loss of a file of another kind.

    Args:
        path: Path of the file. A file there may be replaced if it is empty or of the same kind.
        kind: Kind of the file for the message, such as "classifier file of lgmnet".
        is_of_kind: Function that recognizes an existing file of this kind by its content.
        overwrite: If True, any existing file may be replaced.

    Raises:
        UserError: if the file cannot be written, or one of another kind would be lost.
    """
    check_writable(path)
    if overwrite or not path.exists() or not path.stat().st_size or is_of_kind(path):
        return
    raise UserError(f"'{path}' exists and is no {kind}, so it is not replaced. {OVERWRITE_ADVICE}")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces ``path`` if the block succeeds.

    If the block fails, the temporary file is removed and ``path`` stays as it was. If ``path`` is a
    symbolic link, the file that it points to is replaced, and the link stays.

    Raises:
        UserError: if the folder of the file does not exist, or writing fails.
    """
    check_writable(path)
    path = Path(os.path.realpath(path))
    # The suffix stays last, because some writers choose the format by it.
    draft = path.with_name(f".{uuid4().hex[:8]}.{path.name}")
    try:
        yield draft
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        draft.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise UserError(f"Cannot write '{path}': {error.strerror or error}.") from error
    finally:
        with suppress(OSError):
            draft.unlink()


def _sync_folder(folder: Path) -> None:
    """Make the names of a folder's files durable, where the system can open folders."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Some network file systems cannot, and the file itself is safe already.
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    r"""Write a text file atomically, in UTF-8; foreign bytes of file names become ``\udcff``."""
    with atomic_write(path) as draft:
        draft.write_text(text, encoding="utf-8", errors="backslashreplace")
