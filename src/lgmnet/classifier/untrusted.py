"""Tensors and texts from files that anybody may have made.

Nothing is allocated that is larger than a small multiple of the file itself.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from lgmnet.errors import FileFormatError
from lgmnet.io import CHECKSUM, check_format, checksum

MAX_TENSORS = 1000
"""Limit for the number of tensors; a ResNet-12 has about a hundred."""
MAX_VALUES = 1_000_000
"""Limit for the number of values in a JSON text: Python needs 20 times the memory of ``[],[],[]``.
There are two for each support sample."""
HEADER_LENGTH_BYTES = 8
"""Size of the number, at the start of a safetensors file, that tells the length of its header."""


def read_file(path: Path) -> bytes:
    """Read a file with one opening, so that its content is of one version beside a writer.

    Raises:
        FileFormatError: if the file is absent or cannot be read.
    """
    try:
        return path.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise FileFormatError(f"There is no file '{path}'.") from error
    except (OSError, ValueError) as error:  # A ValueError if the path holds a null character.
        raise FileFormatError(f"'{path}' cannot be read: {error}.") from error


def parse_tensors(
    data: bytes, path: Path, kind: str, version: int
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Parse the tensors and the metadata of a file of `lgmnet.io.write_tensors`.

    Args:
        data: Content of the file.
        path: Path of the file in error messages.
        kind: Format that the file must have.
        version: Version of the format that the file must have.

    Raises:
        FileFormatError: if the file is damaged, altered, or of another kind or version.
    """
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
    metadata = header.pop("__metadata__", None)
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
