"""The whole of LGM-Net in evaluation, against its formulas in plain NumPy."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from lgmnet.methods.lgm_net import LGMNet, LGMNetConfig
from tests.numerics import by_hand
from tests.numerics.by_hand import Array

CONV = LGMNetConfig(
    feature_shape=(2, 9, 8),
    embedding_widths=(3, 4),
    embedding_pooled=(True, False),
    encoder_width=5,
    context=3,
    target_widths=(4, 5),
)
LINEAR = LGMNetConfig(
    feature_shape=(2,),
    target="linear",
    embedding_widths=(5, 4),
    encoder_width=6,
    context=3,
    target_widths=(5, 4),
)
CHANGES = {
    "as it is": {},
    "the paper's head": {"temperature": None},
    "plain target": {"target_norm": False},
    "no weight norm": {"weight_norm": False},
    "no encoder": {"context_encoder": False},
    "no intertask norm": {"intertask_norm": False},
    "one layer": {"target_widths": (6,)},
}
WAY, LABELS = 3, [[2, 0, 1, 0, 2, 2], [0, 1, 2, 2, 1, 0]]


def lgm_net(config: LGMNetConfig) -> LGMNet:
    """In evaluation, with weights and running statistics that are nothing in particular."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        method = LGMNet(config).double()
        for name, parameter in method.named_parameters():
            if parameter.ndim == 1 and name != "log_scale":
                parameter.data += torch.empty_like(parameter).uniform_(-0.3, 0.3)
        with torch.no_grad():
            for _ in range(20):  # the running statistics of the normalisation
                x = torch.randn(2, 6, *config.feature_shape, dtype=torch.float64)
                method(x, torch.tensor(LABELS), x, WAY)
    return method.eval()


class ByHand:
    """LGM-Net as its docstring has it, for one task and one sample at a time."""

    def __init__(self, config: LGMNetConfig, state: dict[str, torch.Tensor]) -> None:
        self.config = config
        self.state = {name: tensor.numpy() for name, tensor in state.items()}
        self.conv = config.target == "conv"

    def part(self, prefix: str) -> list[dict[str, Array]]:
        """The parameters of each layer below a prefix, in order."""
        layers: dict[str, dict[str, Array]] = {}
        for name, value in self.state.items():
            if name.startswith(prefix + "."):
                layer, _, parameter = name.removeprefix(prefix + ".").rpartition(".")
                layers.setdefault(layer, {})[parameter] = value
        return list(layers.values())

    def norm(self, x: Array, layer: dict[str, Array]) -> Array:
        if self.config.intertask_norm:
            return by_hand.normalise_by(
                x, layer["running_mean"], layer["running_var"], layer["weight"], layer["bias"]
            )
        return by_hand.normalise_by_itself(x, layer["weight"], layer["bias"])

    def layer(self, x: Array, weight: Array, bias: Array | None = None) -> Array:
        return (by_hand.conv3x3 if self.conv else by_hand.linear)(x, weight, bias)

    def embedding(self, x: Array) -> Array:
        layers = self.part("embedding")
        for i, (linear, norm) in enumerate(zip(layers[::2], layers[1::2], strict=True)):
            x = self.layer(x, linear["weight"])
            if self.conv and self.config.embedding_pooled[i]:
                x = by_hand.max_pool(x)
            x = by_hand.relu(self.norm(x, norm))
        return x

    def encoder(self, x: Array) -> Array:
        """Mean and log-variance, end to end, that one sample gives."""
        *hidden, last = self.part("encoder.layers")
        for i, (linear, norm) in enumerate(zip(hidden[::2], hidden[1::2], strict=True)):
            x = self.norm(by_hand.relu(self.layer(x, linear["weight"], linear["bias"])), norm)
            if self.conv and self.config.encoder_pooled[i]:
                x = by_hand.max_pool(x, ceil=True)
        return self.average(self.layer(x, last["weight"], last["bias"]))

    def average(self, x: Array) -> Array:
        return x.mean((1, 2)) if self.conv else x

    def context(self, support: list[Array]) -> Array:
        """The mean of eq. (1), which is what eq. (2) gives where nothing is drawn."""
        if not self.config.context_encoder:
            return by_hand.mean([self.average(x) for x in support])
        return by_hand.mean([self.encoder(x) for x in support])[: self.config.context]

    def weights(self, context: Array) -> list[tuple[Array, Array]]:
        """Eq. (3): kernels divided by their norm, and biases, of each layer."""
        generated = []
        width = self.config.embedding_widths[-1]
        for dense, out in zip(self.part("generators"), self.config.target_widths, strict=True):
            flat = by_hand.linear(context, dense["weight"], dense["bias"])
            kernels = flat[:-out].reshape(out, width, *((3, 3) if self.conv else ()))
            if self.config.weight_norm:
                kernels = np.stack([by_hand.unit(kernel) for kernel in kernels])
            generated.append((kernels, flat[-out:]))
            width = out
        return generated

    def target(self, weights: list[tuple[Array, Array]], x: Array) -> Array:
        """Eq. (4), of a sample that has passed the embedding."""
        for i, (kernels, bias) in enumerate(weights):
            x = self.layer(x, kernels, bias)
            last = i == len(weights) - 1
            if self.conv and not last:
                x = by_hand.max_pool(x)
            if self.config.target_norm:
                x = self.norm(x, self.part("target.norms")[i])
            x = x if last else by_hand.relu(x)
        return x.flatten()

    def answer(self, support_x: Array, support_y: Array, query_x: Array) -> Array:
        support = [self.embedding(x) for x in support_x]
        weights = self.weights(self.context(support))
        keys = np.stack([self.target(weights, x) for x in support])
        queries = [self.target(weights, self.embedding(x)) for x in query_x]
        scale = math.exp(self.state["log_scale"])
        return np.array([by_hand.matching(q, keys, support_y, WAY, scale) for q in queries])


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("config", [CONV, LINEAR], ids=["conv", "linear"])
def test_lgm_net_is_its_formulas(config, change):
    """Two tasks at once, uneven and even shots, each with its own weights."""
    config = replace(config, **change)
    method = lgm_net(config)
    random = np.random.RandomState(1)
    support_x = random.normal(size=(2, 6, *config.feature_shape))
    query_x = random.normal(size=(2, 4, *config.feature_shape))
    with torch.no_grad():
        classifier = method.adapt(torch.from_numpy(support_x), torch.tensor(LABELS), WAY)
        came = classifier(torch.from_numpy(query_x)).exp()
    hand = ByHand(config, method.state_dict())
    expected = np.stack(
        [hand.answer(support_x[t], np.array(LABELS[t]), query_x[t]) for t in range(2)]
    )
    torch.testing.assert_close(came, torch.from_numpy(expected), rtol=1e-9, atol=1e-12)
    # The formulas tell apart what is to be told apart.
    assert np.ptp(expected, axis=1).min() > 1e-3
    assert not np.allclose(expected[0], expected[1], atol=1e-3)


@pytest.mark.parametrize(
    ("temperature", "scale", "learned"), [(10.0, 10, True), (3.0, 3, True), (None, 1, False)]
)
def test_the_temperature_is_learned_from_its_start(temperature, scale, learned):
    method = LGMNet(replace(LINEAR, temperature=temperature))
    assert method.log_scale.exp().item() == pytest.approx(scale)
    assert method.log_scale.requires_grad == learned
