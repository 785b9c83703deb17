"""ASGI application of the studio and its HTTP API."""

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
from lgmnet.studio.middleware import GuardMiddleware, Metrics, RequestLimiter
from lgmnet.studio.routes import classifiers, server
from lgmnet.studio.schemas import Problem
from lgmnet.studio.service import Limits, Service
from lgmnet.studio.store import AbsentError, ConflictError, Store, StoreError, StoreFullError

STATUS_CODES: dict[type[UserError], int] = {
    AbsentError: 404,
    ConflictError: 412,
    StoreFullError: 507,
    StoreError: 503,
}
"""Status codes of errors; every other `UserError` is 422."""
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": description}
    for status, description in {
        400: "The request is malformed.",
        401: "A token is needed.",
        403: "The request comes from a page of another site.",
        404: "There is no such classifier or image.",
        412: "The classifier was changed since it was read.",
        413: "The request is too large.",
        421: "The server does not have this host name.",
        422: "The request cannot be fulfilled; the message says why.",
        428: "If-Match is needed.",
        429: "Too many requests at a time.",
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

    Its ``state.limiter`` tells how many requests are in progress, and its ``state.service`` is the
    service behind the routes.
    """
    metrics = Metrics()
    limiter = RequestLimiter(settings.limits.max_in_flight)
    app = FastAPIOffline(
        title="lgmnet",
        version=__version__,
        summary="A few labelled images in, a working classifier out.",
        lifespan=lifespan,
        responses=PROBLEMS,
        redoc_url=None,
        exception_handlers={
            UserError: handle_user_error,
            RequestValidationError: handle_validation_error,
            HTTPException: handle_http_exception,
        },
    )
    app.state.metrics, app.state.limiter, app.state.is_ready = metrics, limiter, False
    store = Store(settings.database, settings.files)
    app.state.service = Service(store, settings.models, settings.limits, metrics.count_pass)
    app.add_middleware(
        GuardMiddleware,
        limiter=limiter,
        metrics=metrics,
        max_body_bytes=settings.limits.max_body_bytes,
        token=settings.token,
        hosts=settings.hosts,
    )
    app.include_router(classifiers.router)
    app.include_router(server.router)
    if settings.page:
        server.add_page(app)
    return app


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Start the service, and close it when the server shuts down."""
    await anyio.to_thread.run_sync(app.state.service.start)
    app.state.is_ready = True
    yield
    await anyio.to_thread.run_sync(app.state.service.close)


async def handle_user_error(_: Request, error: UserError) -> JSONResponse:
    """Respond with the message of an error that the caller can mend."""
    status = next((code for kind, code in STATUS_CODES.items() if isinstance(error, kind)), 422)
    return JSONResponse({"detail": str(error)}, status)


async def handle_validation_error(_: Request, error: RequestValidationError) -> JSONResponse:
    """Respond with one sentence to a request that does not match the schema."""
    problems = [
        f"'{'.'.join(str(part) for part in problem['loc'][1:])}': {problem['msg']}"
        for problem in error.errors()
    ]
    return JSONResponse({"detail": f"The request is not as expected: {'; '.join(problems)}."}, 422)


async def handle_http_exception(_: Request, error: HTTPException) -> JSONResponse:
    """Respond to an HTTP error in the same form as to all other errors."""
    return JSONResponse({"detail": str(error.detail)}, error.status_code, error.headers)
