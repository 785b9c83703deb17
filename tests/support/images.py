"""Drawings, folders of images and broken image files."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from tests.support.models import drawings


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
