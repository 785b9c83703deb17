"""Measure how LGM-Net's time and memory scale with way, shot, number of tasks and image size.

``python benchmarks/scaling.py`` writes ``benchmarks/results/scaling.json``. Each point has its own
process with one thread, so that its peak memory can be measured. The rate of meta-training with one
process is compared with that of two, which exchange gradients. Takes four minutes. Run nothing else
at the same time.
"""

from __future__ import annotations

import csv
import math
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from harness import write_result
from training_step import make_training_step

from lgmnet.devices import inference_autocast
from lgmnet.episode import Episode
from lgmnet.methods import Classifier, LGMNet, LGMNetConfig
from lgmnet.nn.embedding import EmbeddingConfig

SECONDS_PER_POINT = 0.3
PREDICT_QUERIES = 50
"""Number of queries per task for "predict". "train" has one query per class."""
TRAIN_STEPS, N_RUNS = 100, 2
"""Steps of a run of meta-training, and its runs with each number of processes."""


@dataclass(frozen=True)
class BatchShape:
    """Shape of a batch of tasks. The defaults hold where an axis does not vary."""

    way: int = 5
    shot: int = 1
    tasks: int = 1
    image_size: int = 28


AXES: dict[str, tuple[int, ...]] = {
    "way": (2, 5, 10, 20, 50, 100, 200),
    "shot": (1, 2, 5, 10, 20, 50),
    "tasks": (1, 2, 4, 8, 16, 32, 64),
    "image_size": (28, 84),
}


def make_operation(name: str, shape: BatchShape) -> Callable[[], object]:
    """Prepare LGM-Net's "adapt", "predict" or "train" (one training step) on random images."""
    image_shape = (1, shape.image_size, shape.image_size)
    method = LGMNet(LGMNetConfig(EmbeddingConfig(image_shape)))
    method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    queries = shape.way if name == "train" else PREDICT_QUERIES
    support_x = torch.rand(shape.tasks, shape.way * shape.shot, *image_shape)
    query_x = torch.rand(shape.tasks, queries, *image_shape)
    classes = torch.arange(shape.way)
    support_y = classes.repeat_interleave(shape.shot).expand(shape.tasks, -1)
    query_y = classes.expand(shape.tasks, -1)
    if name == "train":
        step = make_training_step(method, bf16=True)
        episode = Episode(support_x, support_y, query_x, query_y, shape.way)
        return lambda: step(episode)
    method.eval()

    @torch.inference_mode()
    def adapt() -> Classifier:
        with inference_autocast(support_x[0]):
            return method.adapt(support_x, support_y, shape.way)

    if name == "adapt":
        return adapt
    classifier = adapt()

    @torch.inference_mode()
    def predict() -> object:
        with inference_autocast(query_x[0]):
            return classifier(query_x)

    return predict


def measure(name: str, shape: BatchShape, connection: Connection) -> None:
    """Send the median time of an operation in seconds, and its additional memory in megabytes."""
    torch.set_num_threads(1)
    memory_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    operation = make_operation(name, shape)
    seconds: list[float] = []
    operation()
    while len(seconds) < 3 or (sum(seconds) < SECONDS_PER_POINT and len(seconds) < 200):
        start = time.perf_counter()
        operation()
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    connection.send((statistics.median(seconds), (peak - memory_before) / 1024))


def fit_exponent(sizes: list[int], costs: list[float]) -> float:
    """Fit a power law to costs by least squares on logarithms and return its exponent.

    Only the upper part of the range counts, because constant costs dominate the lower part.
    """
    half = len(sizes) // 2
    xs = [math.log(size) for size in sizes[half - 1 :]]
    ys = [math.log(cost) for cost in costs[half - 1 :]]
    return statistics.linear_regression(xs, ys).slope


def measure_processes(steps: int = TRAIN_STEPS, n_runs: int = N_RUNS) -> dict[str, float]:
    """Measure the tasks per second of meta-training with one and with two processes, in turns.

    Each process has one thread, and tasks of its own.
    """
    rates: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder:
        for run in range(n_runs):
            for processes, measured in rates.items():
                measured.append(train(Path(folder) / f"{run}-{processes}", processes, steps))
    return {f"{n}, tasks per second": statistics.median(rate) for n, rate in rates.items()}


def train(out: Path, processes: int, steps: int) -> float:
    """Train LGM-Net on synthetic characters by the command line, and return its tasks per second.

    It is the median over the lines of its log after the first one, which includes the start.
    """
    settings = ("tasks=4", "way=5", "query=15", "log_every=5", f"save_every={steps}")
    settings += (f"validation.every={steps}", "validation.episodes=2", "validation.way=5")
    command = [sys.executable, "-m", "lgmnet", "train", "omniglot", "--data", "strokes"]
    command += ["--accelerator", "cpu", "--out", str(out), "--steps", str(steps)]
    command += ["--devices", str(processes)]
    command += [word for setting in settings for word in ("--set", setting)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    (log,) = (out / "logs").rglob("metrics.csv")
    with log.open(encoding="utf-8", newline="") as file:
        rates = [row["train/episodes_per_second"] for row in csv.DictReader(file)]
    return statistics.median(float(rate) for rate in rates[1:] if rate)


def main() -> None:
    """Measure and write the result."""
    context = multiprocessing.get_context("fork")
    curves: dict[str, Any] = {}
    for name in ("adapt", "predict", "train"):
        for axis, sizes in AXES.items():
            points = []
            for size in sizes:
                receiver, sender = context.Pipe(duplex=False)
                shape = replace(BatchShape(), **{axis: size})
                process = context.Process(target=measure, args=(name, shape, sender))
                process.start()
                seconds, megabytes = receiver.recv()
                process.join()
                points.append({axis: size, "seconds": seconds, "megabytes": megabytes})
            # The cost of an image depends on its number of pixels.
            xs = [size * size for size in sizes] if axis == "image_size" else list(sizes)
            curve = {
                "points": points,
                "time_exponent": fit_exponent(xs, [p["seconds"] for p in points]),
                "memory_exponent": fit_exponent(xs, [max(1.0, p["megabytes"]) for p in points]),
            }
            curves[f"{name} by {axis}"] = curve
            print(name, axis, curve, flush=True)
    processes = measure_processes()
    print(processes, flush=True)
    result = {"threads": 1, "torch": torch.__version__, "curves": curves, "processes": processes}
    write_result("scaling", result)


if __name__ == "__main__":
    main()
