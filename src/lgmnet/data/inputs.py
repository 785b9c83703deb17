"""What a person hands in (files, pictures, arrays, vectors) as the samples that a model knows."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Num
from PIL import Image
from torch import Tensor

from lgmnet.data.images.read import read_image, to_drawing, to_drawings, to_photo
from lgmnet.errors import DataError, ImageError

KNOWN = "paths, PIL images, or arrays [height, width] or [height, width, channels]"


def to_samples(given: Any, shape: Sequence[int]) -> Num[Tensor, "samples *feature"]:
    """What was handed in, as a model with samples of this shape takes it.

    Args:
        given: For a model of images a sequence of paths, PIL images or arrays, which may be mixed,
            or one array [images, height, width] or [images, height, width, 1, 3 or 4 channels];
            uint8, or floats in 0 to 1 (drawings: in any range). For a model of vectors an array
            [samples, features].
        shape: [1, side, side] for drawings, [3, height, width] for photos, [features].

    Returns:
        uint8 images, or vectors in 64 bits.

    Raises:
        ImageError: naming the file, or the place of the image, that cannot be read.
        DataError: if nothing is there, or it is of another kind.
    """
    if isinstance(given, (str, os.PathLike, Image.Image)):
        raise DataError(f"Expected a sequence of {KNOWN}, but came one; put it into a list.")
    if len(shape) == 1:
        return to_vectors(given, shape[0])
    if isinstance(given, (np.ndarray, Tensor)):
        given = np.asarray(given)
        if given.dtype != object:
            return from_array(given, shape)
    images = list(given)
    if not images:
        raise DataError("There are no images: expected at least one.")
    return torch.stack(list(each_image(images, shape)))


def to_vectors(given: Any, length: int) -> Num[Tensor, "samples features"]:
    """Vectors in 64 bits, checked for their length and for what is no number.

    Raises:
        DataError: saying what was expected and what came.
    """
    try:
        vectors = torch.from_numpy(np.array(given, np.float64))
    except (TypeError, ValueError) as error:
        raise DataError(f"Expected vectors of {length} numbers each: {error}.") from error
    if vectors.ndim != 2 or vectors.shape[1] != length or not len(vectors):
        came = list(vectors.shape)
        raise DataError(f"Expected vectors [samples, {length}], but they are of shape {came}.")
    if not bool(torch.isfinite(vectors).all()):
        row = int((~torch.isfinite(vectors)).any(1).nonzero()[0])
        raise DataError(f"Vector {row} holds NaN or infinity; leave it out or fill it in.")
    return vectors


def from_array(array: np.ndarray, shape: Sequence[int]) -> Num[Tensor, "images channels h w"]:
    """One array of images as drawings or photos.

    Raises:
        DataError: if the array is empty or not [images, height, width(, channels)].
    """
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise DataError(
            "Expected an array of images [images, height, width] or [images, height, width, "
            f"channels], none of them empty, but it has the shape {list(array.shape)}."
        )
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    if array.ndim == 3 and shape[0] == 1:  # All at once.
        if array.dtype.kind not in "buif":
            raise DataError(f"Expected numbers, but the array is of type {array.dtype}.")
        if not np.isfinite(array).all():
            wrong = int(np.argmin(np.isfinite(array).all((1, 2))))
            raise ImageError(f"Image {wrong} holds pixels that are NaN or infinite.")
        return to_drawings(array, shape[1])
    return torch.stack(list(each_image(list(array), shape)))


def each_image(
    images: Sequence[Any], shape: Sequence[int]
) -> Iterator[Num[Tensor, "channels h w"]]:
    """Each image as a drawing or a photo; that their sizes differ is said once.

    Raises:
        ImageError: naming the file, or the place of the image, that cannot be read.
    """
    sizes = set()
    for place, image in enumerate(images):
        if isinstance(image, (str, os.PathLike)):
            yield read_image(Path(image), shape)
            continue
        try:
            picture = image if isinstance(image, Image.Image) else to_picture(image)
            sizes.add(picture.size)
            yield to_drawing(picture, shape[1]) if shape[0] == 1 else to_photo(picture, *shape[1:])
        except (ImageError, OSError) as error:
            raise ImageError(f"Image {place} cannot be used: {error}.") from error
    if len(sizes) > 1:
        least, most = min(sizes), max(sizes)
        warnings.warn(
            f"Images of {len(sizes)} sizes, such as {least[0]} x {least[1]} and {most[0]} x "
            f"{most[1]}, are all brought to {shape[2]} x {shape[1]}.",
            stacklevel=2,
        )


def to_picture(given: Any) -> Image.Image:
    """An array [height, width] or [height, width, channels] as a PIL image.

    Raises:
        ImageError: if it is none.
    """
    array = np.asarray(given)
    if array.dtype.kind not in "buif":
        raise ImageError(f"expected {KNOWN}, but it is a {type(given).__name__}")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] > 4):
        turn = array.ndim == 3 and array.shape[0] in (1, 3, 4)
        hint = "; put the axis of channels last, as np.moveaxis(image, 0, -1) does" if turn else ""
        raise ImageError(
            "expected [height, width] or [height, width, channels] with 1, 3 or 4 channels, but "
            f"its shape is {list(array.shape)}{hint}"
        )
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255
    if array.ndim == 2:
        if array.dtype != np.uint8:
            array = array.astype(np.float32 if array.dtype.kind == "f" else np.int32)
        return Image.fromarray(array)
    if array.shape[2] == 2:
        raise ImageError("it has 2 channels; 1, 3 or 4 can be read")
    if array.dtype != np.uint8:
        low, high = float(array.min()), float(array.max())
        if array.dtype.kind != "f" or not (low >= 0 and high <= 1):
            raise ImageError(
                "images in colour must be uint8, or floats in 0 to 1, but this is "
                f"{array.dtype} in {low:g} to {high:g}"
            )
        array = (255 * array).round().astype(np.uint8)
    return Image.fromarray(array)
