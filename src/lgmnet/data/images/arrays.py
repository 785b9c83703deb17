"""Images in memory, without PyTorch: arrays as PIL images, encoded bytes as image files."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lgmnet.data.images.pixels import ImageBytes, ImageFile
from lgmnet.errors import ImageError

IMAGE_FORMS = (
    "paths, PIL images, files as bytes or BytesIO, or arrays [height, width] or [height, width, "
    "channels]"
)
CHANNELS = (1, 3, 4)
BYTES = (bytes, bytearray, memoryview)
MAX_INTEGER = 2**31 - 1
"""Largest whole number that a pixel of a PIL image holds."""


def to_image_file(image: Any, index: int) -> ImageFile | None:
    """Return a path or the content of a file as an image file; None if the image is neither.

    Raises:
        ImageError: if the image is a file that is closed, or opened as text.
    """
    if isinstance(image, (str, os.PathLike)):
        return Path(image)
    if isinstance(image, BYTES):
        return ImageBytes(f"image {index}", bytes(image))
    if isinstance(image, io.IOBase):
        if image.closed or isinstance(image, io.TextIOBase):
            state = "closed" if image.closed else "opened as text"
            raise ImageError(
                f"Image {index} must be a file that is open in the mode 'rb', but is {state}. Give "
                "its path instead."
            )
        if image.seekable():
            image.seek(0)
        return ImageBytes(f"image {index}", image.read())
    return None


def move_channels_last(array: np.ndarray) -> np.ndarray:
    """Move the channels of [(images,) channels, height, width] to the last axis, if they are first.

    They are if the last axis cannot be that of channels, but the first can.
    """
    is_first = array.shape[-1] not in CHANNELS and array.shape[-3] in CHANNELS
    return np.moveaxis(array, -3, -1) if is_first else array


def to_array(array_like: Any) -> np.ndarray:
    """Convert an array, or nested lists of numbers, to an array.

    Raises:
        ImageError: if it is nothing of the kind.
    """
    try:
        array = np.asarray(array_like)
    except ValueError as error:  # Lists of several lengths.
        raise ImageError(f"expected {IMAGE_FORMS}, but its rows differ in length") from error
    if array.dtype.kind not in "buif" or array.ndim == 0:
        is_number = array.dtype.kind in "buifc" and array.ndim == 0
        what = f"the number {array_like}" if is_number else f"a {type(array_like).__name__}"
        raise ImageError(f"expected {IMAGE_FORMS}, but it is {what}")
    return array


def to_pil_image(array_like: Any) -> Image.Image:
    """Convert an array [height, width] or [height, width, channels] to a PIL image.

    Raises:
        ImageError: if it is no such array.
    """
    array = to_array(array_like)
    if array.ndim == 3:
        array = move_channels_last(array)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] > 4):
        raise ImageError(
            "expected [height, width] or [height, width, channels] with 1, 3 or 4 channels, but "
            f"its shape is {list(array.shape)}"
        )
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255
    if array.ndim == 2:
        if array.dtype != np.uint8:
            is_exact = array.dtype.kind != "f" and np.abs(array, dtype=float).max() <= MAX_INTEGER
            array = array.astype(np.int32 if is_exact else np.float32)
        return Image.fromarray(array)
    if array.shape[2] == 2:
        raise ImageError("it has 2 channels; 1, 3 or 4 can be read")
    if array.dtype != np.uint8:
        low, high = float(array.min()), float(array.max())
        if array.dtype.kind != "f" or not (low >= 0 and high <= 1):
            raise ImageError(
                "colour images must be uint8, or floats in 0 to 1, but this is "
                f"{array.dtype} in {low:g} to {high:g}"
            )
        array = (255 * array).round().astype(np.uint8)
    return Image.fromarray(array)
