"""Data archives: finding their files, and reading arrays and photos from them."""

import io
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lgmnet.data.images.read import IMAGE_FORMATS
from lgmnet.errors import DataError


def data_folders() -> list[Path]:
    """Return the folders that are searched for data archives.

    ``LGMNET_DATA`` if it is set, else ``shared/data`` in the current folder and in its parent.
    """
    if named := os.environ.get("LGMNET_DATA"):
        return [Path(named)]
    return [base / "shared" / "data" for base in (Path.cwd(), Path.cwd().parent)]


def find_archive(name: str, files: Sequence[Path], advice: str = "") -> list[Path]:
    """Find the files of a data archive, all in the same data folder.

    Args:
        name: Name of the data in error messages.
        files: Paths of the files, relative to the data folder.
        advice: Other ways to get the data, as the end of a sentence.

    Raises:
        DataError: naming the paths that were searched, or the missing files.
    """
    folders = data_folders()
    for folder in folders:
        paths = [folder / file for file in files]
        missing = [f"'{path}'" for path in paths if not path.is_file()]
        if not missing:
            return paths
        if len(missing) < len(paths):
            absent = ", ".join(missing)
            raise DataError(f"The data archive of {name} is not complete: {absent} missing.")
    searched = " and ".join(f"'{folder / files[0]}'" for folder in folders)
    raise DataError(
        f"{name} was not found (looked for {searched}). Set LGMNET_DATA to the folder that "
        f"holds '{files[0]}'{advice and ', or '}{advice}."
    )


def decode_photos(path: Path, arrays: Mapping[str, Any]) -> Iterator[np.ndarray]:
    """Decode the photos of one file of an archive, uint8 [3, height, width], sorted by class.

    ``arrays`` are ``data``, ``offsets`` and ``label`` of the file at ``path``.

    Raises:
        DataError: if a photo is damaged.
    """
    data, offsets = arrays["data"], arrays["offsets"]
    for i in np.argsort(arrays["label"], kind="stable"):
        encoded = io.BytesIO(data[offsets[i] : offsets[i + 1]].tobytes())
        try:
            with Image.open(encoded, formats=IMAGE_FORMATS) as image:
                pixels = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
        except OSError as error:
            raise DataError(f"'{path}' is damaged: image {i} cannot be read.") from error
        yield pixels


def read_arrays(path: Path, names: Sequence[str]) -> dict[str, Any]:
    """Read the named arrays of one file of an archive.

    Raises:
        DataError: if the file is damaged or lacks an array.
    """
    try:
        # Opened here because np.load leaves a file open that it cannot read.
        with path.open("rb") as file, np.load(file) as arrays:
            return {name: arrays[name] for name in names}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, KeyError) as error:
        raise DataError(f"'{path}' is damaged ({error}); download it again.") from error
