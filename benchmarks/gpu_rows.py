"""The section of the page of benchmarks about GPUs: speeds, and models that were trained on one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpu_speed import build_adapting_methods, build_networks
from harness import RESULTS, ROOT
from page_parts import make_table, read_json
from plain_words import NOT_RUN

TASKS = ((5, 1), (5, 5), (20, 1), (20, 5))
"""Way and shot of the tasks that models are scored on."""
TRAINED = {
    "resnet12-rfs": "ResNet-12, pretrained by classification",
    "resnet12-rfs-distilled": "the same, self-distilled",
    "resnet12-proto-net": "ProtoNet with cosines behind it",
    "resnet12-feat": "FEAT behind it",
    "resnet12-lgm-net": "LGM-Net behind it",
    "omniglot-10x": "Omniglot's recipe, up to 10 times the steps",
}
"""Descriptions of the models of ``scripts/gpu.sh``."""
MODES = {False: "eager", True: "compiled"}
GRAPHS = {False: "eager", True: "by a CUDA graph"}


def find_row(rows: list[dict[str, Any]], **values: Any) -> Mapping[str, Any]:
    """Return the row with these values; an empty one if it was not measured."""
    return next((row for row in rows if values.items() <= row.items()), {})


def format_cell(row: Mapping[str, Any], key: str, pattern: str) -> str:
    """Format a number of a row, or say why there is none."""
    return pattern.format(row[key]) if key in row else row.get("failure", NOT_RUN)


def training_rows(speeds: Mapping[str, Any]) -> list[list[str]]:
    """Format the speed of training: one row for each network, eager and compiled."""
    rows = []
    for network in build_networks(1.0):
        for is_compiled, mode in MODES.items():
            row = find_row(speeds.get("training", []), network=network, compiled=is_compiled)
            cells = (
                format_cell(row, "episodes_per_second", "{:,.0f}"),
                format_cell(row, "share_of_matrix_rate_percent", "{:.0f} %"),
            )
            rows.append([f"ProtoNet, {network}, bf16, {mode}", *cells])
    return rows


def adapting_rows(speeds: Mapping[str, Any]) -> list[list[str]]:
    """Format the time of adapting: one row for each method, eager and by a CUDA graph."""
    rows = []
    for method in build_adapting_methods(1.0):
        for is_graph, mode in GRAPHS.items():
            row = find_row(speeds.get("adapting", []), method=method, graph=is_graph)
            rows.append([f"{method}, {mode}", format_cell(row, "milliseconds", "{:.2f}")])
    return rows


def accuracy_rows(results: Path) -> list[list[str]]:
    """Format the accuracy of the models that were trained on a GPU."""
    rows = []
    for name, title in TRAINED.items():
        files = [results / f"gpu-{name}-{way}w{shot}s.json" for way, shot in TASKS]
        scores = [read_json(file) for file in files]
        cells = [f"{s['accuracy']:.2f} ± {s['ci95']:.2f}" if s else NOT_RUN for s in scores]
        rows.append([title, *cells])
    return rows


def gpu_section() -> str:
    """Describe speeds on a GPU and the models trained there; rows that were not run say so."""
    speeds = read_json(RESULTS / "gpu.json") or {}
    about = (
        f"{speeds['device']}, torch {speeds['torch']}; the measured rate of multiplying matrices "
        f"in bf16 is {speeds['matrix_tflop_per_second']:.0f} TFLOP/s."
        if "device" in speeds
        else "No GPU was at hand so far."
    )
    training_header = ["training step", "episodes per second", "share of the matrix rate"]
    tasks = [f"{way}-way {shot}-shot" for way, shot in TASKS]
    return f"""## On a GPU

`scripts/gpu.sh` measures all this, and trains the models, in at most 10 minutes on one GPU.
Training steps have 16 tasks of CIFAR-FS's image size; adapting is from one 5-way 1-shot support set
of drawings. {about}

{make_table(training_header, training_rows(speeds))}

{make_table(["adapting", "ms"], adapting_rows(speeds))}

The models are scored on a CPU, on the lossless test images, by `scripts/gpu_score.sh`. Accuracy in
%, with the 95 % interval over the tasks; the images of a model's training are in its result file.

{make_table(["model", *tasks], accuracy_rows(ROOT / "results"))}
"""
