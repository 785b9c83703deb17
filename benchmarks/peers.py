"""Compare the speed of lgmnet with that of its peer libraries at the same work, with one thread.

``make bench`` creates an environment for each peer library and runs this file, which writes
``benchmarks/results/peers.json``. Takes eight minutes. Run nothing else at the same time.
``python benchmarks/peers.py adapt`` measures one comparison anew and keeps the others.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from harness import (
    LGMNET,
    PLAIN,
    RESULTS,
    Comparison,
    Entry,
    Worker,
    WorkerError,
    write_result,
)
from workload import N_TEST_TASKS, N_TRAIN_TASKS

N_SEEDS = 3
N_COMPARED_TASKS = 100
N_IMPORTS = 4


def make_comparisons() -> dict[str, Comparison]:
    """Return all comparisons by name."""

    def sampling_entries(dataset: str) -> dict[str, Entry]:
        operation = f"sample {dataset}"
        return {
            "lgmnet": Entry(LGMNET, operation),
            "plain gather": Entry(PLAIN, operation),
            "easyfsl": Entry("easyfsl", operation),
            "learn2learn": Entry("learn2learn", operation),
        }

    def peer_entries(operation: str, peers: tuple[str, ...]) -> dict[str, Entry]:
        orders = ("", ", pool first")  # Order of the network's layers.
        return {
            f"{peer}{order}": Entry(peer, operation + order) for order in orders for peer in peers
        }

    sampling_in_batches = {
        "lgmnet, batches of 16": Entry(LGMNET, "sample omniglot, batches of 16", 16),
        "plain gather, batches of 16": Entry(PLAIN, "sample omniglot, batches of 16", 16),
    }
    return {
        "sample omniglot": Comparison(sampling_in_batches | sampling_entries("omniglot")),
        "sample miniimagenet": Comparison(sampling_entries("miniimagenet")),
        "train ProtoNet": Comparison(
            {
                "lgmnet": Entry(LGMNET, "train"),
                "lgmnet, float32": Entry(LGMNET, "train, float32"),
                "lgmnet, batches of 4": Entry(LGMNET, "train, batches of 4", 4),
            }
            | peer_entries("train", ("easyfsl", "learn2learn")),
            turn_seconds=1.0,
        ),
        "train MAML": Comparison(
            {"lgmnet": Entry(LGMNET, "maml"), "lgmnet, float32": Entry(LGMNET, "maml, float32")}
            | peer_entries("maml", ("learn2learn", "higher", "torchopt")),
            turn_seconds=1.0,
        ),
        "train LGM-Net": Comparison(
            {
                "LGM-Net": Entry(LGMNET, "train default LGM-Net", 4),
                "ProtoNet": Entry(LGMNET, "train default ProtoNet", 4),
            },
            turn_seconds=1.0,
        ),
        "adapt": Comparison(
            {
                "LGM-Net": Entry(LGMNET, "adapt LGM-Net"),
                "LGM-Net that sees labels": Entry(LGMNET, "adapt LGM-Net that sees labels"),
                "MAML, 5 steps": Entry(LGMNET, "adapt MAML"),
                "LGM-Net, batches of 16": Entry(LGMNET, "adapt LGM-Net, batches of 16", 16),
                "MAML, 5 steps, batches of 16": Entry(LGMNET, "adapt MAML, batches of 16", 16),
                "fine-tuning, 100 steps": Entry(PLAIN, "fine-tune"),
                "logistic regression": Entry(PLAIN, "logistic regression"),
            },
        ),
        "evaluate": Comparison(
            {
                "lgmnet, cached embeddings": Entry(LGMNET, "evaluate, cached", n_tasks=10_000),
                "lgmnet": Entry(LGMNET, "evaluate", n_tasks=10_000),
                # easyfsl's rate does not depend on the number of tasks, so a few suffice.
                "easyfsl": Entry("easyfsl", "evaluate", n_tasks=20),
            },
        ),
    }


def compare_cached_scores() -> dict[str, int]:
    """Count the scores that differ between evaluation with and without cached embeddings.

    The number of tasks is so small that evaluation without the cache does not embed all images in
    advance.
    """
    scores = []
    for operation in ("evaluate, cached", "evaluate"):
        worker = Worker(LGMNET)
        scores.append(worker.run(operation, N_COMPARED_TASKS)[1])
        worker.close()
    pairs = list(zip(*scores, strict=True))
    return {"n_scores": len(pairs), "n_different": sum(a != b for a, b in pairs)}


def compare_accuracy() -> dict[str, Any]:
    """Measure test accuracy after the same training for each seed, of lgmnet and of easyfsl."""
    from lgmnet.data.datasets.omniglot import omniglot
    from lgmnet.errors import DataError

    try:
        train, test = omniglot("vinyals/train"), omniglot("vinyals/test")
    except DataError as error:
        nothing = {"training tasks": 0, "test tasks": 0}
        return nothing | {"failures": {"all": str(error)}}
    result: dict[str, Any] = {"accuracies": {}, "failures": {}}
    result |= {"training tasks": N_TRAIN_TASKS, "test tasks": N_TEST_TASKS}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "omniglot.npz"
        np.savez(
            file,
            train_x=train.images.numpy(),
            train_y=train.labels.numpy(),
            test_x=test.images.numpy(),
            test_y=test.labels.numpy(),
        )
        os.environ["BENCH_OMNIGLOT"] = str(file)
        for label, library, operation in (
            ("lgmnet, float32", LGMNET, "accuracy, float32"),
            ("lgmnet", LGMNET, "accuracy"),
            ("easyfsl, pool first, squared distances", "easyfsl", "accuracy"),
        ):
            try:
                worker = Worker(library)
                result["accuracies"][label] = worker.run(operation, N_SEEDS)[1]
            except WorkerError as error:
                result["failures"][label] = str(error)
                continue
            worker.close()
    return result


def measure_import_time() -> dict[str, float]:
    """Return the median seconds that importing torch and lgmnet takes, each in a new process."""
    seconds: dict[str, list[float]] = {"torch": [], "lgmnet": []}
    for turn in range(N_IMPORTS + 1):
        for package, times in seconds.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", f"import {package}"], check=True)
            if turn:
                times.append(time.perf_counter() - start)
    return {package: statistics.median(times) for package, times in seconds.items()}


def main() -> None:
    """Run all comparisons, or those that are named, and write the result."""
    comparisons, results = make_comparisons(), {}
    for name in sys.argv[1:] or comparisons:
        results[name] = comparisons[name].run()
        for label, rate in results[name]["tasks_per_second"].items():
            print(f"{name}: {label}: {rate['median']:.1f} tasks per second", flush=True)
        for label, reason in results[name]["failures"].items():
            print(f"{name}: {label} did not run: {reason}", flush=True)
    if len(sys.argv) > 1:
        stored = json.loads((RESULTS / "peers.json").read_text())
        del stored["machine"]
        write_result("peers", stored | {"comparisons": stored["comparisons"] | results})
        return
    others = {
        "cached_scores": compare_cached_scores(),
        "accuracy": compare_accuracy(),
        "import_seconds": measure_import_time(),
    }
    print(others)
    write_result("peers", {"threads": 1, "comparisons": results, **others})


if __name__ == "__main__":
    main()
