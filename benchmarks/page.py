"""Draw docs/results/benchmarks.md and its plots from the files in ``benchmarks/results``.

``make bench-page`` runs it. It measures nothing.
"""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path
from typing import Any

import matplotlib
from harness import RESULTS, ROOT
from scipy.stats import t
from workload import N_TEST_TASKS, N_TRAIN_TASKS

matplotlib.use("svg")
import matplotlib.pyplot as plt

PAGES = ROOT / "docs" / "results"
FEW_SHOT_PEERS = ("easyfsl", "learn2learn")
MAML_PEERS = ("learn2learn", "higher", "torchopt")
LAYER_ORDERS = {"": "published layer order", ", pool first": "lgmnet's layer order"}
"""Descriptions of the two layer orders, by the end of an entry's label."""
PLOTTED = {
    "sample omniglot": "task sampling, Omniglot's shape",
    "sample miniimagenet": "task sampling, miniImageNet's shape",
    "train ProtoNet": "ProtoNet training",
    "train MAML": "MAML training",
}
Rates = dict[str, float]


def read_result(name: str) -> dict[str, Any]:
    """Read a file of ``benchmarks/results``."""
    result: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return result


def median_rates(comparison: dict[str, Any]) -> Rates:
    """Return the median number of tasks per second of each entry."""
    return {label: rate["median"] for label, rate in comparison["tasks_per_second"].items()}


def format_number(value: float) -> str:
    """Format a number with about three significant digits, and an integer with all digits."""
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def make_table(header: list[str], rows: list[list[str]]) -> str:
    """Format a Markdown table whose columns are right-aligned, except the first."""
    lines = ["| " + " | ".join(header) + " |", "|---" + "|---:" * (len(header) - 1) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def best_peer(rates: Rates, peers: tuple[str, ...], suffix: str = "") -> tuple[str, float]:
    """Return a description and the rate of the fastest peer that ran.

    The label of an entry is the name of the peer, followed by the suffix.
    """
    rate, peer = max((rates[peer + suffix], peer) for peer in peers if peer + suffix in rates)
    return f"the best peer, {peer}", rate


def target_rows(peers: dict[str, Any], utilisation: dict[str, Any]) -> list[list[str]]:
    """Compare the measurements with their targets, one per row."""
    rates = {name: median_rates(comparison) for name, comparison in peers["comparisons"].items()}
    rows: list[list[str]] = []

    def add(
        measurement: str, reference: str, value: float, bound: float, limit: str = "at least"
    ) -> None:
        unit = "%" if measurement.startswith("utilisation") else "x"
        is_met = value >= bound if limit == "at least" else value <= bound
        target, measured = f"{limit} {bound:g} {unit}", f"{format_number(value)} {unit}"
        rows.append([measurement, reference, target, measured, "yes" if is_met else "**no**"])

    omniglot, miniimagenet = rates["sample omniglot"], rates["sample miniimagenet"]
    measurement = "task sampling, Omniglot's shape, batches of 16"
    rate = omniglot["lgmnet, batches of 16"]
    peer, peer_rate = best_peer(omniglot, FEW_SHOT_PEERS)
    add(measurement, peer, rate / peer_rate, 10)
    gather = "plain gather, batches of 16"
    add(measurement, gather, rate / omniglot[gather], 1)
    measurement = "task sampling, miniImageNet's shape, single tasks"
    rate = miniimagenet["lgmnet"]
    peer, peer_rate = best_peer(miniimagenet, FEW_SHOT_PEERS)
    add(measurement, peer, rate / peer_rate, 3.5)
    add(measurement, "plain gather", rate / miniimagenet["plain gather"], 0.9)
    proto_net, maml = rates["train ProtoNet"], rates["train MAML"]
    for suffix, layer_order in LAYER_ORDERS.items():
        peer, peer_rate = best_peer(proto_net, FEW_SHOT_PEERS, suffix)
        reference = f"{peer}, {layer_order}"
        add("ProtoNet training, bf16", reference, proto_net["lgmnet"] / peer_rate, 2.5)
        ratio = proto_net["lgmnet, float32"] / peer_rate
        add("ProtoNet training, float32", reference, ratio, 1.1)
    for suffix, layer_order in LAYER_ORDERS.items():
        peer, peer_rate = best_peer(maml, MAML_PEERS, suffix)
        measurement, reference = "MAML training, 5 steps, second order", f"{peer}, {layer_order}"
        add(measurement, reference, maml["lgmnet"] / peer_rate, 1.5)
    evaluation = rates["evaluate"]
    if "easyfsl" in evaluation:
        ratio = evaluation["lgmnet, cached embeddings"] / evaluation["easyfsl"]
        add("evaluation on 10,000 tasks, cached embeddings", "easyfsl", ratio, 500)
    ratio = rates["train LGM-Net"]["ProtoNet"] / rates["train LGM-Net"]["LGM-Net"]
    add("training time per task, LGM-Net", "lgmnet's ProtoNet", ratio, 1.4, "at most")
    adapt = rates["adapt"]
    for suffix in ("", ", batches of 16"):
        ratio = adapt[f"LGM-Net{suffix}"] / adapt[f"MAML, 5 steps{suffix}"]
        add(f"adapting, LGM-Net{suffix}", "lgmnet's MAML, 5 steps", ratio, 10)
    ratio = adapt["LGM-Net"] / adapt["fine-tuning, 100 steps"]
    add("adapting, LGM-Net", "fine-tuning, 100 steps", ratio, 100)
    for step in utilisation["steps"]:
        measurement = f"utilisation, {step['method']}, {step['precision']}"
        bound = 35 if step["precision"] == "bf16" else 50
        add(measurement, "matrix multiplication", step["utilisation_percent"], bound)
    seconds = peers["import_seconds"]
    ratio = seconds["lgmnet"] / seconds["torch"]
    add("time of `import lgmnet`", "`import torch`", ratio, 1.15, "at most")
    return rows


def failure_sentences(result: dict[str, Any]) -> list[str]:
    """Return a sentence for each entry that did not run."""
    return [f"{label} did not run: {reason}" for label, reason in result["failures"].items()]


def rate_table(comparison: dict[str, Any]) -> str:
    """Format the tasks per second of all entries of a comparison."""
    rows = [
        [label, *(format_number(rate[key]) for key in ("median", "lowest", "highest"))]
        for label, rate in comparison["tasks_per_second"].items()
    ]
    table = make_table(["", "tasks per second", "lowest", "highest"], rows)
    return "\n\n".join([table, *failure_sentences(comparison)])


def accuracy_table(result: dict[str, Any]) -> str:
    """Format the accuracies and their differences from the first entry, or the reason for none."""
    if "accuracies" not in result:
        return "\n\n".join(failure_sentences(result))
    rows: list[list[str]] = []
    first = next(iter(result["accuracies"].values()))
    for label, accuracies in result["accuracies"].items():
        mean, ci95 = mean_and_ci95([a - b for a, b in zip(accuracies, first, strict=True)])
        verdict = "not significant" if abs(mean) <= ci95 else "**significant**"
        difference = f"{mean:+.1f} ± {ci95:.1f}, {verdict}" if rows else ""
        mean, ci95 = mean_and_ci95(accuracies)
        rows.append([label, f"{mean:.1f} ± {ci95:.1f}", difference])
    header = ["", "5-way 1-shot accuracy, %", "difference from the first row"]
    return "\n\n".join([make_table(header, rows), *failure_sentences(result)])


def mean_and_ci95(values: list[float]) -> tuple[float, float]:
    """Return the mean and half of its 95 % interval, by Student's t because values are few."""
    error = statistics.stdev(values) / math.sqrt(len(values))
    return statistics.mean(values), float(t.ppf(0.975, len(values) - 1)) * error


def save_figure(figure: Any, path: Path) -> None:
    """Save a figure without a date, so that the same results give the same file."""
    figure.savefig(path, dpi=110, metadata={"Date": None})
    plt.close(figure)


def draw_peers(peers: dict[str, Any], path: Path) -> None:
    """Draw a bar for each entry of the comparisons with peer libraries."""
    figure, axes = plt.subplots(1, len(PLOTTED), figsize=(14, 3.6), layout="constrained")
    for axis, (name, title) in zip(axes, PLOTTED.items(), strict=True):
        rates = median_rates(peers["comparisons"][name])
        labels = sorted(rates, key=lambda label: rates[label])
        colours = ["#4455cc" if label.startswith("lgmnet") else "#b8bcc8" for label in labels]
        axis.barh(labels, [rates[label] for label in labels], color=colours)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("tasks per second", fontsize=8)
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)


def draw_scaling(curves: dict[str, Any], path: Path) -> None:
    """Draw time and memory against each size on logarithmic axes, with the fitted exponents."""
    sizes = {"way": "way", "shot": "shot", "tasks": "tasks", "image_size": "image size, pixels"}
    costs = (
        ("seconds", "time_exponent", 1000, "milliseconds"),
        ("megabytes", "memory_exponent", 1, "megabytes"),
    )
    figure, axes = plt.subplots(2, 4, figsize=(13, 6), layout="constrained", sharey="row")
    for column, (size, size_label) in enumerate(sizes.items()):
        for row, (cost, exponent, scale, cost_label) in enumerate(costs):
            axis = axes[row][column]
            for operation in ("adapt", "predict", "train"):
                curve = curves[f"{operation} by {size}"]
                xs = [point[size] for point in curve["points"]]
                ys = [scale * max(point[cost], 1e-9) for point in curve["points"]]
                label = f"{operation}, exponent {curve[exponent]:.2f}"
                axis.loglog(xs, ys, "o-", markersize=3, label=label)
            axis.set_xlabel(size_label)
            axis.legend(fontsize=7)
            axis.grid(alpha=0.3)
            if column == 0:
                axis.set_ylabel(cost_label)
    save_figure(figure, path)


def scaling_table(curves: dict[str, Any]) -> str:
    """Format the fitted exponents."""
    costs = ("time", "memory")
    rows = [
        [name.replace("_", " "), *(f"{curve[f'{cost}_exponent']:.2f}" for cost in costs)]
        for name, curve in curves.items()
    ]
    return make_table(["", "time exponent", "memory exponent"], rows)


def utilisation_tables(utilisation: dict[str, Any]) -> str:
    """Format the utilisation of each training step, and the shares of its time."""
    steps = utilisation["steps"]
    names = [f"{step['method']}, {step['precision']}" for step in steps]
    keys = ("step_gflop", "step_ms", "matmul_gflop_per_second")
    rows = [
        [name, *(format_number(step[k]) for k in keys), f"{step['utilisation_percent']:.0f} %"]
        for name, step in zip(names, steps, strict=True)
    ]
    shares = [
        [kind, *(f"{step['time_percent'][kind]:.1f}" for step in steps)]
        for kind in steps[0]["time_percent"]
    ]
    header = ["step of 4 tasks", "GFLOP", "ms", "matrix multiplication, GFLOP/s", "utilisation"]
    return make_table(header, rows) + "\n\n" + make_table(["% of the time", *names], shares)


def value_table(result: dict[str, Any]) -> str:
    """Format all numbers of a result."""
    numbers = {label: value for label, value in result.items() if isinstance(value, int | float)}
    return make_table(["", ""], [[label, format_number(v)] for label, v in numbers.items()])


def make_page() -> str:
    """Return the page in Markdown."""
    peers, utilisation, scaling = (read_result(n) for n in ("peers", "utilisation", "scaling"))
    comparisons, machine = peers["comparisons"], peers["machine"]
    versions: dict[str, str] = {}
    for comparison in comparisons.values():
        versions |= comparison["versions"]
    version_list = ", ".join(f"{package} {version}" for package, version in versions.items())
    header = ["", "compared with", "target", "measured", "met"]
    import_seconds, cached_scores = peers["import_seconds"], peers["cached_scores"]
    return f"""# Benchmarks

`make bench-page` draws this page from `benchmarks/results/*.json`. `make bench` repeats all
measurements in under 20 minutes. Each library runs in its own environment and process. The
processes take turns, so that only one computes at a time. Each rate is the median of five turns.
Only ratios carry over to another machine.

Machine: {machine["processor"]}, {machine["cores"]} cores, {machine["system"]},
Python {machine["python"]}; one thread.

Versions: {version_list}.

{make_table(header, target_rows(peers, utilisation))}

The benchmarks ran on a CPU only. There are no GPU results.

![Tasks per second of lgmnet and its peer libraries](benchmarks-peers.svg)

## Task sampling

The task is 5-way 1-shot with 15 queries per class. All images are in memory, and nothing is done
with the sampled tasks. The plain gather is a loop written by hand: it draws classes and images at
random and gathers float images into a buffer that it reuses. lgmnet stores images as bytes, which
takes a quarter of the memory, and converts them to floats. learn2learn uses its fused transform,
its fastest one. Here miniImageNet's shape has 64 classes of 100 images, so that the images of all
libraries fit in memory.

Omniglot's shape:

{rate_table(comparisons["sample omniglot"])}

miniImageNet's shape:

{rate_table(comparisons["sample miniimagenet"])}

## ProtoNet training

The network is Conv-4 with 64 channels. A step trains on one task of Omniglot's shape, unless the
row says otherwise. lgmnet pools before it normalises, which is less work. Each peer therefore runs
with the published layer order and with lgmnet's ("pool first"). lgmnet computes in bf16 by default
if the processor supports it.

{rate_table(comparisons["train ProtoNet"])}

The next table shows the accuracy on Omniglot's test characters after training on {N_TRAIN_TASKS}
tasks. It is the mean over several seeds, with {N_TEST_TASKS} test tasks per seed. The interval
refers to the seeds, because the randomness of training is larger than that of testing. Two runs of
lgmnet with the same seed start from the same weights and get the same tasks. The loss is the same
for all libraries: easyfsl's distances are squared here, as in the paper.

{accuracy_table(peers["accuracy"])}

## MAML training

Second-order MAML with five inner steps, on the same network and task.

{rate_table(comparisons["train MAML"])}

## Evaluation

ProtoNet is evaluated on 10,000 tasks from 8,460 images, as many as Omniglot has test images. With
cached embeddings, each image is embedded once, before the measurement.
{cached_scores["n_scores"]} scores were computed with and without cached embeddings, and
{cached_scores["n_different"]} of them differ.

{rate_table(comparisons["evaluate"])}

## LGM-Net compared with ProtoNet

A training step on 4 tasks. Both methods use the default embedding network.

{rate_table(comparisons["train LGM-Net"])}

## Adapting

From a 5-way 1-shot support set to a classifier. Fine-tuning trains all weights. Logistic regression
is scikit-learn's on the features of a frozen embedding network. Its time includes the features.

{rate_table(comparisons["adapt"])}

## Utilisation

Utilisation is the rate of a training step divided by the machine's peak rate. PyTorch counts the
floating-point operations of the step. The peak rate is the best rate of multiplying square matrices
of size 512, 1,024 and 2,048, measured in turns with the step. In float32, the convolutions use
Winograd's algorithm, which needs fewer multiplications than are counted. The utilisation can
therefore exceed 100 %. The second table shows the share of each kind of operation in the time of
the step. Operations other than convolutions mostly read and write memory, and faster matrix
multiplication would not shorten them.

{utilisation_tables(utilisation)}

## Scaling

LGM-Net, 5-way 1-shot, one task of 28 x 28 pixels, unless the axis says otherwise. `predict` has 50
queries per task and `train` has one query per class. The exponents of a power law are fitted to the
upper half of each range. For the image size, they refer to the number of pixels. No cost grows
faster than linearly in way x shot. Memory is what the process needs in addition to its memory after
PyTorch has started.

![Time and memory against way, shot, tasks and image size](benchmarks-scaling.svg)

{scaling_table(scaling["curves"])}

## Import time

`import lgmnet` takes {import_seconds["lgmnet"]:.2f} s.
`import torch` takes {import_seconds["torch"]:.2f} s.

## Classifier and commands

{value_table(read_result("classifier"))}

{engines_section()}## Service under load

{value_table(read_result("service"))}
"""


def engines_section() -> str:
    """Describe the speed of `lgmnet predict` on photos; empty if it was not measured."""
    if not (RESULTS / "engines.json").is_file():
        return ""
    return f"""## Photos and engines

`lgmnet predict` on JPEGs of 640 x 480, next to its engine without reading, and to what a user
writes with an eager network and scikit-learn. All take turns in one run; ratios are medians over
the turns.

{value_table(read_result("engines"))}

"""


def main() -> None:
    """Draw the page and its plots."""
    plt.rcParams["svg.hashsalt"] = "lgmnet"  # Makes the identifiers in the files reproducible.
    draw_peers(read_result("peers"), PAGES / "benchmarks-peers.svg")
    draw_scaling(read_result("scaling")["curves"], PAGES / "benchmarks-scaling.svg")
    (PAGES / "benchmarks.md").write_text(make_page())


if __name__ == "__main__":
    main()
