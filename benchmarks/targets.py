"""The measurements of the benchmarks next to their targets."""

from __future__ import annotations

from typing import Any

from page_parts import Rates, format_number, median_rates
from plain_words import NOT_RUN

FEW_SHOT_PEERS = ("easyfsl", "learn2learn")
MAML_PEERS = ("learn2learn", "higher", "torchopt")
LAYER_ORDERS = {"": "published layer order", ", pool first": "lgmnet's layer order"}
"""Descriptions of the two layer orders, by the end of an entry's label."""


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
        measurement: str, reference: str, value: float | None, bound: float, limit: str = "at least"
    ) -> None:
        unit = "%" if measurement.startswith("utilisation") else "x"
        target = f"{limit} {bound:g} {unit}"
        if value is None:
            rows.append([measurement, reference, target, NOT_RUN, ""])
            return
        is_met = value >= bound if limit == "at least" else value <= bound
        measured = f"{format_number(value)} {unit}"
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
    add(measurement, "plain gather", rate / miniimagenet["plain gather"], 0.95)
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
    sees_labels = adapt.get("LGM-Net that sees labels")
    ratio = None if sees_labels is None else sees_labels / adapt["MAML, 5 steps"]
    add("adapting, LGM-Net that sees labels", "lgmnet's MAML, 5 steps", ratio, 10)
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
