"""Actions of ``lgmnet predict`` on its answers: doubts, folders by answer, and a summary."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lgmnet.cli.console import print_notice
from lgmnet.cli.prediction_rows import NONE_LABEL
from lgmnet.errors import ConfigError, UserError

UNCERTAIN_LABEL = "uncertain"
"""Label of an image whose most probable class is less probable than ``--min-probability``."""


def check_reserved_labels(
    classes: Iterable[str], *, allow_none: bool, min_probability: float
) -> None:
    """Check that no class has the name of a label that says something else.

    Raises:
        ConfigError: naming the class, and the option that gives the label.
    """
    options = {NONE_LABEL: "--none"} if allow_none else {}
    options |= {UNCERTAIN_LABEL: "--min-probability"} if min_probability > 0 else {}
    for name in classes:
        if name in options:
            raise ConfigError(
                f"'{name}' is a class of this classifier, and also the label that {options[name]} "
                f"gives; leave {options[name]} out, or rename the class: "
                f"lgmnet edit FILE --rename '{name}=OTHER'."
            )


def mark_uncertain(
    predictions: Iterable[dict[str, Any]], min_probability: float
) -> Generator[dict[str, Any], None, None]:
    """Yield predictions; those of too small a probability get the label `UNCERTAIN_LABEL`."""
    for prediction in predictions:
        probabilities = prediction.get("probabilities", {}).values()
        is_answer = prediction.get("label", NONE_LABEL) != NONE_LABEL
        is_uncertain = is_answer and max(probabilities, default=1.0) < min_probability
        yield prediction | ({"label": UNCERTAIN_LABEL} if is_uncertain else {})


def check_sort_folder(folder: Path, classes: Sequence[str]) -> None:
    """Check that images can be sorted into a folder, without touching files of others.

    Raises:
        UserError: if it is no folder, or holds anything, or two classes would get the same folder.
    """
    by_folder: dict[str, str] = {}
    for name in classes:
        other = by_folder.setdefault(folder_name(name), name)
        if other != name:
            raise UserError(
                f"--sort-into would mix the classes '{other}' and '{name}' in one folder, "
                f"'{folder_name(name)}'. Rename one of them with 'lgmnet edit --rename'."
            )
    if folder.exists() and not folder.is_dir():
        raise UserError(f"'{folder}' is no folder. Give --sort-into a new or empty one.")
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"'{folder}' is not empty. Give --sort-into a new or empty folder.")


def sort_images(
    predictions: Iterable[dict[str, Any]], folder: Path, *, link: bool
) -> Generator[dict[str, Any], None, None]:
    """Yield predictions, and put each image into ``folder/<label>/``, as a copy or a link.

    The originals stay. Images of the same name get a number. Images without an answer are left out.

    Raises:
        UserError: if a file cannot be written.
    """
    for prediction in predictions:
        if "label" not in prediction:
            yield prediction
            continue
        image = Path(prediction["image"])
        try:
            target = free_path(folder / folder_name(prediction["label"]), image.name)
            target.parent.mkdir(parents=True, exist_ok=True)
            if link:
                target.symlink_to(image.resolve())
            else:
                shutil.copy2(image, target)
        except OSError as error:
            raise UserError(f"Cannot sort '{image}': {error.strerror or error}.") from error
        yield prediction | {"sorted_into": str(target)}


def folder_name(label: str) -> str:
    """Return a label as the name of a folder; what would leave the folder is replaced."""
    name = label.replace("/", "_").replace(os.sep, "_")
    return "_" * len(name) if set(name) <= {"."} else name


def free_path(folder: Path, name: str) -> Path:
    """Return a path in a folder that no file has yet."""
    path, number = folder / name, 1
    while os.path.lexists(path):
        number += 1
        path = folder / f"{Path(name).stem}-{number}{Path(name).suffix}"
    return path


def with_summary(
    predictions: Iterable[dict[str, Any]],
) -> Generator[dict[str, Any], None, None]:
    """Yield predictions, and print the number of images of each label on stderr at the end."""
    counts: Counter[str] = Counter()
    n_unreadable = 0
    for prediction in predictions:
        n_unreadable += "error" in prediction
        counts.update([prediction["label"]] if "label" in prediction else [])
        yield prediction
    labels = ", ".join(f"{label} {count}" for label, count in counts.most_common())
    problem = f"; {n_unreadable} could not be read" if n_unreadable else ""
    with suppress(BrokenPipeError):
        n_images = counts.total() + n_unreadable
        images = "1 image" if n_images == 1 else f"{n_images} images"
        print_notice(f"{images}: {labels or 'no answers'}{problem}.")
