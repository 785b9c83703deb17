"""Training step of one of two processes with half of the tasks each; torchrun runs this file."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import torch
from lightning_fabric import Fabric
from safetensors.torch import save_file
from torch import Tensor, nn

from lgmnet.config import with_settings
from lgmnet.episode import Episode
from lgmnet.nn.embedding import EmbeddingConfig
from lgmnet.training.trainer import TrainingStep
from tests.support.configs import lgm_net_config
from tests.support.models import build_method
from tests.support.random import seeded

TASKS, WAY = 4, 3
# No context is drawn, because each process would draw others.
CONFIG = with_settings(
    lgm_net_config(
        EmbeddingConfig((1, 12, 12), widths=(6, 6), pooled=(True, False)),
        encoder_width=6,
        target_widths=(5, 5),
    ),
    ["context.sampled=false"],
)


def build_episode() -> Episode:
    """Build the tasks of all processes."""
    generator = seeded()
    labels = torch.arange(WAY).expand(TASKS, -1)
    return Episode(
        torch.randn(TASKS, WAY, 1, 12, 12, generator=generator, dtype=torch.float64),
        labels,
        torch.randn(TASKS, 2 * WAY, 1, 12, 12, generator=generator, dtype=torch.float64),
        torch.cat([labels, labels], 1),
        WAY,
    )


def select_half(episode: Episode, rank: int) -> Episode:
    """Select the tasks of one process."""
    tasks = slice(rank * TASKS // 2, (rank + 1) * TASKS // 2)
    parts = ("support_x", "support_y", "query_x", "query_y")
    return dataclasses.replace(episode, **{part: getattr(episode, part)[tasks] for part in parts})


def take_step(episode: Episode, fabric: Fabric | None = None) -> dict[str, Tensor]:
    """Compute the gradients of one training step and the running statistics after it."""
    method = build_method("lgm-net", CONFIG).double().train()
    step: nn.Module = TrainingStep(method, seeded())
    if fabric:
        step = fabric.setup_module(step)
    loss, _ = step(**vars(episode))
    if fabric:
        fabric.backward(loss)
    else:
        loss.backward()
    gradients = {
        f"grad.{name}": p.grad for name, p in method.named_parameters() if p.grad is not None
    }
    return gradients | {name: b for name, b in method.named_buffers() if "running" in name}


def main(folder: Path) -> None:
    """Write the gradients and statistics of this process."""
    fabric = Fabric(accelerator="cpu", strategy="ddp", devices=2, precision="64-true")
    fabric.launch()
    assert fabric.world_size == 2
    tensors = take_step(select_half(build_episode(), fabric.global_rank), fabric)
    contiguous = {name: tensor.clone().contiguous() for name, tensor in tensors.items()}
    save_file(contiguous, folder / f"{fabric.global_rank}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
