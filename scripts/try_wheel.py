"""Install the wheel into empty environments, and use it as a newcomer does.

Usage: python scripts/try_wheel.py dist base photos studio all readme

Each name is an extra (``base`` for none). Every environment forges and predicts; with ``export``
(part of photos, studio and all) it exports and runs the ONNX file; with ``studio`` it starts the
studio and asks it. ``readme`` stands for a newcomer: what the README's first line installs must be
enough for all of its blocks, which run in their order in an empty folder.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from walk import Step, environment_of, walk

README = Path(__file__).parents[1] / "README.md"
WITH_EXPORT, WITH_STUDIO = ("photos", "studio", "all"), ("studio", "all")


def install(wheel: Path, extra: str, folder: Path) -> Path:
    """Make an environment with the wheel and an extra, and return its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # pip would choose the build with CUDA. uv knows the index of the others, and pip keeps them.
    if backend := os.environ.get("TORCH_BACKEND"):
        uv = [os.environ.get("UV", "uv"), "pip", "install", "--quiet", "--python", python]
        subprocess.run([*uv, "--torch-backend", backend, "torch"], check=True)
    name = "lgmnet" if extra == "base" else f"lgmnet[{extra}]"
    subprocess.run([*pip, f"{name} @ {wheel.resolve().as_uri()}"], check=True)
    return python


def use(python: Path, extra: str, folder: Path) -> None:
    """Run the commands that an installation with this extra must be able to run."""
    environment = environment_of(python)

    def run(*words: str) -> str:
        result = subprocess.run(
            words, cwd=folder, env=environment, check=True, text=True, stdout=subprocess.PIPE
        )
        return result.stdout

    run("lgmnet", "example", "drawings", ".")
    run("lgmnet", "forge", "symbols", "-o", "symbols.safetensors")
    assert "star" in run("lgmnet", "predict", "symbols.safetensors", "new")
    if extra in WITH_EXPORT:
        run("lgmnet", "export", "symbols.safetensors", "-o", "symbols.onnx")
        snippet = run("lgmnet", "export", "symbols.safetensors", "--snippet", "python")
        (folder / "predict.py").write_text(snippet, encoding="utf-8")
        assert run(str(python), "predict.py", "symbols.onnx", "new/1.png").startswith("star")
    if extra in WITH_STUDIO:
        words = ["lgmnet", "studio", "--no-browser", "--port", "0", "--store", "store", "--json"]
        with subprocess.Popen(
            words, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
        ) as studio:
            assert studio.stdout is not None
            try:
                address = json.loads(studio.stdout.readline())["address"]
                assert b"<html" in urllib.request.urlopen(address, timeout=30).read()
            finally:
                studio.terminate()


def read_extras(document: Path) -> str:
    """Return the extras that a document's first line of installation names."""
    text = document.read_text(encoding="utf-8")
    (extras, *_) = re.findall(r"pip install 'lgmnet\[(.*?)\]'", text)
    return str(extras)


def follow(document: Path, python: Path, folder: Path) -> None:
    """Run the blocks of a document, and print the seconds of each step."""
    environment = environment_of(python)
    for step, seconds in walk(document, folder, environment, python=str(python), skip=is_installed):
        print(f"{seconds:6.1f} s  {step.text.splitlines()[0]}", flush=True)


def is_installed(step: Step) -> bool:
    """Return True for steps that are done already, or are for developers."""
    return step.text.startswith(("pip install", "make "))


def main() -> None:
    """Try each extra."""
    dist, *extras = sys.argv[1:]
    (wheel,) = Path(dist).glob("*.whl")
    for extra in extras:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary, "work")
            folder.mkdir()
            environment = Path(temporary, "environment")
            if extra == "readme":
                follow(README, install(wheel, read_extras(README), environment), folder)
            else:
                use(install(wheel, extra, environment), extra, folder)
            print(f"{extra}: installed and used", flush=True)


if __name__ == "__main__":
    main()
