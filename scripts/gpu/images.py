"""Training images in one file: each encoded as WebP without loss, so that they are small."""

from __future__ import annotations

import io
import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from lgmnet.data.class_dataset import ClassDataset


def encode_image(pixels: np.ndarray) -> bytes:
    """Encode one image, uint8 [channels, height, width], without loss."""
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
    file = io.BytesIO()
    image.convert("RGB").save(file, "WEBP", lossless=True, quality=100, method=4)
    return file.getvalue()


def decode_image(data: bytes, channels: int) -> np.ndarray:
    """Decode one image, uint8 [channels, height, width]."""
    with Image.open(io.BytesIO(data), formats=["WEBP"]) as image:
        pixels = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    return pixels[:channels]


class EncodedDataset:
    """Data set whose images are encoded.

    Args:
        dataset: Data set of images.
    """

    def __init__(self, dataset: ClassDataset) -> None:
        self.dataset = dataset
        with ThreadPoolExecutor() as pool:
            self.images = list(pool.map(encode_image, dataset.images.numpy()))

    def count_bytes(self, per_class: int) -> int:
        """Count the bytes of so many images of each class."""
        return sum(len(self.images[i]) for i in self.choose(per_class))

    def choose(self, per_class: int) -> list[int]:
        """Return the numbers of the first images of each class."""
        bounds = zip(self.dataset.starts.tolist(), self.dataset.counts.tolist(), strict=True)
        return [i for start, n in bounds for i in range(start, start + min(n, per_class))]

    def largest_fitting(self, max_bytes: int) -> int:
        """Return the largest number of images of each class that fit into so many bytes."""
        numbers = range(1, self.dataset.max_count + 1)
        return max((n for n in numbers if self.count_bytes(n) <= max_bytes), default=0)

    def write(self, path: Path, per_class: int) -> None:
        """Write the first images of each class, and what describes them, as one npz file."""
        dataset, chosen = self.dataset, self.choose(per_class)
        images = [self.images[i] for i in chosen]
        arrays = {
            "data": np.frombuffer(b"".join(images), np.uint8),
            "offsets": np.cumsum([0, *map(len, images)]),
            "counts": np.minimum(dataset.counts.numpy(), per_class),
            "class_name": np.array(dataset.class_names),
            "about": np.array([dataset.name, dataset.split]),
            "shape": np.array(dataset.feature_shape),
        }
        if dataset.groups is not None:
            arrays["group"] = dataset.groups.numpy()
        np.savez(path, allow_pickle=False, **arrays)


def read_dataset(path: Path) -> ClassDataset:
    """Read a data set that `EncodedDataset` wrote, and decode its images."""
    with np.load(path) as arrays:
        data, offsets = arrays["data"].tobytes(), arrays["offsets"].tolist()
        shape = tuple(arrays["shape"].tolist())
        name, split = arrays["about"].tolist()
        groups = [str(g) for g in arrays["group"].tolist()] if "group" in arrays else None
        counts, names = arrays["counts"].tolist(), arrays["class_name"].tolist()
    pairs = list(itertools.pairwise(offsets))
    with ThreadPoolExecutor() as pool:
        images = list(pool.map(lambda pair: decode_image(data[slice(*pair)], shape[0]), pairs))
    pixels = torch.from_numpy(np.stack(images))
    return ClassDataset(pixels, counts, names, name=name, split=split, groups=groups)
