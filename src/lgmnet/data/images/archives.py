"""Data packs: where their files lie, and reading arrays from them."""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lgmnet.errors import DataError


def data_folders() -> list[Path]:
    """Where data packs are looked for: ``LGMNET_DATA``, else ``shared/data`` here or one up."""
    if named := os.environ.get("LGMNET_DATA"):
        return [Path(named)]
    return [base / "shared" / "data" for base in (Path.cwd(), Path.cwd().parent)]


def find_archive(name: str, parts: Sequence[Path], otherwise: str) -> list[Path]:
    """The files of a pack, all from the one data folder that has the first.

    Args:
        name: Of the data, as a person knows it.
        parts: Paths of its files in the data folder.
        otherwise: What else a person can do, as the end of a sentence.

    Raises:
        DataError: saying where it was looked for, or which file is missing.
    """
    places = data_folders()
    for folder in places:
        found = [(folder / part).is_file() for part in parts]
        if all(found):
            return [folder / part for part in parts]
        if any(found):
            missing = ", ".join(
                f"'{folder / part}'" for part, there in zip(parts, found, strict=True) if not there
            )
            raise DataError(f"The data pack of {name} is not whole: {missing} missing.")
    looked = " and ".join(f"'{folder / parts[0]}'" for folder in places)
    raise DataError(
        f"{name} was not found (looked for {looked}). Set LGMNET_DATA to the folder that "
        f"holds '{parts[0]}'{otherwise and ', or '}{otherwise}."
    )


def decode_photos(path: Path, pack: Mapping[str, Any]) -> Iterator[np.ndarray]:
    """The photos of one file of a pack, uint8 [3, height, width], class after class.

    Args:
        path: The file.
        pack: Its arrays ``data``, ``offsets`` and ``label``.

    Raises:
        DataError: if one is damaged.
    """
    data, offsets = pack["data"], pack["offsets"]
    for i in np.argsort(pack["label"], kind="stable"):
        packed = io.BytesIO(data[offsets[i] : offsets[i + 1]].tobytes())
        try:
            with Image.open(packed) as image:
                pixels = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
        except OSError as error:
            raise DataError(f"'{path}' is damaged: image {i} cannot be read.") from error
        yield pixels


def read_arrays(path: Path, names: Sequence[str]) -> dict[str, Any]:
    """The named arrays of one file of a pack.

    Raises:
        DataError: if it is damaged or lacks one.
    """
    try:
        # Opened here: np.load leaves a file open that it cannot read.
        with path.open("rb") as file, np.load(file) as pack:
            return {name: pack[name] for name in names}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, KeyError) as error:
        raise DataError(f"'{path}' is damaged ({error}); fetch it again.") from error
