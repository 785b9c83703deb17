"""Image files that are decoded once, both to detect their kind and to read them."""

from collections.abc import Iterator, Sequence
from contextlib import suppress

from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from lgmnet.data.images.kind import detect_drawings, measure_tones
from lgmnet.data.images.read import (
    MIN_DECODED_SIDE,
    ImageFile,
    decode_image,
    decoded_side,
    name_in_errors,
    read_image,
)
from lgmnet.errors import DataError, ImageError

MAX_SAMPLED_FILES = 24
MAX_CACHED_PIXELS = 64_000_000
"""Limit for the decoded images that wait for `ImageFiles.read`, in pixels of all together."""


class ImageFiles:
    """Image files that are all drawings or all photos.

    `detect_drawings` decodes a sample of the files and caches it for `read`, which decodes the
    others. So each file is decoded once. Exceptions are sampled images beyond `MAX_CACHED_PIXELS`,
    and all of them if `read` needs another size than they were decoded at.

    Args:
        files: Image files.
    """

    def __init__(self, files: Sequence[ImageFile]) -> None:
        self.files = files
        self._decoded: dict[int, Image.Image | ImageError] = {}

    def detect_drawings(self) -> tuple[bool, str]:
        """Decide from a sample of the images whether they are drawings or photos.

        Returns:
            True for drawings, and the reason in words.

        Raises:
            DataError: if none of the sampled images can be read.
        """
        step = max(1, len(self.files) // MAX_SAMPLED_FILES)
        tones = []
        n_pixels = 0
        for index in range(0, len(self.files), step)[:MAX_SAMPLED_FILES]:
            file = self.files[index]
            try:
                image = decode_image(file, MIN_DECODED_SIDE)
            except ImageError as problem:
                self._decoded[index] = problem
                continue
            if n_pixels + image.width * image.height <= MAX_CACHED_PIXELS:
                self._decoded[index] = image
                n_pixels += image.width * image.height
            with suppress(ImageError), name_in_errors(file):  # It may be a drawing all the same.
                tones.append(measure_tones(image))
        if not tones:
            first = f", the first is '{self.files[0].name}'" if self.files else ""
            raise DataError(f"None of {len(self.files)} images could be read{first}.")
        return detect_drawings(tones)

    def read(
        self, shape: Sequence[int]
    ) -> Iterator[UInt8[Tensor, "channels height width"] | ImageError]:
        """Read the files in order (see `read_image`); yield the error of an unreadable file."""
        if decoded_side(shape) != MIN_DECODED_SIDE:
            self._decoded.clear()
        for index, file in enumerate(self.files):
            decoded = self._decoded.pop(index, None)
            result: Tensor | ImageError
            try:
                if isinstance(decoded, ImageError):
                    raise decoded
                result = read_image(file, shape, decoded)
            except ImageError as problem:
                result = problem
            yield result
