"""Image files and PIL images as tensors; folders of image files.

What needs no PyTorch is in `lgmnet.data.images.pixels`; its public names can be imported from here.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Num, UInt8
from PIL import Image
from torch import Tensor

from lgmnet.data.images.pixels import (
    IMAGE_FORMATS,
    IMAGE_SUFFIXES,
    MAX_IMAGE_PIXELS,
    MIN_DECODED_SIDE,
    REDUCED_FORMATS,
    ImageBytes,
    ImageFile,
    decode_image,
    decoded_side,
    decoding_cost,
    drawing_pixels,
    drawings_pixels,
    name_in_errors,
    open_image,
    photo_pixels,
    read_pixels,
    to_8_bits,
    to_pixels,
    to_white_background,
)
from lgmnet.errors import check_utf8

__all__ = [
    "IMAGE_FORMATS",
    "IMAGE_SUFFIXES",
    "MAX_IMAGE_PIXELS",
    "MIN_DECODED_SIDE",
    "REDUCED_FORMATS",
    "ImageBytes",
    "ImageFile",
    "convert_image",
    "decode_image",
    "decoded_side",
    "decoding_cost",
    "list_class_images",
    "list_images",
    "name_in_errors",
    "open_image",
    "read_image",
    "to_8_bits",
    "to_drawing",
    "to_drawings",
    "to_photo",
    "to_white_background",
]


def read_image(
    file: ImageFile, shape: Sequence[int], decoded: Image.Image | None = None
) -> UInt8[Tensor, "channels height width"]:
    """Read an image file as a drawing or a photo (see `read_pixels`)."""
    return torch.from_numpy(read_pixels(file, shape, decoded))


def convert_image(
    image: Image.Image, shape: Sequence[int]
) -> UInt8[Tensor, "channels height width"]:
    """Convert a PIL image to a drawing or a photo (see `to_pixels`)."""
    return torch.from_numpy(to_pixels(image, shape))


def to_drawing(image: Image.Image, side: int = 28) -> UInt8[Tensor, "1 side side"]:
    """Convert a PIL image to a drawing (see `drawing_pixels`)."""
    return torch.from_numpy(drawing_pixels(image, side))


def to_photo(image: Image.Image, height: int, width: int) -> UInt8[Tensor, "3 height width"]:
    """Convert a PIL image to a photo (see `photo_pixels`)."""
    return torch.from_numpy(photo_pixels(image, height, width))


def to_drawings(
    gray: Num[np.ndarray, "images height width"], side: int = 28
) -> UInt8[Tensor, "images 1 side side"]:
    """Convert gray images of any range to drawings (see `drawings_pixels`)."""
    return torch.from_numpy(drawings_pixels(gray, side))


def list_class_images(folder: Path) -> dict[str, list[Path]]:
    """List the image files of each class of ``folder/<class>/<image>``, sorted by name.

    Hidden folders are skipped, and files as in `list_images`.

    Raises:
        DataError: if the name of a class is not UTF-8.
    """
    classes = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    for class_folder in classes:
        check_utf8("class folder", class_folder.name)
    return {class_folder.name: list_images(class_folder) for class_folder in classes}


def list_images(folder: Path) -> list[Path]:
    """List the files directly in a folder that have the suffix of an image, sorted by name.

    Hidden files are skipped.
    """
    return sorted(
        p
        for p in folder.iterdir()
        if p.is_file() and not p.name.startswith(".") and p.suffix.lower() in IMAGE_SUFFIXES
    )
