"""What forging costs: milliseconds on one thread, and the peak memory of the two commands.

Run ``python benchmarks/forge.py``; it writes ``benchmarks/results/forge.json``. Nothing else should
run at the same time.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image

import lgmnet
from lgmnet.data.strokes import Strokes
from lgmnet.episode import EpisodeShape

REPEATS = 101
RESULT = Path(__file__).parent / "results" / "forge.json"


def median_ms(act: Callable[[], object]) -> float:
    """Median milliseconds of an act, warmed up."""
    for _ in range(5):
        act()
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        act()
        seconds.append(time.perf_counter() - started)
    return round(1000 * statistics.median(seconds), 3)


def peak_megabytes(*words: str) -> float:
    """Peak resident memory of one run of the command line, in a process of its own."""
    code = (
        "import resource, subprocess, sys; "
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    line = [sys.executable, "-c", code, sys.executable, "-m", "lgmnet.cli", *words]
    kilobytes = int(subprocess.run(line, check=True, capture_output=True, text=True).stdout)
    return round(kilobytes / 1024, 1)


def images(way: int, shot: int, query: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Support and query images of one task of invented characters."""
    pixels = torch.empty(way * (shot + query), 1, 28, 28, dtype=torch.uint8)
    Strokes("test").draw(EpisodeShape(way, shot, query), torch.Generator().manual_seed(0), pixels)
    return pixels[: way * shot], pixels[way * shot :]


def main() -> None:
    """Measure and write."""
    torch.set_num_threads(1)
    model = lgmnet.load_model("omniglot")
    found: dict[str, object] = {}
    for way, shot in ((5, 1), (5, 5), (20, 5)):
        support, query = images(way, shot, 1)
        labels = [i // shot for i in range(way * shot)]
        names = [str(i) for i in range(way)]
        forged = lgmnet.forge(model, support, labels, names)
        found[f"forge_{way}way_{shot}shot_ms"] = median_ms(
            lambda s=support, y=labels, n=names: lgmnet.forge(model, s, y, n)
        )
        found[f"one_query_{way}way_{shot}shot_ms"] = median_ms(
            lambda f=forged, q=query[:1]: f.predict_proba(q)
        )
    with tempfile.TemporaryDirectory() as folder:
        support, query = images(20, 5, 15)
        for i, image in enumerate(support):
            place = Path(folder) / "classes" / f"{i // 5:02d}"
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(255 - image[0].numpy()).resize((400, 400)).save(place / f"{i}.png")
        queries = []
        for i, image in enumerate(query):
            queries.append(str(Path(folder) / f"{i}.png"))
            Image.fromarray(255 - image[0].numpy()).resize((400, 400)).save(queries[-1])
        file = str(Path(folder) / "classifier.safetensors")
        classes = str(Path(folder) / "classes")
        found["forge_20way_5shot_peak_mb"] = peak_megabytes("forge", classes, "-o", file)
        found["predict_300_images_peak_mb"] = peak_megabytes("predict", file, *queries)
    found |= {
        "threads": 1,
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lgmnet": lgmnet.__version__,
    }
    RESULT.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
