"""Races: contestants in environments of their own, taken in turns, one process at a time."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
RESULTS = HERE / "results"
OURS = "lgmnet"


class CannotRun(Exception):
    """Why a contestant does not run here."""


class Contestant:
    """A worker process of one thread in the environment of a peer; idle until it is asked.

    Args:
        name: Of its file in ``benchmarks/peers``, and of its environment.

    Raises:
        CannotRun: if its environment is not there, or its imports fail.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        of_its_own = ROOT / f".venv-peer-{name}" / "bin" / "python"
        python = Path(sys.executable) if name in (OURS, "plain") else of_its_own
        if not python.exists():
            raise CannotRun(f"no environment {of_its_own.parent.parent.name}: make bench makes it")
        self.process = subprocess.Popen(
            [python, HERE / "worker.py", HERE / "peers" / f"{name}.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self.versions: dict[str, str] = self._read()["versions"]

    def act(self, name: str, count: int) -> tuple[float, Any]:
        """Seconds that ``count`` episodes of an act took, and what the act said.

        Raises:
            CannotRun: if it failed.
        """
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"act": name, "count": count}) + "\n")
        self.process.stdin.flush()
        answer = self._read()
        return answer["seconds"], answer["said"]

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": "it ended"}
        if "error" in answer:
            self.process.kill()
            raise CannotRun(answer["error"])
        return answer

    def end(self) -> None:
        """End the process, and with it all that it holds."""
        self.process.kill()
        self.process.wait()


@dataclass(frozen=True)
class Entry:
    """Who does the work of a race, and by which of its acts."""

    contestant: str
    act: str
    at_once: int = 1
    """Episodes that the act does at once."""
    count: int | None = None
    """Episodes of a turn; None for as many as fill it."""


@dataclass(frozen=True)
class Race:
    """The same work done by several, in turns.

    Args:
        entries: Who is in it, by the name that the result is to have.
        seconds: How long one turn is to take.
        turns: How many turns each has; the first, in which all is warmed up, does not count.
    """

    entries: dict[str, Entry]
    seconds: float = 0.6
    turns: int = 5

    def run(self) -> dict[str, Any]:
        """Episodes a second of each entry (median, lowest, highest), versions, and who did not run.

        Each entry has a process of its own, so that none finds the memory of another.
        """
        running: dict[str, Contestant] = {}
        counts: dict[str, int] = {}
        cannot: dict[str, str] = {}
        for entry, who in self.entries.items():
            try:
                contestant = Contestant(who.contestant)
                contestant.act(who.act, who.at_once)
                few, _ = contestant.act(who.act, 2 * who.at_once)
            except CannotRun as why:
                cannot[entry] = str(why)
                continue
            running[entry] = contestant
            filling = max(1, round(2 * self.seconds / few)) * who.at_once
            counts[entry] = who.count or filling
        rates: dict[str, list[float]] = {entry: [] for entry in running}
        for turn in range(self.turns + 1):
            for entry, contestant in running.items():
                seconds, _ = contestant.act(self.entries[entry].act, counts[entry])
                if turn:
                    rates[entry].append(counts[entry] / seconds)
        versions: dict[str, str] = {}
        for contestant in running.values():
            tag = "" if contestant.name in (OURS, "plain") else f" of {contestant.name}"
            versions |= {
                package + (tag if package == "torch" else ""): number
                for package, number in contestant.versions.items()
            }
            contestant.end()
        return {
            "episodes_a_second": {
                entry: {
                    "median": statistics.median(of_entry),
                    "lowest": min(of_entry),
                    "highest": max(of_entry),
                }
                for entry, of_entry in rates.items()
            },
            "cannot_run": cannot,
            "versions": versions,
        }


def interleaved_ms(acts: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median milliseconds of each act in this process, taken in turns after a warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in acts}
    for turn in range(repeats + 3):
        for name, act in acts.items():
            started = time.perf_counter()
            act()
            if turn >= 3:
                seconds[name].append(time.perf_counter() - started)
    return {name: round(1000 * statistics.median(s), 3) for name, s in seconds.items()}


def machine() -> dict[str, Any]:
    """What was measured on."""
    model = platform.processor() or platform.machine()
    about = Path("/proc/cpuinfo")
    if about.is_file():
        lines = about.read_text().splitlines()
        model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), model)
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def write(name: str, found: dict[str, Any]) -> None:
    """Write a result, with the machine beside it."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({**found, "machine": machine()}, indent=2) + "\n"
    (RESULTS / f"{name}.json").write_text(text)
