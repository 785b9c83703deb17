"""Take the screenshots of the studio in docs/.

Needs the extras ``studio`` and ``photos``, Playwright and Chromium (on Debian: apt-get install
chromium).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

DOCS = Path(__file__).parents[1] / "docs"


def main() -> None:
    """Take one screenshot of desktop size in light colours and one of phone size in dark."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("Chromium was not found. On Debian, install it with: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        lgmnet = [sys.executable, "-m", "lgmnet"]
        images = Path(folder) / "images"
        subprocess.run([*lgmnet, "example", "photos", str(images)], check=True)
        (images / "more" / "leaves").rename(images / "photos" / "leaves")
        arguments = ["studio", "--no-browser", "--port", "0", "--store", f"{folder}/store"]
        server = subprocess.Popen([*lgmnet, *arguments], stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        url = re.search(r"http://\S+", server.stdout.readline())
        assert url is not None
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 980})
        page.goto(url.group())
        page.fill("#name", "garden")
        page.press("#name", "Tab")
        page.set_input_files("#folder", images / "photos")
        page.locator("#status", has_text="4 classes, 18 images").wait_for(timeout=120_000)
        page.reload()  # The first classifier takes seconds, because the network is loaded for it.
        page.locator("#status", has_text="4 classes, 18 images").wait_for()
        with page.expect_file_chooser() as chooser:
            page.click("#query >> text=Files")
        chooser.value.set_files(images / "test" / "temple" / "1.jpg")
        page.locator("#prediction", has_text="temple,").wait_for(timeout=60_000)
        page.locator("#estimate .result", has_text="About").wait_for(timeout=60_000)
        page.wait_for_timeout(1500)
        page.screenshot(path=DOCS / "studio.png")
        page.emulate_media(color_scheme="dark")
        page.set_viewport_size({"width": 390, "height": 844})
        page.click("#views >> text=Try it")
        page.wait_for_timeout(500)
        page.screenshot(path=DOCS / "studio-phone.png")
        browser.close()
        server.terminate()
        server.wait(60)


if __name__ == "__main__":
    main()
