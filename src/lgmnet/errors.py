"""Every error that lgmnet raises on purpose.

::

    LgmnetError
    └── UserError            (also a ValueError) the caller can mend it: exit code 2, HTTP 4xx
        ├── EpisodeError     a task that cannot be: labels, shapes, more classes than there are
        ├── DataError        a data set, folder or split that cannot serve
        │   └── ImageError   one image that cannot be read; names the file
        ├── ConfigError      an unknown name or a value out of range; names the field
        └── FileFormatError  a model or classifier file that is damaged, foreign or too new

A message says what was expected, what came, and how to mend it. Broken invariants of our own are
``assert`` s, not errors of this tree.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class LgmnetError(Exception):
    """Base of all errors that lgmnet raises on purpose."""


class UserError(LgmnetError, ValueError):
    """The caller gave something that cannot work, and can mend it."""


class EpisodeError(UserError):
    """A task that cannot be: wrong labels, wrong shapes, or more than the data holds."""


class DataError(UserError):
    """A data set, folder or split that cannot serve."""


class ImageError(DataError):
    """One image that cannot be read or used; the message names it."""


class ConfigError(UserError):
    """An unknown name, or a value out of range."""


class FileFormatError(UserError):
    """A model or classifier file that is damaged, foreign, or of another version."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> ConfigError:
    """The error for a name that does not exist, with the nearest one that does.

    >>> str(unknown_name("model", "omniglt", ["omniglot"]))
    "There is no model 'omniglt'. Did you mean 'omniglot'? Known: omniglot."
    """
    names = list(known)
    nearest = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
    return ConfigError(f"There is no {kind} '{name}'.{hint} Known: {', '.join(names) or 'none'}.")


@contextmanager
def extra(name: str, what: str) -> Iterator[None]:
    """Turn a missing optional package into a sentence that says how to get it.

    Raises:
        UserError: if an import inside the block finds no module.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(
            f"{what[0].upper()}{what[1:]} need the package '{error.name}', which is not installed; "
            f"pip install 'lgmnet[{name}]'."
        ) from error
