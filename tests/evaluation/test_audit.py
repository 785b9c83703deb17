"""The audit: an honest method passes, and each cheat is caught at its own door."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.episode import EpisodeShape
from lgmnet.errors import ConfigError
from lgmnet.evaluation.audit import Audit, audit, make_noise_dataset
from lgmnet.evaluation.compare import compare
from lgmnet.experiments.leak import (
    angle_of_its_class,
    angle_of_its_own,
    demonstrate,
    perfect_angle_detector,
    turned,
)
from lgmnet.methods.base import Classifier, Method
from lgmnet.methods.matching_net import MatchingNet, MatchingNetConfig
from lgmnet.methods.proto_net import ProtoNet, ProtoNetConfig


@dataclass(frozen=True)
class NearestConfig:
    feature_shape: tuple[int, ...] = (4,)
    cheat: str = ""


class Nearest(Method):
    """Nearest class mean; and one way of cheating."""

    config_type = NearestConfig

    def _adapt(
        self, support_x: Tensor, support_y: Tensor, way: int, generator: torch.Generator | None
    ) -> NearestClassifier:
        means = torch.stack([support_x[:, support_y[0] == c].mean(1) for c in range(way)], 1)
        if self.config.cheat == "neighbours":
            means = means - means.mean(0, keepdim=True)
        return NearestClassifier(means, way, self.config.cheat)

    @classmethod
    def restore(cls, config: Any, way: int, state: Mapping[str, Tensor]) -> NearestClassifier:
        raise NotImplementedError


class NearestClassifier(Classifier):
    means: Tensor

    def __init__(self, means: Tensor, way: int, cheat: str) -> None:
        super().__init__()
        self.way, self.cheat = way, cheat
        self.register_buffer("means", means)

    def forward(self, query_x: Tensor) -> Tensor:
        scores = -torch.cdist(query_x, self.means)
        queries = query_x.shape[1]
        if self.cheat == "order":  # Queries come class after class.
            place = torch.arange(queries) * self.way // queries
            scores = scores + 5 * nn.functional.one_hot(place, self.way)
        if self.cheat == "balance":  # Each class is as frequent as any other.
            scores = scores - scores.logsumexp(1, keepdim=True)
        return scores.log_softmax(-1)


def clusters(seed: int = 0, name: str = "clusters") -> ClassDataset:
    generator, classes, each = torch.Generator().manual_seed(seed), 12, 12
    centres = torch.randn(classes, 1, 4, generator=generator)
    samples = centres + 0.7 * torch.randn(classes, each, 4, generator=generator)
    names = [f"{name} {seed}.{c}" for c in range(classes)]
    return ClassDataset(samples.flatten(0, 1), [each] * classes, names, name=name, split=f"s{seed}")


def failed(found: Audit) -> set[str]:
    return {check.name for check in found.checks if not check.passed}


def test_an_honest_method_passes_and_is_left_as_it_came():
    method = Nearest(NearestConfig()).train()
    found = audit(method, clusters(), trained_on=[clusters(seed=1)])
    assert found.passed, found
    assert failed(found) == set()
    assert len(found.checks) == 6
    assert method.training


@pytest.mark.parametrize(
    ("cheat", "doors"),
    [
        ("order", {"queries apart", "order and balance of queries"}),
        ("balance", {"queries apart", "order and balance of queries"}),
        ("neighbours", {"tasks apart"}),
    ],
)
def test_a_cheat_is_caught(cheat, doors):
    found = audit(Nearest(NearestConfig(cheat=cheat)), clusters(), episodes=400)
    assert doors <= failed(found)
    assert not found.passed


@pytest.mark.parametrize("way", [3, 7])
def test_a_method_that_always_says_the_same_is_at_chance(way):
    class ConstantClassifier(NearestClassifier):
        def forward(self, query_x):
            return torch.zeros(*query_x.shape[:2], self.way).log_softmax(-1)

    class Constant(Nearest):
        def _adapt(self, support_x, support_y, way, generator):
            return ConstantClassifier(support_x, way, "")

    shape = EpisodeShape(way, 1, 5)
    found = audit(Constant(NearestConfig()), clusters(), shape=shape, episodes=16)
    assert "images without class" not in failed(found)


def test_tasks_larger_than_the_noise_at_hand_are_audited_too():
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(70 * 25, 4, generator=generator)
    many = ClassDataset(samples, [25] * 70, [str(i) for i in range(70)], name="many", split="s")
    found = audit(Nearest(NearestConfig()), many, shape=EpisodeShape(66, 1, 24), episodes=16)
    assert len(found.checks) == 6


def test_a_method_that_says_it_is_transductive_is_believed_and_named():
    method = Nearest(NearestConfig(cheat="balance"))
    method.is_transductive = True
    found = audit(method, clusters(), episodes=400)
    assert found.passed
    apart = next(check for check in found.checks if check.name == "queries apart")
    assert "transductive" in apart.reason


def test_classes_and_images_seen_in_training_are_caught():
    method = Nearest(NearestConfig())
    assert failed(audit(method, clusters(), trained_on=[clusters()])) == {"training apart"}
    renamed = clusters(name="others")
    found = audit(method, clusters(), trained_on=[renamed])
    assert failed(found) == {"training apart"}
    assert "144 images" in found.checks[-1].reason


@pytest.fixture(scope="module")
def leaky_method() -> Method:
    """A matching network that sees angles, though its weights are drawn by lot."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MatchingNet(
            MatchingNetConfig(
                embedding_widths=(16, 16), embedding_pooled=(True, True), temperature=None
            )
        ).eval()


def test_the_reference_codes_augmentation_is_caught(leaky_method):
    """One angle a class: what has no class is told apart, and drawn labels are followed."""
    found = audit(
        leaky_method, make_noise_dataset((1, 28, 28), torch.uint8), path=angle_of_its_class
    )
    assert {"images without class", "labels permuted"} <= failed(found)


def test_an_angle_for_each_image_tells_nothing(leaky_method):
    assert audit(
        leaky_method, make_noise_dataset((1, 28, 28), torch.uint8), path=angle_of_its_own
    ).passed


def test_the_angle_alone_is_worth_what_arithmetic_says():
    assert perfect_angle_detector() == pytest.approx(100 * (1 - (4 / 5) ** 5))
    generator = torch.Generator().manual_seed(0)
    angles = torch.randint(5, (200_000, 5), generator=generator)
    shared = (angles == angles[:, :1]).sum(1)
    assert perfect_angle_detector() == pytest.approx(100 * (1 / shared).mean().item(), abs=0.2)


def test_images_are_turned_by_their_own_angles():
    images = torch.zeros(1, 2, 1, 9, 9)
    images[..., 4, 4:] = 1  # a hand that points to three o'clock
    straight, quarter = turned(images, torch.tensor([[0.0, 90.0]]))[0, :, 0]
    torch.testing.assert_close(straight, images[0, 0, 0])
    torch.testing.assert_close(quarter, straight.rot90(1), atol=1e-5, rtol=0)


def test_noise_has_a_grain_and_no_class():
    noise = make_noise_dataset((1, 28, 28), torch.uint8)
    images = noise.images.double() - noise.images.double().mean()
    along = (images[..., 1:, :] * images[..., :-1, :]).mean() / images.square().mean()
    across = (images[..., 1:] * images[..., :-1]).mean() / images.square().mean()
    assert along > 0.6
    assert abs(across) < 0.1
    assert len({image.tobytes() for image in noise.images.numpy()}) == len(noise.images)
    vectors = make_noise_dataset((4,), torch.float32)
    assert vectors.feature_shape == (4,)
    assert vectors.dtype == torch.float32


def test_the_demonstration_shows_the_leak():
    leak, own, none = demonstrate(steps=60, episodes=200)
    assert leak.accuracy - leak.ci95 > 45
    for honest in (own, none):
        assert abs(honest.accuracy - 20) < 3


# Comparisons.


def test_a_comparison_is_paired_on_the_same_episodes():
    shape = EpisodeShape(5, 1, 5)
    config = ProtoNetConfig(feature_shape=(4,), embedding_widths=(8,))
    torch.manual_seed(0)
    methods: dict[str, Method] = {
        "nearest": Nearest(NearestConfig()),
        "same": Nearest(NearestConfig()),
    }
    methods |= {"order": Nearest(NearestConfig(cheat="order")), "net": ProtoNet(config)}
    told: list[tuple[str, int]] = []
    rows = compare(
        methods, clusters(), shape, episodes=60, progress=lambda *done: told.append(done)
    )
    assert [row.name for row in rows] == list(methods)
    first, same, order, net = rows
    assert (first.difference, first.difference_ci95) == (0, 0)
    assert (same.difference, same.difference_ci95) == (0, 0), "the same method, the same episodes"
    assert order.difference - order.difference_ci95 > 0
    assert net.difference == pytest.approx(net.score.accuracy - first.score.accuracy)
    assert net.parameters == sum(p.numel() for p in methods["net"].parameters() if p.requires_grad)
    assert all(row.adapt_ms > 0 and row.query_ms > 0 for row in rows)
    assert sum(done for name, done in told if name == "net") == 60


def test_one_method_is_no_comparison():
    with pytest.raises(ConfigError, match="at least two models; there is 1"):
        compare({"a": Nearest(NearestConfig())}, clusters(), EpisodeShape(5, 1, 5))


def test_too_large_a_shape_is_refused_before_anything_is_measured():
    with pytest.raises(Exception, match="shot"):
        audit(Nearest(NearestConfig()), clusters(), shape=replace(EpisodeShape(5, 1, 5), shot=99))
