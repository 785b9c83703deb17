"""Small archive of photos that are labelled in two ways."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image


def write_grocery(folder: Path) -> Path:
    """Write six grocery photos, gray levels 0, 40, ..., 200, into a data folder.

    Returns:
        Path of the archive.
    """
    files = []
    for i in range(6):
        file = io.BytesIO()
        Image.new("RGB", (160, 160), (40 * i,) * 3).save(file, "PNG")
        files.append(np.frombuffer(file.getvalue(), np.uint8))
    path = folder / "domains" / "grocery.npz"
    path.parent.mkdir()
    np.savez(
        path,
        data=np.concatenate(files),
        offsets=np.cumsum([0, *map(len, files)]),
        labelings=np.array(["product", "kind"]),
        label_product=np.array([2, 0, 1, 2, 0, 1], np.int16),
        class_name_product=np.array(["Gala", "Kiwi", "Milk"]),
        label_kind=np.array([1, 0, 0, 1, 0, 0], np.int16),
        class_name_kind=np.array(["Fruit", "Dairy"]),
    )
    return path
