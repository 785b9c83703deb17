"""lgmnet against its peers on the same work, side by side, one thread each.

``make bench`` runs it, after making an environment for each peer; it writes
``benchmarks/results/peers.json``. Nothing else should run at the same time; takes nine minutes.
"""

from __future__ import annotations

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

SEEDS = 4


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
        "evaluate": Race(
            {
                "lgmnet, embedding cached": Entry(OURS, "evaluate, cached", count=10_000),
                "lgmnet": Entry(OURS, "evaluate", count=10_000),
                "easyfsl": Entry("easyfsl", "evaluate", count=20),  # At the same rate for ever.
            },
        ),
    }


def comparing() -> dict[str, int]:
    """How many scores differ between the embedding cached and not.

    The uncached path is asked for fewer episodes than there are images, where it does not embed
    them all.
    """
    scores = []
    for act in ("evaluate, cached", "evaluate"):
        contestant = Contestant(OURS)
        scores.append(contestant.act(act, 100)[1])
        contestant.end()
    pairs = list(zip(*scores, strict=True))
    return {"scores": len(pairs), "that_differ": sum(a != b for a, b in pairs)}


def learning() -> dict[str, Any]:
    """Accuracies after the same training, one for each seed: ours in both precisions, a peer's."""
    from lgmnet.data.registry import SOURCES
    from lgmnet.errors import DataError

    try:
        stores = {split: SOURCES["omniglot"](f"vinyals/{split}") for split in ("train", "test")}
    except DataError as why:
        return {"cannot_run": {"all": str(why)}}
    found: dict[str, Any] = {"accuracies": {}, "cannot_run": {}}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "omniglot.npz"
        arrays = {}
        for split, store in stores.items():
            arrays |= {f"{split}_x": store.images.numpy(), f"{split}_y": store.labels.numpy()}
        np.savez(file, **arrays)
        os.environ["BENCH_OMNIGLOT"] = str(file)
        for entry, name, act in (
            ("lgmnet, 32 bits", OURS, "learn, 32 bits"),
            ("lgmnet", OURS, "learn"),
            ("easyfsl, pool first, squared distances", "easyfsl", "learn"),
        ):
            try:
                contestant = Contestant(name)
                found["accuracies"][entry] = contestant.act(act, SEEDS)[1]
            except CannotRun as why:
                found["cannot_run"][entry] = str(why)
                continue
            contestant.end()
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
        for entry, why in found["races"][name]["cannot_run"].items():
            print(f"{name}: {entry} does not run: {why}", flush=True)
    found["cached_beside_uncached"] = comparing()
    found["learning"] = learning()
    found["import_seconds"] = importing()
    print({key: found[key] for key in ("cached_beside_uncached", "learning", "import_seconds")})
    write("peers", found)


if __name__ == "__main__":
    main()
