"""Routes of the server itself: its models, its state, and the studio's page."""

import logging
from pathlib import Path

from fastapi import APIRouter, FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse, HTMLResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST

from lgmnet.studio.schemas import Model, StudioService, to_model_out

PAGE_FOLDER = Path(__file__).parents[1] / "page"
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
"""Scripts, styles and data come from this server only."""

LOGGER = logging.getLogger("lgmnet.studio")

router = APIRouter()


@router.get("/v1/models", tags=["models"])
def list_models(service: StudioService) -> list[Model]:
    """List the models that can fit classifiers."""
    return [to_model_out(model) for model in service.models()]


@router.get("/healthz", tags=["state"])
async def get_health() -> dict[str, str]:
    """Report that the process is running."""
    return {"status": "alive"}


@router.get("/readyz", tags=["state"])
def get_readiness(service: StudioService, request: Request) -> dict[str, str]:
    """Report if requests can be served: models loaded, store usable, not shutting down.

    Anybody may ask, so only the log says why the server is not ready.
    """
    state = request.app.state
    is_serving = state.is_ready and not state.limiter.is_closing
    problem = service.find_problem() if is_serving else "it is starting or shutting down"
    if problem != state.problem:  # Monitors ask every few seconds.
        state.problem = problem
        LOGGER.warning("The server is %s.", f"not ready: {problem}" if problem else "ready again")
    if problem:
        raise HTTPException(503, "not ready", {"retry-after": "5"})
    return {"status": "ready"}


@router.get("/metrics", tags=["state"], response_class=Response)
def get_metrics(request: Request) -> Response:
    """Return the metrics in Prometheus's text format."""
    return Response(request.app.state.metrics.export(), media_type=CONTENT_TYPE_LATEST)


def index() -> FileResponse:
    """Return the page."""
    headers = {"content-security-policy": CONTENT_SECURITY_POLICY, "cache-control": "no-cache"}
    return FileResponse(PAGE_FOLDER / "index.html", headers=headers)


def welcome() -> HTMLResponse:
    """Return the page of a server without the studio's page: links to its documentation."""
    return HTMLResponse(
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>lgmnet</title>"
        "<h1>lgmnet</h1><p>This server has an HTTP API: its "
        "<a href='/docs'>documentation</a> and its <a href='/openapi.json'>schema</a>.</p></html>"
    )


def add_welcome(app: FastAPI) -> None:
    """Add a page with links to the documentation to an application."""
    app.add_api_route("/", welcome, include_in_schema=False)


def add_page(app: FastAPI) -> None:
    """Add the page and its files to an application."""
    app.add_api_route("/", index, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=PAGE_FOLDER), "static")
