"""Tensors and texts on disk without pickle, read from files that anybody may have made.

Nothing is allocated that is larger than a small multiple of the file itself.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from lgmnet.errors import FileFormatError
from lgmnet.io import atomic_write, check_destination, read_file

CHECKSUM = "sha256"
MAX_TENSORS = 5000
"""Limit for the number of tensors; the training state of a ResNet-12 has a few hundred."""
MAX_VALUES = 1_000_000
"""Limit for the number of values in a JSON text: Python needs 20 times the memory of ``[],[],[]``.
There are two for each support sample."""
HEADER_LENGTH_BYTES = 8
"""Size of the number, at the start of a safetensors file, that tells the length of its header."""


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
        draft.write_bytes(safetensors.torch.save(plain, texts))


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
        with path.open("rb") as file:  # The tensors may be large.
            start = file.read(HEADER_LENGTH_BYTES)
            length = int.from_bytes(start, "little")
            if length > path.stat().st_size:
                return False
            return parse_header(start + file.read(length)).get("format") == kind
    except (OSError, ValueError):
        return False


def read_tensors(path: Path, kind: str, version: int) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors and the metadata of a file of `write_tensors`.

    Raises:
        FileFormatError: if the file is absent, damaged, altered, or of another kind or version.
    """
    return parse_tensors(read_file(path), path, kind, version)


def parse_tensors(
    data: bytes, path: Path, kind: str, version: int
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Parse the tensors and the metadata of a file of `write_tensors`.

    Args:
        data: Content of the file.
        path: Path of the file in error messages.
        kind: Format that the file must have.
        version: Version of the format that the file must have.

    Raises:
        FileFormatError: if the file is damaged, altered, or of another kind or version.
    """
    if len(data) > HEADER_LENGTH_BYTES and data[HEADER_LENGTH_BYTES:][:1] != b"{":
        raise FileFormatError(
            f"'{path}' cannot be read as a file of the format {kind}: it begins as another kind of "
            "file, or is damaged. Check that it is the file you meant."
        )
    try:
        metadata = parse_header(data)
        check_format(path, metadata, kind, version)
        tensors = safetensors.torch.load(data)
    except FileFormatError:
        raise
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise FileFormatError(
            f"'{path}' cannot be read as a file of the format {kind} (safetensors): {error}. "
            "It may be cut short or be another kind of file."
        ) from error
    if metadata.pop(CHECKSUM, None) != checksum(tensors, metadata):
        raise FileFormatError(
            f"'{path}' is damaged or was altered: its checksum does not match its content. "
            "Use an intact copy, or make the file again."
        )
    return tensors, metadata


def parse_header(data: bytes) -> dict[str, str]:
    """Check the header of a safetensors file, and return its metadata.

    The library checks the shapes and places of the tensors. It does not bound how many there are.

    Raises:
        ValueError: if the header is not as expected.
    """
    length = int.from_bytes(data[:HEADER_LENGTH_BYTES], "little")
    text = data[HEADER_LENGTH_BYTES : HEADER_LENGTH_BYTES + length]
    if len(text) < max(1, length):
        raise ValueError(f"it has {len(data):,} bytes, but its header would have {length:,}")
    header = parse_json(text.decode())
    if not isinstance(header, dict):
        raise ValueError("its header is not a JSON object")
    metadata = header.pop("__metadata__", {})  # Other programs may write none.
    if not isinstance(metadata, dict) or not are_texts(metadata.values()):
        raise ValueError("its metadata is not a JSON object of texts")
    if len(header) > MAX_TENSORS:
        raise ValueError(f"it has {len(header):,} tensors; expected at most {MAX_TENSORS:,}")
    fields = {"dtype", "shape", "data_offsets"}
    if not all(isinstance(entry, dict) and entry.keys() == fields for entry in header.values()):
        raise ValueError("an entry of its header does not have exactly type, shape and place")
    return metadata


def parse_json(text: str) -> Any:
    """Parse JSON with bounded memory, without repeated names, NaN and texts that are not Unicode.

    Raises:
        ValueError: if the text is not such a JSON.
    """
    # Commas and brackets inside of texts count too, which does no harm.
    if text.count(",") + text.count("[") + text.count("{") >= MAX_VALUES:
        raise ValueError(f"it has more than {MAX_VALUES:,} values")
    try:
        value = json.loads(text, parse_constant=refuse_constant, object_pairs_hook=to_unique)
        json.dumps(value, ensure_ascii=False).encode()  # Fails for halves of surrogate pairs.
    except RecursionError as error:
        raise ValueError("its values are nested too deeply") from error
    return value


def refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and infinity, which are not JSON."""
    raise ValueError(f"{name} is not JSON")


def to_unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a JSON object, and refuse repeated names."""
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a name occurs twice in one object")
    return values


def are_texts(values: Iterable[object]) -> bool:
    """Return True if all values are texts."""
    return all(isinstance(value, str) for value in values)


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
