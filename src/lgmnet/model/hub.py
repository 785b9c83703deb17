"""Download and upload of models with the optional `huggingface_hub`.

The name of a model of the hub is ``hub:owner/name``. No other name is looked up there.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lgmnet.errors import ConfigError, UserError, require_extra
from lgmnet.model.registry import HUB_ID, HUB_PREFIX, MODEL_FILES


def is_hub_name(name: str | Path) -> bool:
    """Return True if a name is that of a model of the hub; a `Path` is always a folder."""
    return isinstance(name, str) and name.startswith(HUB_PREFIX)


def parse_hub_name(name: str) -> str:
    """Return the id of a model on the hub, ``owner/name``, given ``hub:owner/name``.

    Raises:
        ConfigError: if the name has another form.
    """
    repo_id = name.removeprefix(HUB_PREFIX)
    if not re.fullmatch(HUB_ID, repo_id):
        raise ConfigError(
            f"A model of the Hugging Face hub is named {HUB_PREFIX}owner/name, but '{name}' is not."
        )
    return repo_id


def download_model(repo_id: str, revision: str | None = None) -> Path:
    """Download a model of the Hugging Face hub into its cache, and return the folder.

    Raises:
        UserError: if `huggingface_hub` is not installed, or the download fails.
    """
    with require_extra("hub", "models of the Hugging Face hub"):
        from huggingface_hub import snapshot_download
    with translate_hub_errors(f"download '{repo_id}' from"):
        return Path(snapshot_download(repo_id, revision=revision, allow_patterns=[*MODEL_FILES]))


def upload_model(folder: Path, repo_id: str, *, private: bool = False) -> str:
    """Upload the folder of a model to the Hugging Face hub, and return its address.

    Raises:
        UserError: if `huggingface_hub` is not installed, or the upload fails.
    """
    with require_extra("hub", "models of the Hugging Face hub"):
        from huggingface_hub import HfApi
    with translate_hub_errors(f"upload '{repo_id}' to"):
        hub = HfApi()
        hub.create_repo(repo_id, private=private, exist_ok=True)
        return str(hub.upload_folder(repo_id=repo_id, folder_path=folder))


@contextmanager
def translate_hub_errors(action: str) -> Iterator[None]:
    """Turn errors of `huggingface_hub` into a `UserError` with the first line of their message."""
    try:
        yield
    except (OSError, ValueError) as error:  # Base classes of the errors of huggingface_hub.
        reason = str(error).strip().split("\n")[0]
        raise UserError(f"Cannot {action} the Hugging Face hub: {reason}") from error
