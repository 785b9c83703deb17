"""Digits of scikit-learn: 1,797 handwritten drawings of 10 classes (UCI, 1998)."""

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.errors import require_extra, unknown_name_error


def digit_pixels() -> tuple[Float[np.ndarray, "digits 8 8"], Int[np.ndarray, " digits"]]:
    """Return the original pixels of all digits, 0..1 and sorted by class, and their classes.

    Raises:
        UserError: if scikit-learn is not installed.
    """
    with require_extra("quickstart", "the digits"):
        from sklearn.datasets import load_digits
    bunch = load_digits()
    order = np.argsort(bunch.target, kind="stable")
    return (bunch.images[order] / 16).astype(np.float32), bunch.target[order]


def digits(split: str = "test", side: int = 28) -> ClassDataset:
    """Open all digits as drawings, ink = 255; they are for testing only.

    The 8x8 pixels get a margin of one pixel and are resized to ``side`` pixels.

    Raises:
        ConfigError: if there is no such split.
        UserError: if scikit-learn is not installed.
    """
    if split != "test":
        raise unknown_name_error("split of digits", split, ["test"])
    pixels, labels = digit_pixels()
    padded = np.pad(255 * pixels, ((0, 0), (1, 1), (1, 1)))
    resized = [Image.fromarray(p).resize((side, side), Image.Resampling.BICUBIC) for p in padded]
    pixels = np.stack([np.asarray(p) for p in resized]).clip(0, 255).round().astype(np.uint8)
    images, counts = torch.from_numpy(pixels)[:, None], np.bincount(labels).tolist()
    return ClassDataset(images, counts, [*map(str, range(10))], name="digits", split=split)
