"""Small folders of example images, made without a download: drawings, and parts of two photos."""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from PIL import Image, ImageDraw

from lgmnet.errors import UserError, require_extra, unknown_name_error
from lgmnet.io import OVERWRITE_ADVICE, make_folder, to_path, write_text

ExampleKind = Literal["drawings", "photos"]
DRAWING_SIDE = 96
SHOT, TESTS_PER_CLASS = 5, 4
ADDED_SHOT = 3
"""Number of images of the class to add later."""

Pen = Callable[[ImageDraw.ImageDraw, np.random.Generator], None]
Painter = Callable[[str, np.random.Generator], Image.Image]


def write_example(kind: ExampleKind, folder: str | Path, *, overwrite: bool = False) -> list[Path]:
    """Write a small folder of labelled images, and images to try a classifier on.

    - ``symbols/<class>/<image>`` (drawings) or ``photos/<class>/<image>``: the images of three
      classes; ``labels.csv`` names the same images and their classes;
    - ``test/<class>/<image>``: other images of these classes;
    - ``more/<class>/<image>``: images of a fourth class;
    - ``new/<image>`` and ``scans/<image>``: images without a class.

    The same folder is written every time.

    Returns:
        The files.

    Raises:
        ConfigError: if there is no such kind.
        UserError: if a file exists already and ``overwrite`` is False, a file cannot be written,
            or scikit-learn, which has the photos, is not installed.
    """
    if kind not in get_args(ExampleKind):
        raise unknown_name_error("example", kind, get_args(ExampleKind))
    folder = to_path(folder)
    top = "symbols" if kind == "drawings" else "photos"
    files = dict(draw_symbols(top) if kind == "drawings" else crop_photos(top))
    labels = [name for name in files if name.startswith(f"{top}/")]
    paths = [folder / name for name in (*files, "labels.csv")]
    existing = [path for path in paths if path.exists()]
    if existing and not overwrite:
        raise UserError(f"'{existing[0]}' exists, so nothing is written. {OVERWRITE_ADVICE}")
    for name, image in files.items():
        make_folder((folder / name).parent)
        image.save(folder / name)
    rows = [f"{name},{name.split('/')[1]}" for name in labels]
    write_text(folder / "labels.csv", "\n".join(["file,label", *rows, ""]))
    return paths


def lay_out(
    top: str, classes: Mapping[str, int], added: str, suffix: str, paint: Painter
) -> Iterator[tuple[str, Image.Image]]:
    """Yield the name and the image of each file of an example.

    Args:
        top: Folder of the classes.
        classes: Names of the classes, with a seed for each.
        added: Name of the class to add later, one of them.
        suffix: Suffix of the image files.
        paint: Function that makes another image of a class each time.
    """
    for name, seed in classes.items():
        generator = np.random.default_rng(seed)
        folder, shot = ("more", ADDED_SHOT) if name == added else (top, SHOT)
        for i in range(1, shot + 1):
            yield f"{folder}/{name}/{i}{suffix}", paint(name, generator)
        if name != added:
            for i in range(1, TESTS_PER_CLASS + 1):
                yield f"test/{name}/{i}{suffix}", paint(name, generator)
            yield f"new/{seed}{suffix}", paint(name, generator)
            yield f"scans/page{seed}{suffix}", paint(name, generator)


def draw_symbols(top: str) -> Iterator[tuple[str, Image.Image]]:
    """Yield the files of the example of drawings."""
    classes = {"star": 1, "moon": 2, "sun": 3, "tree": 4}
    return lay_out(top, classes, "tree", ".png", draw_symbol)


def draw_symbol(name: str, generator: np.random.Generator) -> Image.Image:
    """Draw a symbol in ink on white paper, slightly turned, each time with another hand."""
    large = 4 * DRAWING_SIDE  # Drawn large and then reduced, for smooth lines.
    image = Image.new("L", (large, large), 255)
    PENS[name](ImageDraw.Draw(image), generator)
    image = image.rotate(generator.uniform(-12, 12), Image.Resampling.BICUBIC, fillcolor=255)
    return image.resize((DRAWING_SIDE, DRAWING_SIDE), Image.Resampling.LANCZOS)


def draw_line(
    draw: ImageDraw.ImageDraw, points: np.ndarray, generator: np.random.Generator
) -> None:
    """Draw a line through points [points, 2] in units of the paper, with an unsteady hand."""
    side = 4 * DRAWING_SIDE
    pixels = side * (points + generator.normal(0, 0.008, points.shape))
    draw.line([tuple(p) for p in pixels.tolist()], 0, width=side // 24, joint="curve")


def arc(radius: float, start: float, end: float, center: tuple[float, float]) -> np.ndarray:
    """Return points [points, 2] of an arc; angles in turns."""
    angles = 2 * math.pi * np.linspace(start, end, 25)
    return np.array(center) + radius * np.stack([np.cos(angles), np.sin(angles)], 1)


def draw_star(draw: ImageDraw.ImageDraw, generator: np.random.Generator) -> None:
    """Draw a star of five points in one stroke."""
    angles = 2 * math.pi * (0.4 * np.arange(6) - 0.25)
    points = 0.5 + 0.38 * np.stack([np.cos(angles), np.sin(angles)], 1)
    draw_line(draw, points, generator)


def draw_moon(draw: ImageDraw.ImageDraw, generator: np.random.Generator) -> None:
    """Draw a crescent."""
    depth = generator.uniform(0.16, 0.26)
    outer = arc(0.36, 0.17, 0.83, (0.56, 0.5))
    tips = outer[[-1, 0]]
    height = float(tips[1, 1] - tips[0, 1]) / 2
    angles = math.pi * np.linspace(-0.5, 0.5, 25)
    inner = np.stack([tips[0, 0] - depth * np.cos(angles), 0.5 + height * np.sin(angles)], 1)
    draw_line(draw, outer, generator)
    draw_line(draw, inner, generator)


def draw_sun(draw: ImageDraw.ImageDraw, generator: np.random.Generator) -> None:
    """Draw a circle with eight rays."""
    draw_line(draw, arc(generator.uniform(0.16, 0.2), 0.0, 1.02, (0.5, 0.5)), generator)
    for turn in np.arange(8) / 8:
        direction = np.array([math.cos(2 * math.pi * turn), math.sin(2 * math.pi * turn)])
        draw_line(draw, 0.5 + np.array([[0.27], [0.42]]) * direction, generator)


def draw_tree(draw: ImageDraw.ImageDraw, generator: np.random.Generator) -> None:
    """Draw a fir with its trunk."""
    width = generator.uniform(0.24, 0.32)
    crown = [(0.5, 0.1), (0.5 - width, 0.72), (0.5 + width, 0.72), (0.5, 0.1)]
    draw_line(draw, np.array(crown), generator)
    draw_line(draw, np.array([(0.5, 0.72), (0.5, 0.92)]), generator)


PENS: dict[str, Pen] = {
    "star": draw_star,
    "moon": draw_moon,
    "sun": draw_sun,
    "tree": draw_tree,
}
REGIONS = {
    "temple": ("china.jpg", (60, 60, 360, 370)),
    "flower": ("flower.jpg", (165, 80, 450, 360)),
    "bushes": ("china.jpg", (340, 265, 640, 427)),
    "leaves": ("flower.jpg", (0, 60, 165, 427)),
}
"""Part of one of scikit-learn's sample photos that shows each class: left, top, right, bottom."""


def crop_photos(top: str) -> Iterator[tuple[str, Image.Image]]:
    """Yield the files of the example of photos: parts of the two photos of scikit-learn.

    Raises:
        UserError: if scikit-learn is not installed.
    """
    with require_extra("sklearn", "the example photos"):
        from sklearn.datasets import load_sample_image
    photos = {file: Image.fromarray(load_sample_image(file)) for file, _ in REGIONS.values()}

    def crop(name: str, generator: np.random.Generator) -> Image.Image:
        file, (left, top, right, bottom) = REGIONS[name]
        side = int(generator.integers(100, 150))
        x = int(generator.integers(left, right - side))
        y = int(generator.integers(top, bottom - side))
        part = photos[file].crop((x, y, x + side, y + side))
        return part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if generator.random() < 0.5 else part

    classes = {name: number for number, name in enumerate(REGIONS, 1)}
    return lay_out(top, classes, "leaves", ".jpg", crop)
