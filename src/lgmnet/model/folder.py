"""Files of a model folder: weights that carry the config, a readable copy of it, and the card.

The weights file holds the whole config in its metadata, under one checksum with the weights. So
weights and config always belong together, whatever happens to the process that writes them.
``config.json`` is a copy for readers and for the Hugging Face hub, with a checksum of its own.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from lgmnet.errors import ConfigError, FileFormatError, UserError
from lgmnet.io import OVERWRITE_ADVICE, make_folder, write_text
from lgmnet.model.card import is_model_card
from lgmnet.model.registry import (
    CARD_FILE,
    CONFIG_FILE,
    MODEL_FILES,
    WEIGHTS_FILE,
    is_shipped,
    model_folder,
)
from lgmnet.tensor_file import CHECKSUM, check_format, has_format, read_tensors, write_tensors

KIND, VERSION = "lgmnet-model", 2
CONFIG_KEY = "config"
"""Key of the config, as JSON, in the metadata of the weights."""
NOT_JSON = (ValueError, RecursionError)
"""Errors that say that a file is not a JSON text in UTF-8."""


def write_model_folder(
    folder: Path,
    tensors: Mapping[str, Tensor],
    config: Mapping[str, Any],
    card: str,
    *,
    overwrite: bool = False,
) -> None:
    """Write weights, config and card of a model to a folder, which is made if absent.

    The weights file, which contains the config, is written first and atomically: with it the new
    model has replaced the old one.

    Raises:
        UserError: if the folder cannot be made or written to, or as `check_model_folder` does.
    """
    check_model_folder(folder, overwrite=overwrite)
    make_folder(folder)
    metadata = {CONFIG_KEY: json.dumps(config)}
    weights = folder / WEIGHTS_FILE
    write_tensors(weights, tensors, KIND, VERSION, metadata, overwrite=overwrite)
    write_text(folder / CONFIG_FILE, format_config(config))
    write_text(folder / CARD_FILE, card)


def read_model_folder(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any], Path]:
    """Read the weights of a model folder and the config that belongs to them.

    Returns:
        The weights, the config, and the path of the file that holds the config.

    Raises:
        FileFormatError: if the folder is incomplete or damaged, or of another version.
    """
    weights_path, config_path = folder / WEIGHTS_FILE, folder / CONFIG_FILE
    if not weights_path.is_file():
        missing = [name for name in (CONFIG_FILE, WEIGHTS_FILE) if not (folder / name).is_file()]
        raise FileFormatError(f"'{folder}' is not a model: it has no {' and no '.join(missing)}.")
    tensors, metadata = read_tensors(weights_path, KIND, VERSION)
    if CONFIG_KEY in metadata:
        check_config_copy(config_path)
        return tensors, parse_config(weights_path, metadata[CONFIG_KEY].encode()), weights_path
    # Written before weights carried their config.
    if not config_path.is_file():
        raise FileFormatError(f"'{folder}' is not a model: it has no {CONFIG_FILE}.")
    config = parse_config(config_path, config_path.read_bytes())
    check_format(config_path, config, KIND, VERSION)
    return tensors, config, config_path


def parse_config(path: Path, text: bytes) -> dict[str, Any]:
    """Parse a config, which is a JSON object in UTF-8; ``path`` is its file for the message.

    Raises:
        FileFormatError: if it is none.
    """
    try:
        config = json.loads(text.decode())
        if not isinstance(config, dict):
            raise TypeError("not a JSON object")
    except (*NOT_JSON, TypeError) as error:
        raise FileFormatError(
            f"The config in '{path}' is damaged: {error!r}. Use an intact copy, or make the model "
            "again."
        ) from error
    return config


def format_config(config: Mapping[str, Any]) -> str:
    """Format the text of ``config.json``: the config, its format and a checksum of both."""
    content = {"format": KIND, "version": VERSION, **config}
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    return json.dumps(content | {CHECKSUM: digest}, indent=2) + "\n"


def check_config_copy(path: Path) -> None:
    """Check that ``config.json``, if present, is as it was written; a reader may rely on it.

    It may be older than the weights beside it, whose own config counts: a process may end between
    writing one and the other.

    Raises:
        FileFormatError: if it is damaged or was altered.
    """
    if not path.exists():
        return
    try:
        text = path.read_bytes()
        added = ("format", "version", CHECKSUM)
        config = {k: v for k, v in parse_config(path, text).items() if k not in added}
        # Texts are compared and not values: "1e-3" has the value of "1E-3", but was not written.
        is_intact = text.replace(b"\r\n", b"\n") == format_config(config).encode()
    except (OSError, FileFormatError, RecursionError):
        is_intact = False
    if not is_intact:
        raise FileFormatError(
            f"'{path}' is damaged or was altered: its checksum does not match its content. Remove "
            f"it: {WEIGHTS_FILE} beside it holds the same config."
        )


def check_model_folder(
    folder: Path, *, ignored: Collection[str] = (), overwrite: bool = False
) -> None:
    """Check that a model can be written to a folder without the loss of other files.

    Args:
        folder: Folder that is absent, empty or a model of lgmnet. Hidden files do not count.
        ignored: Names of further files that do not count.
        overwrite: If True, any folder may be written to.

    Raises:
        UserError: if other files would be lost, or the path is a file.
        ConfigError: if the folder is that of a model that ships with lgmnet.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"Cannot make the folder '{folder}': it is a file.")
    if overwrite or not folder.is_dir():
        return
    if is_shipped(folder):
        raise ConfigError(
            f"'{folder}' is a model that ships with lgmnet and is read-only. {OVERWRITE_ADVICE}"
        )
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    if names - set(ignored) and WEIGHTS_FILE not in names:
        raise UserError(
            f"'{folder}' is not empty and is no model of lgmnet, so no model is written to it. "
            f"{OVERWRITE_ADVICE}"
        )
    check_model_files(folder)


def check_model_files(folder: Path, *, overwrite: bool = False) -> None:
    """Check that no file of another kind has the name of one of a model's files.

    Raises:
        UserError: if there is one and ``overwrite`` is False.
    """
    existing = [name for name in MODEL_FILES if (folder / name).exists()]
    foreign = [name for name in existing if not _IS_OURS[name](folder / name)]
    if foreign and not overwrite:
        raise UserError(
            f"The folder '{folder}' holds files that lgmnet did not write and would replace: "
            f"{', '.join(foreign)}. {OVERWRITE_ADVICE}"
        )


def choose_changed_model_folder(name: str, out: Path | None, *, overwrite: bool = False) -> Path:
    """Choose and check the folder for a changed model, before time is spent on the change.

    Args:
        name: Name or folder of the model.
        out: Folder of the changed model; None for that of the model itself.
        overwrite: If True, ``out`` may hold other files.

    Raises:
        ConfigError: if there is no such model, or ``out`` is None and the model ships with lgmnet.
        UserError: as `check_model_folder` does.
    """
    folder = model_folder(name)
    if out is None and is_shipped(folder):
        raise ConfigError(
            f"'{name}' ships with lgmnet and is read-only. Add --out FOLDER to write a changed "
            "copy, or name a model of your own."
        )
    check_model_folder(out or folder, overwrite=overwrite)
    return out or folder


def _is_config(path: Path) -> bool:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, *NOT_JSON):
        return False
    return isinstance(config, dict) and config.get("format") == KIND


def _is_card(path: Path) -> bool:
    try:
        return is_model_card(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


_IS_OURS: dict[str, Callable[[Path], bool]] = {
    WEIGHTS_FILE: partial(has_format, kind=KIND),
    CONFIG_FILE: _is_config,
    CARD_FILE: _is_card,
}
