"""How near a step of training comes to what the machine can do.

``python benchmarks/limit.py`` writes ``benchmarks/results/limit.json``: the share of the measured
rate of matrix products that a step of training reaches, in bf16 and in 32 bits, and what the rest
of the step goes into. Nothing else should run at the same time; takes a minute.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from race import write
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode
from work import QUERY, SHOT, WAY

from lgmnet import LGMNet, LGMNetConfig, Method, ProtoNet, ProtoNetConfig
from lgmnet.devices import keep_freed_memory

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


def seconds(act: Callable[[], object]) -> float:
    """How long one call takes."""
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def step_of(method: Method, dtype: torch.dtype) -> Callable[[], None]:
    """A step of training on fixed tasks, as the trainer takes it."""
    method.train()
    method.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        [p for p in method.parameters() if p.requires_grad], lr=1e-3, fused=True
    )
    support, query = (torch.rand(TASKS, WAY * each, 1, 28, 28) for each in (SHOT, QUERY))
    support_y, query_y = (
        torch.arange(WAY).repeat_interleave(each).expand(TASKS, -1) for each in (SHOT, QUERY)
    )
    generator = torch.Generator().manual_seed(0)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            loss, _ = method.learn(support, support_y, query, query_y, WAY, generator)
        loss.backward()
        optimizer.step()

    return step


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
    keep_freed_memory()
    methods: dict[str, Callable[[], Method]] = {
        "ProtoNet, Conv-4-64": lambda: ProtoNet(
            ProtoNetConfig(embedding_widths=(64,) * 4, embedding_pooled=(True,) * 4)
        ),
        "LGM-Net": lambda: LGMNet(LGMNetConfig()),
    }
    steps: list[dict[str, Any]] = []
    for precision, dtype in PRECISIONS.items():
        products = {side: product_of(side, dtype) for side in SIDES}
        for name, make in methods.items():
            step = step_of(make(), dtype)
            with FlopCounterMode(display=False) as counter:
                step()
            taken: list[float] = []
            rates: list[float] = []
            for turn in range(TURNS + 2):
                took = seconds(step)
                rate = max(2 * side**3 / seconds(act) for side, act in products.items())
                if turn > 1:
                    taken.append(took)
                    rates.append(rate)
            flops, took = counter.get_total_flops(), statistics.median(taken)
            rate = statistics.median(rates)
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
