"""The commit beside a result is that of the package's own files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lgmnet import versioning


def test_only_changed_files_of_the_package_are_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "package"
    package.mkdir()
    monkeypatch.setattr(versioning, "PACKAGE", package)
    assert versioning.git_commit() is None, "there is no repository yet"

    def git(*arguments: str) -> None:
        author = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        command = ["git", "-C", str(tmp_path), *author, *arguments]
        subprocess.run(command, check=True, capture_output=True)

    code, result = package / "code.py", tmp_path / "result.json"
    for path in (code, result):
        path.write_text("1")
    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    commit = versioning.git_commit()
    assert commit is not None
    result.write_text("2")
    assert versioning.git_commit() == commit
    code.write_text("2")
    assert versioning.git_commit() == f"{commit}+"
