"""RFS: the loss of self-distillation, and models as teachers."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lgmnet.errors import ConfigError
from lgmnet.methods import METHODS, ProtoNet, ProtoNetConfig, RFSConfig
from lgmnet.methods.rfs import RFS
from lgmnet.model.model import Model, load_model, save_model
from lgmnet.nn.embedding import EmbeddingConfig, vector_embedding
from tests.numerics import reference
from tests.numerics.test_rivals import EPISODE
from tests.support.models import build_method, tiny_model

EMBEDDING = replace(vector_embedding(3, 5), norm="sample")
CLASSES = torch.tensor([[4, 0, 2], [1, 4, 3]])


def build(
    seed: int, classes: int = 5, teacher: RFS | None = None, config: RFSConfig | None = None
) -> RFS:
    method = build_method("rfs", config or RFSConfig(EMBEDDING), seed).double()
    assert isinstance(method, RFS)
    if teacher is not None:
        method.start_from(teacher)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        method.prepare(torch.zeros(classes, 3), torch.arange(classes), None)
    return method


def test_the_student_learns_from_labels_and_from_the_teacher() -> None:
    """The loss is that of the paper, sample by sample; only the student gets gradients."""
    teacher = build(1)
    config = RFSConfig(EMBEDDING, distillation_weight=0.3, distillation_temperature=2.0)
    student = build(2, teacher=teacher, config=config)
    episode = replace(EPISODE, classes=CLASSES)
    loss, _ = student.train().learn(episode)
    loss.backward()
    assert student.teacher is not None
    assert all(p.grad is None for p in student.teacher.parameters())
    assert all(p.grad is not None for p in student.parameters() if p.requires_grad)
    assert not student.teacher.training
    losses = []
    for task in range(2):
        x = torch.cat([episode.support_x[task], episode.query_x[task]])
        y = torch.cat([episode.support_y[task], episode.query_y[task]])
        logits = {}
        for name, method in (("student", student), ("teacher", teacher)):
            assert method.head is not None
            logits[name] = method.head(method.embedding(x)[None])[0].detach().numpy()
        for student_row, teacher_row, label in zip(
            logits["student"], logits["teacher"], CLASSES[task, y].tolist(), strict=True
        ):
            p, q = (reference.softmax(row / 2) for row in (teacher_row, student_row))
            divergence = (p * np.log(p / q)).sum()
            cross_entropy = -np.log(reference.softmax(student_row)[label])
            losses.append(0.7 * cross_entropy + 0.3 * 2**2 * divergence)
    np.testing.assert_allclose(loss.item(), np.mean(losses), rtol=1e-6)


def test_a_saved_model_can_be_a_teacher(tmp_path: Path) -> None:
    """Its head for the training classes is saved, the teacher of the teacher is not."""
    student = build(2, teacher=build(1)).float()
    record = tiny_model().training
    save_model(Model(student, "rfs", record), tmp_path)
    loaded = load_model(tmp_path).method
    assert isinstance(loaded, RFS)
    assert loaded.teacher is None
    assert student.head is not None
    assert loaded.head is not None
    assert torch.equal(loaded.head.weight, student.head.weight)
    next_student = build(3, teacher=loaded)
    assert next_student.teacher is not None
    fresh = copy.deepcopy(next_student.embedding.state_dict())
    assert any(
        not torch.equal(tensor, loaded.embedding.state_dict()[name])
        for name, tensor in fresh.items()
    ), "the student starts with weights of its own"


def test_a_teacher_must_be_an_rfs_of_the_same_classes() -> None:
    with pytest.raises(RuntimeError, match="it is no RFS"):
        build(1).start_from(ProtoNet(ProtoNetConfig(EMBEDDING)))
    with pytest.raises(ConfigError, match="the same 4 training classes, but classifies 5"):
        build(2, classes=4, teacher=build(1))


@pytest.mark.parametrize("name", ["proto-net", "lgm-net", "feat", "ridge-regression"])
def test_metric_methods_may_start_from_the_embedding(name: str) -> None:
    """All but the embedding keeps its fresh weights; other methods are still refused."""
    embedding = EmbeddingConfig((1, 12, 12), widths=(6, 6), pooled=(True, False))
    method = build_method(name, METHODS[name].config_type(embedding=embedding), seed=1)
    before = copy.deepcopy(method.state_dict())
    pretrained = build_method("rfs", RFSConfig(embedding), seed=2)
    method.start_from(pretrained)
    for key, tensor in method.state_dict().items():
        part, _, inner = key.partition(".")
        expected = pretrained.embedding.state_dict()[inner] if part == "embedding" else before[key]
        assert torch.equal(tensor, expected), key
    other = "matching-net" if name == "proto-net" else "proto-net"
    with pytest.raises(RuntimeError, match="it is a"):
        method.start_from(build_method(other, METHODS[other].config_type(embedding=embedding)))
