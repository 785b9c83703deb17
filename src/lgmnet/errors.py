"""Errors that lgmnet raises on purpose.

::

    LgmnetError
    └── UserError            also a ValueError; the caller can correct it: exit code 2, HTTP 4xx
        ├── EpisodeError     invalid task: wrong labels or shapes, or more than the data holds
        ├── DataError        missing or unusable data set, folder or split
        │   └── ImageError   unreadable or unusable image; the message names it
        ├── ConfigError      unknown name, or value out of range; the message names it
        └── FileFormatError  file of lgmnet that is damaged, or of another kind or version

Each message says what was expected, what came and how to mend it. Broken invariants of lgmnet
itself are ``assert`` statements, not errors of this tree.
"""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class LgmnetError(Exception):
    """Base class of all errors that lgmnet raises on purpose.

    >>> issubclass(UserError, LgmnetError)
    True
    """


class UserError(LgmnetError, ValueError):
    """Invalid input that the caller can correct.

    >>> from lgmnet import EpisodeShape
    >>> try:
    ...     EpisodeShape(way=1, shot=1, query=1)
    ... except UserError as error:
    ...     print(error)
    'way' must be at least 2, but is 1.
    """


class EpisodeError(UserError):
    """Invalid task: wrong labels, wrong shapes, or more samples than the data holds."""


class DataError(UserError):
    """Missing or unusable data set, folder or split."""


class ImageError(DataError):
    """Unreadable or unusable image; the message names it."""


class ConfigError(UserError):
    """Unknown name, or value out of range."""


class FileFormatError(UserError):
    """File of lgmnet that is damaged, or of another kind or version."""


def unknown_name_error(
    kind: str, name: object, known: Iterable[str], others: Iterable[str] = ()
) -> ConfigError:
    """Create the error for an unknown name; the message suggests the nearest known one.

    ``others`` are names that are suggested too, but not listed.

    >>> str(unknown_name_error("model", "omniglt", ["omniglot"]))
    "There is no model 'omniglt'. Did you mean 'omniglot'? Known: omniglot."
    """
    names = list(known)
    nearest = difflib.get_close_matches(str(name), [*names, *others], n=1)
    hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
    return ConfigError(f"There is no {kind} '{name}'.{hint} Known: {', '.join(names) or 'none'}.")


def to_utf8(name: str) -> str:
    """Escape the bytes of a file name that are no UTF-8, which no file can store."""
    return name.encode(errors="backslashreplace").decode()


def check_utf8(kind: str, name: str) -> None:
    """Check that a name is text, and not bytes of a file name that are no UTF-8.

    The name of a class could otherwise be shown nowhere and stored in no file.

    Raises:
        DataError: if it is not; the message says of what ``kind`` the name is.
    """
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"The name of the {kind} {name!r} holds bytes that are not UTF-8; rename it."
        ) from error


@contextmanager
def require_extra(name: str, what: str) -> Iterator[None]:
    """Replace the error of a missing optional package by one that says how to install it.

    Args:
        name: Extra of lgmnet that contains the package.
        what: Feature that needs the package, as a plural noun such as "training runs".

    Raises:
        UserError: if an import inside the block does not find its module.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(
            f"{what[0].upper()}{what[1:]} need the package '{error.name}', which is not installed; "
            f"pip install 'lgmnet[{name}]'."
        ) from error
