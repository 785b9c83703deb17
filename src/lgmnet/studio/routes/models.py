"""Route that lists the models."""

from __future__ import annotations

from fastapi import APIRouter

from lgmnet.studio.responses import to_model_out
from lgmnet.studio.routes.parameters import StudioService
from lgmnet.studio.schemas import ModelOut

router = APIRouter(tags=["models"])


@router.get("/v1/models")
def models(service: StudioService) -> list[ModelOut]:
    """List the models that can fit classifiers."""
    return [to_model_out(model) for model in service.models()]
