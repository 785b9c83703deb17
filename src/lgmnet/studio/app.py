"""ASGI application of the studio and its HTTP API."""

import json
import logging
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException

from lgmnet import __version__
from lgmnet.errors import UserError
from lgmnet.studio.body import BodyReader
from lgmnet.studio.errors import (
    AbsentError,
    ConflictError,
    DamagedError,
    RequestTooLargeError,
    StoreError,
    StoreFullError,
)
from lgmnet.studio.limits import Limits
from lgmnet.studio.metrics import Metrics
from lgmnet.studio.middleware import GuardMiddleware, RequestLimiter
from lgmnet.studio.routes import classifiers, server
from lgmnet.studio.schemas import Error
from lgmnet.studio.service import Service
from lgmnet.studio.store import Store

STATUS_CODES: dict[type[UserError], int] = {
    AbsentError: 404,
    ConflictError: 412,
    RequestTooLargeError: 413,
    DamagedError: 500,
    StoreFullError: 507,
    StoreError: 503,
}
"""Status codes of errors; every other `UserError` is 422."""
WRITING_METHODS = ("POST", "PATCH")
UNUSABLE = "The store cannot be used at the moment. The server's log says why."
LOGGER = logging.getLogger("lgmnet.studio")
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Error, "description": description}
    for status, description in {
        400: "The request is malformed.",
        401: "A token is needed.",
        403: "The request comes from a page of another site.",
        404: "There is no such classifier or image.",
        408: "The request arrives too slowly.",
        412: "The classifier was changed since it was read.",
        413: "The request is too large.",
        421: "The server does not have this host name.",
        422: "The request cannot be fulfilled; the message says why.",
        428: "If-Match is needed.",
        429: "Too many requests at a time.",
        500: "The classifier is damaged in the store.",
        503: "The store cannot be used, or the server is shutting down.",
        507: "The disk is full.",
    }.items()
}


@dataclass(frozen=True)
class Settings:
    """Settings of a server; plain values, so that they can be sent to other processes."""

    database: str
    """URL of the index."""
    files: str
    """Folder or URL of the files."""
    models: Sequence[str] = ()
    """Names or folders of models, in addition to those that ship."""
    limits: Limits = field(default_factory=Limits)
    token: str | None = None
    """Token that every request must carry; None if no token is needed."""
    hosts: Sequence[str] = ()
    """Names that the Host header may have; empty for any name."""
    page: bool = True
    """If True, serve the studio's page."""


def create_app(settings: Settings) -> FastAPI:
    """Create the ASGI application.

    Its ``state.limiter`` tells how many requests are in progress, its ``state.bodies`` reads their
    bodies, and its ``state.service`` is the service behind the routes.
    """
    metrics = Metrics()
    limiter = RequestLimiter(settings.limits.max_in_flight)
    bodies = BodyReader(settings.limits.max_body_bytes, settings.limits.body_seconds)
    app = FastAPIOffline(
        title="lgmnet",
        version=__version__,
        summary="A few labelled images in, a working classifier out.",
        lifespan=lifespan,
        responses=PROBLEMS,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
        exception_handlers={
            UserError: handle_user_error,
            RequestValidationError: handle_validation_error,
            HTTPException: handle_http_exception,
            Exception: handle_internal_error,
        },
    )
    app.state.metrics, app.state.limiter, app.state.bodies = metrics, limiter, bodies
    app.state.is_ready, app.state.problem = False, None
    store = Store(settings.database, settings.files, settings.limits.n_undo)
    app.state.service = Service(store, settings.models, settings.limits, metrics.count_pass)
    app.add_middleware(
        GuardMiddleware,
        limiter=limiter,
        metrics=metrics,
        bodies=bodies,
        token=settings.token,
        hosts=settings.hosts,
    )
    app.include_router(classifiers.router)
    app.include_router(server.router)
    if settings.page:
        server.add_page(app)
    else:
        server.add_welcome(app)
    make_schema = app.openapi
    app.openapi = lambda: name_bodies(make_schema())  # type: ignore[method-assign]
    return app


def name_bodies(schema: dict[str, Any]) -> dict[str, Any]:
    """Name the bodies of forms in a schema: CreateClassifierRequest, not Body_create_classifier."""
    if any(name.startswith("Body_") for name in schema["components"]["schemas"]):
        text = re.sub(r"Body_(\w+)", lambda m: f"{to_camel(m[1])}Request", json.dumps(schema))
        schema |= json.loads(text)  # The application caches this object.
    return schema


def to_camel(name: str) -> str:
    """Convert a name such as ``create_classifier`` to ``CreateClassifier``."""
    return name.title().replace("_", "")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Start the service, and close it when the server shuts down."""
    await anyio.to_thread.run_sync(app.state.service.start)
    app.state.is_ready = True
    yield
    await anyio.to_thread.run_sync(app.state.service.close)


async def handle_user_error(request: Request, error: UserError) -> JSONResponse:
    """Respond with the message of an error that the caller can mend.

    What is wrong with the store may name its machines and folders, so it goes to the log instead.
    """
    status = next((code for kind, code in STATUS_CODES.items() if isinstance(error, kind)), 422)
    if isinstance(error, StoreFullError) and request.method not in WRITING_METHODS:
        error, status = StoreError(f"The disk is full: {error.__cause__}"), 503
    if isinstance(error, StoreError):
        LOGGER.error("%s", error)
        return JSONResponse({"detail": UNUSABLE}, 503, {"retry-after": "5"})
    if isinstance(error, DamagedError):
        LOGGER.error("%s (%s)", error, error.reason)
    return JSONResponse({"detail": str(error)}, status)


async def handle_validation_error(_: Request, error: RequestValidationError) -> JSONResponse:
    """Respond with one sentence to a request that does not match the schema."""
    problems = [
        f"'{'.'.join(str(part) for part in problem['loc'][1:])}': {problem['msg']}"
        for problem in error.errors()
    ]
    return JSONResponse({"detail": f"The request is not as expected: {'; '.join(problems)}."}, 422)


async def handle_http_exception(request: Request, error: HTTPException) -> JSONResponse:
    """Respond to an HTTP error in the same form as to all other errors."""
    headers = error.headers
    if error.status_code == 405:  # Starlette names the methods of one route at this path only.
        path = getattr(request.scope.get("route"), "path", None)
        methods = [name.upper() for name in request.app.openapi()["paths"].get(path, ("get",))]
        headers = {"allow": ", ".join(methods + ["HEAD"] * ("GET" in methods))}
    return JSONResponse({"detail": str(error.detail)}, error.status_code, headers)


async def handle_internal_error(_: Request, error: Exception) -> JSONResponse:
    """Respond to an error of the server itself, which is logged, without its details."""
    return JSONResponse({"detail": "The server failed. Its log says why."}, 500)
