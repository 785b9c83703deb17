"""Folders of labelled images: listed once, each image decoded once."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from lgmnet.data.images.kind import detect_drawings
from lgmnet.data.images.read import (
    MAX_IMAGE_PIXELS,
    ImageBytes,
    LabelledImages,
    list_class_images,
    to_drawing,
    to_photo,
    to_upright,
)
from lgmnet.errors import DataError, ImageError
from lgmnet.progress import track_progress

MAX_SAMPLED_FILES = 24
SAMPLED_MIN_SIDE = 448
"""Least height and width at which a sampled JPEG is decoded. It serves as a drawing, and as a photo
of the shipped model, which has half this side."""
PREVIEW_SIDE = 128
MAX_CACHED_PIXELS = 64_000_000
"""Limit for the decoded images that wait for `ClassFolder.read`, in pixels of all together."""


class ClassFolder:
    """Image files of ``folder/<class>/<image>``.

    `detect_drawings` decodes some of the images and keeps them for `read`, which decodes the
    others. So each image is decoded once. Exceptions are sampled images beyond `MAX_CACHED_PIXELS`,
    and all of them if `read` needs another size than they were decoded at.

    Args:
        folder: Folder of the class folders.
        files: Image files of each class, in order of their names.
    """

    def __init__(self, folder: Path, files: Mapping[str, Sequence[Path]]) -> None:
        self.folder = folder
        self.files = files
        self._decoded: dict[Path, Image.Image | ImageError] = {}

    @property
    def n_files(self) -> int:
        """Number of image files."""
        return sum(map(len, self.files.values()))

    def detect_drawings(self) -> tuple[bool, str]:
        """Decide from a sample of the images whether they are drawings or photos.

        Returns:
            True for drawings, and the reason in words.

        Raises:
            DataError: if none of the sampled images can be read.
        """
        paths = [path for class_files in self.files.values() for path in class_files]
        previews: list[ImageBytes] = []
        n_pixels = 0
        for path in paths[:: max(1, len(paths) // MAX_SAMPLED_FILES)][:MAX_SAMPLED_FILES]:
            try:
                image = decode_image(path, SAMPLED_MIN_SIDE)
            except ImageError as problem:
                self._decoded[path] = problem
                continue
            if n_pixels + image.width * image.height <= MAX_CACHED_PIXELS:
                self._decoded[path] = image
                n_pixels += image.width * image.height
            with suppress(ImageError):  # It may serve as a drawing all the same.
                previews.append(make_preview(image, path.name))
        if not previews:
            first = f", the first is '{paths[0].name}'" if paths else ""
            raise DataError(f"None of {len(paths)} images could be read{first}.")
        return detect_drawings(previews)

    def read(self, shape: Sequence[int] = (1, 28, 28)) -> LabelledImages:
        """Read all images as drawings or photos; classes may have different numbers of images.

        Args:
            shape: [1, side, side] of a drawing, [3, height, width] of a photo.

        Raises:
            DataError: if a class has no image that can be read.
        """
        # Photos are decoded at the size of `read_photo`, so that their pixels are the same.
        is_drawing = shape[0] == 1
        min_side = max(SAMPLED_MIN_SIDE, 2 * shape[1]) if is_drawing else 2 * max(shape[1:])
        if min_side != SAMPLED_MIN_SIDE:
            self._decoded.clear()
        images: list[Tensor] = []
        labels: list[int] = []
        sources: list[str] = []
        problems: list[ImageError] = []
        with track_progress("images", self.n_files) as progress:
            for label, (name, paths) in enumerate(self.files.items()):
                n_images, n_problems = len(images), len(problems)
                for path in paths:
                    try:
                        images.append(self._read_image(path, shape, min_side))
                        labels.append(label)
                        sources.append(f"{name}/{path.name}")
                    except ImageError as problem:
                        problems.append(problem)
                    progress.advance()
                if len(images) == n_images:
                    reasons = " ".join(map(str, problems[n_problems:]))
                    raise DataError(
                        f"The class '{name}' has no image that can be read in "
                        f"'{self.folder / name}'. {reasons}"
                    )
        return LabelledImages(torch.stack(images), labels, list(self.files), sources, problems)

    def _read_image(
        self, path: Path, shape: Sequence[int], min_side: int
    ) -> UInt8[Tensor, "channels height width"]:
        image = self._decoded.pop(path, None)
        if image is None:
            image = decode_image(path, min_side)
        if isinstance(image, ImageError):
            raise image
        with translate_image_errors(path):
            return to_drawing(image, shape[1]) if shape[0] == 1 else to_photo(image, *shape[1:])


def scan_class_folder(folder: Path, min_classes: int = 2) -> ClassFolder:
    """List the image files of ``folder/<class>/<image>``.

    Hidden files and files without the suffix of an image are skipped.

    Args:
        folder: Folder of the class folders.
        min_classes: Least number of classes.

    Raises:
        DataError: if there is no such folder, or it has fewer classes.
    """
    return ClassFolder(folder, list_class_images(folder, min_classes))


def decode_image(path: Path, min_side: int) -> Image.Image:
    """Decode an image file, and rotate it as its EXIF data say.

    Args:
        path: Image file.
        min_side: Least height and width of the result, if the file's image is larger. A JPEG is
            decoded at a reduced size, which saves most of the time; other formats are not.

    Raises:
        ImageError: naming the file, if it is absent, damaged or too large.
    """
    if not path.is_file():
        raise ImageError(f"There is no image file '{path}'.")
    with translate_image_errors(path), warnings.catch_warnings():
        # Pillow warns of files that it can read all the same, and of large sizes, for which our
        # own limit raises an error that names the file.
        warnings.simplefilter("ignore")
        with Image.open(path) as image:
            if image.width * image.height <= MAX_IMAGE_PIXELS:  # `to_upright` refuses the others.
                image.draft("RGB", (min_side, min_side))
            return to_upright(image)


def make_preview(image: Image.Image, name: str) -> ImageBytes:
    """Make a small copy of an image for `detect_drawings`, which takes image files.

    Raises:
        ImageError: if the image holds NaN, or numbers that no photo has.
    """
    pixels = to_photo(image, PREVIEW_SIDE, PREVIEW_SIDE).movedim(0, 2).numpy()
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PPM")
    return ImageBytes(name, stream.getvalue())


@contextmanager
def translate_image_errors(path: Path) -> Iterator[None]:
    """Turn any error of reading an image into one that names its file.

    Raises:
        ImageError: naming the file.
    """
    try:
        yield
    except UnidentifiedImageError as error:
        raise ImageError(
            f"'{path}' cannot be read as an image: it has no known format, such as PNG or JPEG, or "
            "its beginning is damaged."
        ) from error
    except Exception as error:  # Pillow's readers raise any exception if a file is damaged.
        raise ImageError(f"'{path}' cannot be read as an image: {error}.") from error
