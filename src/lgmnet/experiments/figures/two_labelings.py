"""One support set of photos that is labelled in two ways, and the answers of both classifiers."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from lgmnet.data.synthetic.photo_factors import (
    CAST,
    PHOTO_SIDE,
    RENDERED_FACTORS,
    render_photos,
)
from lgmnet.errors import FileFormatError, require_extra
from lgmnet.estimator import FewShotClassifier
from lgmnet.experiments.results import RunOptions, check_experiment_file, load_or_run, open_picture

NAME = "figure-criteria"
DEFAULT_MODEL = "photos"
LOOKS = ("red", "green", "blue")
"""Colour casts of the photos, values of `CAST`."""
THINGS = {
    "temple": "china.jpg",
    "trees": "china.jpg",
    "flower": "flower.jpg",
}
"""Sample picture of scikit-learn that the photos of each thing are cut from (both CC BY 2.0, by
danielbuechele and by vultilion)."""
SUPPORT_CUTS = {
    "temple": ((60, 10, 280), (80, 60, 240), (50, 100, 300)),
    "trees": ((385, 285, 140), (400, 255, 165), (490, 240, 150)),
    "flower": ((150, 70, 300), (180, 90, 240), (200, 120, 200)),
}
"""Left and top edge and side of one square, in pixels, for each of `LOOKS`."""
QUERY_CUTS = {
    "temple": ((70, 130, 250), (90, 30, 200)),
    "trees": ((360, 262, 165), (440, 255, 170)),
    "flower": ((170, 60, 280), (190, 110, 230)),
}
QUERY_LOOKS = (("green", "blue"), ("blue", "red"), ("red", "green"))
"""Colour casts of the new photos of each thing."""
LABELINGS = {"things": "by what they show", "looks": "by their colour"}
LABEL_COLOURS = {
    "temple": "#4477aa",
    "trees": "#228833",
    "flower": "#aa3377",
    "red": "#cc3311",
    "green": "#228833",
    "blue": "#4477aa",
}
"""Colour of the frame of each label."""


def reproduce(options: RunOptions) -> list[Path]:
    """Fit a model to the same nine photos with two labelings, and draw its answers to new ones."""
    picture = options.pages / f"{NAME}.png"
    check_experiment_file(picture, overwrite=options.overwrite)
    result = load_or_run(options, NAME, "answers", run_labelings)
    try:
        draw_labelings(result["answers"], picture)
    except (KeyError, ValueError) as error:
        raise FileFormatError(
            f"'{options.results / NAME}.json' is damaged: {error}. "
            f"Run 'lgmnet reproduce {NAME}' again."
        ) from error
    return [picture]


def run_labelings(options: RunOptions) -> dict[str, Any]:
    """Let a model answer the new photos by each labeling of the support.

    Returns:
        Name of the model, and its answers to the new photos by each labeling.
    """
    model = options.model or DEFAULT_MODEL
    support, query = list_photos()
    answers = {}
    for labeling in LABELINGS:
        classifier = FewShotClassifier(model).fit(render(support), name_labels(support, labeling))
        answers[labeling] = classifier.predict(render(query)).tolist()
    return {"model": model, "answers": answers}


Photo = tuple[str, str, tuple[int, int, int]]
"""Thing on a photo, its colour cast, and the square that is cut."""


def list_photos() -> tuple[list[Photo], list[Photo]]:
    """List the photos of the support, thing by thing, and the new photos."""
    support = [
        (thing, look, cut)
        for thing, cuts in SUPPORT_CUTS.items()
        for look, cut in zip(LOOKS, cuts, strict=True)
    ]
    query = [
        (thing, look, cut)
        for (thing, cuts), looks in zip(QUERY_CUTS.items(), QUERY_LOOKS, strict=True)
        for look, cut in zip(looks, cuts, strict=True)
    ]
    return support, query


def name_labels(photos: Sequence[Photo], labeling: str) -> list[str]:
    """Name the label of each photo by one of `LABELINGS`."""
    return [thing if labeling == "things" else look for thing, look, _ in photos]


def render(photos: Sequence[Photo]) -> UInt8[np.ndarray, "photos side side 3"]:
    """Cut photos out of the sample pictures, and give them their colour casts."""
    with require_extra("quickstart", "sample pictures"):
        from sklearn.datasets import load_sample_image
    from PIL import Image

    pictures = {name: Image.fromarray(load_sample_image(name)) for name in set(THINGS.values())}
    size = (PHOTO_SIDE, PHOTO_SIDE)
    squares = [
        pictures[THINGS[thing]].resize(size, box=(left, top, left + side, top + side))
        for thing, _, (left, top, side) in photos
    ]
    pixels = torch.from_numpy(np.stack([np.asarray(square) for square in squares]))
    values = torch.full((len(photos), len(RENDERED_FACTORS)), -1)
    casts = [CAST.values.index(look) for _, look, _ in photos]
    values[:, RENDERED_FACTORS.index(CAST)] = torch.tensor(casts)
    generator = torch.Generator().manual_seed(0)  # Colour casts have no noise.
    rendered = render_photos(pixels.movedim(3, 1), RENDERED_FACTORS, values, generator)
    return rendered.movedim(1, 3).numpy()


def draw_labelings(answers: Mapping[str, Sequence[str]], path: Path) -> None:
    """Draw the figure to a PNG file: one half for each labeling, the new photos below."""
    support, query = list_photos()
    pictures, new_pictures = render(support), render(query)
    with open_picture(path, 9.4, 8.4, colours=256) as figure:
        # The upper part has the support of both labelings side by side, the lower the new photos.
        parts = figure.subfigures(2, len(LABELINGS), height_ratios=[3.1, 2.1], hspace=0.02)
        for (above, below), (labeling, words) in zip(parts.T, LABELINGS.items(), strict=True):
            above.suptitle(f"Nine photos labelled {words}", fontsize=13)
            below.suptitle("Answers to new photos", fontsize=13)
            labels, truths = name_labels(support, labeling), name_labels(query, labeling)
            for ax, photo, label in zip(above.subplots(3, 3).flat, pictures, labels, strict=True):
                draw_photo(ax, photo, label, LABEL_COLOURS[label])
            for ax, photo, answer, truth in zip(
                below.subplots(2, 3).flat, new_pictures, answers[labeling], truths, strict=True
            ):
                mark = "✓" if answer == truth else "✗"
                draw_photo(ax, photo, f"{answer} {mark}", LABEL_COLOURS[answer])
        figure.supxlabel(
            "The same nine photos, two labelings, two classifiers: "
            f"{count_right(answers)} of {2 * len(query)} answers are right.\n"
            "Photos: danielbuechele and vultilion (CC BY 2.0), cut and tinted.",
            fontsize=10,
        )


def count_right(answers: Mapping[str, Sequence[str]]) -> int:
    """Count the right answers by all labelings."""
    _, query = list_photos()
    pairs = (zip(answers[x], name_labels(query, x), strict=True) for x in LABELINGS)
    return sum(answer == truth for answer, truth in itertools.chain(*pairs))


def draw_photo(ax: Any, photo: UInt8[np.ndarray, "side side 3"], label: str, colour: str) -> None:
    """Draw a photo with a frame in the colour of its class, and its label above."""
    ax.imshow(photo)
    ax.set(xticks=[], yticks=[])
    ax.set_title(label, fontsize=10, color=colour, pad=3, fontweight="bold")
    for spine in ax.spines.values():
        spine.set(color=colour, linewidth=4)
