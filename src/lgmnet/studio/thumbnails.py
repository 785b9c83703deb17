"""Thumbnails of the images that a classifier was fitted to."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
from collections.abc import Sequence

import torch
from PIL import Image

from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.data.images.read import ImageBytes, read_image
from lgmnet.studio.classifiers import image_source
from lgmnet.studio.store import AbsentError

THUMBNAILS_NOTE = "thumbnails"
"""Note of a classifier: a JSON object with the thumbnail of each photo, in base 64, by source."""
THUMBNAIL_SIDE = 112


def add_thumbnails(fitted: FittedClassifier, new: Sequence[ImageBytes]) -> FittedClassifier:
    """Return a classifier of photos with thumbnails of new photos, one of drawings as it is.

    A classifier of photos keeps only their features, so its photos cannot be shown without
    thumbnails. Those of photos that it no longer has are dropped.
    """
    if not fitted.backbone:
        return fitted
    thumbnails = read_thumbnails(fitted)
    for file in new:
        pixels = read_image(file, (3, THUMBNAIL_SIDE, THUMBNAIL_SIDE)).movedim(0, 2).contiguous()
        data = encode_image(Image.fromarray(pixels.numpy()), "WEBP")
        thumbnails[image_source(file)] = base64.b64encode(data).decode()
    present = {s: thumbnails[s] for s in fitted.support.sources if s in thumbnails}
    notes = {**fitted.notes, THUMBNAILS_NOTE: json.dumps(present)}
    return dataclasses.replace(fitted, notes=notes)


def thumbnail(fitted: FittedClassifier, place: int) -> bytes:
    """Return the support image with this index as PNG (a drawing) or WebP (a photo).

    Raises:
        AbsentError: if there is no such image, or no thumbnail of it.
    """
    support = fitted.support
    if not 0 <= place < len(support.samples):
        raise AbsentError(f"There is no image {place}; there are 0 to {len(support.samples) - 1}.")
    sample = support.samples[place]
    if sample.ndim == 3 and sample.dtype == torch.uint8:
        pixels = 255 - sample[0] if len(sample) == 1 else sample.movedim(0, 2)
        return encode_image(Image.fromarray(pixels.numpy()), "PNG")
    data = read_thumbnails(fitted).get(support.sources[place])
    if data is None:
        raise AbsentError("The classifier has only the features of this photo, not its thumbnail.")
    try:
        return base64.b64decode(data, validate=True)
    except (ValueError, TypeError) as error:
        raise AbsentError("The thumbnail of this photo is damaged.") from error


def read_thumbnails(fitted: FittedClassifier) -> dict[str, str]:
    """Return the photo thumbnails of a classifier, in base 64, by source."""
    try:
        thumbnails = json.loads(fitted.notes.get(THUMBNAILS_NOTE, "{}"))
    except ValueError:
        return {}
    return thumbnails if isinstance(thumbnails, dict) else {}


def encode_image(image: Image.Image, format: str) -> bytes:
    """Encode an image as a file of a format that Pillow knows."""
    out = io.BytesIO()
    image.save(out, format)
    return out.getvalue()
