"""Routes that report the state of the server."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from lgmnet.studio.routes.parameters import StudioService

router = APIRouter(tags=["state"])


@router.get("/healthz")
def alive() -> dict[str, str]:
    """Report that the process is running."""
    return {"status": "alive"}


@router.get("/readyz")
def ready(service: StudioService, request: Request) -> dict[str, str]:
    """Report if requests can be served: models loaded, store usable, not shutting down."""
    state = request.app.state
    if not state.is_ready or state.limiter.is_closing:
        raise HTTPException(503, "The server is starting or shutting down.")
    service.store.check()
    return {"status": "ready"}


@router.get("/metrics", response_class=Response)
def metrics(request: Request) -> Response:
    """Return the metrics in Prometheus's text format."""
    return Response(request.app.state.metrics.export(), media_type=CONTENT_TYPE_LATEST)
