"""Images decoded once and for all: 8-bit arrays in the user's cache folder, read as memory maps."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import platformdirs
import torch
from filelock import FileLock
from jaxtyping import UInt8
from rich.console import Console
from rich.progress import track
from torch import Tensor

from lgmnet.errors import UserError
from lgmnet.io import atomic_write, make_folder

VERSION = 1
"""Of what the arrays hold; counts in their names."""


def cache_folder() -> Path:
    """Where decoded images are kept: ``LGMNET_CACHE``, else the user's cache folder."""
    named = os.environ.get("LGMNET_CACHE")
    return Path(named) if named else platformdirs.user_cache_path("lgmnet")


def load_decoded(
    name: str,
    sources: Iterable[Path],
    shape: Sequence[int],
    pixels: Callable[[], Iterable[np.ndarray]],
) -> UInt8[Tensor, "images channels height width"]:
    """The images of a data set, decoded when they are first asked for; mapped, not in memory.

    Two processes may ask at once: one decodes, the other waits for it. What a process left that was
    killed half-way is removed by the next. Progress is shown on stderr.

    Args:
        name: Of the data, for the file's name and the progress.
        sources: The files that the images come from; another size or time of one, other images.
        shape: Of all images together, [images, channels, height, width].
        pixels: Gives the pixels of each image, uint8 [channels, height, width], one after another.

    Raises:
        UserError: if the cache folder cannot be written to.
    """
    folder = cache_folder()
    make_folder(folder)
    path = folder / f"{name}-{fingerprint(sources, shape)}.npy"
    try:
        with FileLock(folder / f".{path.name}.lock"):
            if not path.is_file():
                for left in folder.glob(f".*.{path.name}"):
                    left.unlink()
                decode_into(path, name, shape, pixels())
    except OSError as error:
        raise UserError(
            f"Cannot keep decoded images in '{folder}': {error}. Set LGMNET_CACHE to a folder "
            "that can be written to."
        ) from error
    # Copy on write: nothing is ever written, but torch asks for arrays that could be.
    return torch.from_numpy(np.load(path, mmap_mode="c"))


def decode_into(path: Path, name: str, shape: Sequence[int], pixels: Iterable[np.ndarray]) -> None:
    """Decode all images into one file, which appears when it is whole."""
    console = Console(stderr=True, quiet=not sys.stderr.isatty())
    with atomic_write(path) as draft:
        images = np.lib.format.open_memmap(draft, "w+", np.uint8, tuple(shape))
        words, many = f"decoding {name}, once", len(images)
        shown = track(pixels, words, many, console=console, transient=True)
        found = 0
        for found, image in enumerate(shown, 1):
            images[found - 1] = image
        assert found == many, f"{found} of {many} images of {name}"
        images.flush()


def fingerprint(sources: Iterable[Path], shape: Sequence[int]) -> str:
    """A short name for these files as they are now, and for what is to be made of them."""
    digest = hashlib.sha256(f"{VERSION} {tuple(shape)}".encode())
    for source in sources:
        about = source.stat()
        digest.update(f"\n{source.absolute()} {about.st_size} {about.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]
