"""Conversion of a user's input (files, PIL images, arrays, vectors) to samples of a model."""

import copy
import io
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from jaxtyping import Num
from PIL import Image
from torch import Tensor

from lgmnet.data.images.arrays import (
    BYTES,
    CHANNELS,
    IMAGE_FORMS,
    move_channels_last,
    to_array,
    to_image_file,
    to_pil_image,
)
from lgmnet.data.images.kind import (
    ToneStatistics,
    measure_tones,
    sample_indices,
)
from lgmnet.data.images.label_table import FILE_COLUMN, LABEL_COLUMN
from lgmnet.data.images.read import (
    MIN_DECODED_SIDE,
    convert_image,
    decode_image,
    read_image,
    to_drawings,
)
from lgmnet.errors import DataError, ImageError
from lgmnet.input_spec import InputSpec

NUMERIC_KINDS = tuple("buifc")


def to_samples(inputs: Any, shape: Sequence[int]) -> Num[Tensor, "samples *feature"]:
    """Convert a user's input to the samples that a model takes.

    Args:
        inputs: For a model of images, a sequence of paths, PIL images, arrays, or files as bytes
            or BytesIO, which may be mixed; or one array [images, height, width] or [images, height,
            width, 1, 3 or 4 channels]; uint8, or floats in 0 to 1 (drawings: in any range). An
            array of paths is such a sequence, and so is the column ``file`` of a DataFrame. For a
            model of vectors, an array [samples, features].
        shape: Shape of one sample: [1, side, side] of a drawing, [3, height, width] of a photo, or
            [features] of a vector.

    Returns:
        uint8 images, or vectors in 64 bits. No images give no samples.

    Raises:
        ImageError: naming the file or the index of the image that cannot be read.
        DataError: if the input is of another kind, or there are no vectors.
    """
    inputs = collect_inputs(inputs)
    spec = InputSpec(tuple(shape))
    if not spec.is_image:
        return to_vectors(inputs, length=spec.shape[-1])
    if not len(inputs):
        return torch.empty(0, *spec.shape, dtype=torch.uint8)
    if isinstance(inputs, (np.ndarray, Tensor)):
        return convert_array(inputs, spec)
    return torch.stack(list(convert_images(inputs, spec)))


def are_vectors(inputs: Any) -> bool:
    """Return True if a user's input is a table of numbers, one row for each sample."""
    if hasattr(inputs, "ndim"):
        is_numeric = getattr(getattr(inputs, "dtype", None), "kind", "f") in "buif"
        return bool(inputs.ndim == 2 and is_numeric)
    if not isinstance(inputs, (list, tuple)) or not inputs:
        return False
    first: Any = inputs[0]
    if isinstance(first, (*BYTES, Image.Image)):
        return False
    with suppress(ImageError):
        return to_array(first).ndim == 1
    return False


def measure_inputs(inputs: Any, max_images: int) -> Iterator[ToneStatistics]:
    """Yield the tones of a sample of a user's images, without those that cannot be measured.

    Args:
        inputs: What `to_samples` takes for a model of images.
        max_images: Largest number of images to measure.

    Raises:
        DataError: if the input is a single image, or no sequence at all.
    """
    images = collect_inputs(inputs)
    for index in sample_indices(len(images), max_images):
        with suppress(ImageError, OSError):  # Converting the images gives the same error.
            yield measure_input(images[index], index)


def measure_input(image: Any, index: int) -> ToneStatistics:
    """Measure the tones of one image (see `measure_tones`).

    Raises:
        ImageError: if it cannot be read.
    """
    if (file := to_image_file(image, index)) is not None:
        return measure_tones(decode_image(file, MIN_DECODED_SIDE))
    if isinstance(image, Image.Image):
        return measure_tones(image)
    array = to_array(image)
    if array.ndim == 3:
        array = move_channels_last(array)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim == 2 and array.size and np.isfinite(array).all():
        # Gray drawings may be in any range, and the measures do not depend on it.
        array = np.interp(array, (array.min(), max(array.max(), array.min() + 1e-9)), (0, 255))
        array = array.astype(np.uint8)
    return measure_tones(to_pil_image(array))


def collect_inputs(inputs: Any) -> Any:
    """Collect a user's input, so that its samples can be counted and read several times.

    Returns:
        A list, or numbers as they came: an array, a tensor, or a table of several columns. Tensors
        are such that NumPy reads them.

    Raises:
        DataError: if the input is a single image, or no sequence at all.
    """
    check_is_sequence(inputs)
    if isinstance(inputs, (list, tuple)):
        return [to_readable_tensor(x) if isinstance(x, Tensor) else x for x in inputs]
    if isinstance(inputs, Tensor):
        return to_readable_tensor(inputs)
    if hasattr(inputs, "columns"):  # A DataFrame, of pandas or another library.
        if FILE_COLUMN in list(inputs.columns):
            return list(inputs[FILE_COLUMN])
        is_numeric = np.asarray(inputs).dtype.kind in NUMERIC_KINDS
        return inputs if is_numeric else collect_inputs(np.asarray(inputs))
    if isinstance(inputs, Sequence):
        return inputs
    if not isinstance(inputs, Iterable):
        return np.asarray(inputs)
    if getattr(getattr(inputs, "dtype", None), "kind", "") in NUMERIC_KINDS:
        return inputs
    if isinstance(inputs, np.ndarray) and inputs.ndim == 2 and inputs.shape[1] == 1:
        return list(inputs[:, 0])
    return list(inputs)


def check_is_sequence(inputs: Any) -> None:
    """Check that a user's input is a sequence of samples, and not one sample or anything else.

    Raises:
        DataError: if it is no such sequence.
    """
    if isinstance(inputs, (str, bytes, bytearray, os.PathLike, io.IOBase, Image.Image)):
        raise DataError(
            f"Expected a sequence of {IMAGE_FORMS}, but got a single one; put it into a list."
        )
    shape = tuple(getattr(inputs, "shape", [-1]))
    is_sequence = isinstance(inputs, Iterable) or hasattr(inputs, "__array__")
    if not shape or not is_sequence or isinstance(inputs, Set):  # A set has no order.
        raise DataError(
            f"Expected a sequence of {IMAGE_FORMS}, or vectors, but got {inputs!r:.100}."
        )
    if len(shape) == 3 and shape[2] in CHANNELS:
        raise DataError(
            f"Expected several images, but an array of the shape {list(shape)} is a single one "
            "with its channels; put it into a list, or make gray images wider."
        )


def to_readable_tensor(tensor: Tensor) -> Tensor:
    """Return a tensor that NumPy can read: dense, on the CPU, without gradients, not in bf16."""
    tensor = tensor.detach().cpu()
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    return tensor.float() if tensor.dtype == torch.bfloat16 else tensor


def table_labels(inputs: Any) -> Any:
    """Return the column ``label`` of a DataFrame, of input that came without other labels.

    Raises:
        DataError: if there is no such column.
    """
    if hasattr(inputs, "columns"):
        columns = list(inputs.columns)
        if {FILE_COLUMN, LABEL_COLUMN} <= set(columns):
            return inputs[LABEL_COLUMN]
        names = ", ".join(f"'{name}'" for name in columns[:10])
        raise DataError(
            f"Without y, a table must have the columns '{FILE_COLUMN}' and '{LABEL_COLUMN}', but "
            f"has {names or 'none'}. Rename its columns, or give y."
        )
    if isinstance(inputs, (str, os.PathLike)):
        raise DataError(
            f"Expected images and the label of each, but got the path '{os.fspath(inputs)}'. For a "
            "folder of classes, use the command lgmnet forge, or list its files: paths = "
            f"sorted(Path({os.fspath(inputs)!r}).glob('*/*')), y = [p.parent.name for p in paths]."
        )
    raise DataError("This FewShotClassifier requires y to be passed, but the target y is None.")


def warn_of_channels(shape: Sequence[int]) -> None:
    """Warn that an image was read with its channels first."""
    warnings.warn(
        f"An image of shape {list(shape)} is read with its channels first. To be sure, move them "
        "to the last axis: np.moveaxis(image, 0, -1).",
        stacklevel=2,
    )


def check_image_array(array: np.ndarray) -> None:
    """Check the shape of an array of images.

    Raises:
        DataError: if the array is empty or not [images, height, width(, channels)].
    """
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise DataError(
            "Expected an array of images [images, height, width] or [images, height, width, "
            f"channels], none of them empty, but it has the shape {list(array.shape)}."
        )


def to_vectors(inputs: Any, length: int) -> Num[Tensor, "samples features"]:
    """Convert to vectors in 64 bits, and check their length and their values.

    Raises:
        DataError: naming what was expected and what came.
    """
    try:
        vectors = torch.from_numpy(np.array(inputs, np.float64))
    except (TypeError, ValueError) as error:
        raise DataError(f"Expected vectors of {length} numbers each: {error}.") from error
    if vectors.ndim != 2 or vectors.shape[1] != length or not len(vectors):
        actual = list(vectors.shape)
        raise DataError(f"Expected vectors [samples, {length}], but they are of shape {actual}.")
    if not bool(torch.isfinite(vectors).all()):
        row = int((~torch.isfinite(vectors)).any(1).nonzero()[0])
        raise DataError(f"Vector {row} holds NaN or infinity; leave it out or fill it in.")
    return vectors


def check_vectors(estimator: Any, inputs: Any, *, reset: bool) -> np.ndarray:
    """Check vectors as scikit-learn does for an estimator, and leave the estimator as it is.

    If ``reset`` is False, their length must be the one that it was fitted to.

    Raises:
        DataError: if they are no vectors that it can take.
    """
    from sklearn.utils.validation import validate_data

    try:
        vectors: np.ndarray = validate_data(
            copy.copy(estimator), inputs, reset=reset, dtype=np.float64
        )
    except ValueError as error:
        hint = "" if are_vectors(inputs) else "; images, in one flat list, are for other models"
        reason = str(error).rstrip(".")
        raise DataError(
            f"Expected vectors, as an array of numbers [samples, features]{hint}: {reason}."
        ) from error
    return vectors


def convert_array(
    numbers: np.ndarray | Tensor, spec: InputSpec
) -> Num[Tensor, "images channels h w"]:
    """Convert one array of images to drawings or photos.

    Raises:
        DataError: if the array is empty or not [images, height, width(, channels)].
    """
    array = np.asarray(numbers)
    check_image_array(array)
    if array.ndim == 4 and (moved := move_channels_last(array)) is not array:
        if not isinstance(numbers, Tensor):  # For tensors, this is the usual order.
            warn_of_channels(array.shape[1:])
        array = moved
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    if array.ndim == 3 and spec.kind == "drawing":  # All images at once.
        if array.dtype.kind not in "buif":
            raise DataError(f"Expected numbers, but the array is of type {array.dtype}.")
        if not np.isfinite(array).all():
            index = int(np.argmin(np.isfinite(array).all((1, 2))))
            raise ImageError(f"Image {index} holds pixels that are NaN or infinite.")
        return to_drawings(array, spec.shape[-1])
    return torch.stack(list(convert_images(list(array), spec)))


def convert_images(images: Sequence[Any], spec: InputSpec) -> Iterator[Num[Tensor, "channels h w"]]:
    """Convert each image to a drawing or a photo, and warn once if their sizes differ.

    Raises:
        ImageError: naming the file or the index of the image that cannot be read.
    """
    sizes = set()
    warned = False
    for index, image in enumerate(images):
        if (file := to_image_file(image, index)) is not None:
            yield read_image(file, spec.shape)
            continue
        if isinstance(image, np.ndarray) and image.ndim == 3 and not warned:
            warned = move_channels_last(image) is not image
            if warned:
                warn_of_channels(image.shape)
        try:
            picture = image if isinstance(image, Image.Image) else to_pil_image(image)
            sizes.add(picture.size)
            yield convert_image(picture, spec.shape)
        except (ImageError, OSError) as error:
            raise ImageError(f"Image {index} cannot be used: {error}.") from error
    if len(sizes) > 1:
        smallest, largest = min(sizes), max(sizes)
        warnings.warn(
            f"Images of {len(sizes)} sizes, such as {smallest[0]} x {smallest[1]} and "
            f"{largest[0]} x {largest[1]}, are all resized to {spec.shape[2]} x {spec.shape[1]}.",
            stacklevel=2,
        )
