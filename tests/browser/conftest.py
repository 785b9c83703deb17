"""A studio in a process of its own, and a browser that looks at it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra 'studio': pip install lgmnet[studio]")
INSTALL = "apt-get install chromium"


class Studio:
    """``lgmnet studio``, started and ended as a person does it."""

    def __init__(
        self, store: Path, *words: str, command: str = "studio", **environment: str
    ) -> None:
        show = ["--no-browser"] if command == "studio" else []
        line = [sys.executable, "-m", "lgmnet.cli", command, *show]
        self.process = subprocess.Popen(
            [*line, "--port", "0", "--store", str(store), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
        )
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        found = re.search(r"http://\S+", said)
        if found is None:
            _, complaint = self.process.communicate(timeout=60)
            raise AssertionError(said + complaint)
        self.address = found.group().removesuffix("/docs")

    def end(self, how: int = signal.SIGINT) -> tuple[int, str]:
        """Its exit code, and what it said on stderr."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's Chromium; nothing is downloaded."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if chromium is None:
        pytest.skip(f"no Chromium to look with ({INSTALL})")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
        with api.sync_playwright() as playwright:
            arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
            arguments += ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
            started = playwright.chromium.launch(executable_path=chromium, args=arguments)
            yield started
            started.close()


@pytest.fixture(scope="session")
def studio(tmp_path_factory) -> Iterator[Studio]:
    """One for all tests that do not end it: it takes seconds to start."""
    running = Studio(tmp_path_factory.mktemp("studio") / "store")
    yield running
    running.end()


@pytest.fixture
def page(browser, studio) -> Iterator[Any]:
    """The studio's page; whatever its scripts complain of fails the test, and so does any request
    to elsewhere."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    made = context.new_page()
    complaints: list[str] = []
    made.on("pageerror", lambda error: complaints.append(str(error)))
    made.on(
        "console",
        lambda said: (
            complaints.append(said.text)
            if said.type == "error" and "status of 4" not in said.text
            else None
        ),
    )
    made.on(
        "request",
        lambda sent: (
            complaints.append(f"went to {sent.url}")
            if not sent.url.startswith((studio.address, f"blob:{studio.address}"))
            else None
        ),
    )
    made.goto(studio.address)
    made.wait_for_selector(".card canvas")
    yield made
    context.close()
    assert not complaints, complaints
