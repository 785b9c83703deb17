"""Folders of labelled images."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from lgmnet.data.images.files import ImageFiles
from lgmnet.data.images.kind import MAX_SAMPLED_FILES, ToneStatistics
from lgmnet.data.images.layouts import check_class_layout, describe_unused
from lgmnet.data.images.listing import (
    describe_unread,
    list_class_contents,
    list_content,
    list_images_below,
)
from lgmnet.errors import DataError, ImageError
from lgmnet.progress import track_progress


@dataclass(frozen=True)
class LabelledImages:
    """Images of a folder, sorted by class."""

    images: UInt8[Tensor, "images channels height width"]
    labels: list[int]
    """Index of each image's class in ``classes``."""
    classes: list[str]
    """Folder names, sorted."""
    sources: list[str]
    """Path of each file relative to the folder; ``<class>/<image>`` if there are class folders."""
    problems: list[ImageError]
    """Error of each file that could not be read; the other files are in ``images``."""


class ClassFolder:
    """Image files of classes, each decoded once (see `ImageFiles`).

    Args:
        folder: Folder of the class folders, or that the files of a table are relative to.
        files: Image files of each class, in order of their names.
        unused: What images of the folder are not used and why; None if there are none.
    """

    def __init__(
        self, folder: Path, files: Mapping[str, Sequence[Path]], unused: str | None = None
    ) -> None:
        self.folder = folder
        self.files = files
        self.unused = unused
        self._images = ImageFiles([path for paths in files.values() for path in paths])

    @property
    def n_files(self) -> int:
        """Number of image files."""
        return len(self._images.files)

    def measure(self, max_files: int = MAX_SAMPLED_FILES) -> Iterator[ToneStatistics]:
        """Yield the tones of a sample of the images (see `ImageFiles.measure`)."""
        return self._images.measure(max_files)

    def detect_drawings(self, max_files: int = MAX_SAMPLED_FILES) -> tuple[bool, str]:
        """Decide whether the images are drawings or photos (see `ImageFiles.detect_drawings`)."""
        return self._images.detect_drawings(max_files)

    def read(self, shape: Sequence[int] = (1, 28, 28)) -> LabelledImages:
        """Read all images as drawings or photos; classes may have different numbers of images.

        Args:
            shape: [1, side, side] of a drawing, [3, height, width] of a photo.

        Raises:
            DataError: if a class has no image that can be read.
        """
        images: list[Tensor] = []
        labels: list[int] = []
        sources: list[str] = []
        problems: list[ImageError] = []
        results = self._images.read(shape)
        with track_progress("images", self.n_files) as progress:
            for label, (name, paths) in enumerate(self.files.items()):
                n_images, n_problems = len(images), len(problems)
                for path in paths:
                    result = next(results)
                    if isinstance(result, ImageError):
                        problems.append(result)
                    else:
                        images.append(result)
                        labels.append(label)
                        sources.append(self._source(path))
                    progress.advance()
                if len(images) == n_images:
                    reasons = " ".join(map(str, problems[n_problems:]))
                    raise DataError(f"The class '{name}' has no image that can be read. {reasons}")
        return LabelledImages(torch.stack(images), labels, list(self.files), sources, problems)

    def _source(self, path: Path) -> str:
        if path.is_relative_to(self.folder):
            path = path.relative_to(self.folder)
        return path.as_posix()


def scan_class_folder(folder: Path, min_classes: int = 2) -> ClassFolder:
    """List the image files of ``folder/<class>/<image>`` (see `list_class_images`).

    Args:
        folder: Folder of the class folders.
        min_classes: Least number of classes.

    Raises:
        DataError: if there is no such folder, or it has another layout (`check_class_layout`).
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder '{folder}'. Expected {folder}/<class>/<image>.")
    content = list_content(folder)
    classes = list_class_contents(content.folders)
    files = {name: class_content.images for name, class_content in classes.items()}
    unread = [path for each in (content, *classes.values()) for path in each.unread]
    note = describe_unread(unread)
    check_class_layout(folder, files, min_classes, note)
    deeper = [below for class_content in classes.values() for below in class_content.folders]
    unused = describe_unused(content.images + list_images_below(deeper))
    return ClassFolder(folder, files, " ".join(filter(None, (unused, note))) or None)
