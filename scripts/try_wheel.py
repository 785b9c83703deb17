"""Install the wheel into empty environments, and use it as a newcomer does.

Usage: python scripts/try_wheel.py dist base photos studio all

Each name is an extra (``base`` for none). Every environment forges, predicts, and reads the file in
Python; with ``export`` (part of photos, studio and all) it exports and runs the ONNX file; with
``studio`` it starts the studio and asks it. Last, the README's commands run in the last one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from walk import Step, environment_of, walk

ROOT = Path(__file__).parents[1]
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


def is_installed(step: Step) -> bool:
    """Return True for steps of a README that are done already, or are for developers."""
    return step.text.startswith(("pip install", "make ", "lgmnet studio"))


def main() -> None:
    """Try each extra."""
    dist, *extras = sys.argv[1:]
    (wheel,) = Path(dist).glob("*.whl")
    for extra in extras:
        with tempfile.TemporaryDirectory() as temporary:
            python = install(wheel, extra, Path(temporary, "environment"))
            folder = Path(temporary, "work")
            folder.mkdir()
            use(python, extra, folder)
            print(f"{extra}: installed and used")
            if extra == extras[-1]:
                home = Path(temporary, "newcomer")
                home.mkdir()
                environment = environment_of(python)
                for step, seconds in walk(
                    ROOT / "README.md", home, environment, python=str(python), skip=is_installed
                ):
                    print(f"{seconds:6.1f} s  {step.text.splitlines()[0]}")


if __name__ == "__main__":
    main()
