"""Measure batch scoring on Ray: photos per second with 1 and 2 workers, and memory over time.

``python benchmarks/scoring.py [PHOTOS [ROUNDS [PART_SIZE]]]`` writes
``benchmarks/results/scoring.json``. It needs the extras ``ray``, ``fast`` and ``sklearn``, and
takes three minutes with 3,000 photos and 2 rounds, the default. Run nothing else at the same
time. ``make bench-page`` draws the figures into the page of the benchmarks and into that on scale.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from engines import LABELS, write_photos
from harness import write_result

from lgmnet.estimator import FewShotClassifier
from lgmnet.scoring import Scorer
from lgmnet.scoring.folder import open_score_folder
from lgmnet.scoring.on_ray import score_on_ray

N_PHOTOS, N_ROUNDS, PART_SIZE = 3_000, 2, 200
WORKERS = (1, 2)
SAMPLE_SECONDS = 1.0


class WorkerMemory(threading.Thread):
    """Samples the resident memory of all Ray workers that this process has started."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.megabytes: list[float] = []
        self._ended = threading.Event()

    def run(self) -> None:
        """Take one sample after the other."""
        while not self._ended.wait(SAMPLE_SECONDS):
            workers = list_workers(os.getpid())
            if workers:
                self.megabytes.append(sum(map(resident_mb, workers)) / len(workers))

    def end(self) -> list[float]:
        """Stop, and return the megabytes of a worker at each time."""
        self._ended.set()
        self.join()
        return self.megabytes


def list_workers(pid: int) -> list[int]:
    """List the Ray workers among the descendants of a process."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        is_worker = b"PartScorer" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # It has ended.
        return []
    return [*([pid] if is_worker else []), *(w for c in children for w in list_workers(int(c)))]


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process in megabytes; 0 if it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure_rate(scorer: Scorer, photos: Path, out: Path, n_workers: int, part_size: int) -> float:
    """Measure the photos per second while all workers are busy.

    That is from when each of them has finished a part to when one of them finds no other.
    """
    folder = open_score_folder(str(out), scorer, [str(photos)], part_size)
    parts = range(folder.n_parts)
    if len(parts) <= 2 * n_workers:
        raise SystemExit(f"Expected more than {2 * n_workers} parts, but there are {len(parts)}.")
    times = []
    for _ in score_on_ray(folder, scorer, parts, max_workers=n_workers):
        times.append(time.perf_counter())
    first, last = n_workers - 1, len(times) - n_workers
    return (last - first) * part_size / (times[last] - times[first])


def measure(n_photos: int, n_rounds: int, part_size: int) -> dict[str, float]:
    """Measure each number of workers in turns."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos, classifier = folder / "photos", folder / "photos.safetensors"
        photos.mkdir()
        paths = write_photos(photos, n_photos)
        FewShotClassifier("photos").fit(paths[: len(LABELS)], LABELS).save(classifier)
        scorer = Scorer(classifier)
        scorer(paths[:1])  # Converts the network, before workers would wait for each other.
        rates: dict[int, list[float]] = {n: [] for n in WORKERS}
        memory: list[float] = []
        for i in range(n_rounds):
            for n_workers in WORKERS:
                sampler = WorkerMemory()
                sampler.start()
                out = folder / f"scores-{i}-{n_workers}"
                rates[n_workers].append(measure_rate(scorer, photos, out, n_workers, part_size))
                memory = sampler.end()
        n_bytes = statistics.mean(path.stat().st_size for path in paths)
    one, two = (statistics.median(rates[n]) for n in WORKERS)
    ratios = [b / a for a, b in zip(rates[WORKERS[0]], rates[WORKERS[1]], strict=True)]
    return {
        "photos per second, 1 worker": round(one, 1),
        "photos per second, 2 workers": round(two, 1),
        "scaling from 1 to 2 workers, %": round(50 * statistics.median(ratios), 1),
        "memory of a worker after a quarter of the time, MB": round(memory[len(memory) // 4], 1),
        "memory of a worker at half time, MB": round(memory[len(memory) // 2], 1),
        "memory of a worker at the end, MB": round(memory[-2], 1),  # The last may be ending.
        "bytes of a photo": round(n_bytes),
    }


def main() -> None:
    """Measure, and write the result."""
    given = list(map(int, sys.argv[1:]))
    n_photos, n_rounds, part_size = [*given, *(N_PHOTOS, N_ROUNDS, PART_SIZE)[len(given) :]]
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # As Ray sets it for its workers.
    settings = {"photos": n_photos, "rounds": n_rounds, "photos of a part": part_size}
    write_result("scoring", settings | measure(n_photos, n_rounds, part_size))


if __name__ == "__main__":
    main()
