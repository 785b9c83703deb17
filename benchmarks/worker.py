"""One contestant of a race: runs its acts when it is told to, one at a time, and says how long.

``python benchmarks/worker.py benchmarks/peers/NAME.py`` in the environment of that peer; `race`
starts it and talks to it in lines of JSON. Needs PyTorch and nothing else.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def acts_of(path: Path) -> tuple[dict[str, Callable[[], Callable[[int], object]]], tuple[str, ...]]:
    """What a contestant can do, and the packages that it does it with."""
    spec = importlib.util.spec_from_file_location("contestant", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ACTS, module.PACKAGES


def version_of(package: str) -> str:
    """The version of an installed package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "?"


def main() -> None:
    """Answer every line of stdin with one of stdout."""
    # What a library prints goes to stderr: stdout is for answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(**fields: Any) -> None:
        answers.write(json.dumps(fields) + "\n")
        answers.flush()

    warnings.simplefilter("ignore")
    try:
        import torch

        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        torch.manual_seed(0)
        makers, packages = acts_of(Path(sys.argv[1]))
    except Exception as error:
        answer(error=f"{type(error).__name__}: {error}")
        return
    answer(versions={package: version_of(package) for package in ("torch", *packages)})
    acts: dict[str, Callable[[int], object]] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        name, count = asked["act"], asked["count"]
        try:
            if name not in acts:
                acts.clear()  # One at a time: stores of images are large.
                acts[name] = makers[name]()
            started = time.perf_counter()
            said = acts[name](count)
            answer(seconds=time.perf_counter() - started, said=said)
        except Exception as error:
            answer(error=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
