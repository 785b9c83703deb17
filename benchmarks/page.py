"""docs/benchmarks.md and its plots, from the files in ``benchmarks/results``; nothing is measured.

``make bench-page`` runs it.
"""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path
from typing import Any

import matplotlib
from race import RESULTS, ROOT
from scipy.stats import t
from work import LEARNED, SCORED

matplotlib.use("svg")
import matplotlib.pyplot as plt

DOCS = ROOT / "docs"
Rates = dict[str, float]
BEST = "the best peer"


def read(name: str) -> dict[str, Any]:
    """A result as it was written."""
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return found


def rates_of(race: dict[str, Any]) -> Rates:
    """Median episodes a second of each entry."""
    return {entry: rate["median"] for entry, rate in race["episodes_a_second"].items()}


def number(value: float) -> str:
    """As many digits as say something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown, numbers to the right."""
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def best(rates: Rates, of: tuple[str, ...]) -> tuple[str, float]:
    """The fastest of these that ran."""
    name = max((entry for entry in of if entry in rates), key=lambda entry: rates[entry])
    return name, rates[name]


def aims(peers: dict[str, Any], limit: dict[str, Any]) -> list[list[str]]:
    """What was aimed at, what came, and whether that is reached."""
    races = {name: rates_of(race) for name, race in peers["races"].items()}
    rows: list[list[str]] = []

    def aim(what: str, beside: str, ratio: float, wanted: float, *, most: bool = False) -> None:
        reached = ratio <= wanted if most else ratio >= wanted
        bound = "at most" if most else "at least"
        unit = " %" if what.startswith("share") else " x"
        rows.append(
            [
                what,
                beside,
                f"{bound} {wanted:g}{unit}",
                f"{number(ratio)}{unit}",
                "yes" if reached else "**no**",
            ]
        )

    draw, large = races["draw omniglot"], races["draw miniimagenet"]
    libraries = ("easyfsl", "learn2learn")
    name, rate = best(draw, libraries)
    ours = draw["lgmnet, 16 tasks at once"]
    what = "tasks drawn, Omniglot's shape, 16 at once"
    aim(what, f"{BEST}, {name}", ours / rate, 10)
    aim(what, "a plain gather of 16", ours / draw["plain gather, 16 tasks at once"], 1.0)
    name, rate = best(large, libraries)
    what = "tasks drawn, miniImageNet's shape, one at a time"
    aim(what, f"{BEST}, {name}", large["lgmnet"] / rate, 3.5)
    aim(what, "a plain gather", large["lgmnet"] / large["plain gather"], 0.9)
    train, inner = races["train"], races["maml"]
    for layers in ("", ", pool first"):
        network = "our order of layers" if layers else "layers as published"
        name, rate = best(train, tuple(f"{peer}{layers}" for peer in libraries))
        peer = name.split(",")[0]
        beside = f"{BEST}, {peer}, {network}"
        aim("ProtoNet trained, bf16", beside, train["lgmnet"] / rate, 2.5)
        aim("ProtoNet trained, 32 bits", beside, train["lgmnet, 32 bits"] / rate, 1.1)
    for layers in ("", ", pool first"):
        network = "our order of layers" if layers else "layers as published"
        name, rate = best(
            inner, tuple(f"{p}{layers}" for p in ("learn2learn", "higher", "torchopt"))
        )
        beside = f"{BEST}, {name.split(',')[0]}, {network}"
        aim("MAML trained, 5 steps, second order", beside, inner["lgmnet"] / rate, 1.5)
    judged = races["evaluate"]
    if "easyfsl" in judged:
        ratio = judged["lgmnet, embedding cached"] / judged["easyfsl"]
        aim("evaluation of 10,000 tasks, embedding cached", "easyfsl", ratio, 500)
    beside_proto = races["lgm-net beside proto-net"]
    aim(
        "time to train LGM-Net on a task",
        "our ProtoNet",
        beside_proto["proto-net"] / beside_proto["lgm-net"],
        1.4,
        most=True,
    )
    forge = races["forge"]
    aim("adapting, LGM-Net", "our MAML, 5 steps", forge["lgm-net"] / forge["maml, 5 steps"], 10)
    at_once = forge["lgm-net, 16 tasks at once"] / forge["maml, 5 steps, 16 tasks at once"]
    aim("adapting, LGM-Net, 16 tasks at once", "our MAML, 5 steps", at_once, 10)
    tuned = forge["lgm-net"] / forge["fine-tuning, 100 steps"]
    aim("adapting, LGM-Net", "fine-tuning, 100 steps", tuned, 100)
    for step in limit["steps"]:
        wanted = 35 if step["precision"] == "bf16" else 50
        what = f"share of the machine's limit, {step['method']}, {step['precision']}"
        aim(what, "matrix products", step["share_percent"], wanted)
    importing = peers["import_seconds"]
    what, ratio = "time of `import lgmnet`", importing["lgmnet"] / importing["torch"]
    aim(what, "`import torch`", ratio, 1.15, most=True)
    return rows


def missing(found: dict[str, Any]) -> list[str]:
    """A sentence for each entry that did not run."""
    return [f"{entry} did not run: {why}" for entry, why in found["cannot_run"].items()]


def race_table(race: dict[str, Any]) -> str:
    """Episodes a second of all entries of a race."""
    rows = [
        [entry, number(r["median"]), f"{number(r['lowest'])} to {number(r['highest'])}"]
        for entry, r in race["episodes_a_second"].items()
    ]
    return "\n\n".join([table(["", "a second", "lowest to highest"], rows), *missing(race)])


def accuracy_table(learned: dict[str, Any]) -> str:
    """Accuracies over seeds, and how far each is from the first entry's; or why there are none."""
    if "accuracies" not in learned:
        return "\n\n".join(missing(learned))
    rows: list[list[str]] = []
    first = next(iter(learned["accuracies"].values()))
    for entry, of_seeds in learned["accuracies"].items():
        apart, ci95 = mean_and_ci95([a - b for a, b in zip(of_seeds, first, strict=True)])
        beside = f"{apart:+.1f} ± {ci95:.1f}, {'level' if abs(apart) <= ci95 else '**apart**'}"
        mean, spread = mean_and_ci95(of_seeds)
        rows.append([entry, f"{mean:.1f} ± {spread:.1f}", beside if rows else ""])
    head = ["", "5-way 1-shot, %", "to the first"]
    return "\n\n".join([table(head, rows), *missing(learned)])


def mean_and_ci95(values: list[float]) -> tuple[float, float]:
    """Mean, and half of its 95 % interval by Student's t, since there are few."""
    error = statistics.stdev(values) / math.sqrt(len(values))
    return statistics.mean(values), float(t.ppf(0.975, len(values) - 1)) * error


def draw_races(peers: dict[str, Any], path: Path) -> None:
    """A bar for each entry of the races that peers are in."""
    shown = {
        "draw omniglot": "tasks drawn, Omniglot's shape",
        "draw miniimagenet": "tasks drawn, miniImageNet's shape",
        "train": "ProtoNet trained",
        "maml": "MAML trained",
    }
    figure, axes = plt.subplots(1, len(shown), figsize=(14, 3.6), layout="constrained")
    for axis, (name, title) in zip(axes, shown.items(), strict=True):
        rates = rates_of(peers["races"][name])
        entries = sorted(rates, key=lambda entry: rates[entry])
        colours = ["#4455cc" if entry.startswith("lgmnet") else "#b8bcc8" for entry in entries]
        axis.barh(entries, [rates[entry] for entry in entries], color=colours)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("a second", fontsize=8)
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_growth(grows: dict[str, Any], path: Path) -> None:
    """Time and memory against each size, both axes logarithmic, with the fitted exponents."""
    axes_of = ("way", "shot", "tasks", "side")
    figure, axes = plt.subplots(2, 4, figsize=(13, 6), layout="constrained", sharey="row")
    for column, size in enumerate(axes_of):
        for act in ("adapt", "predict", "train"):
            found = grows[f"{act} by {size}"]
            xs = [point[size] for point in found["points"]]
            for row, (cost, scale) in enumerate((("seconds", 1000), ("megabytes", 1))):
                fitted = found["exponent_of_time" if cost == "seconds" else "exponent_of_memory"]
                ys = [scale * max(point[cost], 1e-9) for point in found["points"]]
                label = f"{act}, exponent {fitted:.2f}"
                axes[row][column].loglog(xs, ys, "o-", markersize=3, label=label)
        for row, name in enumerate(("milliseconds", "megabytes")):
            axes[row][column].set_xlabel("side of images, pixels" if size == "side" else size)
            axes[row][column].legend(fontsize=7)
            axes[row][0].set_ylabel(name)
            axes[row][column].grid(alpha=0.3)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def growth_table(grows: dict[str, Any]) -> str:
    """The fitted exponents."""
    rows = [
        [name, f"{found['exponent_of_time']:.2f}", f"{found['exponent_of_memory']:.2f}"]
        for name, found in grows.items()
    ]
    return table(["", "time", "memory"], rows)


def limit_tables(limit: dict[str, Any]) -> str:
    """What a step reaches of the rate of matrix products, and what the rest goes into."""
    steps = limit["steps"]
    names = [f"{step['method']}, {step['precision']}" for step in steps]
    shares = [
        [
            name,
            number(step["gigaflops_of_a_step"]),
            number(step["milliseconds"]),
            number(step["product_gigaflops_a_second"]),
            f"{step['share_percent']:.0f} %",
        ]
        for name, step in zip(names, steps, strict=True)
    ]
    parts = [
        [kind, *(f"{step['parts_percent'][kind]:.1f}" for step in steps)]
        for kind in steps[0]["parts_percent"]
    ]
    head = ["a step of 4 tasks", "GFLOP", "ms", "products, GFLOP/s", "share"]
    return table(head, shares) + "\n\n" + table(["% of the time", *names], parts)


def flat(found: dict[str, Any]) -> str:
    """A flat result as a table."""
    kept = {k: v for k, v in found.items() if isinstance(v, int | float) and k != "cores"}
    return table(["", ""], [[k.replace("_", " "), number(v)] for k, v in kept.items()])


def page() -> str:
    """The page, in Markdown."""
    peers, limit, growth = read("peers"), read("limit"), read("growth")
    about = peers["machine"]
    versions: dict[str, str] = {}
    for race in peers["races"].values():
        versions |= race["versions"]
    learned = peers["learning"]
    judged, compared = peers["races"]["evaluate"], peers["cached_beside_uncached"]
    importing = peers["import_seconds"]
    machine_line = (
        f"{about['processor']}, {about['cores']} cores, {about['system']}, Python "
        f"{about['python']}; one thread. " + ", ".join(f"{k} {v}" for k, v in versions.items())
    )
    aimed = table(["", "beside", "wanted", "measured", "reached"], aims(peers, limit))
    return f"""# Benchmarks

Drawn from `benchmarks/results/*.json` by `make bench-page`; `make bench` measures all anew, in
under 20 minutes. Each contestant runs in an environment
and a process of its own, they take turns, one computes at a time, and each figure is the median
of five turns. Only ratios carry over to another machine.

{machine_line}.

{aimed}

No GPU was at hand, so there are no rows of one.

![Episodes a second of all contestants](benchmarks-peers.svg)

## Tasks drawn

5-way, 1-shot, 15 queries a class, images in memory, nothing done with them. The plain gather is
written by hand: classes and images drawn at random, gathered from floats into a
buffer that is kept; ours keeps bytes, a quarter of the memory, and makes floats of them.
learn2learn draws by its fused transform, its fastest.
miniImageNet's shape has 64 classes of 100 images here, so that all contestants hold theirs in
memory.

{race_table(peers["races"]["draw omniglot"])}

{race_table(peers["races"]["draw miniimagenet"])}

## ProtoNet trained

Conv-4 with 64 channels, one task of Omniglot's shape a step. Ours pools before it normalises,
which is less work; so each peer runs twice, with the layers in the order in which they were
published and in ours. Our default precision is bf16 where the processor computes in it.

{race_table(peers["races"]["train"])}

Accuracy on Omniglot's test characters after {LEARNED} tasks of training, mean of {SCORED} tasks
and of as many seeds as there are; the interval is of the seeds, for the luck of training is
larger than that of testing. Two runs from one seed of ours begin with the same weights and see the
same tasks. The loss is the same for all: easyfsl's distances are squared here, as the paper's are.

{accuracy_table(learned)}

## MAML trained

Second order, five inner steps, the same network and task.

{race_table(peers["races"]["maml"])}

## Evaluation

10,000 tasks of 8,460 images (as many as Omniglot's test characters have), ProtoNet. Of
{compared["scores"]} scores that were computed on both paths, {compared["that_differ"]} differ
between the embedding cached and not.

{race_table(judged)}

## LGM-Net beside ProtoNet

A step of training, 4 tasks, the same embedding (the default one).

{race_table(peers["races"]["lgm-net beside proto-net"])}

## Forging against adapting

From a 5-way 1-shot support set to a classifier. Fine-tuning is of all weights; logistic
regression is scikit-learn's on features of a frozen embedding, its time with them.

{race_table(peers["races"]["forge"])}

## The machine's limit

The rate of a step of training, by the operations that PyTorch counts, over the best rate of
square matrix products of 512, 1,024 and 2,048, measured in turns with it. In 32 bits the library
convolves by
Winograd's algorithm, which needs fewer products than are counted, so a share may exceed 100 %.
The second table is what the time of a step goes into: what is not convolution is memory being
read and written, which no product
can hide.

{limit_tables(limit)}

## How cost grows

LGM-Net, 5-way 1-shot, one task of 28 x 28 pixels unless the axis says otherwise; `predict`
answers 50 queries a task, `train` has one query a class. Exponents are fitted over the upper half
of each range (of the side's square, for
images); nothing grows faster than linearly in way x shot. Memory is what the process needs beside
what PyTorch takes at its start.

![Time and memory against way, shot, tasks and size of images](benchmarks-growth.svg)

{growth_table(growth["grows"])}

## Start

`import lgmnet` takes {importing["lgmnet"]:.2f} s, `import torch` {importing["torch"]:.2f} s.

## The forge and the service

{flat(read("forge"))}

{flat(read("studio"))}
"""


def main() -> None:
    """Draw the page and its plots."""
    plt.rcParams["svg.hashsalt"] = "lgmnet"  # The same results give the same file.
    draw_races(read("peers"), DOCS / "benchmarks-peers.svg")
    draw_growth(read("growth")["grows"], DOCS / "benchmarks-growth.svg")
    (DOCS / "benchmarks.md").write_text(page())


if __name__ == "__main__":
    main()
