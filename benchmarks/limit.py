"""How near a step of training comes to what the machine can do.

``python benchmarks/limit.py`` writes ``benchmarks/results/limit.json``: the share of the measured
rate of matrix products that a step of training reaches, in bf16 and in 32 bits, and what the rest
of the step goes into. Nothing else should run at the same time; takes a minute.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from ours import batch, trainer
from race import interleaved_ms, write
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode
from work import WAY

from lgmnet import LGMNet, LGMNetConfig, Method, ProtoNet, ProtoNetConfig

TASKS, TURNS = 4, 9
SIDES = (512, 1024, 2048)
PRECISIONS = {"bf16": torch.bfloat16, "32 bits": torch.float32}
KINDS = {
    "convolution": ("conv",),
    "pooling": ("max_pool",),
    "normalisation": ("batch_norm",),
    "matrix products": ("mm", "bmm", "addmm"),
    "filling with zeros": ("fill_", "zero_"),
    "copies and casts": ("copy_", "_to_copy"),
    "ReLU": ("threshold", "clamp_min"),
    "optimiser": ("Optimizer", "adamw"),
}


def product_of(side: int, dtype: torch.dtype) -> Callable[[], object]:
    """A product of two square matrices."""
    a, b = torch.randn(side, side).to(dtype), torch.randn(side, side).to(dtype)
    return lambda: a @ b


def parts_of(step: Callable[[], None]) -> dict[str, float]:
    """What part of a step's time goes into each kind of operation, in percent."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for _ in range(5):
            step()
    events = profiled.key_averages()
    total = sum(event.self_cpu_time_total for event in events)
    parts = dict.fromkeys([*KINDS, "all else"], 0.0)
    for event in events:
        of = (kind for kind, words in KINDS.items() if any(word in event.key for word in words))
        parts[next(of, "all else")] += 100 * event.self_cpu_time_total / total
    return parts


def main() -> None:
    """Measure and write."""
    torch.set_num_threads(1)
    tasks = batch(TASKS)
    methods: dict[str, Callable[[], Method]] = {
        "ProtoNet, Conv-4-64": lambda: ProtoNet(
            ProtoNetConfig(embedding_widths=(64,) * 4, embedding_pooled=(True,) * 4)
        ),
        "LGM-Net": lambda: LGMNet(LGMNetConfig()),
    }
    steps: list[dict[str, Any]] = []
    for precision, dtype in PRECISIONS.items():
        products = {str(side): product_of(side, dtype) for side in SIDES}
        for name, make in methods.items():
            take = trainer(make(), bf16=precision == "bf16")
            step = partial(take, tasks, WAY)
            with FlopCounterMode(display=False) as counter:
                step()
            taken = interleaved_ms({"step": step, **products}, TURNS)
            flops, took = counter.get_total_flops(), taken.pop("step") / 1000
            rate = max(2 * int(side) ** 3 / (ms / 1000) for side, ms in taken.items())
            steps.append(
                {
                    "method": name,
                    "precision": precision,
                    "gigaflops_of_a_step": flops / 1e9,
                    "milliseconds": 1000 * took,
                    "product_gigaflops_a_second": rate / 1e9,
                    "share_percent": 100 * flops / (rate * took),
                    "parts_percent": parts_of(step),
                }
            )
            print(steps[-1], flush=True)
    write("limit", {"threads": 1, "tasks": TASKS, "torch": torch.__version__, "steps": steps})


if __name__ == "__main__":
    main()
