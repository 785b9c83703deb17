"""Follow a document as a newcomer does: run its blocks of commands and code, in order, in a folder.

Blocks are ``console`` (lines that begin with ``$``) and ``python``. All Python blocks are one
program, as in a notebook.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Step:
    """One command, or one block of Python."""

    language: str
    text: str


def read_steps(document: Path) -> Iterator[Step]:
    """Yield the steps of a Markdown document in their order."""
    text = document.read_text(encoding="utf-8")
    for language, block in re.findall(r"^```(console|python)\n(.*?)^```", text, re.M | re.S):
        if language == "python":
            yield Step(language, block)
            continue
        for line in block.splitlines():
            if line.startswith("$ "):
                yield Step(language, line.removeprefix("$ "))


def walk(
    document: Path,
    folder: Path,
    environment: Mapping[str, str],
    *,
    python: str = sys.executable,
    skip: Callable[[Step], bool] = lambda step: False,
) -> Iterator[tuple[Step, float]]:
    """Run the steps of a document in a folder, and yield each with its seconds.

    Args:
        document: The document.
        folder: Folder that the steps run in.
        environment: Environment variables of the steps.
        python: Interpreter of the Python blocks.
        skip: Function that tells which steps are left out.

    Raises:
        AssertionError: if a step fails; it holds the step and what it printed.
    """
    program = ""
    for step in read_steps(document):
        if skip(step):
            continue
        start = time.perf_counter()
        if step.language == "python":
            program += step.text + "\n"
            words = [python, "-W", "error", "-c", program]
        else:
            words = ["bash", "-euo", "pipefail", "-c", step.text]
        result = subprocess.run(
            words, cwd=folder, env=dict(environment), capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, f"{step.text}\n{result.stdout}\n{result.stderr}"
        yield step, time.perf_counter() - start


def environment_of(python: Path, **variables: str) -> dict[str, str]:
    """Return the environment of a shell in which the environment of an interpreter is active."""
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**plain, "PATH": path, **variables}
