"""Classify images with an exported classifier: python predict.py model.onnx image.png ...

With --none (or --none=0.05, a rate of false rejections) before the images, an image that fits no
class gets the label "none of these", with the probability of that, if the classifier knows it.

Needs onnxruntime, numpy and Pillow, and nothing else.
"""

import json
import sys
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")


def open_upright(path: str) -> Image.Image:
    """Open an image file, rotated as its EXIF data say, with white where it is transparent."""
    with Image.open(path, formats=FORMATS) as image:
        picture = ImageOps.exif_transpose(image)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture


def read_drawing(path: str, side: int) -> np.ndarray:
    """Read an image file as a drawing [1, side, side] with ink = 255 on 0."""
    picture = open_upright(path)
    factor = max(picture.size) // (8 * side)
    picture = picture.convert("L")
    gray = np.asarray(picture.reduce(factor) if factor > 1 else picture, np.float64)
    # The median of the border is the paper. Ink is the difference from it, dark or light.
    ink = np.abs(gray - np.median(np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])))
    picture = Image.fromarray((ink / (ink.max() or 1)).astype(np.float32))
    longest = max(picture.size)
    square = Image.new("F", (longest, longest), 0.0)
    square.paste(picture, ((longest - picture.width) // 2, (longest - picture.height) // 2))
    if longest != side:
        square = square.resize((side, side), Image.Resampling.BICUBIC, reducing_gap=None)
    ink = np.asarray(square).clip(0)
    return (255 * ink / (ink.max() or 1)).round().astype(np.uint8)[None]


def read_photo(path: str, height: int, width: int) -> np.ndarray:
    """Read the center of an image file as a photo [3, height, width]."""
    picture = open_upright(path).convert("RGB")
    picture = ImageOps.fit(picture, (width, height), Image.Resampling.BICUBIC)
    return np.array(picture).transpose(2, 0, 1)


def find_limit(thresholds: dict[str, Any], option: str) -> float:
    """Return the probability of "none of these" above which it is the label."""
    _, _, rate = option.partition("=")
    if not rate:
        return float(thresholds["threshold"])
    rates = np.log(thresholds["rates"])
    return float(np.interp(np.log(float(rate)), rates, thresholds["thresholds"]))


def main() -> None:
    """Print the label, its probability and the file name of each image."""
    options = [word for word in sys.argv[1:] if word.split("=")[0] == "--none"]
    model, *paths = [word for word in sys.argv[1:] if word not in options]
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    classes = json.loads(metadata["classes"])
    channels, height, width = json.loads(metadata["shape"])
    is_drawing = channels == 1
    images = np.stack(
        [read_drawing(p, width) if is_drawing else read_photo(p, height, width) for p in paths]
    )
    probabilities, *none = session.run(None, {"images": images})
    limit = find_limit(json.loads(metadata["none"]), options[0]) if none and options else 2.0
    for i, (path, row) in enumerate(zip(paths, probabilities, strict=True)):
        if none and none[0][i] > limit:
            print(f"none of these\t{none[0][i]:.4f}\t{path}")
        else:
            print(f"{classes[row.argmax()]}\t{row.max():.4f}\t{path}")


if __name__ == "__main__":
    main()
