"""Routes of the server itself: its models, its state, and the studio's page."""

from pathlib import Path

from fastapi import APIRouter, FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST

from lgmnet.studio.schemas import ModelOut, StudioService, to_model_out

PAGE_FOLDER = Path(__file__).parents[1] / "page"
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
"""Scripts, styles and data come from this server only."""

router = APIRouter()


@router.get("/v1/models", tags=["models"])
def models(service: StudioService) -> list[ModelOut]:
    """List the models that can fit classifiers."""
    return [to_model_out(model) for model in service.models()]


@router.get("/healthz", tags=["state"])
def alive() -> dict[str, str]:
    """Report that the process is running."""
    return {"status": "alive"}


@router.get("/readyz", tags=["state"])
def ready(service: StudioService, request: Request) -> dict[str, str]:
    """Report if requests can be served: models loaded, store usable, not shutting down."""
    state = request.app.state
    if not state.is_ready or state.limiter.is_closing:
        raise HTTPException(503, "The server is starting or shutting down.")
    service.store.check()
    return {"status": "ready"}


@router.get("/metrics", tags=["state"], response_class=Response)
def metrics(request: Request) -> Response:
    """Return the metrics in Prometheus's text format."""
    return Response(request.app.state.metrics.export(), media_type=CONTENT_TYPE_LATEST)


def index() -> FileResponse:
    """Return the page."""
    headers = {"content-security-policy": CONTENT_SECURITY_POLICY, "cache-control": "no-cache"}
    return FileResponse(PAGE_FOLDER / "index.html", headers=headers)


def add_page(app: FastAPI) -> None:
    """Add the page and its files to an application."""
    app.add_api_route("/", index, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=PAGE_FOLDER), "static")
