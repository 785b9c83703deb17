"""Take the screenshots of the studio in docs/.

Needs the extras ``studio`` and ``photos``, Playwright and Chromium (on Debian: apt-get install
chromium). Run it on a quiet machine: the pictures show how long a prediction took.
"""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

DOCS = Path(__file__).parents[1] / "docs"
LGMNET = [sys.executable, "-m", "lgmnet"]
TIMEOUT = 180_000
"""Milliseconds; the first photo loads a network."""


def main() -> None:
    """Take screenshots of photos and of drawings, of desktop and of phone size, light and dark."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("Chromium was not found. On Debian, install it with: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        images = Path(folder)
        for kind in ("drawings", "photos"):
            subprocess.run([*LGMNET, "example", kind, str(images / kind)], check=True)
        photos = images / "photos" / "photos"
        (images / "photos" / "more" / "leaves").rename(photos / "leaves")
        with serve_studio(images / "store") as url:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 980})
            page.set_default_timeout(TIMEOUT)
            page.goto(url)
            take_drawings(page, images / "drawings" / "symbols")
            page.click("#new")
            take_photos(page, photos, images / "photos" / "test" / "temple" / "1.jpg")
            browser.close()


@contextmanager
def serve_studio(store: Path) -> Iterator[str]:
    """Run the studio and yield its address."""
    arguments = ["studio", "--no-browser", "--port", "0", "--store", str(store)]
    server = subprocess.Popen([*LGMNET, *arguments], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        url = re.search(r"http://\S+", server.stdout.readline())
        assert url is not None
        yield url.group()
    finally:
        server.terminate()
        server.wait(60)


def open_folder(page: Page, name: str, folder: Path, status: str) -> None:
    """Make a classifier of a folder in the page, and wait for its pictures and its estimate."""
    page.fill("#name", name)
    page.press("#name", "Tab")
    page.set_input_files("#folder", folder)
    page.locator("#status", has_text=status).wait_for()
    page.reload()  # The first classifier takes seconds, because the network is loaded for it.
    page.locator("#status", has_text=status).wait_for()
    page.locator("#more-images", has_text="%").wait_for()
    page.wait_for_function("() => [...document.images].every((image) => image.complete)")


def take_drawings(page: Page, folder: Path) -> None:
    """Draw a star for a classifier of drawings, and take the page."""
    page.set_viewport_size({"width": 1280, "height": 900})
    open_folder(page, "symbols", folder, "3 classes, 15 images")
    box = page.locator("#query canvas").bounding_box()
    assert box is not None
    for i in range(6):
        angle = 2 * math.pi * (0.4 * i - 0.25)
        x, y = (0.5 + 0.36 * f(angle) for f in (math.cos, math.sin))
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=8)
        if i == 0:
            page.mouse.down()
    page.mouse.up()
    page.locator("#prediction", has_text="star,").wait_for()
    page.wait_for_timeout(1500)  # Bars move to their places.
    page.screenshot(path=DOCS / "studio-drawings.png")


def take_photos(page: Page, folder: Path, query: Path) -> None:
    """Ask a classifier of photos for a photo; take the page, and that of a phone in the dark."""
    page.set_viewport_size({"width": 1280, "height": 980})
    open_folder(page, "garden", folder, "4 classes, 18 images")
    with page.expect_file_chooser() as chooser:
        page.click("#query >> text=Files")
    chooser.value.set_files(query)
    page.locator("#prediction", has_text="temple,").wait_for()
    page.wait_for_timeout(1500)
    page.screenshot(path=DOCS / "studio.png")
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 390, "height": 844})
    page.click("#views >> text=Try it")
    page.wait_for_timeout(500)
    page.screenshot(path=DOCS / "studio-phone.png")


if __name__ == "__main__":
    main()
