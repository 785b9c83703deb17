"""Take the screenshots of the studio in docs/.

Needs the extra ``studio``, Playwright and Chromium (on Debian: apt-get install chromium).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

DOCS = Path(__file__).parents[1] / "docs"
DIGIT_FIVE = [
    [(0.68, 0.2), (0.4, 0.2), (0.36, 0.48), (0.58, 0.46), (0.68, 0.6), (0.6, 0.8), (0.34, 0.8)]
]


def draw(page: Any, strokes: list[list[tuple[float, float]]]) -> None:
    """Draw strokes with the mouse on the canvas for queries, in coordinates from 0 to 1."""
    box = page.locator("#query canvas").bounding_box()
    for stroke in strokes:
        points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point, steps=6)
        page.mouse.up()


def main() -> None:
    """Take one screenshot of desktop size in light colours and one of phone size in dark."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("Chromium was not found. On Debian, install it with: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        arguments = ["studio", "--no-browser", "--port", "0", "--store", folder]
        server = subprocess.Popen(
            [sys.executable, "-m", "lgmnet", *arguments], stdout=subprocess.PIPE, text=True
        )
        assert server.stdout is not None
        url = re.search(r"http://\S+", server.stdout.readline())
        assert url is not None
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 980})
        page.goto(url.group())
        page.click("#example")
        page.locator(".card").nth(9).wait_for()
        draw(page, DIGIT_FIVE)
        page.locator("#prediction", has_text="5,").wait_for()
        page.locator("#estimate .result", has_text="About").wait_for(timeout=60_000)
        page.wait_for_timeout(1500)
        page.screenshot(path=DOCS / "studio.png")
        page.emulate_media(color_scheme="dark")
        page.set_viewport_size({"width": 390, "height": 844})
        page.wait_for_timeout(500)
        page.locator("#try").scroll_into_view_if_needed()
        page.evaluate_handle("() => document.querySelector('#try').scrollIntoView()")
        page.wait_for_timeout(500)
        page.screenshot(path=DOCS / "studio-phone.png")
        browser.close()
        server.terminate()
        server.wait(60)


if __name__ == "__main__":
    main()
