"""Fair timing: each library in its own environment and process, one process at a time, in turns."""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).parent
ROOT = BENCHMARKS.parent
RESULTS = BENCHMARKS / "results"
LGMNET, PLAIN = "lgmnet", "plain"
"""Names of the two files in ``benchmarks/peers`` that run in lgmnet's own environment."""


class WorkerError(Exception):
    """Error of a worker process: no environment, a failed import or a failed operation."""


class Worker:
    """Process that runs the operations of one library with one thread. Idle between requests.

    Args:
        library: Name of the library's file in ``benchmarks/peers`` and of its environment.

    Raises:
        WorkerError: If the environment does not exist or an import fails.
    """

    def __init__(self, library: str) -> None:
        self.library = library
        environment = ROOT / f".venv-peer-{library}"
        is_local = library in (LGMNET, PLAIN)
        python = Path(sys.executable) if is_local else environment / "bin" / "python"
        if not python.exists():
            raise WorkerError(f"no environment {environment.name}; 'make bench' creates it")
        self.process = subprocess.Popen(
            [python, BENCHMARKS / "worker.py", BENCHMARKS / "peers" / f"{library}.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self.versions: dict[str, str] = self._read()["versions"]

    def run(self, operation: str, n_tasks: int) -> tuple[float, Any]:
        """Run an operation on a number of tasks.

        Returns:
            Time in seconds, and the result of the operation.

        Raises:
            WorkerError: If the operation fails.
        """
        assert self.process.stdin is not None
        request = {"operation": operation, "n_tasks": n_tasks}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        reply = self._read()
        return reply["seconds"], reply["result"]

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        reply: dict[str, Any] = json.loads(line) if line else {"error": "the process ended"}
        if "error" in reply:
            self.process.kill()
            raise WorkerError(reply["error"])
        return reply

    def close(self) -> None:
        """End the process, which frees its memory."""
        self.process.kill()
        self.process.wait()


@dataclass(frozen=True)
class Entry:
    """One row of a comparison: a library and the operation that it runs."""

    library: str
    operation: str
    batch: int = 1
    """Number of tasks that the operation processes in one call."""
    n_tasks: int | None = None
    """Number of tasks per turn. None chooses as many as fill the turn."""


@dataclass(frozen=True)
class Comparison:
    """Comparison of the speed of several entries at the same work.

    Args:
        entries: Entries by the label that they get in the result.
        turn_seconds: Intended length of a turn.
        n_turns: Number of measured turns per entry. One more turn before them warms up.
    """

    entries: dict[str, Entry]
    turn_seconds: float = 0.6
    n_turns: int = 5

    def run(self) -> dict[str, Any]:
        """Measure all entries in turns.

        Each entry has its own process, so that none profits from memory that another allocated.

        Returns:
            Tasks per second of each entry (median, lowest, highest), the versions of the packages,
            and the reason for each entry that did not run.
        """
        workers: dict[str, Worker] = {}
        n_tasks: dict[str, int] = {}
        failures: dict[str, str] = {}
        for label, entry in self.entries.items():
            try:
                worker = Worker(entry.library)
                worker.run(entry.operation, entry.batch)
                trial_seconds, _ = worker.run(entry.operation, 2 * entry.batch)
            except WorkerError as error:
                failures[label] = str(error)
                continue
            workers[label] = worker
            n_calls = max(1, round(2 * self.turn_seconds / trial_seconds))
            n_tasks[label] = entry.n_tasks or n_calls * entry.batch
        rates: dict[str, list[float]] = {label: [] for label in workers}
        for turn in range(self.n_turns + 1):
            for label, worker in workers.items():
                seconds, _ = worker.run(self.entries[label].operation, n_tasks[label])
                if turn:
                    rates[label].append(n_tasks[label] / seconds)
        versions: dict[str, str] = {}
        for worker in workers.values():
            suffix = "" if worker.library in (LGMNET, PLAIN) else f" of {worker.library}"
            versions |= {
                package + (suffix if package == "torch" else ""): number
                for package, number in worker.versions.items()
            }
            worker.close()
        return {
            "tasks_per_second": {
                label: {"median": statistics.median(r), "lowest": min(r), "highest": max(r)}
                for label, r in rates.items()
            },
            "failures": failures,
            "versions": versions,
        }


def interleaved_ms(calls: dict[str, Callable[[], object]], n_turns: int) -> dict[str, float]:
    """Time calls in this process, in turns after three turns that warm up.

    Returns:
        Median time of each call, in milliseconds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(n_turns + 3):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn >= 3:
                seconds[name].append(time.perf_counter() - start)
    return {name: round(1000 * statistics.median(values), 3) for name, values in seconds.items()}


def describe_machine() -> dict[str, Any]:
    """Return the processor, the number of cores, the system and the version of Python."""
    cpu_info = Path("/proc/cpuinfo")
    text = cpu_info.read_text() if cpu_info.is_file() else ""
    model_name = re.search(r"^model name\s*: (.+)$", text, flags=re.MULTILINE)
    processor = platform.processor() or platform.machine()
    return {
        "processor": model_name.group(1) if model_name else processor,
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def write_result(name: str, result: dict[str, Any]) -> None:
    """Write a result to ``benchmarks/results``, with a description of the machine."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({**result, "machine": describe_machine()}, indent=2) + "\n"
    (RESULTS / f"{name}.json").write_text(text)
