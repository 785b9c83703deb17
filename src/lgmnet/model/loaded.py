"""Models that stay in memory, so that an estimator loads each only once."""

from functools import lru_cache
from pathlib import Path

import torch

from lgmnet.engines.names import AUTO
from lgmnet.model.hub import is_hub_name
from lgmnet.model.model import Model, load_model
from lgmnet.model.registry import model_folder


def load_model_once(name: str | Path, device: torch.device, engine: str = AUTO) -> Model:
    """Load a model by its name, once as long as its folder is unchanged.

    Raises:
        UserError: of `load_model`.
    """
    modified = 0
    if not is_hub_name(name):
        folder = model_folder(name)
        modified = max(path.stat().st_mtime_ns for path in (folder, *folder.iterdir()))
    return _load_version(name, modified, device, engine)


@lru_cache(maxsize=4)
def _load_version(name: str | Path, modified: int, device: torch.device, engine: str) -> Model:
    """Load a model; load it again only if ``modified`` has changed."""
    model = load_model(name, engine=engine)
    model.method.to(device)
    return model
