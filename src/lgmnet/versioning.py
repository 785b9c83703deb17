"""Version of this code, recorded beside every result."""

import subprocess
from pathlib import Path


def git_commit() -> str | None:
    """Describe the git commit of this code, with + if files differ from it; None outside git."""
    here = Path(__file__).parent
    git = ["git", "-C", str(here), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
