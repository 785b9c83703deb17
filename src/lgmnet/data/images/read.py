"""Image files, made into what models know: drawings, ink = 255 on 0, or photos."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Num, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from lgmnet.errors import DataError, ImageError

MOST_PIXELS = 50_000_000
SUFFIXES = frozenset(Image.registered_extensions())


@dataclass(frozen=True)
class ImageBytes:
    """An image file that lies in memory, such as one that was sent."""

    name: str
    """What errors call it."""
    data: bytes


ImageFile = Path | ImageBytes


def read_drawing(path: ImageFile, side: int = 28) -> UInt8[Tensor, "1 side side"]:
    """Read one image file as a drawing (see `to_drawing`).

    Args:
        path: The file.
        side: Height and width of the drawing, in pixels.

    Raises:
        ImageError: naming the file, if it is absent, damaged, absurdly large or holds NaN.
    """
    return _read(path, "L", 8 * side, lambda image: to_drawing(image, side))


def read_photo(path: ImageFile, height: int, width: int) -> UInt8[Tensor, "3 height width"]:
    """Read one image file as a photo (see `to_photo`).

    Args:
        path: The file.
        height: Of the photo, in pixels.
        width: Of the photo, in pixels.

    Raises:
        ImageError: naming the file, if it is absent, damaged or absurdly large.
    """
    return _read(path, "RGB", 2 * max(height, width), lambda image: to_photo(image, height, width))


def to_drawing(image: Image.Image, side: int = 28) -> UInt8[Tensor, "1 side side"]:
    """A picture as a drawing: ink = 255 on 0, ``side`` square.

    Colour, transparency, 16-bit and EXIF rotation are handled; of an animation the first picture is
    taken. Dark ink on light paper and light ink on dark paper come out alike.

    Raises:
        ImageError: if it is absurdly large, or holds NaN.
    """
    gray = _gray(upright(image), 8 * side)
    if not np.isfinite(gray).all():
        raise ImageError("it holds pixels that are NaN or infinite")
    return to_drawings(gray[None], side)[0]


def to_photo(image: Image.Image, height: int, width: int) -> UInt8[Tensor, "3 height width"]:
    """A picture as a photo, cropped about its middle to the shape asked for.

    Gray pictures become gray photos, what is transparent is white, more than 8 bits become 8, EXIF
    rotation is followed; of an animation the first picture is taken.

    Raises:
        ImageError: if it is absurdly large, or holds NaN.
    """
    image = in_8_bits(upright(image))
    if image.has_transparency_data:
        image = on_white(image)
    photo = ImageOps.fit(image.convert("RGB"), (width, height), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(photo)).movedim(2, 0).contiguous()


def upright(image: Image.Image) -> Image.Image:
    """A picture as it was meant to be seen, by what its EXIF says of rotation.

    Raises:
        ImageError: if it has more than `MOST_PIXELS`.
    """
    if image.width * image.height > MOST_PIXELS:
        raise ImageError(
            f"it has {image.width} x {image.height} pixels; at most {MOST_PIXELS:,} can be read. "
            "Make it smaller"
        )
    return ImageOps.exif_transpose(image)


def on_white(image: Image.Image) -> Image.Image:
    """A picture on white paper, which is seen where it is transparent."""
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def in_8_bits(image: Image.Image) -> Image.Image:
    """A picture of 16 or 32 bits a pixel as one of 8: whole numbers to 65,535, others to 1.

    Raises:
        ImageError: if it holds NaN, or numbers out of that range.
    """
    if not (image.mode in ("I", "F") or image.mode.startswith("I;16")):
        return image
    pixels = np.asarray(image if image.mode == "F" else image.convert("I"), np.float64)
    low, high = float(pixels.min()), float(pixels.max())
    most = 1 if image.mode == "F" else 255 if image.mode == "I" and high <= 255 else 65_535
    if not (low >= 0 and high <= most):
        raise ImageError(f"its pixels must lie in 0 to {most}, but lie in {low:g} to {high:g}")
    return Image.fromarray((pixels * (255 / most)).round().astype(np.uint8))


def _read(
    path: ImageFile, mode: str, size: int, take: Callable[[Image.Image], Tensor]
) -> UInt8[Tensor, "channels height width"]:
    """What ``take`` makes of the picture in a file, read in about this size where possible."""
    opened: Path | io.BytesIO
    if isinstance(path, ImageBytes):
        name, opened = path.name, io.BytesIO(path.data)
    elif path.is_file():
        name, opened = str(path), path
    else:
        raise ImageError(f"There is no image file '{path}'.")
    try:
        with warnings.catch_warnings():
            # Of what can be read after all, and of sizes: our own limit names the file.
            warnings.simplefilter("ignore")
            with Image.open(opened) as image:
                if image.width * image.height <= MOST_PIXELS:  # Else refused as it is.
                    image.draft(mode, (size, size))
                return take(image)
    except UnidentifiedImageError as error:
        raise ImageError(
            f"'{name}' cannot be read as an image: it is of no kind that is known, such as PNG or "
            "JPEG, or is damaged at its beginning."
        ) from error
    except Exception as error:  # of a damaged file, Pillow's readers raise whatever comes
        raise ImageError(f"'{name}' cannot be read as an image: {error}.") from error


def to_drawings(
    gray: Num[np.ndarray, "images height width"], side: int = 28
) -> UInt8[Tensor, "images 1 side side"]:
    """Gray pictures of any range as drawings: ink = 255 on 0, ``side`` square.

    The paper is the median of a picture's border; ink is whatever differs from it, dark or light.
    """
    gray = gray.astype(np.float64)
    border = np.concatenate([gray[:, 0], gray[:, -1], gray[:, :, 0], gray[:, :, -1]], 1)
    ink = np.abs(gray - np.median(border, 1)[:, None, None])
    ink /= np.where(ink.any((1, 2)), ink.max((1, 2)), 1)[:, None, None]
    if ink.shape[1:] != (side, side):
        ink = np.stack([_squared(picture, side) for picture in ink.astype(np.float32)])
        ink /= np.where(ink.any((1, 2)), ink.max((1, 2)), 1)[:, None, None]
    return torch.from_numpy((255 * ink).round().astype(np.uint8))[:, None]


def _squared(ink: np.ndarray, side: int) -> np.ndarray:
    """Ink in the middle of a square of this side."""
    picture = Image.fromarray(ink)
    longest = max(picture.size)
    square = Image.new("F", (longest, longest), 0.0)
    square.paste(picture, ((longest - picture.width) // 2, (longest - picture.height) // 2))
    square = square.resize((side, side), Image.Resampling.BICUBIC, reducing_gap=None)
    return np.asarray(square).clip(0)


def _gray(image: Image.Image, longest: int) -> np.ndarray:
    """Luminance [height, width], of large images shrunk; what is transparent is white paper."""
    if image.mode.startswith("I;16"):
        image = image.convert("I")
    elif image.mode not in ("I", "F") and image.has_transparency_data:
        image = image if image.mode in ("LA", "RGBA") else image.convert("RGBA")
        image = on_white(_shrunk(image, longest))
    if image.mode not in ("I", "F"):
        image = image.convert("L")
    return np.asarray(_shrunk(image, longest)).astype(np.float64)


def _shrunk(image: Image.Image, longest: int) -> Image.Image:
    """A large image with blocks of pixels averaged: memory for one at a time, in 8 bits.

    Its longer side is then between ``longest`` and twice that.
    """
    factor = max(image.size) // longest
    return image.reduce(factor) if factor > 1 else image


def read_image(path: ImageFile, shape: Sequence[int]) -> UInt8[Tensor, "channels height width"]:
    """Read one image file as a model knows it.

    Args:
        path: The file.
        shape: [1, side, side] for a drawing, [3, height, width] for a photo.

    Raises:
        ImageError: naming the file, if it is absent, damaged or absurdly large.
    """
    return read_drawing(path, shape[1]) if shape[0] == 1 else read_photo(path, *shape[1:])


def read_images(
    files: Iterable[ImageFile], shape: Sequence[int]
) -> list[UInt8[Tensor, "channels height width"] | ImageError]:
    """Read image files as `read_image` does; in place of one that cannot be read is its error."""
    found: list[Tensor | ImageError] = []
    for file in files:
        try:
            found.append(read_image(file, shape))
        except ImageError as problem:
            found.append(problem)
    return found


@dataclass(frozen=True)
class LabelledImages:
    """Images of a folder, class by class."""

    images: UInt8[Tensor, "images channels height width"]
    labels: list[int]
    """For each image, the place of its class in ``classes``."""
    classes: list[str]
    """Folder names, sorted."""
    sources: list[str]
    """For each image, its file as ``<class>/<image>``."""
    problems: list[ImageError]
    """One for each file that could not be read; all others are there."""


def read_folder(
    folder: Path,
    shape: Sequence[int] = (1, 28, 28),
    *,
    least: int = 2,
    progress: Callable[[int], object] = lambda done: None,
) -> LabelledImages:
    """Read ``folder/<class>/<image>``; classes may differ in their number of images.

    Files whose names start with a dot, and files that do not claim to be images, are passed over.

    Args:
        folder: The folder.
        shape: Of the images, as `read_image` has it.
        least: Classes that there must be.
        progress: Told the number of files just read.

    Raises:
        DataError: if there is no such folder, too few classes, or a class with no image.
    """
    files = list_class_images(folder, least)
    images: list[Tensor] = []
    labels: list[int] = []
    sources: list[str] = []
    problems: list[ImageError] = []
    for label, (name, paths) in enumerate(files.items()):
        before, bad_before = len(images), len(problems)
        for path in paths:
            try:
                images.append(read_image(path, shape))
                labels.append(label)
                sources.append(f"{name}/{path.name}")
            except ImageError as problem:
                problems.append(problem)
            progress(1)
        if len(images) == before:
            why = " ".join(str(p) for p in problems[bad_before:])
            raise DataError(
                f"The class '{name}' has no image that can be read in '{folder / name}'. {why}"
            )
    return LabelledImages(torch.stack(images), labels, list(files), sources, problems)


def list_class_images(folder: Path, least: int = 2) -> dict[str, list[Path]]:
    """The image files of each class of ``folder/<class>/<image>``, in order of their names.

    Raises:
        DataError: if there is no such folder, or fewer classes than ``least``.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder '{folder}'. Expected {folder}/<class>/<image>.")
    classes = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if len(classes) < least:
        found = f"only one, '{classes[0]}'" if classes else "none"
        wanted = "at least two classes" if least > 1 else "at least one class"
        raise DataError(
            f"'{folder}' must hold a folder of images for each of {wanted}; it holds {found}."
        )
    return {name: list_images(folder / name) for name in classes}


def list_images(folder: Path) -> list[Path]:
    """The files directly in a folder that claim to be images, in order of their names."""
    return sorted(
        p
        for p in folder.iterdir()
        if p.is_file() and not p.name.startswith(".") and p.suffix.lower() in SUFFIXES
    )
