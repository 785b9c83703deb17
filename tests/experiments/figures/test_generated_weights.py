"""Figure 5: distances between generated weights, and the picture of their projection."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from lgmnet.config import with_settings
from lgmnet.data.synthetic.characters import SyntheticCharacters
from lgmnet.episode import EpisodeShape
from lgmnet.errors import ConfigError
from lgmnet.experiments.figures.generated_weights import between_to_within, project_weights
from lgmnet.experiments.reproduce import reproduce
from lgmnet.experiments.results import RunOptions
from lgmnet.methods import LGMNet, ProtoNet, ProtoNetConfig
from lgmnet.nn.embedding import EmbeddingConfig
from tests.support.configs import lgm_net_config

TINY = lgm_net_config(
    EmbeddingConfig(widths=(4, 4), pooled=(True, True)), encoder_width=4, target_widths=(4, 4)
)
SHAPE = EpisodeShape(3, 2, 1, 4)


def test_between_to_within_is_the_ratio_of_two_means():
    weights = torch.tensor([[[0.0, 0.0], [0.0, 2.0]], [[10.0, 0.0], [10.0, 2.0]]])
    between = (10 + 10 + 2 * (100 + 4) ** 0.5) / 4
    assert between_to_within(weights.double()) == pytest.approx(between / 2)


def test_weights_depend_on_the_task_and_not_on_the_order_of_its_support():
    torch.manual_seed(0)
    method = LGMNet(TINY).eval()
    source = SyntheticCharacters("test")
    projection = project_weights(method, source, SHAPE, draws=6)
    assert (projection.tasks, projection.draws, len(projection.positions)) == (4, 6, 24)
    assert projection.reordering < 1e-5
    # Without random context the draws of one task differ by rounding alone.
    exact = LGMNet(with_settings(TINY, ["sampled=false"])).eval()
    assert project_weights(exact, source, SHAPE, draws=6).ratio > 100 * projection.ratio


def test_a_method_without_generated_weights_is_refused():
    config = ProtoNetConfig(EmbeddingConfig(widths=(4,), pooled=(True,)))
    with pytest.raises(ConfigError, match="ProtoNet generates no weights"):
        project_weights(ProtoNet(config).eval(), SyntheticCharacters("test"), SHAPE)


@pytest.mark.long
@pytest.mark.pack
def test_generated_weights_are_drawn_again_from_their_results(options: RunOptions) -> None:
    options = dataclasses.replace(options, steps=None)
    picture = options.pages / "figure5.png"
    assert reproduce("figure5", options) == [picture]
    before = picture.read_bytes()
    result = json.loads((options.results / "figure5.json").read_text())
    projection = result["projection"]
    assert len(projection["positions"]) == 8 * 20
    assert projection["ratio"] > 1
    assert projection["reordering"] < 1e-3
    picture.unlink()
    reproduce("figure5", dataclasses.replace(options, from_results=True))
    assert picture.read_bytes() == before
