"""Example images for the studio."""

from __future__ import annotations

from PIL import Image

from lgmnet.data.images.read import ImageBytes
from lgmnet.studio.classifiers import LabelledFile
from lgmnet.studio.thumbnails import encode_image


def example_digits(shot: int = 5) -> list[LabelledFile]:
    """Return scikit-learn's handwritten digits, dark ink on white paper.

    Args:
        shot: Number of images of each digit.
    """
    from lgmnet.data.datasets.digits import digits

    dataset = digits()
    images = []
    for label, name in enumerate(dataset.class_names):
        # Neighbours in the data set are written by the same person, so take images far apart.
        step = int(dataset.counts[label]) // shot
        for i in range(shot):
            pixels = 255 - dataset.images[int(dataset.starts[label]) + i * step, 0].numpy()
            data = encode_image(Image.fromarray(pixels), "PNG")
            images.append(LabelledFile(name, ImageBytes(f"{name}-{i}.png", data)))
    return images
