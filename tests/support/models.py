"""Small models with random weights, and synthetic drawings."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, cast

import pytest
import torch
from jaxtyping import UInt8
from torch import Tensor

from lgmnet.data.synthetic.characters import SyntheticCharacters
from lgmnet.episode import EpisodeShape
from lgmnet.evaluation.aspects import Profile
from lgmnet.methods import METHODS, LGMNetConfig, Method, RidgeRegressionConfig
from lgmnet.model.model import Model
from lgmnet.model.training_record import TrainingRecord
from lgmnet.nn.embedding import EmbeddingConfig
from lgmnet.nn.norms import compute_moments
from lgmnet.nn.stateless import StatelessNetwork
from tests.support.configs import TINY
from tests.support.random import seeded

ASPECTS = ("things", "colour and brightness", "texture", "place and size")


def build_method(name: str, config: Any, seed: int = 0) -> Method:
    """Build a method with fresh weights from a seed, without touching the global generator.

    Args:
        name: Key of `lgmnet.methods.METHODS`.
        config: Config of the method.
        seed: Seed of the weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return METHODS[name](config)


def tiny_model(config: LGMNetConfig = TINY, *, seed: int = 0, **training: Any) -> Model:
    """Build a model with random weights and a complete training record.

    Args:
        config: Config of its LGM-Net.
        seed: Seed of the weights.
        training: Fields of the training record that differ.
    """
    record: dict[str, Any] = {
        "recipe": "tiny",
        "data": SyntheticCharacters.name,
        "split": "train",
        "split_hash": SyntheticCharacters("train").split_hash,
        "val_split": "val",
        "settings": {"seed": 0, "steps": 3},
        "step": 2,
        "val_task": "3-way 1-shot",
        "val_accuracy": 50.0,
        "val_ci95": 2.5,
    }
    method = build_method("lgm-net", config, seed).eval()
    return Model(method, "lgm-net", TrainingRecord(**record | training), name="tiny")


def drawings(
    classes: int, per_class: int, seed: int = 0
) -> UInt8[Tensor, "classes per_class 1 28 28"]:
    """Draw synthetic characters, ink = 255.

    Args:
        classes: Number of characters.
        per_class: Drawings of each character.
        seed: Seed of the characters and of their drawings.
    """
    shape = EpisodeShape(way=max(2, classes), shot=per_class, query=1)
    pixels = torch.empty(shape.samples, 1, 28, 28, dtype=torch.uint8)
    SyntheticCharacters("test").draw(shape, seeded(seed), pixels)
    support = pixels[: shape.way * per_class]
    return support.view(shape.way, per_class, 1, 28, 28)[:classes]


def force_vmap(monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    """Let networks of adapted weights take all tasks at once, as on a GPU.

    Returns:
        A list that grows by one device whenever a network is kept from a loop over tasks. A test
        that compares both ways must find it filled.
    """
    devices: list[torch.device] = []

    def prevent_loop(network: StatelessNetwork, device: torch.device) -> bool:
        devices.append(device)
        return False

    def batch_norm(x: Tensor, weight: Tensor, bias: Tensor, *options: Any) -> Tensor:
        *_, eps, _ = options
        mean, variance = (t[:, None, None] for t in compute_moments(x))
        y = (x - mean) / (variance + eps).sqrt() * weight[:, None, None] + bias[:, None, None]
        return cast(Tensor, y)

    monkeypatch.setattr(StatelessNetwork, "runs_one_by_one", prevent_loop)
    # `TaskNorm` uses PyTorch's batch norm on a CPU only, where there is no vmap: the gradients of
    # its gradient are wrong under vmap.
    monkeypatch.setattr(torch, "batch_norm", batch_norm)
    return devices


def model_of_aspects(aspects: Sequence[str] = ASPECTS) -> Model:
    """Build a model of drawings with random weights that names what its classifiers judge by.

    The groups of its features belong to the aspects in turn.
    """
    embedding = EmbeddingConfig(widths=(4, 4), pooled=(True, True), readout="layers")
    profiles = []
    for number, aspect in enumerate(aspects):
        shares = [1.0 + 99 * (i % len(aspects) == number) for i in range(len(embedding.groups))]
        profiles.append(Profile(aspect, aspect, tuple(s / sum(shares) for s in shares)))
    return dataclasses.replace(
        tiny_model(),
        method=build_method("ridge-regression", RidgeRegressionConfig(embedding)).eval(),
        method_name="ridge-regression",
        profiles=tuple(profiles),
        name="aspects",
    )
