"""The studio's page, which loads nothing from other sites."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

PAGE_FOLDER = Path(__file__).parents[1] / "page"
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
"""Scripts, styles and data come from this server only."""

router = APIRouter(include_in_schema=False)


@router.get("/")
def index() -> FileResponse:
    """Return the page."""
    headers = {"content-security-policy": CONTENT_SECURITY_POLICY, "cache-control": "no-cache"}
    return FileResponse(PAGE_FOLDER / "index.html", headers=headers)


def add_page(app: FastAPI) -> None:
    """Add the page and its files to an application."""
    app.include_router(router)
    app.mount("/static", StaticFiles(directory=PAGE_FOLDER), "static")
