"""CUDA graphs: which batches are recorded, and that replays compute what PyTorch computes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lgmnet.engines import cuda_graphs
from lgmnet.engines.cuda_graphs import Compute, GraphCache
from lgmnet.engines.engine import load_engine
from lgmnet.methods import LGMNet
from tests.support.configs import TINY

needs_cuda = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="PyTorch finds no GPU that computes with CUDA"
)
WEIGHTS = torch.ones(1)


class Recorder:
    """Stands for the recording of a graph on a machine without a GPU."""

    def __init__(self, error: RuntimeError | None = None) -> None:
        self.recorded: list[tuple[int, ...]] = []
        self.n_replays = 0
        self.error = error

    def __call__(self, compute: Compute, example: Tensor) -> Compute:
        self.recorded.append(tuple(example.shape))
        if self.error:
            raise self.error

        def replay(batch: Tensor) -> Tensor:
            self.n_replays += 1
            return compute(batch)

        return replay


def double(batch: Tensor) -> Tensor:
    return 2 * batch


def test_a_shape_is_recorded_when_it_comes_again_and_then_replayed():
    recorder = Recorder()
    cache = GraphCache(recorder)
    for n in (3, 3, 3, 2):
        batch = torch.rand(n, 4)
        assert torch.equal(cache.run(double, batch, WEIGHTS), 2 * batch)
    assert recorder.recorded == [(3, 4)]
    assert recorder.n_replays == 2


def test_weights_that_have_moved_and_other_types_need_graphs_of_their_own():
    recorder = Recorder()
    cache = GraphCache(recorder)
    moved = torch.ones(1)
    for batch, weights in (
        (torch.rand(3), WEIGHTS),
        (torch.rand(3), moved),
        (torch.rand(3).double(), WEIGHTS),
    ):
        for _ in range(2):
            cache.run(double, batch, weights)
    assert len(recorder.recorded) == 3


def test_only_so_many_shapes_are_recorded(monkeypatch):
    monkeypatch.setattr(cuda_graphs, "MAX_GRAPHS", 2)
    recorder = Recorder()
    cache = GraphCache(recorder)
    for n in (1, 2, 3, 1, 2, 3, 3):
        batch = torch.rand(n)
        assert torch.equal(cache.run(double, batch, WEIGHTS), 2 * batch)
    assert recorder.recorded == [(1,), (2,)]


def test_what_cannot_be_recorded_is_computed_and_not_tried_again():
    recorder = Recorder(RuntimeError("operation not permitted when stream is capturing"))
    cache = GraphCache(recorder)
    for _ in range(4):
        assert torch.equal(cache.run(double, torch.ones(2), WEIGHTS), torch.full((2,), 2.0))
    assert recorder.recorded == [(2,)]


@needs_cuda
def test_graphs_of_a_network_give_its_features():
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten()).cuda().eval()
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = network(images.cuda()).cpu()
    for _ in range(3):
        features = load_engine(network, lambda: images)(images).float().cpu()
        assert nn.functional.cosine_similarity(features, expected).min() >= 0.999
    other = load_engine(network, lambda: images)(images.flip(0)).float().cpu()
    torch.testing.assert_close(other, features.flip(0))


@needs_cuda
def test_a_method_adapts_within_a_graph():
    method = LGMNet(TINY).cuda().eval()
    shape = TINY.embedding.feature_shape
    support_x = torch.rand(1, 5, *shape, generator=torch.Generator().manual_seed(0)).cuda()
    support_y = torch.arange(5).cuda()[None]

    def adapt(x: Tensor) -> Tensor:
        with torch.inference_mode():
            keys = method.adapt(x, support_y, 5).support_embedding
        assert keys is not None
        return keys

    replay = cuda_graphs.record_graph(adapt, support_x)
    other = support_x.flip(-1)
    torch.testing.assert_close(replay(other), adapt(other))
