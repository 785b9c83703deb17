"""Options of a reproduction, its result files and the files of its pictures."""

import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lgmnet import __version__
from lgmnet.errors import FileFormatError, require_extra
from lgmnet.io import atomic_write, check_writable, write_text
from lgmnet.versioning import git_commit

RESULT_VERSION = 1
"""Version of the format of the result files."""


@dataclass(frozen=True)
class RunOptions:
    """Options that all tables and figures share."""

    results: Path = Path("results")
    """Folder of the result files."""
    pages: Path = Path("docs")
    """Folder of the pages and pictures."""
    models: Path = Path("outputs")
    """Folder of the trained models; missing models are trained into it."""
    from_results: bool = False
    """If True, only draw pages and pictures from the result files."""
    episodes: int = 2000
    """Number of tasks per score."""
    seed: int = 0
    """Seed of the tasks."""
    steps: int | None = None
    """Number of training steps of every model; None for the number in its recipe."""
    rows: tuple[str, ...] = ()
    """Names of the table rows to run; empty for all rows."""
    train_seeds: tuple[int, ...] = ()
    """Seeds of the training of these rows; empty for all seeds."""


def read_result(path: Path, name: str, part: str) -> dict[str, Any]:
    """Read the result file of the table or figure ``name``; its key ``part`` must hold something.

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
    """Return the result of a figure, from its file alone or after ``run`` has computed it."""
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
    with require_extra("quickstart", "pictures"):
        from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    yield figure
    with atomic_write(path) as draft:
        figure.savefig(draft, dpi=110, format="png")
