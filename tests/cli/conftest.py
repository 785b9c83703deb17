"""Fixtures of the command line's tests: a tiny model, and a classifier forged by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import lgmnet
from tests.support.images import symbols


@pytest.fixture(scope="session")
def folder_of_symbols(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes with 1, 2 and 4 drawings."""
    return symbols(tmp_path_factory.mktemp("symbols"), {"moon": 1, "star": 2, "sun": 4})


@pytest.fixture(scope="session")
def classifier(
    tiny: Path, folder_of_symbols: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """File of a classifier forged from these symbols."""
    path = tmp_path_factory.mktemp("classifiers") / "symbols.safetensors"
    assert lgmnet("forge", folder_of_symbols, "-o", path, "--model", tiny).code == 0
    return path
