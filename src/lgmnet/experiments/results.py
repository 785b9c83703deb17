"""Result files, from which tables and figures are drawn."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lgmnet import __version__
from lgmnet.errors import FileFormatError
from lgmnet.io import write_text
from lgmnet.versioning import git_commit

RESULT_VERSION = 1
"""Version of the format of the result files."""


def read_result(path: Path, name: str, part: str) -> dict[str, Any]:
    """Read a result file that `write_result` wrote.

    Args:
        path: Result file.
        name: Name of the table or figure.
        part: Key that the table or figure is drawn from; it must hold something.

    Raises:
        FileFormatError: if the file is absent or damaged, belongs to another table or figure, or
            has another version.
    """
    if not path.is_file():
        raise FileFormatError(
            f"There is no result file '{path}'. Run 'lgmnet reproduce {name}' without "
            "--from-results to create it."
        )
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        kind, version = result["results"], result["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise FileFormatError(f"'{path}' is not a result file: {error!r}.") from error
    if kind != name or version != RESULT_VERSION:
        raise FileFormatError(
            f"'{path}' holds {kind} of version {version}; this lgmnet reads {name} of version "
            f"{RESULT_VERSION}. Run 'lgmnet reproduce {name}' again, or use the lgmnet that wrote "
            "the file."
        )
    if not result.get(part):
        raise FileFormatError(
            f"'{path}' is damaged: it has no '{part}'. Run 'lgmnet reproduce {name}' again."
        )
    return dict(result)


def write_result(path: Path, name: str, content: Mapping[str, Any]) -> None:
    """Write the result of a table or figure as JSON.

    Args:
        path: Result file.
        name: Name of the table or figure.
        content: Everything else to store, by key.
    """
    result = {"results": name, "version": RESULT_VERSION, **content}
    write_text(path, json.dumps(result) + "\n")


def collect_provenance() -> dict[str, Any]:
    """Describe the machine and the code that produce a result."""
    return {"machine": describe_machine(), "lgmnet": __version__, "commit": git_commit()}


def describe_machine() -> str:
    """Describe the GPU or processor, and its number of threads."""
    device = platform.processor() or platform.machine()
    cpus = Path("/proc/cpuinfo")
    if cpus.is_file():
        lines = cpus.read_text().splitlines()
        names = [line.split(":", 1)[1] for line in lines if line.startswith("model name")]
        device = names[0].strip() if names else device
    if torch.cuda.is_available():
        device = torch.cuda.get_device_name()
    return f"{device}, {torch.get_num_threads()} threads of {os.cpu_count()}"
