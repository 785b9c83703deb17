"""The plots of the page of benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
from page_parts import median_rates

matplotlib.use("svg")
import matplotlib.pyplot as plt

PLOTTED = {
    "sample omniglot": "task sampling, Omniglot's shape",
    "sample miniimagenet": "task sampling, miniImageNet's shape",
    "train ProtoNet": "ProtoNet training",
    "train MAML": "MAML training",
}
plt.rcParams["svg.hashsalt"] = "lgmnet"  # Makes the identifiers in the files reproducible.


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
