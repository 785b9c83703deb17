"""Version of this code, recorded beside every result."""

import subprocess
from pathlib import Path

PACKAGE = Path(__file__).parent


def git_commit() -> str | None:
    """Describe the git commit of this code; None outside git.

    A + follows if files of the package differ from it. Other files may differ: a table that is
    being run writes its pages and results.
    """
    try:
        commit = run_git("rev-parse", "--short", "HEAD")
        return f"{commit}+" if run_git("status", "--porcelain", "--", ".") else commit
    except (OSError, subprocess.CalledProcessError):
        return None


def run_git(*arguments: str) -> str:
    """Run a git command in the folder of the package and return what it prints."""
    command = ["git", "-C", str(PACKAGE), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
