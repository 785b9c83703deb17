"""Cache of decoded images: 8-bit arrays in the user's cache folder, read as memory maps."""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from jaxtyping import UInt8
from torch import Tensor

from lgmnet.data.images.read import read_image
from lgmnet.errors import UserError
from lgmnet.io import atomic_write, make_cache_folder
from lgmnet.progress import track_progress

CACHE_VERSION = 2
"""Version of the content of the arrays; part of the hash in their file names."""


def load_image_files(
    name: str, files: Mapping[str, Sequence[Path]], shape: Sequence[int]
) -> UInt8[Tensor, "images channels height width"]:
    """Load the image files of all classes through the cache (see `load_decoded`).

    ``shape`` is that of one image (see `read_image`).

    Raises:
        ImageError: naming a file that cannot be read.
        UserError: if the cache folder cannot be written to.
    """
    paths = [path for class_paths in files.values() for path in class_paths]
    pixels = (read_image(path, shape).numpy() for path in paths)
    return load_decoded(name, paths, (len(paths), *shape), pixels)


def load_decoded(
    name: str, sources: Iterable[Path], shape: Sequence[int], pixels: Iterable[np.ndarray]
) -> UInt8[Tensor, "images channels height width"]:
    """Load the images of a data set as a memory map; the first call decodes them.

    If two processes call it at once, one of them decodes and the other waits. Files that a killed
    process left behind are removed.

    Args:
        name: Name of the data, for the file name and the progress.
        sources: Files that the images come from. If the size or the time of one changes, the images
            are decoded again.
        shape: Shape of all images together.
        pixels: Lazy iterable of the pixels of each image, uint8 [channels, height, width].

    Raises:
        UserError: if the cache folder cannot be written to.
    """
    folder = make_cache_folder()
    path = folder / f"{name}-{hash_files(sources, shape)}.npy"
    try:
        with FileLock(folder / f".{path.name}.lock"):
            if not path.is_file():
                for draft in folder.glob(f".*.{path.name}"):
                    draft.unlink()
                write_images(path, name, shape, pixels)
    except OSError as error:
        raise UserError(
            f"Cannot store decoded images in '{folder}': {error}. Set LGMNET_CACHE to a folder "
            "that can be written to."
        ) from error
    # Copy on write, because torch.from_numpy wants a writable array; nothing ever writes to it.
    return torch.from_numpy(np.load(path, mmap_mode="c"))


def write_images(path: Path, name: str, shape: Sequence[int], pixels: Iterable[np.ndarray]) -> None:
    """Write the pixels of all images into one file, which appears only when it is complete."""
    with atomic_write(path) as draft:
        images = np.lib.format.open_memmap(draft, "w+", np.uint8, tuple(shape))
        with track_progress(f"decoded images of {name}", len(images)) as progress:
            for i, image in zip(range(len(images)), pixels, strict=True):
                images[i] = image
                progress.advance()
        images.flush()


def hash_files(sources: Iterable[Path], shape: Sequence[int]) -> str:
    """Return a short hash of the current state of files and of the shape of the images."""
    digest = hashlib.sha256(f"{CACHE_VERSION} {tuple(shape)}".encode())
    for source in sources:
        status = source.stat()
        path = os.fsencode(source.absolute())  # A file name need not be UTF-8.
        digest.update(b"\n%b %d %d" % (path, status.st_size, status.st_mtime_ns))
    return digest.hexdigest()[:16]
