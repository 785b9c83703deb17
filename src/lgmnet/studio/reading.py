"""Reading of the images of requests, so that no request keeps the others waiting for long."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar, cast

import anyio
from torch import Tensor

from lgmnet.data.images.files import ImageFiles
from lgmnet.data.images.read import ImageBytes, decoded_side, decoding_cost
from lgmnet.errors import ImageError
from lgmnet.studio.errors import RequestTooLargeError
from lgmnet.studio.pictures import PICTURE_SIDE, encode_picture

T = TypeVar("T")
MAX_SMALL_COST = 4_000_000
"""Cost of decoding (`decoding_cost`) up to which an image is small: about 0.1 s."""
MAX_SMALL_BYTES = 1_000_000
"""Size up to which the header of a file is certainly read within 0.1 s."""
MAX_WAITING_PIXELS = 8_000_000
"""Limit for the decoded images of one request that wait while others are read."""


@dataclass(frozen=True)
class RequestImages:
    """Image files of one request, with the cost of decoding each."""

    files: ImageFiles
    costs: Sequence[int]


class ImageReader:
    """Reader of the images of all requests, in threads.

    A few small images, or a single large one, are read at a time. In between, images of other
    requests are read, and the request can be cancelled. Large images have a thread of their own,
    one for all requests, so that small images never wait for them, and only one needs much memory.

    Args:
        small: Limiter of the threads that read small images.
        max_cost: Limit for the cost of decoding all images of a request.
    """

    def __init__(self, small: anyio.CapacityLimiter, max_cost: int) -> None:
        self.small, self.large = small, anyio.CapacityLimiter(1)
        self.max_cost = max_cost

    async def run(self, function: Callable[[], T], *, is_large: bool) -> T:
        """Run a function in a thread for small or large images."""
        limiter = self.large if is_large else self.small
        return await anyio.to_thread.run_sync(function, limiter=limiter)

    async def open(self, files: Sequence[ImageBytes]) -> RequestImages:
        """Estimate the cost of decoding images from their headers.

        Raises:
            RequestTooLargeError: if they cost more than ``max_cost`` together.
        """
        sizes = [len(file.data) for file in files]
        costs = await self._run_parts(
            lambda index: decoding_cost(files[index]), range(len(files)), sizes, MAX_SMALL_BYTES
        )
        if sum(costs) > self.max_cost:
            raise RequestTooLargeError(
                f"The {len(files)} images of this request are too large: decoding them costs as "
                f"much as a PNG of {sum(costs):,} pixels, and at most {self.max_cost:,} are "
                "allowed (JPEGs cost an eighth). Make them smaller, or send them in several "
                "requests."
            )
        return RequestImages(ImageFiles(files, MAX_WAITING_PIXELS), costs)

    async def detect_drawings(self, images: RequestImages) -> tuple[bool, str]:
        """Decide whether images are drawings (see `ImageFiles.detect_drawings`)."""
        files, costs = images.files, images.costs
        return files.decide(
            await self._run_parts(files.measure_at, files.sampled, costs, MAX_SMALL_COST)
        )

    async def read_with_pictures(
        self, images: RequestImages, shape: Sequence[int]
    ) -> list[tuple[Tensor, bytes] | ImageError]:
        """Read images in a shape, each with its picture (see `encode_picture`)."""
        files, costs = images.files, images.costs
        # One size serves both, so that a JPEG is decoded once, unless the model takes tiny photos.
        side = max(decoded_side(shape), PICTURE_SIDE)

        def read_at(index: int) -> tuple[Tensor, bytes] | ImageError:
            decoded = files.decode_at(index, side)
            sample = files.read_at(index, shape)
            if isinstance(decoded, ImageError) or isinstance(sample, ImageError):
                return decoded if isinstance(decoded, ImageError) else cast(ImageError, sample)
            try:
                return sample, encode_picture(decoded)
            except ImageError:  # A drawing of numbers in another range than that of photos.
                return sample, b""

        return await self._run_parts(read_at, range(len(costs)), costs, MAX_SMALL_COST)

    async def read(self, images: RequestImages, shape: Sequence[int]) -> list[Tensor | ImageError]:
        """Read images in a shape (see `ImageFiles.read`)."""
        files, costs = images.files, images.costs
        return await self._run_parts(
            lambda index: files.read_at(index, shape), range(len(costs)), costs, MAX_SMALL_COST
        )

    async def _run_parts(
        self,
        function: Callable[[int], T],
        indices: Sequence[int],
        costs: Sequence[int],
        max_cost: int,
    ) -> list[T]:
        """Apply a function to the indices of files, in parts that cost ``max_cost`` at most."""
        results: list[T] = []
        for part in split_by_cost(indices, costs, max_cost):
            run: Callable[[], list[T]] = partial(list, map(function, part))
            results += await self.run(run, is_large=costs[part[0]] > max_cost)
        return results


def split_by_cost(indices: Sequence[int], costs: Sequence[int], max_cost: int) -> list[list[int]]:
    """Divide indices into parts that cost ``max_cost`` at most, in the same order.

    What costs more is a part of its own.
    """
    parts: list[list[int]] = []
    total = 0
    for index in indices:
        total += costs[index]
        if not parts or total > max_cost:
            parts.append([])
            total = costs[index]
        parts[-1].append(index)
    return parts
