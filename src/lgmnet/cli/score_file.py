"""Files with the scores of every episode, which ``--save`` of several commands writes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lgmnet import __version__
from lgmnet.io import check_destination, write_text
from lgmnet.versioning import git_commit


def check_score_destination(path: Path, *, overwrite: bool) -> None:
    """Check that scores can be written to a file, before they are measured.

    Raises:
        UserError: if they cannot, or if a file that holds no scores of lgmnet would be lost.
    """
    check_destination(path, "file of scores of lgmnet", is_score_file, overwrite=overwrite)


def write_scores(
    path: Path, result: Mapping[str, Any], key: str, scores: Any, *, overwrite: bool
) -> None:
    """Write a result with the scores of its episodes, under ``key``, and the code's version.

    Raises:
        UserError: as `check_score_destination` does.
    """
    check_score_destination(path, overwrite=overwrite)
    version = {"lgmnet": __version__, "commit": git_commit()}
    write_text(path, json.dumps({**result, **version, key: scores}) + "\n")


def is_score_file(path: Path) -> bool:
    """Return True if a file is one that `write_scores` wrote."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    # Result files of tables have a commit and rows too, and name their table in addition.
    return (
        isinstance(content, dict)
        and {"lgmnet", "commit"} <= content.keys()
        and ("scores" in content or "rows" in content)
        and "results" not in content
    )
