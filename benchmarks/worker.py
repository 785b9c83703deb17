"""Worker process that runs the operations of one library and reports their times.

`harness` starts it as ``python benchmarks/worker.py benchmarks/peers/NAME.py`` in the environment
of that library. It reads requests from stdin and writes replies to stdout, as lines of JSON. Needs
only PyTorch and the library.
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

Operation = Callable[[int], object]


def load_operations(path: Path) -> tuple[dict[str, Callable[[], Operation]], tuple[str, ...]]:
    """Import a file of `peers/` and return its operations and the packages that they use."""
    spec = importlib.util.spec_from_file_location("peer", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.OPERATIONS, module.PACKAGES


def package_version(package: str) -> str:
    """Return the version of an installed package, or ``?`` if it is not installed as one."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "?"


def main() -> None:
    """Reply to every line on stdin with one line on stdout."""
    # Anything a library prints goes to stderr, because stdout carries the replies.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def reply(**fields: Any) -> None:
        replies.write(json.dumps(fields) + "\n")
        replies.flush()

    warnings.simplefilter("ignore")
    try:
        import torch

        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        torch.manual_seed(0)
        factories, packages = load_operations(Path(sys.argv[1]))
    except Exception as error:
        reply(error=f"{type(error).__name__}: {error}")
        return
    reply(versions={package: package_version(package) for package in ("torch", *packages)})
    operations: dict[str, Operation] = {}
    for line in sys.stdin:
        request = json.loads(line)
        name, n_tasks = request["operation"], request["n_tasks"]
        try:
            if name not in operations:
                operations.clear()  # Keep one operation at a time: its images take much memory.
                operations[name] = factories[name]()
            start = time.perf_counter()
            result = operations[name](n_tasks)
            reply(seconds=time.perf_counter() - start, result=result)
        except Exception as error:
            reply(error=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
