"""Result files: what tables and figures are drawn from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lgmnet.errors import FileFormatError

VERSION = 1
"""Of the result files."""


def read_result(path: Path, name: str, part: str) -> dict[str, Any]:
    """A result that ``lgmnet reproduce`` wrote.

    Args:
        path: The file.
        name: Of the table or figure.
        part: What is drawn from it; it must be there and hold something.

    Raises:
        FileFormatError: if there is none, it is damaged, of something else or of another version.
    """
    if not path.is_file():
        raise FileFormatError(
            f"There is no result file '{path}'; without --from-results, 'lgmnet reproduce {name}' "
            "makes it."
        )
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        kind, version = result["results"], result["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise FileFormatError(f"'{path}' is not a result file: {error!r}.") from error
    if kind != name or version != VERSION:
        raise FileFormatError(
            f"'{path}' holds {kind} of version {version}; this lgmnet draws {name} of version "
            f"{VERSION}. Run 'lgmnet reproduce {name}' again, or use the lgmnet that made it."
        )
    if not result.get(part):
        raise FileFormatError(
            f"'{path}' is damaged: it has no '{part}'. Run 'lgmnet reproduce {name}' again."
        )
    return dict(result)
