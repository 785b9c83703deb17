"""Run all benchmarks one after the other, with their times, and draw their page.

``make bench`` runs it after it has made the environments of the peer libraries. A benchmark that
fails is named at the end; the others run all the same, and the page keeps its earlier result.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence

from harness import BENCHMARKS, write_result

NAMES = ("peers", "utilisation", "scaling", "classifier", "engines", "scoring", "service")
MAX_MINUTES = 20


def run_script(name: str) -> bool:
    """Run a file of this folder and return True if it succeeds."""
    return subprocess.run([sys.executable, BENCHMARKS / f"{name}.py"], check=False).returncode == 0


def run_all(names: Sequence[str] = NAMES) -> int:
    """Run benchmarks, write how long each took, draw the page and return the exit code."""
    minutes: dict[str, float] = {}
    failed = []
    for name in names:
        started = time.monotonic()
        if not run_script(name):
            failed.append(name)
        minutes[name] = round((time.monotonic() - started) / 60, 2)
        print(f"{name} took {minutes[name]:.1f} minutes", flush=True)
    total = sum(minutes.values())
    write_result("run_times", {"minutes": minutes, "total_minutes": total, "failed": failed})
    if not run_script("page"):
        failed.append("page")
    print(f"All benchmarks took {total:.1f} minutes; they should take at most {MAX_MINUTES}.")
    if failed:
        print(f"error: Failed: {', '.join(failed)}. Their messages are above.", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(run_all())
