"""Detection of the kind of images: ink on paper, or photos."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from lgmnet.data.images.pixels import photo_pixels

MAX_SAMPLED_FILES = 24
MAX_CHECKED_IMAGES = 8
"""Number of the images of a batch that are measured before it is predicted."""
MEASURED_SIDE = 128
"""Height and width of the photo of an image whose tones are measured."""
MAX_KMEANS_STEPS = 10
MIN_EXPLAINED, MIN_EXPLAINED_COLOURED, MIN_PAPER = 0.8, 0.88, 0.55
"""Thresholds of drawings: two tones explain most of the variance of the pixels (coloured images
need a larger part), and most pixels are paper. The median is 89 % and 91 % for 300 drawings of
Omniglot, 74 % and 61 % for 300 photos of Caltech-101."""
COLOURED = 0.04
"""Smallest `ToneStatistics.colour` of an image that counts as coloured."""
MIN_CERTAIN_PAPER, MIN_CERTAIN_IMAGES = 0.75, 3
"""Thresholds of drawings beyond doubt: at least three gray images, each of them a drawing with this
much paper. All of 200 drawings of Omniglot have so much, 11 % of 200 gray photos of Caltech-101."""


@dataclass(frozen=True)
class ToneStatistics:
    """Measures of how much an image looks like ink on paper, each 0..1."""

    explained: float
    """Part of the variance of the pixels that two tones explain."""
    paper: float
    """Part of the pixels that are closer to the tone of the border than to the other tone."""
    colour: float
    """Mean difference of a pixel's largest and smallest channel."""


def measure_tones(image: Image.Image) -> ToneStatistics:
    """Measure how well two tones, that of the border and one other, explain an image (2-means).

    Raises:
        ImageError: if the image cannot be converted to a photo (see `photo_pixels`).
    """
    pixels = photo_pixels(image, MEASURED_SIDE, MEASURED_SIDE).transpose(1, 2, 0)
    x = pixels.reshape(-1, 3).astype(np.float64)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    paper = np.median(border, 0)
    distance = ((x - paper) ** 2).sum(1)
    ink = x[distance >= np.quantile(distance, 0.99)].mean(0)
    sums, is_paper = x.sum(0), np.zeros(len(x), dtype=bool)
    for _ in range(MAX_KMEANS_STEPS + 1):
        before, is_paper = is_paper, are_closer(x, paper, ink)
        n_paper = np.count_nonzero(is_paper)
        if n_paper in (0, len(x)) or np.array_equal(is_paper, before):
            break
        sums_of_paper = is_paper.astype(np.float64) @ x
        paper, ink = sums_of_paper / n_paper, (sums - sums_of_paper) / (len(x) - n_paper)
    residual = ((x - np.where(is_paper[:, None], paper, ink)) ** 2).sum()
    total = ((x - x.mean(0)) ** 2).sum()
    return ToneStatistics(
        explained=float(1 - residual / total) if total > 0 else 1.0,
        paper=float(is_paper.mean()),
        colour=float((x.max(1) - x.min(1)).mean() / 255),
    )


def are_closer(
    x: Float[np.ndarray, "pixels 3"], first: np.ndarray, second: np.ndarray
) -> Bool[np.ndarray, " pixels"]:
    """Decide for each pixel whether it is as close to the first of two tones as to the second.

    Squared distances are compared by one product, because x² is part of both.
    """
    closer: np.ndarray = x @ (second - first) <= (second @ second - first @ first) / 2
    return closer


def detect_drawings(tones: Sequence[ToneStatistics]) -> tuple[bool, str]:
    """Decide whether images are drawings or photos.

    Args:
        tones: Measures of each image; at least one.

    Returns:
        True for drawings, and the reason in words.
    """
    explained, paper, colour = (
        median(getattr(image_tones, name) for image_tones in tones)
        for name in ("explained", "paper", "colour")
    )
    is_coloured = colour > COLOURED
    min_explained = MIN_EXPLAINED_COLOURED if is_coloured else MIN_EXPLAINED
    is_drawing = explained >= min_explained and paper >= MIN_PAPER
    reason = (
        f"two tones explain {100 * explained:.0f} % of the variance of a typical image, the tone "
        f"of the border covers {100 * paper:.0f} %, it is {'coloured' if is_coloured else 'gray'}"
    )
    return is_drawing, f"{'ink on paper' if is_drawing else 'photos'}: {reason}"


def detect_certain_drawings(tones: Iterable[ToneStatistics]) -> tuple[bool, str]:
    """Decide whether images are drawings beyond doubt, which few gray photos pass for.

    Args:
        tones: Measures of each image. None is taken after the first that is no such drawing.

    Returns:
        True if there are enough images and all are such drawings, and the reason in words.
    """
    measured = []
    for image in tones:
        measured.append(image)
        is_gray = image.colour <= COLOURED
        if not (is_gray and image.explained >= MIN_EXPLAINED and image.paper >= MIN_CERTAIN_PAPER):
            return False, "photos, or at least one may be"
    if len(measured) < MIN_CERTAIN_IMAGES:
        return False, "too few images"
    return detect_drawings(measured)


def describe_mismatch(
    tones: Iterable[ToneStatistics], *, are_for_drawings: bool, model: str
) -> str | None:
    """Describe why images do not suit a classifier: they are of another kind than its own.

    For a classifier of photos, they must be drawings beyond doubt, because one photo in seven,
    taken alone, such as that of a thing on white paper, passes for a drawing.

    Args:
        tones: Measures of a sample of the images.
        are_for_drawings: True if the classifier was made from drawings.
        model: Name of the model that made it.

    Returns:
        Two sentences; None if the images suit the classifier, or none of them was measured.
    """
    if are_for_drawings:
        measured = list(tones)
        are_drawings, reason = detect_drawings(measured) if measured else (True, "")
    else:
        are_drawings, reason = detect_certain_drawings(tones)
    if are_drawings == are_for_drawings:
        return None
    kind, own = ("drawings", "photos") if are_drawings else ("photos", "drawings")
    return (
        f"The images look like {reason}. But this classifier was made from {own}, by the model "
        f"'{model}', so its answers to {kind} mean little."
    )


def sample_indices(count: int, limit: int = MAX_SAMPLED_FILES) -> Sequence[int]:
    """Choose at most ``limit`` of the indices from 0 up to ``count``, at even distances."""
    return range(0, count, max(1, count // limit))[:limit]
