"""Models by name: those that ship with the package, and folders."""

import os
import re
from pathlib import Path

from lgmnet.errors import ConfigError, unknown_name_error
from lgmnet.input_spec import InputKind

WEIGHTS_FILE, CONFIG_FILE, CARD_FILE = "model.safetensors", "config.json", "README.md"
MODEL_FILES = (WEIGHTS_FILE, CONFIG_FILE, CARD_FILE)
"""Files of a model's folder, with the names that the Hugging Face hub expects."""
HUB_PREFIX, HUB_ID = "hub:", r"\w[\w.-]*/\w[\w.-]*"
"""Prefix of a name that stands for a model of the Hugging Face hub, and form of its id there."""
PRETRAINED_FOLDER = Path(__file__).parents[1] / "pretrained"
AUTO_MODEL = "auto"
"""Name that stands for the default model for the samples' kind."""
DEFAULT_MODELS: dict[InputKind, str] = {
    "drawing": "omniglot",
    "photo": "photos",
    "vector": "vectors",
}
"""Shipped model for each kind of samples."""


def shipped_models() -> list[str]:
    """List the names of the models that ship with the package.

    >>> "omniglot" in shipped_models()
    True
    """
    return sorted(path.parent.name for path in PRETRAINED_FOLDER.glob(f"*/{CONFIG_FILE}"))


def model_folder(name: str | Path) -> Path:
    """Return the folder of a shipped model, given its name, or of any model, given its path.

    A shipped model takes precedence over a folder of the same name.

    Raises:
        ConfigError: if there is no such model.
    """
    if not isinstance(name, (str, os.PathLike)):
        raise ConfigError(
            "Expected the name of a model, such as 'omniglot', or its folder, but got a "
            f"{type(name).__name__}."
        )
    if str(name) in shipped_models():
        return PRETRAINED_FOLDER / str(name)
    if os.path.isdir(name):  # Unlike Path.is_dir, False for a name that no file can have.
        return Path(name)
    if os.path.isfile(name):
        raise ConfigError(
            f"'{name}' is a file, but a model is a folder or has a name: "
            f"{', '.join(shipped_models())}. A classifier file is no model; 'lgmnet predict' and "
            "'lgmnet report' take it."
        )
    parent = os.path.dirname(name)
    siblings = os.listdir(parent or ".") if os.path.isdir(parent or ".") else []
    folders = [path for n in siblings if os.path.isdir(path := os.path.join(parent, n))]
    error = unknown_name_error(
        "shipped model or folder of a model", str(name), shipped_models(), folders
    )
    hint = f" A model of the Hugging Face hub is named {HUB_PREFIX}{name}."
    raise ConfigError(f"{error}{hint if re.fullmatch(HUB_ID, str(name)) else ''}")


def is_shipped(folder: Path) -> bool:
    """Return True if a folder is that of a model that ships with the package."""
    folder = folder.resolve()
    return folder.parent == PRETRAINED_FOLDER.resolve() and folder.name in shipped_models()
