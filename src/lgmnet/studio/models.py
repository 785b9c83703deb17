"""Models that fit the studio's classifiers."""

import threading
from collections.abc import Sequence
from pathlib import Path

from lgmnet.errors import ConfigError, unknown_name_error
from lgmnet.model.model import Model, load_model
from lgmnet.model.registry import shipped_models


class ModelCollection:
    """Models that ship, and others given by name or folder; each is loaded once."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        self.sources = {Path(name).name: name for name in (*shipped_models(), *names)}
        self._loaded: dict[str, Model] = {}
        self._lock = threading.Lock()

    def get(self, name: str) -> Model:
        """Return a model, and load it if this is the first call.

        Raises:
            ConfigError: if there is no model of this name.
        """
        with self._lock:
            if name not in self._loaded:
                if name not in self.sources:
                    raise unknown_name_error("model", name, self.sources)
                self._loaded[name] = load_model(self.sources[name])
            return self._loaded[name]

    def image_models(self) -> list[Model]:
        """Return all models of images."""
        models = (self.get(name) for name in self.sources)
        return [model for model in models if model.input_kind != "vector"]

    def get_for_images(self, name: str) -> Model:
        """Return a model of images (see `get`).

        Raises:
            ConfigError: if there is no model of this name, or it takes vectors.
        """
        model = self.get(name)
        if model.input_kind == "vector":
            raise ConfigError(f"'{name}' takes vectors, not images.")
        return model
