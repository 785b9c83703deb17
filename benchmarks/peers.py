"""lgmnet against its peers on the same work, side by side, one thread each.

``make bench`` runs it, after making an environment for each peer; it writes
``benchmarks/results/peers.json``. Nothing else should run at the same time; takes nine minutes.
"""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from race import OURS, CannotRun, Contestant, Entry, Race, write

LEARNED_EPISODES = 600


def races() -> dict[str, Race]:
    """What is raced: the name of each entry, who runs it, and which of its acts."""

    def drawing(name: str) -> dict[str, Entry]:
        act = f"draw {name}"
        return {
            "lgmnet": Entry(OURS, act),
            "plain gather": Entry("plain", act),
            "easyfsl": Entry("easyfsl", act),
            "learn2learn": Entry("learn2learn", act),
        }

    at_once = {
        "lgmnet, 16 tasks at once": Entry(OURS, "draw omniglot, 16 at once", 16),
        "plain gather, 16 tasks at once": Entry("plain", "draw omniglot, 16 at once", 16),
    }
    maml = ("learn2learn", "higher", "torchopt")
    return {
        "draw omniglot": Race(at_once | drawing("omniglot")),
        "draw miniimagenet": Race(drawing("miniimagenet")),
        "train": Race(
            {
                "lgmnet": Entry(OURS, "train"),
                "lgmnet, 32 bits": Entry(OURS, "train, 32 bits"),
                "lgmnet, 4 tasks at once": Entry(OURS, "train, 4 at once", 4),
                "easyfsl": Entry("easyfsl", "train"),
                "learn2learn": Entry("learn2learn", "train"),
                "easyfsl, pool first": Entry("easyfsl", "train, pool first"),
                "learn2learn, pool first": Entry("learn2learn", "train, pool first"),
            },
            seconds=1.0,
        ),
        "maml": Race(
            {"lgmnet": Entry(OURS, "maml"), "lgmnet, 32 bits": Entry(OURS, "maml, 32 bits")}
            | {name: Entry(name, "maml") for name in maml}
            | {f"{name}, pool first": Entry(name, "maml, pool first") for name in maml},
            seconds=1.0,
        ),
        "lgm-net beside proto-net": Race(
            {
                "lgm-net": Entry(OURS, "train lgm-net", 4),
                "proto-net": Entry(OURS, "train proto-net", 4),
            },
            seconds=1.0,
        ),
        "forge": Race(
            {
                "lgm-net": Entry(OURS, "adapt lgm-net"),
                "maml, 5 steps": Entry(OURS, "adapt maml"),
                "lgm-net, 16 tasks at once": Entry(OURS, "adapt lgm-net, 16 at once", 16),
                "maml, 5 steps, 16 tasks at once": Entry(OURS, "adapt maml, 16 at once", 16),
                "fine-tuning, 100 steps": Entry("plain", "fine-tune"),
                "logistic regression": Entry("plain", "logistic regression"),
            },
        ),
    }


def evaluating() -> dict[str, Any]:
    """Evaluation of 10,000 episodes, cached and not, against easyfsl's, which goes on at its rate.

    The uncached path is asked for fewer episodes than there are images, where it does not embed
    them all, and must give the same scores.
    """
    found: dict[str, Any] = {"episodes_a_second": {}, "cannot_run": {}, "versions": {}}
    turns = {
        "lgmnet, embedding cached": (OURS, "evaluate, cached", 10_000),
        "lgmnet": (OURS, "evaluate", 10_000),
        "easyfsl": ("easyfsl", "evaluate", 20),
    }
    said: dict[str, Any] = {}
    for entry, (name, act, count) in turns.items():
        try:
            contestant = Contestant(name)
            contestant.act(act, 2)
            runs = [contestant.act(act, count) for _ in range(5)]
        except CannotRun as why:
            found["cannot_run"][entry] = str(why)
            continue
        rates = [count / seconds for seconds, _ in runs]
        found["episodes_a_second"][entry] = {
            "median": statistics.median(rates),
            "lowest": min(rates),
            "highest": max(rates),
        }
        said[entry] = runs[0][1]
        contestant.end()
    uncached = Contestant(OURS)
    _, scores = uncached.act("evaluate", 100)
    uncached.end()
    cached = said["lgmnet, embedding cached"][: len(scores)]
    found["scores_compared"] = len(scores)
    found["scores_that_differ"] = sum(a != b for a, b in zip(scores, cached, strict=True))
    return found


def learning() -> dict[str, Any]:
    """Accuracy after the same training, ours in bf16 and in 32 bits, and a peer's."""
    from lgmnet.errors import DataError
    from lgmnet.recipes.sources import SOURCES

    try:
        stores = {split: SOURCES["omniglot"](f"vinyals/{split}") for split in ("train", "test")}
    except DataError as why:
        return {"cannot_run": {"all": str(why)}}
    found: dict[str, Any] = {"episodes": LEARNED_EPISODES, "accuracy": {}, "cannot_run": {}}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "omniglot.npz"
        arrays = {}
        for split, store in stores.items():
            arrays |= {
                f"{split}_x": store.images.numpy(),
                f"{split}_y": store.labels.numpy(),
            }
        np.savez(file, **arrays)
        os.environ["BENCH_OMNIGLOT"] = str(file)
        for entry, name, act in (
            ("lgmnet", OURS, "learn"),
            ("lgmnet, 32 bits", OURS, "learn, 32 bits"),
            ("easyfsl, squared distances", "easyfsl", "learn, squared"),
            ("easyfsl, its own distances", "easyfsl", "learn"),
        ):
            try:
                contestant = Contestant(name)
                _, scores = contestant.act(act, LEARNED_EPISODES)
            except CannotRun as why:
                found["cannot_run"][entry] = str(why)
                continue
            contestant.end()
            ci95 = 1.96 * statistics.stdev(scores) / math.sqrt(len(scores))
            found["accuracy"][entry] = {"mean": 100 * statistics.mean(scores), "ci95": 100 * ci95}
    return found


def importing() -> dict[str, float]:
    """Seconds to import lgmnet and to import torch, in fresh processes taken in turns."""
    seconds: dict[str, list[float]] = {"torch": [], "lgmnet": []}
    for turn in range(12):
        for name, of_name in seconds.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", f"import {name}"], check=True)
            if turn:
                of_name.append(time.perf_counter() - started)
    return {name: statistics.median(of_name) for name, of_name in seconds.items()}


def main() -> None:
    """Race and write."""
    found: dict[str, Any] = {"threads": 1, "races": {}}
    for name, race in races().items():
        found["races"][name] = race.run()
        for entry, rate in found["races"][name]["episodes_a_second"].items():
            print(f"{name}: {entry}: {rate['median']:.1f} a second", flush=True)
        for entry, why in race.cannot.items():
            print(f"{name}: {entry} does not run: {why}", flush=True)
    found["races"]["evaluate"] = evaluating()
    found["learning"] = learning()
    found["import_seconds"] = importing()
    print({key: found[key] for key in ("learning", "import_seconds")})
    print(found["races"]["evaluate"])
    write("peers", found)


if __name__ == "__main__":
    main()
