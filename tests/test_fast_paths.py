"""Every faster way gives what the plain way gives, on fixed weights; tolerances are named here."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lgmnet import MAML, EpisodeShape, MAMLConfig, Method, ProtoNet, ProtoNetConfig, load_model
from lgmnet.data.class_dataset import smallest_k
from lgmnet.data.sampler import Sampler
from lgmnet.data.synthetic.characters import SyntheticCharacters
from lgmnet.episode import Episode
from lgmnet.evaluation.evaluate import mean_and_ci95
from lgmnet.nn import layers
from lgmnet.nn.stateless import Network, channels_last

IN_32_BITS = 1e-4
"""Largest difference of probabilities between two ways in 32 bits."""
IN_BF16 = 0.03
"""Largest mean difference of probabilities between bf16 and 32 bits, over queries."""
SHAPE = EpisodeShape(way=5, shot=1, query=15, tasks=8)


@pytest.fixture(scope="module")
def shipped() -> Method:
    return load_model("omniglot").method.eval()


def drawings(seed: int = 0) -> Episode:
    """Tasks of invented characters."""
    return (
        Sampler(SyntheticCharacters("test"), torch.Generator().manual_seed(seed))
        .sample(SHAPE)
        .clone()
    )


def answered(method: Method, episode: Episode, *, bf16: bool = False) -> Tensor:
    """Probabilities of all queries."""
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        classifier = method.adapt(episode.support_x, episode.support_y, episode.way)
        answer: Tensor = classifier(episode.query_x)
    return answer.float().exp()


def test_bf16_answers_as_32_bits_do(shipped):
    """Probabilities, and accuracy within the interval of its paired difference."""
    differences, apart = [], []
    for seed in range(4):
        episode = drawings(seed)
        plain, fast = answered(shipped, episode), answered(shipped, episode, bf16=True)
        apart.append((plain - fast).abs().amax(-1).mean())
        right = [(p.argmax(-1) == episode.query_y).double().mean(1) for p in (plain, fast)]
        differences.append(right[0] - right[1])
    assert torch.stack(apart).max() < IN_BF16
    mean, ci95 = mean_and_ci95(torch.cat(differences))
    assert abs(mean) <= ci95 + 1 / (SHAPE.way * SHAPE.query)


def test_images_in_parts_are_what_all_at_once_are(shipped, monkeypatch):
    episode = drawings()
    parts = answered(shipped, episode)
    monkeypatch.setitem(layers.PIXELS_AT_ONCE, "cpu", 1 << 40)
    assert (parts - answered(shipped, episode)).abs().max() < IN_32_BITS


def test_tasks_at_once_are_what_each_is_alone(shipped):
    episode = drawings()
    together = answered(shipped, episode)
    for task in range(SHAPE.tasks):
        one = Episode(
            episode.support_x[task : task + 1],
            episode.support_y[task : task + 1],
            episode.query_x[task : task + 1],
            episode.query_y[task : task + 1],
            SHAPE.way,
        )
        assert (together[task] - answered(shipped, one)[0]).abs().max() < IN_32_BITS


def test_maml_in_a_loop_is_maml_under_vmap(monkeypatch):
    """Answers and meta-gradients of second order, in 32 bits."""
    torch.manual_seed(0)
    method = MAML(MAMLConfig(embedding_widths=(8, 8), embedding_pooled=(True, True), inner_steps=2))
    episode = drawings()

    def learned() -> list[Tensor]:
        loss, log_p = method.learn(
            episode.support_x, episode.support_y, episode.query_x, episode.query_y, SHAPE.way
        )
        return [log_p.exp(), *torch.autograd.grad(loss, list(method.parameters()))]

    fast = learned()
    monkeypatch.setattr(Network, "loops", lambda self, device: False)
    for a, b in zip(fast, learned(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=IN_32_BITS)


@pytest.mark.parametrize("channels", [1, 3])
def test_kernels_laid_out_channels_last_are_the_same_numbers(channels):
    kernels = torch.randn(4, channels, 3, 3)
    laid_out = channels_last(kernels)
    torch.testing.assert_close(laid_out, kernels, rtol=0, atol=0)
    assert laid_out.stride(1) == 1
    images = torch.randn(2, channels, 8, 8)
    maps = torch.nn.functional.conv2d(images, laid_out, padding=1)
    assert maps.stride(1) == 1, "the maps follow, so pooling is fast"


@pytest.mark.parametrize(("n", "k"), [(20, 16), (600, 16), (64, 5)])
def test_few_of_many_are_picked_as_sorting_would(n, k):
    keys = torch.rand(200, n, generator=torch.Generator().manual_seed(0))
    keys[:, ::3] = (keys[:, ::3] * 8).floor() / 8  # Many are equal.
    keys[::2, n - 3 :] = 2.0
    expected = keys.sort(dim=1, stable=True).indices[:, :k]
    assert torch.equal(smallest_k(keys, k), expected)


def test_training_in_bf16_learns_what_training_in_32_bits_does():
    """The same tasks from the same weights: accuracies lie within each other's intervals."""
    scores = []
    for bf16 in (False, True):
        torch.manual_seed(0)
        config = ProtoNetConfig(embedding_widths=(16, 16, 16), embedding_pooled=(True, True, True))
        method = ProtoNet(config).train()
        optimizer = torch.optim.AdamW(method.parameters(), lr=3e-3)
        sampler = Sampler(SyntheticCharacters("train"), torch.Generator().manual_seed(1))
        for _ in range(40):
            episode = sampler.sample(EpisodeShape(5, 1, 5, 4))
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss, _ = method.learn(
                    episode.support_x, episode.support_y, episode.query_x, episode.query_y, 5
                )
            loss.backward()
            optimizer.step()
        method.eval()
        right = [
            (answered(method, drawings(seed)).argmax(-1) == drawings(seed).query_y).double().mean(1)
            for seed in range(20)
        ]
        scores.append(mean_and_ci95(torch.cat(right)))
    (plain, plain_ci95), (fast, fast_ci95) = scores
    assert plain > 0.4, "it has learned something"
    assert abs(plain - fast) < plain_ci95 + fast_ci95
