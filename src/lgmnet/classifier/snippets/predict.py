"""Answer images with an exported classifier: python predict.py model.onnx image.png ...

Needs onnxruntime, numpy and Pillow, and nothing else.
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def drawing(path: str, side: int) -> np.ndarray:
    """An image file as the network knows it: ink = 255 on 0, [1, side, side]."""
    with Image.open(path) as image:
        picture = ImageOps.exif_transpose(image)
        if picture.has_transparency_data:
            picture = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
        large = max(picture.size) // (8 * side)
        picture = picture.convert("L")
        gray = np.asarray(picture.reduce(large) if large > 1 else picture, np.float64)
    # Paper is what the border is like; ink is whatever differs from it, dark or light.
    ink = np.abs(gray - np.median(np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])))
    picture = Image.fromarray((ink / (ink.max() or 1)).astype(np.float32))
    longest = max(picture.size)
    square = Image.new("F", (longest, longest), 0.0)
    square.paste(picture, ((longest - picture.width) // 2, (longest - picture.height) // 2))
    if longest != side:
        square = square.resize((side, side), Image.Resampling.BICUBIC, reducing_gap=None)
    ink = np.asarray(square).clip(0)
    return (255 * ink / (ink.max() or 1)).round().astype(np.uint8)[None]


def photo(path: str, height: int, width: int) -> np.ndarray:
    """An image file as the network knows it: [3, height, width], cropped about its middle."""
    with Image.open(path) as image:
        picture = ImageOps.exif_transpose(image)
        if picture.has_transparency_data:
            picture = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
        size = (width, height)
        picture = ImageOps.fit(picture.convert("RGB"), size, Image.Resampling.BICUBIC)
        return np.array(picture).transpose(2, 0, 1)


def main() -> None:
    """Print the label, its probability and the name of each image."""
    model, *paths = sys.argv[1:]
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    classes, (channels, height, width) = json.loads(about["classes"]), json.loads(about["shape"])
    images = np.stack(
        [drawing(path, width) if channels == 1 else photo(path, height, width) for path in paths]
    )
    (probabilities,) = session.run(None, {"images": images})
    for path, answer in zip(paths, probabilities, strict=True):
        print(f"{classes[answer.argmax()]}\t{answer.max():.4f}\t{path}")


if __name__ == "__main__":
    main()
