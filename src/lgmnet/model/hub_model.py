"""A model with the methods that the Hugging Face hub's libraries share (extra ``hub``).

`ModelHubMixin` must be imported where its subclass is defined. So the class stands in a module of
its own, which nothing else of lgmnet imports: `load_model` needs no `huggingface_hub`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lgmnet.errors import require_extra
from lgmnet.model.folder import check_model_folder
from lgmnet.model.model import Model, load_model, save_model
from lgmnet.model.registry import MODEL_FILES

with require_extra("hub", "models of the Hugging Face hub"):
    from huggingface_hub import ModelHubMixin, snapshot_download


class HubModel(ModelHubMixin, library_name="lgmnet"):
    """`Model` with ``from_pretrained``, ``save_pretrained`` and ``push_to_hub`` of the hub.

    `Model` itself can be loaded from the hub and uploaded to it too. This class is for programs
    that treat models of all libraries alike, and so expect the mixin's arguments (``token``,
    ``cache_dir``, ``local_files_only``, ``commit_message``, ...).

    Args:
        model: The model.

    Attributes:
        model: The model.

    >>> import lgmnet
    >>> HubModel(lgmnet.load_model("vectors")).model.name
    'vectors'
    """

    def __new__(cls, model: Model) -> HubModel:
        """Create the object; the mixin would copy the whole model as a config."""
        return object.__new__(cls)

    def __init__(self, model: Model) -> None:
        self.model = model

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> str | None:
        """Write the model as a folder, and upload it if ``push_to_hub`` is True.

        Args:
            save_directory: Folder that is absent, empty or a model, which is replaced.
            options: Further arguments of the mixin.

        Raises:
            UserError: if the folder cannot be made, or files of others would be replaced.
        """
        # Before anything is written, because the mixin begins by removing a config.json.
        check_model_folder(Path(save_directory))
        return super().save_pretrained(save_directory, **options)

    def _save_pretrained(self, save_directory: Path) -> None:
        save_model(self.model, save_directory)

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        **model_kwargs: Any,
    ) -> HubModel:
        folder = Path(model_id)
        if not folder.is_dir():
            folder = Path(
                snapshot_download(
                    model_id,
                    revision=revision,
                    cache_dir=cache_dir,
                    force_download=force_download,
                    local_files_only=local_files_only,
                    token=token,
                    allow_patterns=[*MODEL_FILES],
                )
            )
        return cls(load_model(folder))
