"""What a person sees of a run in progress, and how they stop it."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from types import FrameType, TracebackType
from typing import cast

import torch
from jaxtyping import Float, Int
from lightning_fabric import Fabric
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from lgmnet.evaluation.evaluate import Score
from lgmnet.training.config import TrainConfig


class TrainingProgress:
    """A bar on stderr with episodes/s, loss, accuracy and time left; sums stay on the device.

    Args:
        config: Of the run.
        processes: How many draw tasks.
        step: The step to start from.
        visible: Whether this process shows anything.
    """

    def __init__(self, config: TrainConfig, processes: int, step: int, visible: bool) -> None:
        self.tasks = config.tasks * processes
        self.every = config.log_every
        self.first, self.now = step, step
        self.started = time.perf_counter()
        self.sums: Tensor | None = None
        self.summed = 0
        self.last: dict[str, float] = {}
        self.console = Console(stderr=True, quiet=not visible)
        self.bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[words]}"),
            TimeRemainingColumn(),
            console=self.console,
        )
        self.task = self.bar.add_task("", total=config.steps, completed=step, words="")

    def __enter__(self) -> TrainingProgress:
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.stop()

    @torch.no_grad()
    def step(
        self,
        loss: Float[Tensor, ""],
        log_p: Float[Tensor, "tasks query way"],
        query_y: Int[Tensor, "tasks query"],
    ) -> None:
        """Count one step."""
        accuracy = (log_p.argmax(-1) == query_y).float().mean()
        both = torch.stack([loss.detach().float(), 100 * accuracy])
        self.sums = both if self.sums is None else self.sums + both
        self.summed += 1
        self.now += 1
        self.bar.update(self.task, completed=self.now)

    def metrics(self, learning_rate: float) -> dict[str, float]:
        """Means since the last call, for the logs and the bar."""
        assert self.sums is not None, "metrics are of at least one step"
        loss, accuracy = (self.sums / self.summed).tolist()
        self.sums, self.summed = None, 0
        rate = (self.now - self.first) * self.tasks / (time.perf_counter() - self.started)
        self.last = {
            "train/loss": loss,
            "train/accuracy": accuracy,
            "train/episodes_per_second": rate,
            "train/learning_rate": learning_rate,
        }
        words = f"{rate:.0f} episodes/s  loss {loss:.3f}  accuracy {accuracy:.1f} %"
        self.bar.update(self.task, words=words)
        return self.last

    def validated(self, score: Score) -> None:
        """Print a line that stays."""
        loss = f"loss {self.last['train/loss']:.3f}, " if self.last else ""
        self.console.print(
            f"step {self.now:,}: {loss}validation {score.task} "
            f"{score.accuracy:.2f} ± {score.ci95:.2f} %",
            highlight=False,
        )

    def stopped(self, out: Path) -> None:
        """Say where the run stands and how it goes on."""
        self.console.print(
            f"Stopped after step {self.now:,}; the same command with --resume goes on in '{out}'.",
            highlight=False,
            soft_wrap=True,
        )


class StopRequest:
    """Ctrl-C and SIGTERM end a run after the step in progress, on all processes at the same step.

    A second Ctrl-C ends it at once.
    """

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self.requested = False
        self.previous: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self.previous[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def asked(self) -> bool:
        """Whether any process was asked to stop."""
        if self.fabric.world_size == 1:
            return self.requested
        flag = torch.tensor(float(self.requested), device=self.fabric.device)
        return bool(cast(Tensor, self.fabric.all_reduce(flag, reduce_op="sum")) > 0)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self.previous = {}
