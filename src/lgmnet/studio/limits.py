"""Limits of the studio for a request and for a classifier."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from lgmnet.classifier.names import has_controls, is_blank
from lgmnet.data.images.read import ImageBytes
from lgmnet.errors import ConfigError, DataError
from lgmnet.studio.errors import RequestTooLargeError


@dataclass(frozen=True)
class Limits:
    """Limits that keep a request from doing harm.

    `max_images` and `max_pixels` are those in one request.
    """

    max_body_bytes: int = 64_000_000
    max_image_bytes: int = 20_000_000
    max_images: int = 1000
    max_pixels: int = 100_000_000
    """Limit for the cost of decoding (`decoding_cost`)."""
    max_classes: int = 200
    max_images_per_class: int = 500
    max_name_length: int = 200
    n_undo: int = 20
    """Number of earlier versions of a classifier that are kept; see `Store`."""
    max_in_flight: int = 64
    body_seconds: float = 10.0
    """Seconds in which the next part of a body must arrive; see `BodyReader`."""

    def check_images(self, files: Sequence[ImageBytes]) -> None:
        """Check number and size of the images of a request.

        Raises:
            RequestTooLargeError: if there are too many images.
            DataError: if one is too large.
        """
        if len(files) > self.max_images:
            raise RequestTooLargeError(
                f"Expected at most {self.max_images} images in one request, but got {len(files)}. "
                "Send them in several requests."
            )
        for file in files:
            if len(file.data) > self.max_image_bytes:
                raise DataError(
                    f"'{file.name}' has {len(file.data):,} bytes; an image has at most "
                    f"{self.max_image_bytes:,}. Make it smaller."
                )

    def check_names(self, names: Iterable[str]) -> None:
        """Check names of classifiers or classes.

        Raises:
            ConfigError: if a name is blank or too long, or holds control characters.
        """
        for name in names:
            if is_blank(name) or len(name) > self.max_name_length:
                raise ConfigError(
                    f"Expected a name of 1 to {self.max_name_length} characters that is not blank, "
                    f"but got {name[: self.max_name_length]!a}."
                )
            if has_controls(name):
                raise ConfigError(f"The name {name!a} holds control characters; leave them out.")

    def name_of_file(self, file_name: str) -> str:
        """Return the name of a file without its ending, as the name of a classifier.

        Characters that no name may have are left out.
        """
        stem = PurePath(file_name.replace("\\", "/")).stem
        name = "".join(c for c in stem if not has_controls(c))[: self.max_name_length].strip()
        return "opened" if is_blank(name) else name

    def check_classes(self, n_images: Mapping[str, int]) -> None:
        """Check the number of classes, and the number of images of each.

        Raises:
            ConfigError: if there are too many classes, or too many images of one.
        """
        if len(n_images) > self.max_classes:
            raise ConfigError(
                f"A classifier has at most {self.max_classes} classes here, but this one would "
                f"have {len(n_images)}."
            )
        for name, n in n_images.items():
            if n > self.max_images_per_class:
                raise ConfigError(
                    f"A class has at most {self.max_images_per_class} images here, but '{name}' "
                    f"would have {n}."
                )
