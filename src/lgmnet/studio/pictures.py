"""Pictures of a classifier's images, with which another model can be fitted to them later.

A classifier itself holds only what its model takes: small drawings, or features of photos.
"""

import base64
import dataclasses
import json
from collections.abc import Mapping
from functools import lru_cache

import torch
from PIL import Image

from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.classifier.thumbnails import PICTURES_NOTE, THUMBNAILS_NOTE, encode_image
from lgmnet.data.images.read import ImageBytes, to_8_bits, to_white_background
from lgmnet.errors import ConfigError
from lgmnet.studio.classifiers import LabelledFile
from lgmnet.studio.errors import AbsentError
from lgmnet.tensor_file import parse_json

PICTURE_SIDE = 224
"""Shorter side of a picture in pixels; that of the photos that the shipped model takes."""
MAX_PICTURE_RATIO = 4
"""Largest ratio of the sides of a picture; longer images are cut around their centre."""
MAX_PICTURES = 1000
"""Number of images up to which a classifier keeps pictures: about 15 MB."""


def encode_picture(image: Image.Image) -> bytes:
    """Encode a decoded image as a small picture, a WebP file.

    Raises:
        ImageError: if the image holds NaN.
    """
    image = to_8_bits(image)
    image = to_white_background(image) if image.has_transparency_data else image
    width, height = image.size
    longest = MAX_PICTURE_RATIO * min(width, height)
    if max(width, height) > longest:
        left, top = max(0, width - longest) // 2, max(0, height - longest) // 2
        image = image.crop((left, top, left + min(width, longest), top + min(height, longest)))
    scale = PICTURE_SIDE / min(image.size)
    image = image.convert("RGB")
    if scale < 1:
        size = (round(scale * image.width), round(scale * image.height))
        image = image.resize(size, Image.Resampling.BICUBIC)
    return encode_image(image, "WEBP")


def add_pictures(fitted: FittedClassifier, new: Mapping[str, str]) -> FittedClassifier:
    """Return a classifier with further pictures, by source; those of absent images are dropped."""
    known = {**read_pictures(fitted), **new}
    sources = fitted.support.sources if len(fitted.support.sources) <= MAX_PICTURES else ()
    present = {source: known[source] for source in sources if source in known}
    notes = {**fitted.notes, PICTURES_NOTE: json.dumps(present)}
    return dataclasses.replace(fitted, notes=notes)


def read_pictures(fitted: FittedClassifier) -> Mapping[str, str]:
    """Return the pictures of a classifier, in base 64, by source."""
    return read_texts(fitted.notes.get(PICTURES_NOTE, "{}"))


@lru_cache(maxsize=4)  # The page asks for one picture after the other.
def read_texts(note: str) -> Mapping[str, str]:
    """Read a note that is a JSON object of pictures by source; empty if it is damaged."""
    try:
        pictures = parse_json(note)
    except ValueError:
        return {}
    return pictures if isinstance(pictures, dict) else {}


def decode_picture(pictures: Mapping[str, str], source: str) -> bytes | None:
    """Return a picture as a file, None if there is none or it is no base 64."""
    try:
        return base64.b64decode(pictures[source], validate=True)
    except (KeyError, ValueError, TypeError):  # A file may come from anybody.
        return None


def thumbnail(fitted: FittedClassifier, place: int) -> bytes:
    """Return a small picture of the support image with this index, as PNG or WebP.

    Of a drawing it is what the model takes. Of a photo it is the picture that the studio keeps, or
    else the thumbnail.

    Raises:
        AbsentError: if there is no such image, or no picture of it.
    """
    support = fitted.support
    if not 0 <= place < len(support.samples):
        raise AbsentError(f"There is no image {place}; there are 0 to {len(support.samples) - 1}.")
    sample = support.samples[place]
    if sample.ndim == 3 and sample.dtype == torch.uint8:
        pixels = 255 - sample[0] if len(sample) == 1 else sample.movedim(0, 2)
        return encode_image(Image.fromarray(pixels.numpy()), "PNG")
    for note in (PICTURES_NOTE, THUMBNAILS_NOTE):
        pictures = read_texts(fitted.notes.get(note, "{}"))
        if (data := decode_picture(pictures, support.sources[place])) is not None:
            return data
    raise AbsentError("The classifier has no picture of this photo, only its features.")


def pictured_files(fitted: FittedClassifier) -> list[LabelledFile]:
    """Return the pictures of all images of a classifier as files.

    Raises:
        ConfigError: if it lacks a picture.
    """
    pictures, support = read_pictures(fitted), fitted.support
    files = []
    for source, label in zip(support.sources, support.labels.tolist(), strict=True):
        try:
            data = base64.b64decode(pictures[source], validate=True)
        except (KeyError, ValueError, TypeError) as error:
            raise ConfigError(
                "The model can only be switched while the classifier holds the pictures of all its "
                f"images. It holds none of '{source}': it was made outside of the studio, or has "
                f"more than {MAX_PICTURES} images. Make it again from the image files."
            ) from error
        files.append(LabelledFile(fitted.classes[label], ImageBytes(source, data)))
    return files
