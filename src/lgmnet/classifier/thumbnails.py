"""Thumbnails of photos in a classifier, which otherwise keeps only their features."""

import base64
import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache

from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.tensor_file import parse_json

THUMBNAILS_NOTE = "thumbnails"
"""Note of a classifier: a JSON object with the thumbnail of each photo, in base 64, by source."""
PICTURES_NOTE = "pictures"
"""Note of a classifier: a JSON object with the picture of each image, in base 64, by source (see
`lgmnet.studio.pictures`)."""
THUMBNAIL_SIDE = 112


def add_thumbnails(
    fitted: FittedClassifier,
    sources: Sequence[str],
    pixels: UInt8[Tensor, "images channels height width"],
) -> FittedClassifier:
    """Return a classifier of photos with thumbnails of new photos, one of drawings as it is.

    A classifier of photos keeps only their features, so its photos cannot be shown without
    thumbnails. Those of photos that it no longer has are dropped.

    Args:
        fitted: The classifier.
        sources: Sources of the new photos.
        pixels: Their pixels, as the model takes them.
    """
    if not fitted.backbone:
        return fitted
    thumbnails = {**read_pictures(fitted, THUMBNAILS_NOTE)}
    size = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    for source, photo in zip(sources, pixels, strict=True):
        image = Image.fromarray(photo.movedim(0, 2).contiguous().numpy())
        data = encode_image(image.resize(size, Image.Resampling.BICUBIC), "WEBP")
        thumbnails[source] = base64.b64encode(data).decode()
    present = {s: thumbnails[s] for s in fitted.support.sources if s in thumbnails}
    notes = {**fitted.notes, THUMBNAILS_NOTE: json.dumps(present)}
    return dataclasses.replace(fitted, notes=notes)


def without_images(fitted: FittedClassifier) -> FittedClassifier:
    """Return a classifier without its support samples, their file names and pictures of them."""
    names = (THUMBNAILS_NOTE, PICTURES_NOTE)
    notes = {name: note for name, note in fitted.notes.items() if name not in names}
    return dataclasses.replace(fitted, support=fitted.support.without_samples(), notes=notes)


def find_thumbnail(fitted: FittedClassifier, place: int) -> bytes | None:
    """Return the thumbnail of the support photo with this index; None if there is none."""
    return find_picture(fitted, THUMBNAILS_NOTE, place)


def find_picture(fitted: FittedClassifier, note: str, place: int) -> bytes | None:
    """Return the picture that a note holds of the support image with this index, as a file.

    None if there is none, or what is there is no base 64.
    """
    try:
        source = fitted.support.sources[place]
        return base64.b64decode(read_pictures(fitted, note)[source], validate=True)
    except (KeyError, ValueError, TypeError):  # A file may come from anybody.
        return None


def read_pictures(fitted: FittedClassifier, note: str) -> Mapping[str, str]:
    """Return the pictures that a note of a classifier holds, in base 64, by source."""
    return parse_pictures(fitted.notes.get(note, "{}"))


@lru_cache(maxsize=4)  # The studio's page asks for one picture after the other.
def parse_pictures(text: str) -> Mapping[str, str]:
    """Parse a JSON object of pictures by source; empty if it is damaged."""
    try:
        pictures = parse_json(text)
    except ValueError:
        return {}
    return pictures if isinstance(pictures, dict) else {}


def encode_image(image: Image.Image, format: str) -> bytes:
    """Encode an image as a file of a format that Pillow knows."""
    out = io.BytesIO()
    image.save(out, format)
    return out.getvalue()
