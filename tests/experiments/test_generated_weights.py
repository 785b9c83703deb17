"""Generated weights of several tasks: the two numbers, and what they say of known cases."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from lgmnet.data.synthetic.characters import SyntheticCharacters
from lgmnet.episode import EpisodeShape
from lgmnet.errors import ConfigError
from lgmnet.experiments.figures.generated_weights import between_to_within, look_at_weights
from lgmnet.methods import LGMNet, LGMNetConfig, ProtoNet, ProtoNetConfig

TINY = LGMNetConfig(
    embedding_widths=(4, 4),
    embedding_pooled=(True, True),
    encoder_width=4,
    context=4,
    target_widths=(4, 4),
)
SHAPE = EpisodeShape(3, 2, 1, 4)


def test_between_to_within_is_the_ratio_of_two_means():
    clouds = torch.tensor([[[0.0, 0.0], [0.0, 2.0]], [[10.0, 0.0], [10.0, 2.0]]])
    between = (10 + 10 + 2 * (100 + 4) ** 0.5) / 4
    assert between_to_within(clouds.double()) == pytest.approx(between / 2)


def test_weights_depend_on_the_task_and_not_on_the_order_of_its_support():
    torch.manual_seed(0)
    method = LGMNet(TINY).eval()
    clouds = look_at_weights(method, SyntheticCharacters("test"), SHAPE, draws=6)
    assert (clouds.tasks, clouds.draws, len(clouds.places)) == (4, 6, 24)
    assert clouds.reordering < 1e-5
    # Without noise the draws of one task differ by rounding alone.
    exact = LGMNet(dataclasses.replace(TINY, random_context=False)).eval()
    assert (
        look_at_weights(exact, SyntheticCharacters("test"), SHAPE, draws=6).ratio
        > 100 * clouds.ratio
    )


def test_what_generates_no_weights_is_refused():
    config = ProtoNetConfig(embedding_widths=(4,), embedding_pooled=(True,))
    with pytest.raises(ConfigError, match="ProtoNet generates no weights"):
        look_at_weights(ProtoNet(config).eval(), SyntheticCharacters("test"), SHAPE)
