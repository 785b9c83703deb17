"""Arguments and options shared by the commands."""

import os
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer

from lgmnet.engines.names import EngineName
from lgmnet.errors import ConfigError

ModelName = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="Name of a shipped model, a folder written by 'lgmnet train', or hub:owner/name on "
        "the Hugging Face hub.",
    ),
]


def refuse_model(file: Path | str) -> Path | str:
    """Refuse the name or the folder of a model where a classifier file is expected.

    Raises:
        ConfigError: saying what to do with a model.
    """
    from lgmnet.model.registry import CONFIG_FILE, shipped_models

    is_shipped = not os.path.exists(file) and str(file) in shipped_models()
    if is_shipped or os.path.isfile(os.path.join(file, CONFIG_FILE)):
        raise ConfigError(
            f"'{file}' is a model, and not a classifier file; make one by it: "
            f"lgmnet forge IMAGES_DIR --model {file} -o FILE.safetensors."
        )
    return file


ClassifierPath = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="Classifier file written by 'lgmnet forge'.",
        callback=refuse_model,
    ),
]
ImagesDir = Annotated[
    Path,
    typer.Argument(
        metavar="IMAGES_DIR", help="Folder of labelled images, as IMAGES_DIR/<class>/<image>."
    ),
]
OriginalModel = Annotated[
    str | None,
    typer.Option(
        "--model", help="Model that forged the classifier. Only needed if it is not shipped."
    ),
]

Engine = Annotated[
    EngineName,
    typer.Option(
        help="Engine that computes features: auto is the fastest that is installed and gives the "
        "same features as torch."
    ),
]

Data = Annotated[
    str,
    typer.Option(
        help="Name of the data (omniglot, cifar-fs, fc100, miniimagenet, strokes, digits, "
        "criteria-drawings:size, criteria-photos:blur, domains:coins/value), or a folder of "
        "images. An unknown name lists all, and an unknown criterion lists all criteria."
    ),
]
Split = Annotated[
    str,
    typer.Option(
        help="Split of the data: train, val or test; for Omniglot also vinyals/test, lake/test, ..."
    ),
]
Way = Annotated[int, typer.Option(help="Number of classes per task.")]
Shot = Annotated[int, typer.Option(help="Number of support images per class.")]
Query = Annotated[int, typer.Option(help="Number of query images per class.")]
Episodes = Annotated[int, typer.Option(help="Number of tasks.")]
ChangedModel = Annotated[
    Path | None,
    typer.Option("--out", help="Folder of the changed model. Default: that of MODEL itself."),
]
Force = Annotated[
    bool, typer.Option("--force", help="Replace existing files even if lgmnet did not write them.")
]
SaveFile = Annotated[
    Path | None, typer.Option("--save", help="JSON file for the result and every episode's score.")
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the task draws.")]

DEFAULT_VALUE = "default"
OPTIONAL_VALUES = ("--none",)
"""Options that may stand alone or be followed by a number."""
LIKE_A_NUMBER = re.compile(r"[-+]?\d*[.,]?\d+(e[-+]?\d+)?%?")
"""Also forms that are refused, so that they are not taken for the name of a file."""


def complete_options(words: Sequence[str]) -> list[str]:
    """Give `DEFAULT_VALUE` to each of the `OPTIONAL_VALUES` that no number follows.

    Typer has no options with an optional value. Behind ``--``, there are no options.

    >>> complete_options(["predict", "c", "--none", "a.png"])
    ['predict', 'c', '--none', 'default', 'a.png']
    """
    end = words.index("--") if "--" in words else len(words)
    completed: list[str] = []
    for word, following in pairwise([*words[:end], ""]):
        completed.append(word)
        if word in OPTIONAL_VALUES and not LIKE_A_NUMBER.fullmatch(following):
            completed.append(DEFAULT_VALUE)
    return [*completed, *words[end:]]


def refuse_empty(words: Sequence[str]) -> None:
    """Refuse arguments without a character, which a path would take for the current folder.

    Raises:
        ConfigError: naming the word before it.
    """
    for before, word in pairwise(["lgmnet", *words]):
        option, equals, value = word.partition("=")
        if word and not (option.startswith("--") and equals and not value):
            continue
        place = f"The argument after '{before}'" if not word else f"The value of '{option}'"
        raise ConfigError(
            f"{place} is empty; expected a name, a path or a number. Is a variable of the shell "
            "not set?"
        )
