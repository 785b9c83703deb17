"""The examples run, each in less than a minute on two cores, and print what they promise."""

from __future__ import annotations

import functools
import http.server
import importlib.util
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
SITE = EXAMPLES / "onnx_in_browser" / "site"
PRINTED = {
    "sklearn_grid_search.py": "accuracy on 200 other digits",
    "active_labelling.py": "question 4",
    "http_client.py": "star",
    "ray_scoring.py": "12 images are scored",
    "new_recipe.py": "refined:",
    "own_method.py": "audit: passed",
}
NEEDED = {"ray_scoring.py": ("ray", "lgmnet.scoring")}


def test_all_examples_are_listed() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == {*PRINTED}
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(f"({name})" in listed for name in PRINTED)


@pytest.mark.long
@pytest.mark.parametrize("name", PRINTED)
def test_an_example_runs(name: str, tmp_path: Path) -> None:
    for module in NEEDED.get(name, ()):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"needs '{module}', which is not installed")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    result = subprocess.run(
        [sys.executable, EXAMPLES / name],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert PRINTED[name] in result.stdout


def test_a_method_of_ones_own_takes_60_lines() -> None:
    code = (EXAMPLES / "own_method.py").read_text(encoding="utf-8")
    lines = [line for line in code.splitlines() if line.strip()]
    assert len(lines) <= 60


@pytest.mark.slow
def test_the_page_classifies_a_drawing_in_a_browser() -> None:
    """The folder is built by ``make test-examples``, because onnxruntime-web comes from npm."""
    if not (SITE / "ort.wasm.min.mjs").is_file():
        pytest.skip("needs examples/onnx_in_browser/site: make test-examples")
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("needs Chromium (apt-get install chromium)")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(SITE))
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
        playwright.sync_playwright() as driver,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        requested: list[str] = []
        page.on("request", lambda request: requested.append(request.url))
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        page.locator("output", has_text="Draw with").wait_for()
        box = page.locator("canvas").bounding_box()
        assert box is not None
        star = [(140, 30), (205, 235), (35, 105), (245, 105), (75, 235), (140, 30)]
        page.mouse.move(box["x"] + star[0][0], box["y"] + star[0][1])
        page.mouse.down()
        for x, y in star[1:]:
            page.mouse.move(box["x"] + x, box["y"] + y, steps=5)
        page.mouse.up()
        page.locator("output", has_text="star").wait_for()
        assert all("127.0.0.1" in url for url in requested), requested
        browser.close()
        server.shutdown()
