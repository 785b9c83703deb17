"""Fast paths compute what the plain paths compute, within the tolerances named here."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lgmnet.data.class_dataset import smallest_k
from lgmnet.data.sampler import Sampler
from lgmnet.data.synthetic.characters import SyntheticCharacters
from lgmnet.episode import Episode, EpisodeShape
from lgmnet.evaluation.evaluate import mean_and_ci95
from lgmnet.methods import MAML, MAMLConfig, Method, ProtoNet, ProtoNetConfig
from lgmnet.model.model import load_model
from lgmnet.nn import layers
from lgmnet.nn.embedding import EmbeddingConfig
from lgmnet.nn.stateless import channels_last
from tests.support.models import build_method, force_vmap
from tests.support.random import seeded

TOLERANCE = 1e-4
"""Largest difference of probabilities between two ways in 32 bits."""
BF16_TOLERANCE = 0.03
"""Largest mean difference of probabilities between bf16 and 32 bits, over queries."""
SHAPE = EpisodeShape(way=5, shot=1, query=15, tasks=8)


@pytest.fixture(scope="module")
def shipped() -> Method:
    """Shipped model `omniglot`."""
    return load_model("omniglot").method.eval()


def draw_episode(seed: int = 0) -> Episode:
    """Draw tasks of synthetic characters."""
    return Sampler(SyntheticCharacters("test"), seeded(seed)).sample(SHAPE).clone()


def answer(method: Method, episode: Episode, *, bf16: bool = False) -> Tensor:
    """Compute the probabilities of all queries."""
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        classifier = method.adapt(episode.support_x, episode.support_y, episode.way)
        log_p: Tensor = classifier(episode.query_x)
    return log_p.float().exp()


def accuracies(probabilities: Tensor, episode: Episode) -> Tensor:
    """Compute the accuracy of each task."""
    return (probabilities.argmax(-1) == episode.query_y).double().mean(1)


def test_bf16_gives_the_probabilities_and_the_accuracy_of_32_bits(shipped):
    """The accuracy lies within the interval of the paired difference."""
    gaps, differences = [], []
    for seed in range(4):
        episode = draw_episode(seed)
        plain, fast = answer(shipped, episode), answer(shipped, episode, bf16=True)
        gaps.append((plain - fast).abs().amax(-1).mean())
        differences.append(accuracies(plain, episode) - accuracies(fast, episode))
    assert 0 < torch.stack(gaps).max() < BF16_TOLERANCE
    mean, ci95 = mean_and_ci95(torch.cat(differences))
    assert abs(mean) <= ci95 + 1 / (SHAPE.way * SHAPE.query)


def test_images_embedded_in_parts_equal_all_at_once(shipped, monkeypatch):
    episode = draw_episode()
    in_parts = answer(shipped, episode)
    monkeypatch.setitem(layers.MAX_PIXELS, "cpu", 1 << 40)
    assert (in_parts - answer(shipped, episode)).abs().max() < TOLERANCE


def test_tasks_together_equal_each_task_alone(shipped):
    episode = draw_episode()
    together = answer(shipped, episode)
    for task in range(SHAPE.tasks):
        alone = Episode(
            episode.support_x[task : task + 1],
            episode.support_y[task : task + 1],
            episode.query_x[task : task + 1],
            episode.query_y[task : task + 1],
            SHAPE.way,
        )
        assert (together[task] - answer(shipped, alone)[0]).abs().max() < TOLERANCE


def test_maml_in_a_loop_equals_maml_under_vmap(monkeypatch):
    """Answers and meta-gradients of second order, in 32 bits."""
    embedding = EmbeddingConfig(widths=(8, 8), pooled=(True, True))
    method = build_method("maml", MAMLConfig(embedding, inner_steps=2))
    assert isinstance(method, MAML)
    episode = draw_episode()

    def learn() -> list[Tensor]:
        loss, log_p = method.learn(episode)
        return [log_p.exp(), *torch.autograd.grad(loss, list(method.parameters()))]

    in_a_loop = learn()
    devices = force_vmap(monkeypatch)
    for a, b in zip(in_a_loop, learn(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=TOLERANCE)
    assert devices


@pytest.mark.parametrize("channels", [1, 3])
def test_kernels_in_channels_last_layout_are_the_same_numbers(channels):
    kernels = torch.randn(4, channels, 3, 3, generator=seeded())
    laid_out = channels_last(kernels)
    torch.testing.assert_close(laid_out, kernels, rtol=0, atol=0)
    assert laid_out.stride(1) == 1
    maps = F.conv2d(torch.ones(2, channels, 8, 8), laid_out, padding=1)
    assert maps.stride(1) == 1, "the maps have the same layout, so that pooling is fast"


@pytest.mark.parametrize(("n", "k"), [(20, 16), (600, 16), (64, 5)])
def test_the_smallest_k_are_those_that_sorting_finds(n, k):
    keys = torch.rand(200, n, generator=seeded())
    keys[:, ::3] = (keys[:, ::3] * 8).floor() / 8  # Many keys are equal.
    keys[::2, n - 3 :] = 2.0
    expected = keys.sort(dim=1, stable=True).indices[:, :k]
    assert torch.equal(smallest_k(keys, k), expected)


def test_training_in_bf16_learns_as_much_as_training_in_32_bits():
    """The same tasks from the same weights: the intervals of the accuracies overlap."""
    episodes = [draw_episode(seed) for seed in range(20)]
    embedding = EmbeddingConfig(widths=(16, 16, 16), pooled=(True, True, True))

    def train(steps: int, *, bf16: bool = False) -> tuple[float, float]:
        """Train a fresh method; return the mean accuracy and its interval."""
        method = build_method("proto-net", ProtoNetConfig(embedding)).train()
        assert isinstance(method, ProtoNet)
        optimizer = torch.optim.AdamW(method.parameters(), lr=3e-3)
        sampler = Sampler(SyntheticCharacters("train"), seeded(1))
        for _ in range(steps):
            episode = sampler.sample(EpisodeShape(5, 1, 5, 4))
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss, _ = method.learn(episode)
            loss.backward()
            optimizer.step()
        method.eval()
        return mean_and_ci95(torch.cat([accuracies(answer(method, e), e) for e in episodes]))

    untrained, untrained_ci95 = train(0)
    plain, plain_ci95 = train(40)
    fast, fast_ci95 = train(40, bf16=True)
    assert plain > untrained + untrained_ci95 + plain_ci95, "training has an effect"
    assert abs(plain - fast) < plain_ci95 + fast_ci95
