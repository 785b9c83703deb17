"""Atomic writing of files, and tensors on disk without pickle."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from lgmnet.errors import FileFormatError, UserError

CHECKSUM = "sha256"


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
        UserError: if the folder of the file does not exist, or the path is a folder.
    """
    check_path(path)
    if not path.parent.is_dir():
        raise UserError(f"Cannot write '{path}': the folder '{path.parent}' does not exist.")
    if path.is_dir():
        raise UserError(f"Cannot write '{path}': it is a folder.")


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
    except OSError as error:
        raise UserError(f"Cannot write '{path}': {error.strerror or error}.") from error
    finally:
        with suppress(OSError):
            draft.unlink()


def write_text(path: Path, text: str) -> None:
    r"""Write a text file atomically, in UTF-8; foreign bytes of file names become ``\udcff``."""
    with atomic_write(path) as draft:
        draft.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], kind: str, version: int, metadata: Mapping[str, str]
) -> None:
    """Write tensors and metadata atomically as a safetensors file with a checksum.

    ``kind`` (such as ``lgmnet-classifier``) and the format version of this kind are stored too.
    """
    texts = {**metadata, "format": kind, "version": str(version)}
    plain = {k: t.detach().cpu().contiguous() for k, t in tensors.items()}
    texts |= {CHECKSUM: checksum(plain, texts)}
    with atomic_write(path) as draft:
        draft.write_bytes(save(plain, texts))


def read_tensors(
    path: Path, kind: str, version: int, *, checked: bool = False
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors and the metadata of a file of `write_tensors`.

    If ``checked``, files without a checksum, such as those of earlier releases, are refused.

    Raises:
        FileFormatError: if the file is absent, damaged, altered, or of another kind or version.
    """
    with _open_tensors(path, kind, version) as (file, metadata):
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    stored = metadata.pop(CHECKSUM, None)
    if stored != (checksum(tensors, metadata) if stored or checked else None):
        raise FileFormatError(
            f"'{path}' is damaged or was altered: its checksum does not match its content. "
            "Use an intact copy, or make the file again."
        )
    return tensors, metadata


def read_metadata(path: Path, kind: str, version: int) -> dict[str, str]:
    """Read the metadata of a file of `write_tensors`, without its tensors and their checksum.

    Raises:
        FileFormatError: if the file is absent, not readable, or of another kind or version.
    """
    with _open_tensors(path, kind, version) as (_, metadata):
        return {name: text for name, text in metadata.items() if name != CHECKSUM}


@contextmanager
def _open_tensors(path: Path, kind: str, version: int) -> Iterator[tuple[Any, dict[str, str]]]:
    """Open a safetensors file, check its format, and yield it with its metadata."""
    if not path.is_file():
        raise FileFormatError(f"There is no file '{path}'.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            check_format(path, metadata, kind, version)
            yield file, metadata
    except (SafetensorError, OSError) as error:
        raise FileFormatError(
            f"'{path}' cannot be read as a file of the format {kind} (safetensors): {error}. "
            "It may be cut short or be another kind of file."
        ) from error


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
