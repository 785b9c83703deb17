"""Atomic writing of files, and tensors on disk without pickle."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from lgmnet.errors import FileFormatError, UserError

CHECKSUM = "sha256"
OVERWRITE_ADVICE = (
    "Choose another path, or allow it: --force in the shell, overwrite=True in Python."
)


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

    If the block fails, the temporary file is removed and ``path`` stays as it was.

    Raises:
        UserError: if the folder of the file does not exist, or writing fails.
    """
    check_writable(path)
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


def write_tensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    kind: str,
    version: int,
    metadata: Mapping[str, str],
    *,
    overwrite: bool = False,
) -> None:
    """Write tensors and metadata atomically as a safetensors file with a checksum.

    ``kind`` (such as ``lgmnet-classifier``) and the format version of this kind are stored too.

    Raises:
        UserError: if the file cannot be written, or if one of another kind is there and
            ``overwrite`` is False.
    """
    check_tensor_destination(path, kind, overwrite=overwrite)
    texts = {**metadata, "format": kind, "version": str(version)}
    plain = {k: t.detach().cpu().contiguous() for k, t in tensors.items()}
    texts |= {CHECKSUM: checksum(plain, texts)}
    with atomic_write(path) as draft:
        draft.write_bytes(save(plain, texts))


def check_tensor_destination(path: Path, kind: str, *, overwrite: bool = False) -> None:
    """Check that `write_tensors` can write a file without the loss of one of another kind.

    Raises:
        UserError: as `check_destination` does.
    """

    def is_of_kind(file: Path) -> bool:
        return has_format(file, kind)

    check_destination(path, f"file of the format {kind}", is_of_kind, overwrite=overwrite)


def has_format(path: Path, kind: str) -> bool:
    """Return True if a file states that `write_tensors` wrote it as a file of this kind."""
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {}).get("format") == kind
    except (SafetensorError, OSError):
        return False


def read_tensors(path: Path, kind: str, version: int) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors and the metadata of a file of `write_tensors`.

    Raises:
        FileFormatError: if the file is absent, damaged, altered, or of another kind or version.
    """
    if not path.is_file():
        raise FileFormatError(f"There is no file '{path}'.")
    try:
        # Read once: a file that is opened twice may be replaced by another process in between.
        data = path.read_bytes()
        tensors = load(data)
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
        raise FileFormatError(
            f"'{path}' cannot be read as a file of the format {kind} (safetensors): {error}. "
            "It may be cut short or be another kind of file."
        ) from error
    # The format begins with the length of its header in 8 bytes, then the header in JSON.
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    metadata: dict[str, str] = header.get("__metadata__") or {}
    check_format(path, metadata, kind, version)
    if metadata.pop(CHECKSUM, None) != checksum(tensors, metadata):
        raise FileFormatError(
            f"'{path}' is damaged or was altered: its checksum does not match its content. "
            "Use an intact copy, or make the file again."
        )
    return tensors, metadata


def check_format(path: Path, metadata: Mapping[str, object], kind: str, version: int) -> None:
    """Check the kind and the format version that a file states in its metadata.

    Raises:
        FileFormatError: if they are not the expected ones.
    """
    stated = str(metadata.get("version"))
    if metadata.get("format") != kind or not stated.isdecimal():
        raise FileFormatError(
            f"'{path}' must be a file of the format {kind}, but its format is "
            f"{metadata.get('format')}, version {stated}. Check that it is the file you meant."
        )
    writer, mend = "an earlier", "Make the file again with this lgmnet, or use the earlier one."
    if int(stated) > version:
        writer, mend = "a later", "Update lgmnet, or make the file again with this one."
    if int(stated) != version:
        raise FileFormatError(
            f"'{path}' has the format {kind}, version {stated}, and was written by {writer} "
            f"lgmnet; this lgmnet reads version {version}. {mend}"
        )


def checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Compute the SHA-256 of metadata and of tensors with their names, types and shapes."""
    digest = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
