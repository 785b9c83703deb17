"""Networks that were trained apart and answer together."""

import pytest
import torch

from lgmnet.errors import ConfigError
from lgmnet.methods import LGMNet, NetworkEnsemble
from lgmnet.nn.embedding import vector_embedding
from tests.support.configs import lgm_net_config
from tests.support.random import noise

CONFIG = lgm_net_config(vector_embedding(3, 8), context=4, target_widths=(8,))
SUPPORT_X, QUERY_X = noise(2, 6, 3, seed=1), noise(2, 4, 3, seed=2)
SUPPORT_Y = torch.tensor([[0, 1, 2, 0, 1, 2]] * 2)


def build_networks(n: int) -> list[LGMNet]:
    networks = []
    for seed in range(n):
        torch.manual_seed(seed)
        networks.append(LGMNet(CONFIG).double().eval())
    return networks


@torch.no_grad()
def test_joined_networks_answer_by_the_mean_of_their_probabilities() -> None:
    networks = build_networks(3)
    ensemble = NetworkEnsemble.of(networks).double()
    assert not ensemble.training
    assert ensemble.config.networks == 3
    answers = [network.adapt(SUPPORT_X, SUPPORT_Y, 3)(QUERY_X) for network in networks]
    expected = torch.stack(answers).exp().mean(0)
    found = ensemble.adapt(SUPPORT_X, SUPPORT_Y, 3)(QUERY_X).exp()
    torch.testing.assert_close(found, expected)


def test_joined_networks_have_weights_of_their_own() -> None:
    networks = build_networks(2)
    ensemble = NetworkEnsemble.of(networks)
    before = ensemble.state_dict()["networks.0.log_scale"].clone()
    with torch.no_grad():
        networks[0].log_scale.add_(1)
    assert ensemble.state_dict()["networks.0.log_scale"] == before


def test_networks_that_cannot_be_joined_are_refused() -> None:
    other = LGMNet(lgm_net_config(vector_embedding(3, 8), context=5, target_widths=(8,)))
    for networks in ([], build_networks(1), [*build_networks(1), other]):
        with pytest.raises(ConfigError, match="two or more networks of LGM-Net with one config"):
            NetworkEnsemble.of(networks)
