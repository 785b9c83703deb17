"""Files that appear whole or not at all, and tensors on disk without pickle."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from lgmnet.errors import FileFormatError, UserError

CHECKSUM = "sha256"


def make_folder(path: Path) -> None:
    """Make a folder, if absent.

    Raises:
        UserError: if it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot make the folder '{path}': {error.strerror}.") from error


def check_writable(path: Path) -> None:
    """Check that a file can be written here, before work is spent on what goes into it.

    Raises:
        UserError: if there is no such folder to write in, or the path is a folder.
    """
    if not path.parent.is_dir():
        raise UserError(f"Cannot write '{path}': the folder '{path.parent}' does not exist.")
    if path.is_dir():
        raise UserError(f"Cannot write '{path}': it is a folder.")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A path to write to; it becomes ``path`` when the block ends well, and is removed when not.

    Raises:
        UserError: if there is no such folder to write in, or writing fails.
    """
    check_writable(path)
    # The suffix stays last: some writers choose the format by it.
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
    """Write a text file, whole or not at all."""
    with atomic_write(path) as draft:
        draft.write_text(text, encoding="utf-8")


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], kind: str, version: int, about: Mapping[str, str]
) -> None:
    """Write tensors as safetensors, whole or not at all.

    Args:
        path: The file.
        tensors: By name.
        kind: What the file is, such as ``lgmnet-classifier``; `read_tensors` asks for it.
        version: Of that kind of file.
        about: Texts beside the tensors.
    """
    metadata = {**about, "format": kind, "version": str(version)}
    plain = {k: t.detach().cpu().contiguous() for k, t in tensors.items()}
    metadata |= {CHECKSUM: checksum(plain, metadata)}
    with atomic_write(path) as draft:
        draft.write_bytes(save(plain, metadata))


def read_tensors(
    path: Path, kind: str, version: int, *, checked: bool = False
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read what `write_tensors` wrote: the tensors and the texts beside them.

    Args:
        path: The file.
        kind: What it should be.
        version: Of that kind.
        checked: Refuse what has no checksum too, as files of earlier releases.

    Raises:
        FileFormatError: if the file is absent, damaged, altered, not of this kind, or of another
            version.
    """
    if not path.is_file():
        raise FileFormatError(f"There is no file '{path}'.")
    try:
        with safe_open(path, framework="pt") as file:
            about = dict(file.metadata() or {})
            if about.get("format") != kind:
                raise FileFormatError(f"'{path}' is not a file of kind {kind}.")
            if about.get("version") != str(version):
                raise FileFormatError(
                    f"'{path}' is a {kind} of version {about.get('version')}; this lgmnet reads "
                    f"version {version}. Make it again, or use the lgmnet that made it."
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise FileFormatError(
            f"'{path}' cannot be read as a {kind} (safetensors): {error}. "
            "It may be cut short or be another kind of file."
        ) from error
    written = about.pop(CHECKSUM, None)
    if written != (checksum(tensors, about) if written or checked else None):
        raise FileFormatError(
            f"'{path}' is not as it was written: its checksum is another. It was damaged or "
            "altered; take an undamaged copy, or make it again."
        )
    return tensors, about


def checksum(tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> str:
    """SHA-256 of tensors, with their names, types and shapes, and of the texts beside them."""
    digest = hashlib.sha256(json.dumps(sorted(about.items())).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
