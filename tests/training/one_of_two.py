"""Run by torchrun: one of two processes, with half of the tasks; also the one process with all."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from safetensors.torch import save_file
from torch import Tensor

from lgmnet.episode import Episode
from lgmnet.methods.lgm_net import LGMNet, LGMNetConfig

TASKS, WAY = 4, 3


def whole_episode() -> Episode:
    """All tasks."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(WAY).expand(TASKS, -1)
    return Episode(
        torch.randn(TASKS, WAY, 1, 12, 12, generator=generator, dtype=torch.float64),
        labels,
        torch.randn(TASKS, 2 * WAY, 1, 12, 12, generator=generator, dtype=torch.float64),
        torch.cat([labels, labels], 1),
        WAY,
    )


def half(episode: Episode, rank: int) -> Episode:
    """The tasks of one process."""
    mine = slice(rank * TASKS // 2, (rank + 1) * TASKS // 2)
    parts = ("support_x", "support_y", "query_x", "query_y")
    return dataclasses.replace(episode, **{part: getattr(episode, part)[mine] for part in parts})


def gradients_and_statistics(episode: Episode, fabric: Fabric | None = None) -> dict[str, Tensor]:
    """Gradients of one training step, and the running statistics after it."""
    torch.manual_seed(0)
    config = LGMNetConfig(
        feature_shape=(1, 12, 12),
        embedding_widths=(6, 6),
        embedding_pooled=(True, False),
        encoder_width=6,
        context=4,
        target_widths=(5, 5),
    )
    method = LGMNet(config).double().train()
    model: Any = fabric.setup_module(method) if fabric else method
    if fabric:
        model.mark_forward_method("learn")
    loss, _ = model.learn(
        episode.support_x, episode.support_y, episode.query_x, episode.query_y, episode.way
    )
    if fabric:
        fabric.backward(loss)
    else:
        loss.backward()
    found = {f"grad.{name}": p.grad for name, p in method.named_parameters() if p.grad is not None}
    return found | {name: b for name, b in method.named_buffers() if "running" in name}


def main(folder: Path) -> None:
    """Write what this process found."""
    fabric = Fabric(accelerator="cpu", strategy="ddp", devices=2, precision="64-true")
    fabric.launch()
    assert fabric.world_size == 2
    found = gradients_and_statistics(half(whole_episode(), fabric.global_rank), fabric)
    plain = {name: tensor.clone().contiguous() for name, tensor in found.items()}
    save_file(plain, folder / f"{fabric.global_rank}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
