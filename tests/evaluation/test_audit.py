"""Audit and comparison: an honest method passes, and each way of cheating fails its check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lgmnet.data.class_dataset import ClassDataset
from lgmnet.episode import EpisodeShape
from lgmnet.errors import ConfigError, EpisodeError
from lgmnet.evaluation.audit import EXIT_CODES, Audit, Check, audit, make_noise_dataset
from lgmnet.evaluation.compare import compare
from lgmnet.methods.base import Classifier, Method
from lgmnet.methods.proto_net import ProtoNet, ProtoNetConfig
from lgmnet.nn.embedding import vector_embedding
from tests.support.progress import record_progress


@dataclass(frozen=True)
class NearestConfig:
    feature_shape: tuple[int, ...] = (4,)
    cheat: str = ""


class Nearest(Method):
    """Nearest class mean, optionally with one way of cheating."""

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
        if self.cheat == "order":  # Queries are sorted by class.
            classes = torch.arange(queries) * self.way // queries
            scores = scores + 5 * nn.functional.one_hot(classes, self.way)
        if self.cheat == "balance":  # All classes are equally frequent.
            scores = scores - scores.logsumexp(1, keepdim=True)
        return scores.log_softmax(-1)


def clusters(seed: int = 0, name: str = "clusters") -> ClassDataset:
    generator, classes, images = torch.Generator().manual_seed(seed), 12, 12
    centres = torch.randn(classes, 1, 4, generator=generator)
    samples = centres + 0.7 * torch.randn(classes, images, 4, generator=generator)
    names = [f"{name} {seed}.{c}" for c in range(classes)]
    return ClassDataset(
        samples.flatten(0, 1), [images] * classes, names, name=name, split=f"s{seed}"
    )


SHAPE = EpisodeShape(5, 1, 5)


def failed(result: Audit) -> set[str]:
    return set(result.names("failed"))


def test_an_honest_method_passes_and_its_mode_is_restored():
    method = Nearest(NearestConfig()).train()
    result = audit(method, clusters(), trained_on=[clusters(seed=1)], shape=SHAPE)
    assert result.passed, result
    assert failed(result) == set()
    assert len(result.checks) == 13
    assert method.training


@pytest.mark.parametrize(
    ("cheat", "checks"),
    [
        ("order", {"query independence"}),
        ("balance", {"query independence"}),
        ("neighbours", {"task independence"}),
    ],
)
def test_a_cheating_method_fails_the_checks(cheat, checks):
    result = audit(Nearest(NearestConfig(cheat=cheat)), clusters(), shape=SHAPE)
    assert checks <= failed(result)
    assert not result.passed


@pytest.mark.parametrize("way", [3, 7])
def test_a_constant_method_is_at_chance(way):
    class ConstantClassifier(NearestClassifier):
        def forward(self, query_x):
            return torch.zeros(*query_x.shape[:2], self.way).log_softmax(-1)

    class Constant(Nearest):
        def _adapt(self, support_x, support_y, way, generator):
            return ConstantClassifier(support_x, way, "")

    shape = EpisodeShape(way, 1, 5)
    result = audit(Constant(NearestConfig()), clusters(), shape=shape, episodes=16)
    assert "images without classes" not in failed(result)


def test_the_noise_is_large_enough_for_large_tasks():
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(70 * 25, 4, generator=generator)
    dataset = ClassDataset(samples, [25] * 70, [str(i) for i in range(70)], name="large", split="s")
    result = audit(Nearest(NearestConfig()), dataset, shape=EpisodeShape(66, 1, 24), episodes=16)
    assert failed(result) == set()


def test_a_method_declared_transductive_passes_and_is_reported():
    method = Nearest(NearestConfig(cheat="balance"))
    method.is_transductive = True
    result = audit(method, clusters(), trained_on=[], shape=SHAPE)
    assert result.passed
    check = next(check for check in result.checks if check.name == "query independence")
    assert "transductive" in check.reason


def test_training_classes_and_images_are_detected():
    method = Nearest(NearestConfig())
    assert failed(audit(method, clusters(), trained_on=[clusters()], shape=SHAPE)) == {
        "training overlap"
    }
    same_images = clusters(name="others")
    result = audit(method, clusters(), trained_on=[same_images], shape=SHAPE)
    assert failed(result) == {"training overlap"}
    assert "144 images" in result.checks[-1].reason


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


def test_an_audit_has_three_outcomes_and_as_many_exit_codes():
    checks = {outcome: Check("name", outcome, "why") for outcome in EXIT_CODES}
    passed, failed_, unknown = (checks[name] for name in ("passed", "failed", "not checked"))
    for parts, outcome, code in (
        ((passed, passed), "passed", 0),
        ((passed, unknown, failed_), "failed", 1),
        ((passed, unknown), "not checked", 3),
    ):
        result = Audit(parts)
        assert (result.outcome, result.exit_code) == (outcome, code)
        assert result.passed == (outcome == "passed")


def test_unknown_training_data_does_not_pass():
    result = audit(Nearest(NearestConfig()), clusters(), shape=SHAPE, episodes=16)
    assert (result.outcome, result.names("not checked")) == ("not checked", ["training overlap"])


def test_a_check_that_ends_with_an_error_is_not_checked():
    class Fragile(Nearest):
        def _adapt(self, support_x, support_y, way, generator):
            if len(support_x) == 1:
                raise RuntimeError("one task is not enough")
            return super()._adapt(support_x, support_y, way, generator)

    method = Fragile(NearestConfig())
    result = audit(method, clusters(), trained_on=[], shape=SHAPE, episodes=16)
    assert result.outcome == "not checked"
    reasons = {check.name: check.reason for check in result.checks}
    assert "one task is not enough" in reasons["task independence"]


def test_an_audit_leaves_the_global_generators_as_they_are():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    audit(Nearest(NearestConfig()), clusters(), shape=SHAPE, episodes=16)
    assert torch.equal(torch.rand(4), expected)


# Comparisons.


def test_a_comparison_is_paired_over_the_same_episodes():
    shape = EpisodeShape(5, 1, 5)
    config = ProtoNetConfig(vector_embedding(4, 8))
    torch.manual_seed(0)
    methods: dict[str, Method] = {
        "nearest": Nearest(NearestConfig()),
        "same": Nearest(NearestConfig()),
    }
    methods |= {"order": Nearest(NearestConfig(cheat="order")), "net": ProtoNet(config)}
    rows = compare(methods, clusters(), shape, episodes=60)
    assert [row.name for row in rows] == list(methods)
    first, same, order, net = rows
    assert (first.difference, first.difference_ci95) == (0, 0)
    assert (same.difference, same.difference_ci95) == (0, 0), "the same method, the same episodes"
    assert order.difference - order.difference_ci95 > 0
    assert net.difference == pytest.approx(net.score.accuracy - first.score.accuracy)
    assert net.parameters == sum(p.numel() for p in methods["net"].parameters() if p.requires_grad)
    assert all(row.adapt_ms > 0 and row.query_ms > 0 for row in rows)


def test_an_audit_and_a_comparison_report_their_progress():
    methods: dict[str, Method] = {name: Nearest(NearestConfig()) for name in ("a", "b")}
    shape = EpisodeShape(5, 1, 5)
    models, *scores = record_progress(lambda: compare(methods, clusters(), shape, episodes=60))
    assert (models.description, models.total, models.details) == ("models", 2, ["a", "b"])
    assert [(task.description, sum(task.advances)) for task in scores] == [("episodes", 60)] * 2
    (checks,) = record_progress(lambda: audit(methods["a"], clusters(), shape=SHAPE, episodes=16))
    assert checks.total == len(checks.advances) == 13
    assert checks.details[0] == "repeatability"


def test_a_comparison_needs_two_methods():
    with pytest.raises(ConfigError, match="at least two models; there is 1"):
        compare({"a": Nearest(NearestConfig())}, clusters(), EpisodeShape(5, 1, 5))


def test_a_shape_that_is_too_large_is_refused():
    with pytest.raises(EpisodeError, match="shot"):
        audit(Nearest(NearestConfig()), clusters(), shape=replace(EpisodeShape(5, 1, 5), shot=99))
