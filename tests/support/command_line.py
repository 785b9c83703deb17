"""The command line in this process, quick settings, and comparisons of files."""

from __future__ import annotations

import contextvars
import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import safetensors.torch

from lgmnet.cli import main
from lgmnet.tensor_file import CHECKSUM
from tests.support.configs import TINY_SETTINGS

COMMANDS = (
    "train",
    "evaluate",
    "compare",
    "audit",
    "calibrate",
    "demo",
    "reproduce",
    "example",
    "forge",
    "predict",
    "edit",
    "suggest",
    "inspect",
    "export",
    "report",
    "models",
    "publish",
    "download",
    "quickstart",
    "studio",
    "serve",
    "mcp",
)


TINY_RUN = {
    **dict(setting.split("=") for setting in TINY_SETTINGS),
    "tasks": "1",
    "way": "3",
    "query": "1",
    "warmup": "1",
    "precision": "32-true",
    "validation.way": "3",
    "validation.query": "1",
    "validation.episodes": "4",
}
"""Settings with which a recipe takes about a second."""


@dataclass(frozen=True)
class Ran:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The JSON object on stdout, which must contain nothing else."""
        assert self.out.endswith("\n"), self.out
        assert self.out.count("\n") == 1, self.out
        value = json.loads(self.out, parse_constant=reject_constant)
        assert isinstance(value, dict)
        return value


def reject_constant(name: str) -> None:
    raise AssertionError(f"{name} is not valid JSON")


def lgmnet(*words: object, columns: int = 300) -> Ran:
    """Run ``lgmnet WORDS...`` in this process."""
    argv = ["lgmnet", *map(str, words)]
    with (
        redirect_stdout(io.StringIO()) as out,
        redirect_stderr(io.StringIO()) as err,
        mock.patch.object(sys, "argv", argv),
        mock.patch.dict(os.environ, COLUMNS=str(columns)),
    ):
        code = 0
        try:
            contextvars.copy_context().run(main)  # The progress display is not for other tests.
        except SystemExit as end:
            code = end.code  # type: ignore[assignment]
    return Ran(code or 0, out.getvalue(), err.getvalue())


def settings(**others: object) -> list[str]:
    """Return the options that make ``train`` quick."""
    fields = TINY_RUN | {name: str(value) for name, value in others.items()}
    return [word for name, value in fields.items() for word in ("--set", f"{name}={value}")]


def listing(folder: Path) -> dict[str, bytes]:
    """Return the content of all files in a folder and its subfolders, hidden ones included."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def content(path: Path) -> tuple[dict[str, str], dict[str, bytes]]:
    """Return the metadata and the tensors of a safetensors file, for comparisons.

    The order of the metadata is random, so it is a dict. The measured seconds are left out, and so
    is the checksum, which depends on them.
    """
    raw = path.read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    tensors = safetensors.torch.load(raw)
    fields = header["__metadata__"].items()
    metadata = {name: text for name, text in fields if name not in ("seconds", CHECKSUM)}
    return metadata, {k: t.numpy().tobytes() for k, t in tensors.items()}


WITHOUT_TORCH = """
import runpy, sys
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "lgmnet"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, NoTorch())
script, *sys.argv = sys.argv[1:]
sys.argv.insert(0, script)
runpy.run_path(script, run_name="__main__")
"""


def run_without_torch(script: Path, *words: Path | str) -> list[str]:
    """Return the lines that a script prints where torch and lgmnet cannot be imported."""
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, script, *words],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={"PYTHONIOENCODING": "utf-8"},
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()
