"""Routes that export classifiers."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query, Response

from lgmnet.classifier.export import snippet
from lgmnet.studio.routes.parameters import Id, StudioService
from lgmnet.studio.schemas import Snippet

router = APIRouter(tags=["classifiers"])


@router.get(
    "/v1/classifiers/{id}/export",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}}},
)
def export(
    service: StudioService,
    id: Id,
    format: Annotated[Literal["safetensors", "onnx"], Query()] = "safetensors",
) -> Response:
    """Return the classifier's own file, or an ONNX file that runs without lgmnet (slower)."""
    stored = service.get(id)
    data = service.export(stored) if format == "onnx" else service.file(stored)
    name = quote(f"{stored.record.name or 'classifier'}.{format}", safe="")
    return Response(
        data,
        media_type="application/octet-stream",
        headers={"Content-Disposition": f"attachment; filename*=UTF-8''{name}"},
    )


@router.get("/v1/classifiers/{id}/snippet")
def lines(
    service: StudioService,
    id: Id,
    language: Annotated[Literal["python", "javascript"], Query()] = "python",
) -> Snippet:
    """Return the lines of code that run the exported ONNX file."""
    return Snippet(language=language, lines=snippet(language, service.get(id).fitted))
