"""Measure how close a training step comes to the machine's peak compute rate.

``python benchmarks/utilisation.py`` writes ``benchmarks/results/utilisation.json``: the rate of a
training step as a share of the measured rate of matrix multiplication, in bf16 and in float32, and
the share of the step's time that each kind of operation takes. Takes a minute. Run nothing else at
the same time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from harness import interleaved_ms, write_result
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode
from training_step import make_batch, make_training_step

from lgmnet.methods import LGMNet, LGMNetConfig, Method, ProtoNet, ProtoNetConfig
from lgmnet.nn.embedding import EmbeddingConfig

TASKS, N_TURNS = 4, 9
MATRIX_SIZES = (512, 1024, 2048)
PRECISIONS = {"bf16": torch.bfloat16, "float32": torch.float32}
OPERATION_KINDS = {
    "convolution": ("conv",),
    "pooling": ("max_pool",),
    "normalisation": ("batch_norm",),
    "matrix multiplication": ("mm", "bmm", "addmm"),
    "zero filling": ("fill_", "zero_"),
    "copies and casts": ("copy_", "_to_copy"),
    "ReLU": ("threshold", "clamp_min"),
    "optimiser": ("Optimizer", "adamw"),
}
"""Parts of the names that PyTorch's profiler gives to operations of each kind."""


def make_matmul(size: int, dtype: torch.dtype) -> Callable[[], object]:
    """Prepare the multiplication of two random square matrices."""
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    return lambda: a @ b


def profile_step(step: Callable[[], None]) -> dict[str, float]:
    """Return the share of a step's time that each kind of operation takes, in percent."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(5):
            step()
    events = profiler.key_averages()
    total = sum(event.self_cpu_time_total for event in events)
    shares = dict.fromkeys([*OPERATION_KINDS, "other"], 0.0)
    for event in events:
        kinds = (k for k, parts in OPERATION_KINDS.items() if any(p in event.key for p in parts))
        shares[next(kinds, "other")] += 100 * event.self_cpu_time_total / total
    return shares


def main() -> None:
    """Measure and write the result."""
    torch.set_num_threads(1)
    batch = make_batch(TASKS)
    methods: dict[str, Callable[[], Method]] = {
        "ProtoNet, Conv-4-64": lambda: ProtoNet(
            ProtoNetConfig(EmbeddingConfig(widths=(64,) * 4, pooled=(True,) * 4))
        ),
        "LGM-Net": lambda: LGMNet(LGMNetConfig()),
    }
    steps: list[dict[str, Any]] = []
    for precision, dtype in PRECISIONS.items():
        matmuls = {str(size): make_matmul(size, dtype) for size in MATRIX_SIZES}
        for name, make_method in methods.items():
            training_step = make_training_step(make_method(), bf16=precision == "bf16")
            step = partial(training_step, batch)
            with FlopCounterMode(display=False) as counter:
                step()
            ms = interleaved_ms({"step": step, **matmuls}, N_TURNS)
            flop, step_ms = counter.get_total_flops(), ms.pop("step")
            peak_rate = max(2 * int(size) ** 3 / (t / 1000) for size, t in ms.items())
            steps.append(
                {
                    "method": name,
                    "precision": precision,
                    "step_gflop": flop / 1e9,
                    "step_ms": step_ms,
                    "matmul_gflop_per_second": peak_rate / 1e9,
                    "utilisation_percent": 100 * flop / (peak_rate * step_ms / 1000),
                    "time_percent": profile_step(step),
                }
            )
            print(steps[-1], flush=True)
    result = {"threads": 1, "tasks": TASKS, "torch": torch.__version__, "steps": steps}
    write_result("utilisation", result)


if __name__ == "__main__":
    main()
