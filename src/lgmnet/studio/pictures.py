"""Pictures of a classifier's images, with which another model can be fitted to them later.

A classifier itself holds only what its model takes: small drawings, or features of photos.
"""

import dataclasses
import json
from collections.abc import Mapping

import torch
from PIL import Image

from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.classifier.thumbnails import (
    PICTURES_NOTE,
    THUMBNAILS_NOTE,
    encode_image,
    find_picture,
    read_pictures,
)
from lgmnet.data.images.read import ImageBytes, to_8_bits, to_white_background
from lgmnet.errors import ConfigError
from lgmnet.studio.classifiers import LabelledFile
from lgmnet.studio.errors import AbsentError

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
    known = {**read_pictures(fitted, PICTURES_NOTE), **new}
    sources = fitted.support.sources if len(fitted.support.sources) <= MAX_PICTURES else ()
    present = {source: known[source] for source in sources if source in known}
    notes = {**fitted.notes, PICTURES_NOTE: json.dumps(present)}
    return dataclasses.replace(fitted, notes=notes)


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
        if (data := find_picture(fitted, note, place)) is not None:
            return data
    raise AbsentError("The classifier has no picture of this photo, only its features.")


def pictured_files(fitted: FittedClassifier) -> list[LabelledFile]:
    """Return the pictures of all images of a classifier as files.

    Raises:
        ConfigError: if it lacks a picture.
    """
    support, files = fitted.support, []
    for place, label in enumerate(support.labels.tolist()):
        source = support.sources[place]
        if (data := find_picture(fitted, PICTURES_NOTE, place)) is None:
            raise ConfigError(
                "The model can only be switched while the classifier holds the pictures of all its "
                f"images. It holds none of '{source}': it was made outside of the studio, or has "
                f"more than {MAX_PICTURES} images. Make it again from the image files."
            )
        files.append(LabelledFile(fitted.classes[label], ImageBytes(source, data)))
    return files
