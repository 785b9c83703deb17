"""scikit-learn's bundled digits: real handwriting, 1,797 drawings of 10 classes (UCI, 1998)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.errors import extra, unknown_name


def digit_pixels() -> tuple[Float[np.ndarray, "digits 8 8"], Int[np.ndarray, " digits"]]:
    """All digits as they come, 0..1, sorted by class, and their classes.

    Raises:
        UserError: if scikit-learn is not installed.
    """
    with extra("quickstart", "the digits"):
        from sklearn.datasets import load_digits
    bunch = load_digits()
    order = np.argsort(bunch.target, kind="stable")
    return (bunch.images[order] / 16).astype(np.float32), bunch.target[order]


def digits(split: str = "test", side: int = 28) -> ClassDataset:
    """All digits as drawings, ink = 255; for testing only, no model is trained on them.

    The 8x8 pixels get a margin of one and are resized, as any image file would be.

    Args:
        split: ``test``; there is no other.
        side: Height and width, in pixels.

    Raises:
        ConfigError: if another split is asked for.
        UserError: if scikit-learn is not installed.
    """
    if split != "test":
        raise unknown_name("split of digits", split, ["test"])
    pixels, labels = digit_pixels()
    framed = np.pad(255 * pixels, ((0, 0), (1, 1), (1, 1)))
    large = [Image.fromarray(p).resize((side, side), Image.Resampling.BICUBIC) for p in framed]
    images = np.stack([np.asarray(p) for p in large]).clip(0, 255).round().astype(np.uint8)
    return ClassDataset(
        torch.from_numpy(images)[:, None],
        np.bincount(labels).tolist(),
        [str(name) for name in range(10)],
        name="digits",
        split=split,
    )
