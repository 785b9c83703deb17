"""How time and memory of LGM-Net grow with way, shot, tasks and the size of images.

``python benchmarks/growth.py`` writes ``benchmarks/results/growth.json``. Each point is measured in
a process of its own, whose peak memory is its own too; one thread. Nothing else should run at the
same time; takes four minutes.
"""

from __future__ import annotations

import math
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

import torch
from ours import trainer
from race import write

from lgmnet import LGMNet, LGMNetConfig
from lgmnet.devices import inference_autocast

SECONDS = 0.4
QUERIES = 50


@dataclass(frozen=True)
class Size:
    """Of the tasks of a batch."""

    way: int = 5
    shot: int = 1
    tasks: int = 1
    side: int = 28


AXES: dict[str, tuple[int, ...]] = {
    "way": (2, 5, 10, 20, 50, 100, 200),
    "shot": (1, 2, 5, 10, 20, 50),
    "tasks": (1, 2, 4, 8, 16, 32, 64),
    "side": (28, 84),
}


def work_of(act: str, size: Size) -> Callable[[], object]:
    """Adapting, answering 50 queries a task, or a step of training with one query a class."""
    method = LGMNet(LGMNetConfig(feature_shape=(1, size.side, size.side)))
    method.to(memory_format=torch.channels_last)
    queries = size.way if act == "train" else QUERIES
    support = torch.rand(size.tasks, size.way * size.shot, 1, size.side, size.side)
    query = torch.rand(size.tasks, queries, 1, size.side, size.side)
    of_class = torch.arange(size.way)
    support_y = of_class.repeat_interleave(size.shot).expand(size.tasks, -1)
    query_y = of_class.expand(size.tasks, -1)
    if act == "train":
        step = trainer(method, bf16=True)
        return lambda: step((support, support_y, query, query_y), size.way)
    method.eval()

    def within(run: Callable[[], object]) -> Callable[[], object]:
        def inside() -> object:
            with torch.inference_mode(), inference_autocast(support[0]):
                return run()

        return inside

    adapt = within(lambda: method.adapt(support, support_y, size.way))
    if act == "adapt":
        return adapt
    classifier: Any = adapt()
    return within(lambda: classifier(query))


def measure(act: str, size: Size, to: Connection) -> None:
    """Median seconds of an act, and the megabytes that it needs beside what was there before."""
    torch.set_num_threads(1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run = work_of(act, size)
    taken: list[float] = []
    run()
    while len(taken) < 3 or (sum(taken) < SECONDS and len(taken) < 200):
        started = time.perf_counter()
        run()
        taken.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    to.send((statistics.median(taken), (peak - before) / 1024))


def exponent(values: list[int], costs: list[float]) -> float:
    """The exponent of a power law through the points, by least squares of the logarithms.

    Over the upper half of the range: below, what does not grow at all hides what does.
    """
    half = len(values) // 2
    xs = [math.log(v) for v in values[half - 1 :]]
    ys = [math.log(c) for c in costs[half - 1 :]]
    return statistics.linear_regression(xs, ys).slope


def main() -> None:
    """Measure and write."""
    fresh = multiprocessing.get_context("fork")
    found: dict[str, Any] = {}
    for act in ("adapt", "predict", "train"):
        for axis, values in AXES.items():
            points = []
            for value in values:
                ours, theirs = fresh.Pipe(duplex=False)
                size = replace(Size(), **{axis: value})
                process = fresh.Process(target=measure, args=(act, size, theirs))
                process.start()
                seconds, megabytes = ours.recv()
                process.join()
                points.append({axis: value, "seconds": seconds, "megabytes": megabytes})
            along = list(values) if axis != "side" else [side * side for side in values]
            found[f"{act} by {axis}"] = {
                "points": points,
                "exponent_of_time": exponent(along, [p["seconds"] for p in points]),
                "exponent_of_memory": exponent(along, [max(1.0, p["megabytes"]) for p in points]),
            }
            print(act, axis, found[f"{act} by {axis}"], flush=True)
    write("growth", {"threads": 1, "torch": torch.__version__, "grows": found})


if __name__ == "__main__":
    main()
