"""Folder of scores: the list of all images, and one Parquet file for each part of it."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from lgmnet.config import from_json
from lgmnet.errors import ConfigError, UserError, require_extra
from lgmnet.io import atomic_write, make_folder
from lgmnet.scoring.addresses import explain_errors, is_local, list_addresses, open_filesystem
from lgmnet.scoring.scorer import Scorer

FOLDER_VERSION = 1
LIST_NAME = "_images.parquet"
"""List of all images, one row group for each part. Readers of Parquet folders skip names that begin
with an underscore."""
METADATA_KEY = b"lgmnet"
ADDRESS = "address"


@dataclass(frozen=True)
class Settings:
    """Settings that all parts of a folder share; stored in the list of images."""

    version: int
    classifier: str
    """Hash of the classifier file."""
    classifier_name: str
    names: tuple[str, ...]
    """Names of the images, as they were given."""
    none: str
    """Rule for images of no class (see `Scorer`)."""
    part_size: int
    """Number of images of a part."""
    n_images: int = 0
    key: str = ""
    """Hash of all of this and of the addresses; part of the name of every part."""


@dataclass(frozen=True)
class ScoreFolder:
    """Folder that is being filled with scores."""

    address: str
    settings: Settings

    @property
    def n_parts(self) -> int:
        """Number of parts."""
        return -(-self.settings.n_images // self.settings.part_size)

    def part_name(self, part: int) -> str:
        """Return the file name of a part."""
        return f"part-{part:06d}-{self.settings.key}.parquet"

    def count_images(self, part: int) -> int:
        """Return the number of images of a part."""
        size = self.settings.part_size
        return min(size, self.settings.n_images - part * size)

    def read_addresses(self, part: int) -> list[str]:
        """Read the addresses of the images of a part.

        Raises:
            UserError: if the list cannot be read.
        """
        with explain_errors(f"read '{self.address}/{LIST_NAME}'"):
            table = open_list(self.address, self.settings.key).read_row_group(part)
        return [os.fsdecode(address) for address in table[ADDRESS].to_pylist()]

    def list_written(self) -> set[int]:
        """List the parts that are written.

        Raises:
            UserError: if the folder cannot be listed.
        """
        names = set(list_names(self.address))
        return {part for part in range(self.n_parts) if self.part_name(part) in names}

    def is_written(self, part: int) -> bool:
        """Return True if a part is written.

        Raises:
            UserError: if the folder cannot be read.
        """
        filesystem, path = open_filesystem(self.address)
        with explain_errors(f"read '{self.address}'"):
            return bool(filesystem.exists(f"{path}/{self.part_name(part)}"))

    def write_part(self, part: int, content: bytes) -> None:
        """Write a part, which appears whole or not at all.

        Raises:
            UserError: if it cannot be written.
        """
        write_file(self.address, self.part_name(part), content)

    def count_errors(self, parts: Sequence[int]) -> int:
        """Count the images of written parts that could not be read.

        Raises:
            UserError: if a part cannot be read.
        """
        import pyarrow.parquet as pq

        filesystem, path = open_filesystem(self.address)
        n_errors = 0
        for part in parts:
            with explain_errors(f"read '{self.address}/{self.part_name(part)}'"):
                with filesystem.open(f"{path}/{self.part_name(part)}", "rb") as file:
                    metadata = pq.read_schema(file).metadata
                n_errors += int(metadata[METADATA_KEY])
        return n_errors


def open_score_folder(
    address: str, scorer: Scorer, names: Sequence[str], part_size: int
) -> ScoreFolder:
    """Open a folder of scores; the first call lists the images, and later calls go on with that.

    Args:
        address: Folder; new, empty, or of an earlier call with the same arguments.
        scorer: Scorer of the images.
        names: Names of the images (see `list_addresses`).
        part_size: Number of images of a part.

    Raises:
        UserError: if the folder holds anything else, or scores of another classifier, or the images
            cannot be listed.
        ConfigError: if the arguments differ from those of the earlier call.
    """
    with require_extra("parquet", "scores in Parquet"):
        import pyarrow.parquet  # noqa: F401
    settings = Settings(
        FOLDER_VERSION, scorer.identity, scorer.name, tuple(names), repr(scorer.none), part_size
    )
    found = list_names(address)
    if LIST_NAME not in found:
        if found:
            raise UserError(
                f"'{address}' holds files, but no scores of lgmnet. Give --out a new or empty "
                "folder."
            )
        write_list(address, settings, list_addresses(names))
    folder = ScoreFolder(address, read_settings(address))
    check_settings(folder, settings)
    return folder


def check_settings(folder: ScoreFolder, expected: Settings) -> None:
    """Check that a folder was begun with the same settings.

    Raises:
        UserError: if it holds scores of another classifier or of another version.
        ConfigError: if another setting differs.
    """
    settings = folder.settings
    if settings.version != FOLDER_VERSION:
        raise UserError(
            f"'{folder.address}' was written by another version of lgmnet ({settings.version}, "
            f"expected {FOLDER_VERSION}). Give --out another folder."
        )
    if settings.classifier != expected.classifier:
        raise UserError(
            f"'{folder.address}' holds scores of another classifier: of "
            f"'{settings.classifier_name}' with the hash {settings.classifier}, and not of "
            f"'{expected.classifier_name}' with {expected.classifier}. Give --out another folder."
        )
    for name in ("names", "none", "part_size"):
        before, now = getattr(settings, name), getattr(expected, name)
        if before != now:
            label = {"names": "images", "none": "--none", "part_size": "--part-size"}[name]
            raise ConfigError(
                f"'{folder.address}' was begun with other {label}: {show(before)}, and not "
                f"{show(now)}. Give the same, or --out another folder."
            )


def show(value: object) -> str:
    """Format a setting for a message."""
    return " ".join(value) if isinstance(value, tuple) else str(value)


def write_list(address: str, settings: Settings, addresses: Sequence[str]) -> None:
    """Write the list of images, unless another process has written it in the meantime.

    Raises:
        UserError: if it cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    digest = hashlib.sha256(json.dumps(asdict(settings)).encode())
    encoded = [os.fsencode(each) for each in addresses]  # Local names need not be UTF-8.
    for each in encoded:
        digest.update(each + b"\0")
    complete = replace(settings, n_images=len(addresses), key=digest.hexdigest()[:12])
    metadata = {METADATA_KEY: json.dumps(asdict(complete)).encode()}
    schema = pa.schema([(ADDRESS, pa.binary())], metadata=metadata)
    stream = io.BytesIO()
    table = pa.table([pa.array(encoded, pa.binary())], schema=schema)
    pq.write_table(table, stream, row_group_size=settings.part_size, compression="zstd")
    write_file(address, LIST_NAME, stream.getvalue(), replace_existing=False)


def read_settings(address: str) -> Settings:
    """Read the settings of a folder.

    Raises:
        UserError: if the list of images cannot be read.
    """
    with explain_errors(f"read '{address}/{LIST_NAME}'"):
        import pyarrow.parquet as pq

        filesystem, path = open_filesystem(address)
        with filesystem.open(f"{path}/{LIST_NAME}", "rb") as file:
            content = json.loads(pq.read_schema(file).metadata[METADATA_KEY])
        return from_json(Settings, content)


@lru_cache(maxsize=2)
def open_list(address: str, key: str) -> Any:
    """Open the list of images of a folder, once in a process; another list has another key."""
    import pyarrow.parquet as pq

    filesystem, path = open_filesystem(address)
    return pq.ParquetFile(filesystem.open(f"{path}/{LIST_NAME}", "rb"))


def list_names(address: str) -> list[str]:
    """List the names of the files in a folder; none if it does not exist.

    Raises:
        UserError: if it is no folder, or cannot be listed.
    """
    filesystem, path = open_filesystem(address)
    with explain_errors(f"list '{address}'"):
        filesystem.invalidate_cache()
        if filesystem.isfile(path):
            raise UserError(f"'{address}' is a file. Give --out a new or empty folder.")
        if not filesystem.isdir(path):
            return []
        paths = [str(p).rstrip("/") for p in filesystem.ls(path, detail=False)]
        return [p.rpartition("/")[2] for p in paths if p != path.rstrip("/")]


def write_file(address: str, name: str, content: bytes, *, replace_existing: bool = True) -> None:
    """Write a file of a folder, which appears whole or not at all.

    In a local folder, a temporary file is renamed; object stores write in this way by themselves.

    Raises:
        UserError: if it cannot be written.
    """
    filesystem, path = open_filesystem(address)
    if is_local(filesystem):
        make_folder(Path(path))
        for draft in Path(path).glob(f".*.{name}"):  # A killed process leaves it behind.
            draft.unlink(missing_ok=True)
        if replace_existing:
            with atomic_write(Path(path) / name) as draft:
                draft.write_bytes(content)
            return
        write_once(Path(path) / name, content)
        return
    with explain_errors(f"write '{address}/{name}'"):
        if replace_existing:
            filesystem.pipe_file(f"{path}/{name}", content)
            return
        try:
            filesystem.pipe_file(f"{path}/{name}", content, mode="create")
        except OSError:
            if not filesystem.exists(f"{path}/{name}"):
                raise


def write_once(path: Path, content: bytes) -> None:
    """Write a local file, unless another process has written it in the meantime.

    Raises:
        UserError: if it cannot be written.
    """
    draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
    with atomic_write(draft) as file:
        file.write_bytes(content)
    try:
        os.link(draft, path)  # Fails if there is one, unlike a change of name.
    except FileExistsError:
        pass
    except OSError:  # Some file systems have no links.
        draft.replace(path)
    draft.unlink(missing_ok=True)
