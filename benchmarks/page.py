"""Draw docs/results/benchmarks.md and its plots from the files in ``benchmarks/results``.

``make bench-page`` runs it. It measures nothing. It also writes the figures of
docs/how-to/scale.md, whose prices are options, and of docs/how-to/studio.md.
"""

from __future__ import annotations

import argparse
import math
import statistics
from typing import Any

from gpu_rows import gpu_section
from harness import RESULTS, ROOT
from page_parts import format_number, make_table, read_json, read_result
from plain_words import CLASSIFIER, ENGINES, NOT_RUN, SCORING, SERVICE, describe_curve, flatten
from plots import draw_peers, draw_scaling
from scale_figures import Prices, write_figures
from scipy.stats import t
from service_figures import write_load
from targets import target_rows

PAGES = ROOT / "docs" / "results"


def failure_sentences(result: dict[str, Any]) -> list[str]:
    """Return a sentence for each entry that did not run."""
    return [f"{label} did not run: {reason}" for label, reason in result["failures"].items()]


def rate_table(comparison: dict[str, Any], what: str = "library") -> str:
    """Format the tasks per second of all entries of a comparison; ``what`` is what they are."""
    rows = [
        [label, *(format_number(rate[key]) for key in ("median", "lowest", "highest"))]
        for label, rate in comparison["tasks_per_second"].items()
    ]
    table = make_table([what, "tasks per second", "lowest", "highest"], rows)
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
    header = ["library", "5-way 1-shot accuracy, %", "difference from the first row"]
    return "\n\n".join([make_table(header, rows), *failure_sentences(result)])


def mean_and_ci95(values: list[float]) -> tuple[float, float]:
    """Return the mean and half of its 95 % interval, by Student's t because values are few."""
    error = statistics.stdev(values) / math.sqrt(len(values))
    return statistics.mean(values), float(t.ppf(0.975, len(values) - 1)) * error


def scaling_table(curves: dict[str, Any]) -> str:
    """Format the fitted exponents."""
    costs = ("time", "memory")
    rows = [
        [describe_curve(name), *(f"{curve[f'{cost}_exponent']:.2f}" for cost in costs)]
        for name, curve in curves.items()
    ]
    return make_table(["cost of", "time exponent", "memory exponent"], rows)


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
    return (
        make_table(header, rows)
        + "\n\n"
        + make_table(["share of the time of a step, %", *names], shares)
    )


def value_table(result: dict[str, Any], words: dict[str, str]) -> str:
    """Format the numbers of a result that ``words`` describe, in their order."""
    numbers = flatten(result)
    rows = [[text, format_number(numbers[k])] for k, text in words.items() if k in numbers]
    return make_table(["measured", "value"], rows)


def process_table(scaling: dict[str, Any]) -> str:
    """Format the speed of training with one and with two processes."""
    processes = scaling.get("processes", {})
    one, two = (processes.get(f"{n}, tasks per second") for n in (1, 2))
    share = f"{50 * two / one:.0f}" if one and two else NOT_RUN
    rows = [
        [f"tasks per second of training with {n}", format_number(rate) if rate else NOT_RUN]
        for n, rate in (("one process", one), ("two processes", two))
    ]
    rows.append(["rate of two processes divided by twice that of one, %", share])
    return make_table(["measured", "value"], rows)


def make_page() -> str:
    """Return the page in Markdown."""
    peers, utilisation, scaling = (read_result(n) for n in ("peers", "utilisation", "scaling"))
    comparisons, machine = peers["comparisons"], peers["machine"]
    versions: dict[str, str] = {}
    for comparison in comparisons.values():
        versions |= comparison["versions"]
    version_list = ", ".join(f"{package} {version}" for package, version in versions.items())
    header = ["measurement", "compared with", "target", "measured", "met"]
    service, accuracy = read_result("service"), peers["accuracy"]
    import_seconds, cached_scores = peers["import_seconds"], peers["cached_scores"]
    return f"""# Benchmarks

`make bench-page` draws this page from `benchmarks/results/*.json`. `make bench` repeats all
measurements on the CPU and draws it again; the target is under 20 minutes on two idle cores.
Each library runs in its own environment and process. The processes take turns, so that only one
computes at a time. Each rate is the median of five turns. Only ratios carry over to another
machine.

Machine: {machine["processor"]}, {machine["cores"]} cores, {machine["system"]},
Python {machine["python"]}; one thread.

Versions: {version_list}.

{make_table(header, target_rows(peers, utilisation))}

{time_sentence()}These benchmarks ran on a CPU; [below](#on-a-gpu) are those for a GPU.

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

The next table shows the accuracy on Omniglot's test characters after training on
{accuracy["training tasks"]} tasks. It is the mean over several seeds, with
{accuracy["test tasks"]} test tasks per seed. The interval refers to the seeds, because the
randomness of training is larger than that of testing. Two runs of lgmnet with the same seed start
from the same weights and get the same tasks. The loss is the same for all libraries: easyfsl's
distances are squared here, as in the paper.

{accuracy_table(accuracy)}

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

{rate_table(comparisons["train LGM-Net"], "method")}

## Adapting

From a 5-way 1-shot support set to a classifier. Fine-tuning trains all weights. Logistic regression
is scikit-learn's on the features of a frozen embedding network. Its time includes the features.

{rate_table(comparisons["adapt"], "method")}

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
upper part of each range. For the image size, they refer to the number of pixels. No cost grows
faster than linearly in way x shot. Memory is what the process needs in addition to its memory after
PyTorch has started.

![Time and memory against way, shot, tasks and image size](benchmarks-scaling.svg)

{scaling_table(scaling["curves"])}

A run of training may have several processes, each with tasks of its own. Here each has one thread,
and both are on one machine.

{process_table(scaling)}

## Import time

`import lgmnet` takes {import_seconds["lgmnet"]:.2f} s.
`import torch` takes {import_seconds["torch"]:.2f} s.

## Classifier and commands

The rates are for 5-way 5-shot and two threads, the times for one thread.

{value_table(read_result("classifier"), CLASSIFIER)}

{engines_section()}{scoring_section()}## Service under load

{service["clients"]} clients send requests for {service["duration, s"]:.0f} seconds.
{service["server processes"]} processes serve them on the same machine.

{value_table(service, SERVICE)}

{gpu_section()}"""


def engines_section() -> str:
    """Describe the speed of `lgmnet predict` on photos; empty if it was not measured."""
    if not (RESULTS / "engines.json").is_file():
        return ""
    result = read_result("engines")
    return f"""## Photos and engines

`lgmnet predict` on {result["photos"]:,} JPEGs of 640 x 480 with {result["threads"]} threads, next
to its engine without reading, and to what a user writes with an eager network and scikit-learn. All
take turns in one run; ratios are medians over the turns.

{value_table(result, ENGINES)}

"""


def scoring_section() -> str:
    """Describe the speed of scoring on Ray; empty if it was not measured."""
    if not (RESULTS / "scoring.json").is_file():
        return ""
    return f"""## Scoring on Ray

`lgmnet predict --out --engine-cluster ray` on JPEGs of 640 x 480, with one and two workers of one
core each, which take turns in one run. A rate counts the time in which all workers are busy. What
100 million photos cost is in [how to score millions of images](../how-to/scale.md).

{value_table(read_result("scoring"), SCORING)}

"""


def time_sentence() -> str:
    """Tell how long the last run of all benchmarks took; empty if there was none."""
    times = read_json(RESULTS / "run_times.json")
    return f"The last run took {times['total_minutes']:.0f} minutes. " if times else ""


def main() -> None:
    """Draw the page and its plots, and write the figures of the how-to pages."""
    parser = argparse.ArgumentParser(description="Draw the pages of the benchmarks.")
    parser.add_argument(
        "--core-hour", type=float, default=Prices.core_hour, help="dollars for an hour of a core"
    )
    parser.add_argument(
        "--requests", type=float, default=Prices.requests, help="dollars for 1,000 read requests"
    )
    write_figures(Prices(**vars(parser.parse_args())))
    write_load()
    draw_peers(read_result("peers"), PAGES / "benchmarks-peers.svg")
    draw_scaling(read_result("scaling")["curves"], PAGES / "benchmarks-scaling.svg")
    (PAGES / "benchmarks.md").write_text(make_page())


if __name__ == "__main__":
    main()
