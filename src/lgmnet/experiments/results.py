"""Result files, from which tables and figures are drawn, and the files of the pictures."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from lgmnet import __version__
from lgmnet.errors import FileFormatError, extra
from lgmnet.experiments.options import RunOptions
from lgmnet.io import atomic_write, check_writable, write_text
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
    """Write the content of the result file of the table or figure ``name`` as JSON."""
    result = {"results": name, "version": RESULT_VERSION, **content}
    write_text(path, json.dumps(result) + "\n")


def load_or_run(
    options: RunOptions, name: str, part: str, run: Callable[[RunOptions], dict[str, Any]]
) -> dict[str, Any]:
    """Read the result of a figure, after running it if not only its picture is wanted.

    Args:
        options: Folders, and size of the run.
        name: Name of the figure.
        part: Key that the figure is drawn from.
        run: Function that computes the result.
    """
    file = options.results / f"{name}.json"
    if not options.from_results:
        check_writable(file)
        write_result(file, name, collect_provenance() | run(options))
    return read_result(file, name, part)


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


@contextmanager
def open_picture(path: Path, width: float, height: float) -> Iterator[Any]:
    """Yield an empty figure of matplotlib, in inches, and write it to a PNG file at the end.

    Raises:
        UserError: if matplotlib is not installed, or the file cannot be written.
    """
    with extra("quickstart", "pictures"):
        from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    yield figure
    with atomic_write(path) as draft:
        figure.savefig(draft, dpi=110, format="png")
