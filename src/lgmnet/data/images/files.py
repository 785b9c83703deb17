"""Image files that are decoded once, both to detect their kind and to read them."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from lgmnet.data.images.kind import (
    MAX_SAMPLED_FILES,
    ToneStatistics,
    detect_drawings,
    measure_tones,
    sample_indices,
)
from lgmnet.data.images.read import (
    MIN_DECODED_SIDE,
    REDUCED_FORMATS,
    ImageFile,
    decode_image,
    decoded_side,
    name_in_errors,
    read_image,
)
from lgmnet.errors import DataError, ImageError

MAX_CACHED_PIXELS = 64_000_000
"""Limit for the decoded images that wait for `ImageFiles.read`, in pixels of all together."""


class ImageFiles:
    """Image files that are all drawings or all photos.

    `detect_drawings` decodes a sample of the files and caches it for `read`, which decodes the
    others. So each file is decoded once. Exceptions are sampled images beyond
    ``max_cached_pixels``, and sampled JPEGs if `read` needs another size than they were decoded at.

    Both do one file after the other. Callers that must do other things in between call
    `measure_at` and `read_at` themselves.

    Args:
        files: Image files.
        max_cached_pixels: Limit for the decoded images that wait for `read`, all together.
    """

    def __init__(
        self, files: Sequence[ImageFile], max_cached_pixels: int = MAX_CACHED_PIXELS
    ) -> None:
        self.files = files
        self.max_cached_pixels = max_cached_pixels
        self._decoded: dict[int, Image.Image | ImageError] = {}
        self._sides: dict[int, int] = {}
        """Side at which each of these was decoded."""

    @property
    def sampled(self) -> Sequence[int]:
        """Indices of the files that decide whether the images are drawings."""
        return sample_indices(len(self.files))

    def decode_at(self, index: int, side: int = MIN_DECODED_SIDE) -> Image.Image | ImageError:
        """Decode one file and cache the image for `read_at`, if there is room.

        ``side`` is the least height and width of a JPEG (see `decode_image`).
        """
        if (cached := self._take(index, side)) is not None:
            self._decoded[index] = cached
            return cached
        try:
            image = decode_image(self.files[index], side)
        except ImageError as problem:
            self._decoded[index] = problem
            return problem
        waiting = [other for other in self._decoded.values() if isinstance(other, Image.Image)]
        n_pixels = sum(other.width * other.height for other in [*waiting, image])
        if n_pixels <= self.max_cached_pixels:
            self._decoded[index], self._sides[index] = image, side
        return image

    def _take(self, index: int, side: int) -> Image.Image | ImageError | None:
        """Take a file out of the cache; None if it is absent, or a JPEG decoded at another side."""
        cached = self._decoded.pop(index, None)
        is_reduced = isinstance(cached, Image.Image) and cached.format in REDUCED_FORMATS
        return None if is_reduced and self._sides[index] != side else cached

    def measure_at(self, index: int) -> ToneStatistics | None:
        """Decode one file and measure its tones; None if it cannot be read as a photo."""
        file, image = self.files[index], self.decode_at(index)
        if isinstance(image, ImageError):
            return None
        with suppress(ImageError), name_in_errors(file):  # It may be a drawing all the same.
            return measure_tones(image)
        return None

    def decide(self, tones: Iterable[ToneStatistics | None]) -> tuple[bool, str]:
        """Decide from what `measure_at` gave for all `sampled` files.

        Returns:
            True for drawings, and the reason in words.

        Raises:
            DataError: if none of the sampled images can be read.
        """
        measured = [image_tones for image_tones in tones if image_tones is not None]
        if not measured:
            first = f", the first is '{self.files[0].name}'." if self.files else "."
            problem = self._decoded.get(0)
            reason = f" {problem}" if isinstance(problem, ImageError) else ""
            raise DataError(f"None of {len(self.files)} images could be read{first}{reason}")
        return detect_drawings(measured)

    def measure(self, max_files: int = MAX_SAMPLED_FILES) -> Iterator[ToneStatistics]:
        """Yield the tones of a sample of the images, without those that cannot be read."""
        indices = sample_indices(len(self.files), max_files)
        return filter(None, map(self.measure_at, indices))

    def detect_drawings(self, max_files: int = MAX_SAMPLED_FILES) -> tuple[bool, str]:
        """Decide from a sample of the images whether they are drawings or photos (`decide`)."""
        return self.decide(self.measure(max_files))

    def read_at(
        self, index: int, shape: Sequence[int]
    ) -> UInt8[Tensor, "channels height width"] | ImageError:
        """Read one file (see `read_image`); return its error if it cannot be read."""
        decoded = self._take(index, decoded_side(shape))
        if isinstance(decoded, ImageError):
            return decoded
        try:
            return read_image(self.files[index], shape, decoded)
        except ImageError as problem:
            return problem

    def read(
        self, shape: Sequence[int]
    ) -> Iterator[UInt8[Tensor, "channels height width"] | ImageError]:
        """Read the files in order (see `read_at`)."""
        return (self.read_at(index, shape) for index in range(len(self.files)))
