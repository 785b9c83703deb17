"""Image files, made into what models know: drawings, ink = 255 on 0, or photos."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps
from torch import Tensor

from lgmnet.errors import DataError, ImageError

MOST_PIXELS = 50_000_000
SUFFIXES = frozenset(Image.registered_extensions())


def read_drawing(path: Path, side: int = 28) -> UInt8[Tensor, "1 side side"]:
    """Read one image file as a drawing.

    Colour, transparency, 16-bit and EXIF rotation are handled; of an animation the first picture is
    taken. Dark ink on light paper and light ink on dark paper come out alike.

    Args:
        path: The file.
        side: Height and width of the drawing, in pixels.

    Raises:
        ImageError: naming the file, if it is absent, damaged, absurdly large or holds NaN.
    """
    gray = _read(path, "L", 8 * side, lambda image: _gray(image, 8 * side))
    if not np.isfinite(gray).all():
        raise ImageError(f"'{path}' holds pixels that are NaN or infinite.")
    return drawing(gray, side)


def read_photo(path: Path, height: int, width: int) -> UInt8[Tensor, "3 height width"]:
    """Read one image file as a photo, cropped about its middle to the shape asked for.

    Gray pictures become gray photos, what is transparent is white, EXIF rotation is followed; of an
    animation the first picture is taken.

    Args:
        path: The file.
        height: Of the photo, in pixels.
        width: Of the photo, in pixels.

    Raises:
        ImageError: naming the file, if it is absent, damaged or absurdly large.
    """

    def fitted(image: Image.Image) -> np.ndarray:
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        photo = ImageOps.fit(image.convert("RGB"), (width, height), Image.Resampling.BICUBIC)
        return np.array(photo)

    pixels = _read(path, "RGB", 2 * max(height, width), fitted)
    return torch.from_numpy(pixels).movedim(2, 0).contiguous()


def _read(
    path: Path, mode: str, size: int, take: Callable[[Image.Image], np.ndarray]
) -> np.ndarray:
    """What ``take`` makes of the picture in a file, read in about this size where possible."""
    if not path.is_file():
        raise ImageError(f"There is no image file '{path}'.")
    try:
        with warnings.catch_warnings():
            # Of what can be read after all, and of sizes: our own limit names the file.
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise ImageError(
                        f"'{path}' has {image.width} x {image.height} pixels; at most "
                        f"{MOST_PIXELS:,} can be read. Make it smaller."
                    )
                image.draft(mode, (size, size))
                ImageOps.exif_transpose(image, in_place=True)
                return take(image)
    except ImageError:
        raise
    except Exception as error:  # of a damaged file, Pillow's readers raise whatever comes
        raise ImageError(f"'{path}' cannot be read as an image: {error}.") from error


def drawing(gray: np.ndarray, side: int = 28) -> UInt8[Tensor, "1 side side"]:
    """A gray picture [height, width], of any range, as a drawing: ink = 255 on 0, ``side`` square.

    The paper is the median of the picture's border; ink is whatever differs from it, dark or light.
    """
    border = np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])
    ink = np.abs(gray - np.median(border))
    picture = Image.fromarray((ink / (ink.max() or 1)).astype(np.float32))
    if picture.size != (side, side):
        longest = max(picture.size)
        square = Image.new("F", (longest, longest), 0.0)
        square.paste(picture, ((longest - picture.width) // 2, (longest - picture.height) // 2))
        picture = square.resize((side, side), Image.Resampling.BICUBIC, reducing_gap=None)
    ink = np.asarray(picture).clip(0)
    if ink.max() > 0:
        ink = ink * (255 / ink.max())
    return torch.from_numpy(ink.round().astype(np.uint8))[None]


def _gray(image: Image.Image, longest: int) -> np.ndarray:
    """Luminance [height, width], of large images shrunk; what is transparent is white paper."""
    if image.mode.startswith("I;16"):
        image = image.convert("I")
    elif image.mode not in ("I", "F") and image.has_transparency_data:
        image = image if image.mode in ("LA", "RGBA") else image.convert("RGBA")
        image = _shrunk(image, longest).convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image.mode not in ("I", "F"):
        image = image.convert("L")
    return np.asarray(_shrunk(image, longest)).astype(np.float64)


def _shrunk(image: Image.Image, longest: int) -> Image.Image:
    """A large image with blocks of pixels averaged: memory for one at a time, in 8 bits.

    Its longer side is then between ``longest`` and twice that.
    """
    factor = max(image.size) // longest
    return image.reduce(factor) if factor > 1 else image


@dataclass(frozen=True)
class LabelledImages:
    """Images of a folder, class by class."""

    images: UInt8[Tensor, "images channels height width"]
    labels: list[int]
    """For each image, the place of its class in ``classes``."""
    classes: list[str]
    """Folder names, sorted."""
    problems: list[ImageError]
    """One for each file that could not be read; all others are there."""


def read_folder(folder: Path, side: int = 28) -> LabelledImages:
    """Read ``folder/<class>/<image>``; classes may differ in their number of images.

    Files whose names start with a dot, and files that do not claim to be images, are passed over.

    Raises:
        DataError: if there is no such folder, fewer than two classes, or a class with no image.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder '{folder}'. Expected {folder}/<class>/<image>.")
    classes = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if len(classes) < 2:
        found = f"only one, '{classes[0]}'" if classes else "none"
        raise DataError(
            f"'{folder}' must hold a folder of images for each of at least two classes; "
            f"it holds {found}."
        )
    images: list[Tensor] = []
    labels: list[int] = []
    problems: list[ImageError] = []
    for label, name in enumerate(classes):
        paths = image_files(folder / name)
        before, bad_before = len(images), len(problems)
        for path in paths:
            try:
                images.append(read_drawing(path, side))
                labels.append(label)
            except ImageError as problem:
                problems.append(problem)
        if len(images) == before:
            why = " ".join(str(p) for p in problems[bad_before:])
            raise DataError(
                f"The class '{name}' has no image that can be read in '{folder / name}'. {why}"
            )
    return LabelledImages(torch.stack(images), labels, classes, problems)


def image_files(folder: Path) -> list[Path]:
    """The files directly in a folder that claim to be images, in order of their names."""
    return sorted(
        p
        for p in folder.iterdir()
        if p.is_file() and not p.name.startswith(".") and p.suffix.lower() in SUFFIXES
    )
