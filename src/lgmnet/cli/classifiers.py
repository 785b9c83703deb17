"""Helpers of the commands that make, change and test classifiers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from lgmnet.cli.console import print_error, print_notice
from lgmnet.errors import ConfigError, ImageError, UserError

if TYPE_CHECKING:
    from lgmnet.classifier.classifier import FittedClassifier
    from lgmnet.data.images.folder import ClassFolder, LabelledImages
    from lgmnet.model.model import Model

MIN_SHARE = 0.01
"""Smallest share of an aspect that is printed."""


def read_images(folder: ClassFolder, model: Model) -> LabelledImages:
    """Read the images of a folder in the shape that a model takes.

    Raises:
        ConfigError: if the model takes vectors.
        DataError: if a class has no readable image.
    """
    if not model.inputs.is_image:
        raise ConfigError(f"'{model.name}' takes vectors, not images.")
    return folder.read(model.inputs.shape)


def check_classifier_name(path: Path, *, force: bool) -> None:
    """Check that the name of a new classifier file does not promise another kind of file.

    ``force`` allows any name.

    Raises:
        ConfigError: if it has the suffix of a picture or of an exported classifier.
    """
    from lgmnet.data.images.pixels import IMAGE_SUFFIXES

    if force or path.exists() or path.suffix.lower() not in IMAGE_SUFFIXES | {".onnx"}:
        return
    hint = "; 'lgmnet export' makes an ONNX file from it" if path.suffix.lower() == ".onnx" else ""
    raise ConfigError(
        f"'{path}' would be a classifier file with the suffix '{path.suffix}' of another kind. "
        f"Name it '{path.with_suffix('.safetensors')}'{hint}. --force keeps the name."
    )


def choose_model(folder: ClassFolder, name: str) -> tuple[str, dict[str, str]]:
    """Choose the shipped model that suits the images of a folder, and print why on stderr.

    Args:
        folder: The images.
        name: Name of the model; only ``auto`` leaves a choice.

    Returns:
        The name of the model, and the note with the kind of the images.

    Raises:
        DataError: if none of the images can be read.
    """
    from lgmnet.classifier.image_kind import kind_note
    from lgmnet.model.registry import AUTO_MODEL, DEFAULT_MODELS

    are_drawings, reason = folder.detect_drawings()
    if name == AUTO_MODEL:
        name = DEFAULT_MODELS["drawing" if are_drawings else "photo"]
        print_notice(f"{reason}. The model is therefore '{name}'; --model overrides it.")
    return name, kind_note(are_drawings)


def load_original_model(fitted: FittedClassifier, name: str | None) -> Model:
    """Load the model that forged a classifier.

    ``name`` is a name or folder; None stands for the name stored in the classifier, which never
    starts a download.

    Raises:
        ConfigError: if the model is not found, or did not forge the classifier.
    """
    from lgmnet.model.model import load_model
    from lgmnet.model.registry import model_folder

    try:
        model = load_model(name or model_folder(fitted.model))
    except UserError as error:
        hint = "" if name else " Give the folder of the model that forged it with --model."
        raise ConfigError(f"{error}{hint}") from error
    fitted.check_model(model)
    return model


def shots_by_class(fitted: FittedClassifier) -> dict[str, int]:
    """Return the number of support samples of each class."""
    return dict(zip(fitted.classes, fitted.shots, strict=True))


def format_classes(fitted: FittedClassifier) -> str:
    """Format the classes with their shots as one line of rich markup."""
    return ", ".join(f"{escape(name)} ({shot})" for name, shot in shots_by_class(fitted).items())


def format_judged_by(fitted: FittedClassifier) -> list[str]:
    """Format what a classifier judges by as one line; none if the model cannot tell."""
    shares = fitted.judged_by().items()
    shown = [f"{aspect} {100 * share:.0f} %" for aspect, share in shares if share >= MIN_SHARE]
    return [escape(f"judges by: {', '.join(shown)}")] if shown else []


def judged_by_hint(fitted: FittedClassifier) -> str | None:
    """Return a hint to state the criterion where it matters and was not stated; else None."""
    if not fitted.profiles or fitted.by != "auto" or max(fitted.shots) > 1:
        return None
    return (
        "One image of each class cannot show what tells the classes apart. Say it with --by things "
        "or --by looks, or give two or more images of each class."
    )


def report_unused(folder: ClassFolder) -> list[str]:
    """Print on stderr which images of a folder are not used, and return the message, if any."""
    if folder.unused is None:
        return []
    print_notice(f"warning: {folder.unused}")
    return [folder.unused]


def report_unreadable(problems: Iterable[ImageError]) -> list[str]:
    """Print on stderr which files could not be read and how many, and return the messages."""
    messages = [str(problem) for problem in problems]
    for message in messages:
        print_error(f"left out: {message}")
    if len(messages) > 1:
        print_notice(f"{len(messages)} images could not be read.")
    return messages
