"""Measure training and adapting on a GPU, next to the rate of matrix multiplication there.

``python benchmarks/gpu_speed.py`` writes ``benchmarks/results/gpu.json``. It takes two minutes and
needs a GPU; ``scripts/gpu.sh`` runs it on a machine without network. Run nothing else meanwhile.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from harness import write_result
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from training_step import make_training_step, see_labels

from lgmnet.devices import supports_bf16
from lgmnet.engines.cuda_graphs import record_graph
from lgmnet.episode import Episode
from lgmnet.methods import LGMNet, LGMNetConfig, Method, ProtoNet, ProtoNetConfig
from lgmnet.nn.embedding import EmbeddingConfig
from lgmnet.nn.target import TargetConfig

WAY, SHOT, QUERY = 5, 1, 15
TASKS = 16
"""Tasks of a training step."""
CONV4_WIDTHS, RESNET12_WIDTHS = (64, 64, 64, 64), (64, 160, 320, 640)
CIFAR_SHAPE = (3, 32, 32)
MATRIX_SIZES = (4096, 8192)
N_MEASUREMENTS = 5


class Clock:
    """Times calls on a device, whose work may go on after a call returns.

    Args:
        device: Device.
        seconds: Time to fill with each of the measurements.
    """

    def __init__(self, device: torch.device, seconds: float) -> None:
        self.device, self.seconds = device, seconds

    def wait(self) -> None:
        """Wait until the device has finished."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def measure(self, call: Callable[[], object]) -> float:
        """Return the seconds of a call, the median over some measurements after a warm-up."""
        for _ in range(3):
            call()
        started = self.read()
        call()
        n_calls = max(1, round(self.seconds / max(self.read() - started, 1e-6)))
        times = []
        for _ in range(N_MEASUREMENTS):
            started = self.read()
            for _ in range(n_calls):
                call()
            times.append((self.read() - started) / n_calls)
        return statistics.median(times)

    def read(self) -> float:
        """Return the time after the device has finished."""
        self.wait()
        return time.perf_counter()


def scale_widths(widths: tuple[int, ...], scale: float) -> tuple[int, ...]:
    """Scale the channels of a network, whose cost is about their square."""
    return tuple(max(4, round(width * scale**0.5)) for width in widths)


def measure_matrix_rate(clock: Clock, scale: float) -> float:
    """Measure the best rate of multiplying square matrices in bf16, in FLOP per second."""
    rates = []
    for full_size in MATRIX_SIZES:
        size = max(64, round(full_size * scale))
        a, b = (torch.randn(size, size, device=clock.device).bfloat16() for _ in range(2))
        rates.append(2 * size**3 / clock.measure(partial(torch.matmul, a, b)))
    return max(rates)


def draw_episode(device: torch.device, shape: tuple[int, ...], tasks: int) -> Episode:
    """Draw random tasks of images."""
    classes = torch.arange(WAY, device=device)
    support_y, query_y = (classes.repeat_interleave(n).expand(tasks, -1) for n in (SHOT, QUERY))
    support_x, query_x = (torch.rand(tasks, WAY * n, *shape, device=device) for n in (SHOT, QUERY))
    return Episode(support_x, support_y, query_x, query_y, WAY)


def build_networks(scale: float) -> dict[str, EmbeddingConfig]:
    """Describe the networks of images of CIFAR-FS's shape."""
    conv4, resnet12 = (scale_widths(w, scale) for w in (CONV4_WIDTHS, RESNET12_WIDTHS))
    pooled = (True,) * 4
    return {
        "Conv-4": EmbeddingConfig(CIFAR_SHAPE, widths=conv4, pooled=pooled),
        "ResNet-12": EmbeddingConfig(CIFAR_SHAPE, "residual", resnet12, pooled),
    }


def measure_training(clock: Clock, scale: float, peak_rate: float) -> list[dict[str, Any]]:
    """Measure ProtoNet's training steps, in bf16, eager and compiled."""
    tasks = max(2, round(TASKS * scale))
    episode = draw_episode(clock.device, CIFAR_SHAPE, tasks)
    rows: list[dict[str, Any]] = []
    for name, embedding in build_networks(scale).items():
        flop = 0.0
        for is_compiled in (False, True):
            method = ProtoNet(ProtoNetConfig(embedding)).to(clock.device)
            row: dict[str, Any] = {"network": name, "compiled": is_compiled}
            rows.append(row)
            try:
                if is_compiled:
                    compile_embedding(method)
                step = make_training_step(method, bf16=supports_bf16(clock.device.type))
                if not is_compiled:
                    with FlopCounterMode(display=False) as counter:
                        step(episode)
                    flop = counter.get_total_flops()
                seconds = clock.measure(partial(step, episode))
            except Exception as error:  # The other rows count all the same.
                row["failure"] = describe_error(error)
                continue
            row["episodes_per_second"] = tasks / seconds
            row["gflop_per_episode"] = flop / tasks / 1e9
            row["share_of_matrix_rate_percent"] = 100 * flop / seconds / peak_rate
    return rows


def compile_embedding(method: ProtoNet) -> None:
    """Compile the embedding, where nearly all of the cost is; on a CPU without a C++ compiler."""
    on_cpu = next(method.parameters()).device.type == "cpu"
    compiled = torch.compile(method.embedding, backend="eager" if on_cpu else "inductor")
    method.embedding = compiled  # type: ignore[assignment]


def build_adapting_methods(scale: float) -> dict[str, Method]:
    """Build the methods whose latency is measured, for drawings."""
    widths = scale_widths((32, 64, 64, 64), scale)
    config = LGMNetConfig(
        EmbeddingConfig(widths=widths), target=TargetConfig(widths=(widths[-1],) * 2)
    )
    return {
        "LGM-Net": LGMNet(config),
        "LGM-Net that sees labels": LGMNet(see_labels(config)),
    }


def measure_adapting(clock: Clock, scale: float) -> list[dict[str, Any]]:
    """Measure adapting to one 5-way 1-shot support set, eager and by a CUDA graph."""
    rows: list[dict[str, Any]] = []
    for name, method in build_adapting_methods(scale).items():
        method.to(clock.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        shape = method.inputs.shape
        support_x = torch.rand(1, WAY, *shape, device=clock.device)
        support_y = torch.arange(WAY, device=clock.device)[None]
        adapt = make_adapt(method, support_y)
        for is_graph in (False, True):
            row: dict[str, Any] = {"method": name, "graph": is_graph}
            rows.append(row)
            try:
                if is_graph and clock.device.type != "cuda":
                    raise RuntimeError(f"there are no CUDA graphs on {clock.device}")
                call = record_graph(adapt, support_x) if is_graph else adapt
                seconds = clock.measure(partial(call, support_x))
                row["milliseconds"] = 1000 * seconds
            except Exception as error:
                row["failure"] = describe_error(error)
    return rows


def make_adapt(method: Method, support_y: Tensor) -> Callable[[Tensor], Tensor]:
    """Return a function that adapts a method to support images and returns the keys."""
    device = support_y.device.type
    is_bf16 = supports_bf16(device)

    def adapt(support_x: Tensor) -> Tensor:
        autocast = torch.autocast(device, torch.bfloat16, enabled=is_bf16, cache_enabled=False)
        with torch.inference_mode(), autocast:
            keys = method.adapt(support_x, support_y, WAY).support_embedding
        assert keys is not None
        return keys

    return adapt


def describe_error(error: Exception) -> str:
    """Return the type and the first line of an error."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:300]}"


def measure_all(
    device: torch.device, *, scale: float = 1.0, seconds: float = 1.0
) -> dict[str, Any]:
    """Measure everything on a device.

    Args:
        device: Device.
        scale: Fraction of the full size of networks, tasks and matrices.
        seconds: Time to fill with each of the measurements.
    """
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
    clock = Clock(device, seconds)
    peak_rate = measure_matrix_rate(clock, scale)
    is_cuda = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if is_cuda else str(device),
        "scale": scale,
        "torch": torch.__version__,
        "matrix_tflop_per_second": peak_rate / 1e12,
        "training": measure_training(clock, scale, peak_rate),
        "adapting": measure_adapting(clock, scale),
    }


def main() -> int:
    """Measure, write the result and return the exit code."""
    if not torch.cuda.is_available():
        print("error: PyTorch finds no GPU that computes with CUDA here.", file=sys.stderr)
        return 2
    write_result("gpu", measure_all(torch.device("cuda")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
