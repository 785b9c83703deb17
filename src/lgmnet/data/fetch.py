"""Files from the internet, checked before they are used. Only `lgmnet download` fetches any."""

import hashlib
import shutil
import urllib.request
import zipfile
from http.client import HTTPException
from pathlib import Path

from lgmnet.errors import DataError
from lgmnet.io import atomic_write
from lgmnet.progress import track_progress

CHUNK_BYTES = 1 << 18
TIMEOUT_SECONDS = 60


def fetch(url: str, path: Path, md5: str) -> None:
    """Fetch a file with the standard library, which heeds the proxy variables of the environment.

    The file appears complete and with the expected content, or not at all. One that is there
    already, with this content, is not fetched again.

    Args:
        url: Address of the file.
        path: Path to write to.
        md5: Expected MD5 hash of the content, in hexadecimal digits.

    Raises:
        DataError: if the file cannot be fetched, or has another content.
    """
    if path.is_file() and hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() == md5:
        return
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
            size = answer.headers.get("Content-Length")
            total = int(size) if size and size.isdigit() else None
            with atomic_write(path) as draft:
                with draft.open("wb") as file, track_progress(path.name, total) as progress:
                    while chunk := answer.read(CHUNK_BYTES):
                        file.write(chunk)
                        digest.update(chunk)
                        progress.advance(len(chunk))
                if digest.hexdigest() != md5:
                    raise DataError(
                        f"{url} has another content than expected (MD5 {digest.hexdigest()}, "
                        f"expected {md5}). Try again; a proxy may have answered in its place."
                    )
    except (OSError, HTTPException) as error:
        raise DataError(
            f"{url} could not be fetched: {error}. Check the network connection."
        ) from error


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a ZIP archive into a folder; files that are there are replaced.

    Raises:
        DataError: if it is damaged.
    """
    try:
        with zipfile.ZipFile(archive) as files:
            for entry in files.infolist():
                target = (folder / entry.filename).resolve()
                if not target.is_relative_to(folder.resolve()):
                    raise DataError(f"'{archive}' names a file outside: '{entry.filename}'.")
                if entry.is_dir():
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                with files.open(entry) as source, target.open("wb") as copy:
                    shutil.copyfileobj(source, copy)
    except zipfile.BadZipFile as error:
        raise DataError(f"'{archive}' is damaged ({error}); remove it and try again.") from error
