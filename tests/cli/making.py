"""Test tools: the command line in this process, a tiny model, drawings and image files."""

from __future__ import annotations

import contextvars
import io
import json
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import safetensors.torch
from PIL import Image
from torch import Tensor

from lgmnet.cli import main
from lgmnet.io import CHECKSUM
from tests.support.configs import TINY_SETTINGS
from tests.support.models import drawings

COMMANDS = (
    "train",
    "evaluate",
    "compare",
    "audit",
    "calibrate",
    "demo",
    "reproduce",
    "forge",
    "predict",
    "edit",
    "inspect",
    "export",
    "report",
    "models",
    "publish",
    "download",
    "quickstart",
    "studio",
    "serve",
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


def write_drawing(path: Path, drawing: Tensor) -> Path:
    """Write a drawing as an image file with dark ink on white paper."""
    Image.fromarray(255 - drawing[0].numpy()).save(path)
    return path


def symbols(folder: Path, shots: Mapping[str, int], seed: int = 0) -> Path:
    """Write ``folder/<class>/<image>`` with the given number of drawings per class."""
    drawn = drawings(len(shots), max(*shots.values(), 1), seed)
    for (name, shot), images in zip(shots.items(), drawn, strict=True):
        (folder / name).mkdir(parents=True)
        for i in range(shot):
            write_drawing(folder / name / f"{i}.png", images[i])
    return folder


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


def png_claiming(width: int, height: int) -> bytes:
    """Return a small PNG file whose header claims this size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def as_bytes(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Encode an image in a file format."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def float_tiff(value: float) -> bytes:
    """Return a 32-bit float TIFF with one pixel of this value."""
    pixels = np.ones((28, 28), np.float32)
    pixels[3, 4] = value
    return as_bytes(Image.fromarray(pixels), "TIFF")


def valid_image(kind: str) -> bytes:
    """Return a valid image file."""
    return as_bytes(Image.fromarray(255 - drawings(2, 1, seed=9)[0, 0, 0].numpy()), kind)


BAD_IMAGES: dict[str, Callable[[], bytes]] = {
    "empty.png": lambda: b"",
    "text.png": lambda: b"This is not a picture.\n" * 20,
    "cut.png": lambda: valid_image("PNG")[:-100],
    "cut.jpg": lambda: valid_image("JPEG")[:-200],
    "cut.gif": lambda: valid_image("GIF")[:40],
    "claims-60000x60000.png": lambda: png_claiming(60_000, 60_000),
    "claims-12000x8000.png": lambda: png_claiming(12_000, 8_000),
    "many-pixels.png": lambda: as_bytes(Image.new("1", (10_000, 10_000), 1), "PNG"),
    "nan.tiff": lambda: float_tiff(float("nan")),
    "infinite.tif": lambda: float_tiff(float("inf")),
}
"""Content of image files that cannot be read, by file name."""


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


def run_without_torch(script: Path, *words: Path) -> list[str]:
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
