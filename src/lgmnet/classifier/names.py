"""Names of classes: what every file, page and terminal can show."""

import unicodedata
from collections import Counter
from collections.abc import Sequence

from lgmnet.errors import ConfigError

BLANK_LETTERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Characters that show nothing, although Unicode counts them as letters, marks or symbols."""

BLANK_CATEGORIES = ("Zs", "Zl", "Zp", "Cc", "Cf", "Co")
"""Spaces, separators, control and format characters, and what is for private use. What has no
meaning yet is shown, and may be an emoji that is newer than Python's tables."""


def check_class_names(names: Sequence[object]) -> None:
    """Check the names of all classes of a classifier.

    Raises:
        ConfigError: if a name is no text, is blank, holds control characters or halves of
            surrogate pairs, or if two classes have the same name.
    """
    for name in names:
        if not isinstance(name, str):  # Files are not typed.
            raise ConfigError(f"A class must have a text as its name, but one has {name!r}.")
        check_class_name(name)
    if len(set(names)) < len(names):
        twice, _ = Counter(names).most_common(1)[0]
        raise ConfigError(f"There are two classes {twice!r}. Give each class a name of its own.")


def check_class_name(name: str) -> None:
    """Check the name of one class.

    Raises:
        ConfigError: if it is blank, or holds control characters or halves of
            surrogate pairs.
    """
    if is_blank(name):
        raise ConfigError(f"A class must have a name that is not blank, but one has {name!a}.")
    if has_controls(name):
        raise ConfigError(
            f"The class name {name[:100]!r} holds control characters or is not valid UTF-8. Rename "
            "the class, or its folder."
        )


def is_blank(name: str) -> bool:
    """Return True if a name shows nothing: spaces, control and format characters, fillers."""
    return all(c in BLANK_LETTERS or unicodedata.category(c) in BLANK_CATEGORIES for c in name)


def has_controls(name: str) -> bool:
    """Return True if a name holds control characters or halves of surrogate pairs."""
    # Cc: control characters, which change what a terminal shows. Cs: halves of surrogate pairs,
    # which Python makes of file names that are not UTF-8.
    return any(unicodedata.category(character) in ("Cc", "Cs") for character in name)
