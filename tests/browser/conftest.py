"""Studio in a process of its own, and a browser to use it."""

from __future__ import annotations

import base64
import os
import re
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("fastapi", reason="needs the extra 'studio': pip install lgmnet[studio]")
INSTALL = "apt-get install chromium"


class Studio:
    """Process of ``lgmnet studio`` or ``lgmnet serve``, started and stopped as a user does it."""

    def __init__(
        self, store: Path, *args: str, command: str = "studio", **environment: str
    ) -> None:
        no_browser = ["--no-browser"] if command == "studio" else []
        options = [*no_browser, "--port", "0", "--store", str(store), *args]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lgmnet", command, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        address = re.search(r"http://\S+", line)
        if address is None:
            _, stderr = self.process.communicate(timeout=60)
            raise AssertionError(line + stderr)
        self.address = address.group().removesuffix("/docs")

    def stop(self, signal_number: int = signal.SIGINT) -> tuple[int, str]:
        """Stop the process, and return its exit code and its stderr."""
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        _, stderr = self.process.communicate(timeout=60)
        return self.process.returncode, stderr


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Start the machine's Chromium; nothing is downloaded.

    Playwright keeps an event loop in this thread while it runs, so tests of other modules could not
    run theirs.
    """
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if chromium is None:
        pytest.skip(f"needs Chromium ({INSTALL})")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
        with api.sync_playwright() as playwright:
            arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
            arguments += ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
            browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
            yield browser
            browser.close()


@pytest.fixture(scope="session")
def studio(tmp_path_factory) -> Iterator[Studio]:
    """Studio for all tests that do not stop it, because starting takes seconds."""
    studio = Studio(tmp_path_factory.mktemp("studio") / "store")
    yield studio
    studio.stop()


@pytest.fixture
def page(browser, studio) -> Iterator[Any]:
    """Open the studio's page."""
    with open_page(browser, studio) as page:
        yield page


def make(studio: Studio, **request: Any) -> Any:
    """Make a classifier by the API."""
    response = httpx.post(f"{studio.address}/v1/classifiers", **request, timeout=60)
    assert response.status_code == 201, response.text
    return response.json()


def open_classifier(page: Any, studio: Studio, classifier: Any) -> None:
    """Open a classifier by its address."""
    page.goto("about:blank")  # Else only the part behind # changes, and the page stays.
    page.goto(f"{studio.address}/#{classifier['id']}")
    page.locator("#status", has_text="classes,").wait_for()


def drop_files(page: Any, selector: str, *paths: Path) -> None:
    """Drop files on an element, as if dragged from a folder."""
    page.locator(selector).evaluate(
        """(element, files) => {
            const transfer = new DataTransfer();
            for (const [name, data] of files) {
                const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
                const type = name.endsWith(".png") ? "image/png" : "";
                transfer.items.add(new File([bytes], name, { type }));
            }
            const event = new DragEvent("drop", { dataTransfer: transfer, bubbles: true });
            Object.defineProperty(event, "dataTransfer", { value: transfer });
            element.dispatchEvent(event);
        }""",
        [[path.name, base64.b64encode(path.read_bytes()).decode()] for path in paths],
    )


@contextmanager
def open_page(browser: Any, studio: Studio) -> Iterator[Any]:
    """Open a studio's page; errors of its scripts and requests to other sites fail the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    page = context.new_page()
    errors: list[str] = []

    def check_console(message: Any) -> None:
        if message.type == "error" and "status of 4" not in message.text:
            errors.append(message.text)

    def check_request(request: Any) -> None:
        if not request.url.startswith((studio.address, f"blob:{studio.address}")):
            errors.append(f"request to {request.url}")

    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", check_console)
    page.on("request", check_request)
    page.goto(studio.address)
    page.wait_for_selector(".card")
    yield page
    context.close()
    assert not errors, errors
