"""Image files and PIL images as tensors.

What needs no PyTorch is in `lgmnet.data.images.pixels` and `lgmnet.data.images.listing`; its public
names can be imported from here.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Num, UInt8
from PIL import Image
from torch import Tensor

from lgmnet.data.images.listing import list_class_images, list_images
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
