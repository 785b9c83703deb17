"""Several networks that answer together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn

from lgmnet.config import require
from lgmnet.episode import Episode
from lgmnet.errors import ConfigError
from lgmnet.input_spec import InputSpec
from lgmnet.methods.base import Classifier, Method
from lgmnet.methods.lgm_net import LGMNet, LGMNetConfig


@dataclass(frozen=True)
class NetworkEnsembleConfig:
    """Number and config of the networks.

    Raises:
        ConfigError: if a field has a value that is not allowed.

    >>> NetworkEnsembleConfig().networks
    2
    """

    networks: int = 2
    """Number of networks; they differ by their first weights."""
    network: LGMNetConfig = LGMNetConfig()
    """Config of each of them."""

    def __post_init__(self) -> None:
        require(self, "networks", self.networks >= 2, "2 or more")


class NetworkEnsemble(Method):
    """Ensemble of networks with different first weights (Lakshminarayanan et al., 2017).

    https://arxiv.org/abs/1612.01474 (NeurIPS 2017)

    They learn from the same tasks, each by its own loss, or are trained apart and joined by `of`.
    The probabilities are the means of theirs. The paper's adversarial examples and learned
    variances are left out.

    >>> import torch
    >>> method = NetworkEnsemble(NetworkEnsembleConfig()).eval()
    >>> support_x, support_y = torch.rand(2, 5, 1, 28, 28), torch.arange(5).expand(2, -1)
    >>> classifier = method.adapt(support_x, support_y, way=5)  # Two tasks, 5-way 1-shot.
    >>> classifier(torch.rand(2, 3, 1, 28, 28)).shape
    torch.Size([2, 3, 5])
    """

    config_type = NetworkEnsembleConfig
    config: NetworkEnsembleConfig

    def __init__(self, config: NetworkEnsembleConfig) -> None:
        super().__init__(config)
        self.networks = nn.ModuleList(LGMNet(config.network) for _ in range(config.networks))

    @classmethod
    def of(cls, networks: Sequence[Method]) -> NetworkEnsemble:
        """Join networks that were trained apart, such as with different seeds.

        Raises:
            ConfigError: if they are fewer than two, no LGM-Nets, or differ in their config.
        """
        first = networks[0].config if networks else None
        is_alike = all(isinstance(n, LGMNet) and n.config == first for n in networks)
        if len(networks) < 2 or not is_alike:
            raise ConfigError("An ensemble needs two or more networks of LGM-Net with one config.")
        ensemble = cls(NetworkEnsembleConfig(len(networks), networks[0].config))
        for member, network in zip(ensemble.networks, networks, strict=True):
            member.load_state_dict(network.state_dict())
        return ensemble.train(networks[0].training)

    @classmethod
    def input_spec(cls, config: NetworkEnsembleConfig) -> InputSpec:
        """Describe the samples that the networks take."""
        return LGMNet.input_spec(config.network)

    @property
    def members(self) -> list[LGMNet]:
        """All networks."""
        return [network for network in self.networks if isinstance(network, LGMNet)]

    def prepare(
        self,
        samples: Num[Tensor, "samples *feature"],
        labels: Int[Tensor, " samples"],
        groups: Int[Tensor, " classes"] | None,
    ) -> None:
        """Prepare each network; see `Method.prepare`."""
        for network in self.members:
            network.prepare(samples, labels, groups)

    def inference_state(self) -> dict[str, Tensor]:
        """Collect the ``state_dict`` without the modules that only training uses."""
        return {
            f"networks.{i}.{name}": tensor
            for i, network in enumerate(self.members)
            for name, tensor in network.inference_state().items()
        }

    def learn(
        self, episode: Episode, generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "tasks query way"]]:
        """Compute the sum of the losses and the joint log-probabilities; see `Method.learn`."""
        losses, answers = zip(
            *(network.learn(episode, generator) for network in self.members), strict=True
        )
        return torch.stack(losses).sum(), mean_probability(answers)

    def _adapt(
        self, support_x: Tensor, support_y: Tensor, way: int, generator: torch.Generator | None
    ) -> EnsembleClassifier:
        return EnsembleClassifier(
            [
                # A copy of the labels, because a file cannot hold one tensor twice.
                network._adapt(support_x, support_y.clone(), way, generator).eval()
                for network in self.members
            ]
        )

    @classmethod
    def restore(cls, config: Any, way: int, state: Mapping[str, Tensor]) -> Classifier:
        """Rebuild a classifier (see `Method.restore`)."""
        return EnsembleClassifier(
            [
                LGMNet.restore(config.network, way, select_state(state, f"classifiers.{i}."))
                for i in range(config.networks)
            ]
        )


class EnsembleClassifier(Classifier):
    """Classifiers of several networks for the same tasks.

    Args:
        classifiers: Classifier of each network.
    """

    def __init__(self, classifiers: Sequence[Classifier]) -> None:
        super().__init__()
        self.classifiers = nn.ModuleList(classifiers)
        self.way = classifiers[0].way

    def forward(
        self, query_x: Float[Tensor, "tasks query *feature"]
    ) -> Float[Tensor, "tasks query way"]:
        """Compute the log of the mean probability over the networks."""
        return mean_probability([classifier(query_x) for classifier in self.classifiers])


def mean_probability(log_p: Sequence[Float[Tensor, "..."]]) -> Float[Tensor, "..."]:
    """Compute the log of the mean of probabilities that are given by their logs."""
    return torch.stack(list(log_p)).logsumexp(0) - math.log(len(log_p))


def select_state(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Select the entries of a ``state_dict`` with a prefix, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in state.items()
        if name.startswith(prefix)
    }
