"""Whether images are ink on paper or photos, by looking at them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from jaxtyping import UInt8

from lgmnet.data.images.read import ImageFile, read_photo
from lgmnet.errors import DataError, ImageError

LOOKED_AT, SIDE, ROUNDS = 24, 128, 10
TWO_TONES, OF_COLOURED, COLOURED, PAPER = 0.8, 0.88, 0.04, 0.55
"""Of drawings, two tones explain most of what varies in the pixels (more is asked for if they are
coloured), and most pixels are paper. Half of 300 drawings of Omniglot have 89 % and 91 % or more,
half of 300 photos of Caltech-101 have 74 % and 61 % or less."""


@dataclass(frozen=True)
class ToneStatistics:
    """How much of a picture is ink on paper, each a part."""

    explained: float
    """Of what varies in its pixels, that two tones explain."""
    paper: float
    """Of its pixels, those nearer to the tone of its border."""
    colour: float
    """How far its pixels are from gray."""


def measure_tones(pixels: UInt8[np.ndarray, "height width 3"]) -> ToneStatistics:
    """How well two tones, that of the border and one other, make up a picture (2-means)."""
    x = pixels.reshape(-1, 3).astype(np.float64)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    paper = np.median(border, 0)
    away = ((x - paper) ** 2).sum(1)
    ink = x[away >= np.quantile(away, 0.99)].mean(0)
    for _ in range(ROUNDS):
        near = ((x - paper) ** 2).sum(1) <= ((x - ink) ** 2).sum(1)
        if near.all() or not near.any():
            break
        paper, ink = x[near].mean(0), x[~near].mean(0)
    near = ((x - paper) ** 2).sum(1) <= ((x - ink) ** 2).sum(1)
    left = ((x - np.where(near[:, None], paper, ink)) ** 2).sum()
    varies = ((x - x.mean(0)) ** 2).sum()
    colour = (x.max(1) - x.min(1)).mean() / 255
    return ToneStatistics(
        float(1 - left / varies) if varies > 0 else 1.0, float(near.mean()), float(colour)
    )


def detect_drawings(paths: Sequence[ImageFile]) -> tuple[bool, str]:
    """Whether images are drawings, and why, by a look at some of them.

    Args:
        paths: Image files.

    Raises:
        DataError: if none of those looked at can be read.
    """
    step = max(1, len(paths) // LOOKED_AT)
    seen = []
    for path in paths[::step][:LOOKED_AT]:
        try:
            seen.append(measure_tones(read_photo(path, SIDE, SIDE).movedim(0, 2).numpy()))
        except ImageError:  # It will be named when all are read.
            continue
    if not seen:
        raise DataError(
            f"None of {len(paths)} images could be read, the first is '{paths[0].name}'."
        )
    explained, paper, colour = (
        median(getattr(one, name) for one in seen) for name in ("explained", "paper", "colour")
    )
    enough = OF_COLOURED if colour > COLOURED else TWO_TONES
    drawn = explained >= enough and paper >= PAPER
    gray = "coloured" if colour > COLOURED else "gray"
    why = (
        f"two tones make up {100 * explained:.0f} % of what varies in an image, the one of its "
        f"border covers {100 * paper:.0f} %, and it is {gray}"
    )
    return drawn, f"{'ink on paper' if drawn else 'photos'}: {why}"
