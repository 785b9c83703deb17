"""Metrics of a run in progress, and how a person stops it."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import cast

import torch
from jaxtyping import Float, Int
from lightning_fabric import Fabric
from torch import Tensor


class TrainingMetrics:
    """Mean loss and accuracy since the last line of the logs; sums stay on the device.

    ``tasks`` is the number of tasks of a step, over all processes.
    """

    def __init__(self, tasks: int) -> None:
        self.tasks = tasks
        self.n_steps = self.n_summed = 0
        self.started = time.perf_counter()
        self.sums: Tensor | None = None

    @torch.no_grad()
    def add_step(
        self,
        loss: Float[Tensor, ""],
        log_p: Float[Tensor, "tasks query way"],
        query_y: Int[Tensor, "tasks query"],
    ) -> None:
        """Add one step."""
        accuracy = (log_p.argmax(-1) == query_y).float().mean()
        values = torch.stack([loss.detach().float(), 100 * accuracy])
        self.sums = values if self.sums is None else self.sums + values
        self.n_summed += 1
        self.n_steps += 1

    def compute(self, learning_rate: float) -> dict[str, float]:
        """Compute the means since the last call, for the logs."""
        assert self.sums is not None, "metrics need at least one step"
        loss, accuracy = (self.sums / self.n_summed).tolist()
        self.sums, self.n_summed = None, 0
        rate = self.n_steps * self.tasks / (time.perf_counter() - self.started)
        return {
            "train/loss": loss,
            "train/accuracy": accuracy,
            "train/episodes_per_second": rate,
            "train/learning_rate": learning_rate,
        }


class StopRequest:
    """Ends a run on Ctrl-C or SIGTERM after the present step, the same on all processes.

    A second Ctrl-C ends it at once.
    """

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self.is_requested = False
        self.previous: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self.previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        self._restore()

    def reached_any(self) -> bool:
        """Return True if any process was asked to stop."""
        if self.fabric.world_size == 1:
            return self.is_requested
        flag = torch.tensor(float(self.is_requested), device=self.fabric.device)
        return bool(cast(Tensor, self.fabric.all_reduce(flag, reduce_op="sum")) > 0)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.is_requested = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self.previous = {}
