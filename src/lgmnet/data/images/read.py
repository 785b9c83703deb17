"""Reading of image files as drawings, ink = 255 on 0, or as photos."""

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
from lgmnet.input_spec import InputSpec

MAX_IMAGE_PIXELS = 50_000_000
IMAGE_SUFFIXES = frozenset(Image.registered_extensions())


@dataclass(frozen=True)
class ImageBytes:
    """Image file in memory, such as an upload."""

    name: str
    """Name in error messages."""
    data: bytes


ImageFile = Path | ImageBytes


def read_drawing(file: ImageFile, side: int = 28) -> UInt8[Tensor, "1 side side"]:
    """Read an image file as a drawing (see `to_drawing`).

    Args:
        file: Image file.
        side: Height and width of the drawing, in pixels.

    Raises:
        ImageError: naming the file, if it is absent, damaged, too large or holds NaN.
    """
    return _read(file, "L", 8 * side, lambda image: to_drawing(image, side))


def read_photo(file: ImageFile, height: int, width: int) -> UInt8[Tensor, "3 height width"]:
    """Read an image file as a photo (see `to_photo`).

    Args:
        file: Image file.
        height: Height of the photo, in pixels.
        width: Width of the photo, in pixels.

    Raises:
        ImageError: naming the file, if it is absent, damaged or too large.
    """
    return _read(file, "RGB", 2 * max(height, width), lambda image: to_photo(image, height, width))


def to_drawing(image: Image.Image, side: int = 28) -> UInt8[Tensor, "1 side side"]:
    """Convert a PIL image to a drawing: ink = 255 on 0, ``side`` x ``side`` pixels.

    Colour, transparency, 16-bit images and EXIF rotation are handled; the first frame of an
    animation is used. Dark ink on light paper gives the same drawing as light ink on dark paper.

    Raises:
        ImageError: if the image is too large or holds NaN.
    """
    gray = _to_gray(to_upright(image), 8 * side)
    if not np.isfinite(gray).all():
        raise ImageError("it holds pixels that are NaN or infinite")
    return to_drawings(gray[None], side)[0]


def to_photo(image: Image.Image, height: int, width: int) -> UInt8[Tensor, "3 height width"]:
    """Convert a PIL image to a photo, cropped around its centre to the given proportions.

    Gray images become gray photos, transparent pixels become white, and more than 8 bits are
    reduced to 8. EXIF rotation is applied; the first frame of an animation is used.

    Raises:
        ImageError: if the image is too large or holds NaN.
    """
    image = to_8_bits(to_upright(image))
    if image.has_transparency_data:
        image = to_white_background(image)
    photo = ImageOps.fit(image.convert("RGB"), (width, height), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(photo)).movedim(2, 0).contiguous()


def to_upright(image: Image.Image) -> Image.Image:
    """Apply the rotation that the EXIF data names.

    Raises:
        ImageError: if the image has more than `MAX_IMAGE_PIXELS`.
    """
    if image.width * image.height > MAX_IMAGE_PIXELS:
        raise ImageError(
            f"it has {image.width} x {image.height} pixels; at most {MAX_IMAGE_PIXELS:,} can be "
            "read. Make it smaller"
        )
    return ImageOps.exif_transpose(image)


def to_white_background(image: Image.Image) -> Image.Image:
    """Put a transparent image on a white background."""
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def to_8_bits(image: Image.Image) -> Image.Image:
    """Convert an image of 16 or 32 bits per pixel to 8 bits.

    White is 65,535 for integers (255 for 32-bit integers if none is larger) and 1 for floats.

    Raises:
        ImageError: if it holds NaN, or numbers outside of that range.
    """
    if not (image.mode in ("I", "F") or image.mode.startswith("I;16")):
        return image
    pixels = np.asarray(image if image.mode == "F" else image.convert("I"), np.float64)
    low, high = float(pixels.min()), float(pixels.max())
    white = 1 if image.mode == "F" else 255 if image.mode == "I" and high <= 255 else 65_535
    if not (low >= 0 and high <= white):
        raise ImageError(f"its pixels must lie in 0 to {white}, but lie in {low:g} to {high:g}")
    return Image.fromarray((pixels * (255 / white)).round().astype(np.uint8))


def _read(
    file: ImageFile, mode: str, size: int, convert: Callable[[Image.Image], Tensor]
) -> UInt8[Tensor, "channels height width"]:
    """Open an image file, if possible decoded at about this size, and convert the image."""
    source: Path | io.BytesIO
    if isinstance(file, ImageBytes):
        name, source = file.name, io.BytesIO(file.data)
    elif file.is_file():
        name, source = str(file), file
    else:
        raise ImageError(f"There is no image file '{file}'.")
    try:
        with warnings.catch_warnings():
            # Pillow warns of files that it can read all the same, and of large sizes, for which
            # our own limit raises an error that names the file.
            warnings.simplefilter("ignore")
            with Image.open(source) as image:
                if image.width * image.height <= MAX_IMAGE_PIXELS:  # Else to_upright refuses it.
                    image.draft(mode, (size, size))
                return convert(image)
    except UnidentifiedImageError as error:
        raise ImageError(
            f"'{name}' cannot be read as an image: it has no known format, such as PNG or JPEG, "
            "or its beginning is damaged."
        ) from error
    except Exception as error:  # Pillow's readers raise any exception if a file is damaged.
        raise ImageError(f"'{name}' cannot be read as an image: {error}.") from error


def to_drawings(
    gray: Num[np.ndarray, "images height width"], side: int = 28
) -> UInt8[Tensor, "images 1 side side"]:
    """Convert gray images of any range to drawings: ink = 255 on 0, ``side`` x ``side`` pixels.

    The paper is the median of the border of an image. Ink is the difference from it, dark or light.
    """
    gray = gray.astype(np.float64)
    border = np.concatenate([gray[:, 0], gray[:, -1], gray[:, :, 0], gray[:, :, -1]], 1)
    ink = np.abs(gray - np.median(border, 1)[:, None, None])
    ink /= np.where(ink.any((1, 2)), ink.max((1, 2)), 1)[:, None, None]
    if ink.shape[1:] != (side, side):
        ink = np.stack([_to_square(drawing, side) for drawing in ink.astype(np.float32)])
        ink /= np.where(ink.any((1, 2)), ink.max((1, 2)), 1)[:, None, None]
    return torch.from_numpy((255 * ink).round().astype(np.uint8))[:, None]


def _to_square(ink: np.ndarray, side: int) -> np.ndarray:
    """Centre ink in a square and resize it."""
    image = Image.fromarray(ink)
    longest = max(image.size)
    square = Image.new("F", (longest, longest), 0.0)
    square.paste(image, ((longest - image.width) // 2, (longest - image.height) // 2))
    square = square.resize((side, side), Image.Resampling.BICUBIC, reducing_gap=None)
    return np.asarray(square).clip(0)


def _to_gray(image: Image.Image, min_side: int) -> np.ndarray:
    """Compute the luminance [height, width]; transparent pixels are white, large images shrunk."""
    if image.mode.startswith("I;16"):
        image = image.convert("I")
    elif image.mode not in ("I", "F") and image.has_transparency_data:
        image = image if image.mode in ("LA", "RGBA") else image.convert("RGBA")
        image = to_white_background(_shrink(image, min_side))
    if image.mode not in ("I", "F"):
        image = image.convert("L")
    return np.asarray(_shrink(image, min_side)).astype(np.float64)


def _shrink(image: Image.Image, min_side: int) -> Image.Image:
    """Average blocks of pixels of a large image, in 8 bits to save memory.

    The longer side is then between ``min_side`` and twice that.
    """
    factor = max(image.size) // min_side
    return image.reduce(factor) if factor > 1 else image


def read_image(file: ImageFile, shape: Sequence[int]) -> UInt8[Tensor, "channels height width"]:
    """Read an image file as a drawing or a photo.

    Args:
        file: Image file.
        shape: [1, side, side] of a drawing, [3, height, width] of a photo.

    Raises:
        ImageError: naming the file, if it is absent, damaged or too large.
    """
    _, height, width = shape
    is_drawing = InputSpec(tuple(shape)).kind == "drawing"
    return read_drawing(file, height) if is_drawing else read_photo(file, height, width)


def read_images(
    files: Iterable[ImageFile], shape: Sequence[int]
) -> list[UInt8[Tensor, "channels height width"] | ImageError]:
    """Read image files with `read_image`; the error takes the place of an unreadable image."""
    results: list[Tensor | ImageError] = []
    for file in files:
        try:
            results.append(read_image(file, shape))
        except ImageError as problem:
            results.append(problem)
    return results


@dataclass(frozen=True)
class LabelledImages:
    """Images of a folder, sorted by class."""

    images: UInt8[Tensor, "images channels height width"]
    labels: list[int]
    """Index of each image's class in ``classes``."""
    classes: list[str]
    """Folder names, sorted."""
    sources: list[str]
    """File of each image as ``<class>/<image>``."""
    problems: list[ImageError]
    """Error of each file that could not be read; the other files are in ``images``."""


def read_folder(
    folder: Path,
    shape: Sequence[int] = (1, 28, 28),
    *,
    least: int = 2,
    progress: Callable[[int], object] = lambda done: None,
) -> LabelledImages:
    """Read ``folder/<class>/<image>``; classes may have different numbers of images.

    Hidden files and files without the suffix of an image are skipped.

    Args:
        folder: Folder of the class folders.
        shape: Shape of one image (see `read_image`).
        least: Smallest number of classes.
        progress: Function that is called with the number of files just read.

    Raises:
        DataError: if there is no such folder, too few classes, or a class with no image.
    """
    files = list_class_images(folder, least)
    images: list[Tensor] = []
    labels: list[int] = []
    sources: list[str] = []
    problems: list[ImageError] = []
    for label, (name, paths) in enumerate(files.items()):
        n_images, n_problems = len(images), len(problems)
        for path in paths:
            try:
                images.append(read_image(path, shape))
                labels.append(label)
                sources.append(f"{name}/{path.name}")
            except ImageError as problem:
                problems.append(problem)
            progress(1)
        if len(images) == n_images:
            reasons = " ".join(str(problem) for problem in problems[n_problems:])
            raise DataError(
                f"The class '{name}' has no image that can be read in '{folder / name}'. {reasons}"
            )
    return LabelledImages(torch.stack(images), labels, list(files), sources, problems)


def list_class_images(folder: Path, least: int = 2) -> dict[str, list[Path]]:
    """List the image files of each class of ``folder/<class>/<image>``, sorted by name.

    Raises:
        DataError: if there is no such folder, or fewer classes than ``least``.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder '{folder}'. Expected {folder}/<class>/<image>.")
    classes = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if len(classes) < least:
        present = f"only one, '{classes[0]}'" if classes else "none"
        wanted = "at least two classes" if least > 1 else "at least one class"
        raise DataError(
            f"'{folder}' must hold a folder of images for each of {wanted}; it holds {present}."
        )
    return {name: list_images(folder / name) for name in classes}


def list_images(folder: Path) -> list[Path]:
    """List the files directly in a folder that have the suffix of an image, sorted by name."""
    return sorted(
        p
        for p in folder.iterdir()
        if p.is_file() and not p.name.startswith(".") and p.suffix.lower() in IMAGE_SUFFIXES
    )
