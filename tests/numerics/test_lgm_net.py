"""LGM-Net in evaluation against its formulas in plain NumPy."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import pytest
import torch

from lgmnet.config import with_settings
from lgmnet.methods.lgm_net import LGMNet, LGMNetConfig
from lgmnet.nn.embedding import EmbeddingConfig, vector_embedding
from tests.numerics import reference
from tests.numerics.reference import Array
from tests.support.configs import lgm_net_config
from tests.support.models import build_method

CONV = lgm_net_config(
    EmbeddingConfig((2, 9, 8), widths=(3, 4), pooled=(True, False)),
    context=3,
    encoder_width=5,
    target_widths=(4, 5),
)
LINEAR = lgm_net_config(vector_embedding(2, 5, 4), context=3, encoder_width=6, target_widths=(5, 4))
SETTINGS = {
    "unchanged": [],
    "the paper's head": ["head.temperature=none"],
    "no norm in the target": ["target.norm=false"],
    "no weight norm": ["target.weight_norm=false"],
    "no encoder": ["context=none"],
    "no intertask norm": ["embedding.norm=sample"],
    "one target layer": ["target.widths=[6]"],
}
WAY, LABELS = 3, [[2, 0, 1, 0, 2, 2], [0, 1, 2, 2, 1, 0]]


def build_lgm_net(config: LGMNetConfig) -> LGMNet:
    """Build an LGM-Net in evaluation mode with random weights and running statistics."""
    method = cast(LGMNet, build_method("lgm-net", config).double())
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        for name, parameter in method.named_parameters():
            if parameter.ndim == 1 and name != "log_scale":
                parameter.add_(torch.empty_like(parameter).uniform_(-0.3, 0.3))
        for _ in range(20):  # These calls fill the running statistics.
            x = torch.randn(2, 6, *config.embedding.feature_shape, dtype=torch.float64)
            method(x, torch.tensor(LABELS), x, WAY)
    return method.eval()


class ReferenceLGMNet:
    """LGM-Net as its docstring describes it, for one task and one sample at a time."""

    def __init__(self, config: LGMNetConfig, state: dict[str, torch.Tensor]) -> None:
        self.config = config
        self.state = {name: tensor.numpy() for name, tensor in state.items()}
        self.is_image = config.embedding.is_image

    def layers(self, prefix: str) -> list[dict[str, Array]]:
        """Collect the weights and statistics of each layer below a prefix, in order."""
        layers: dict[str, dict[str, Array]] = {}
        for name, value in self.state.items():
            if name.startswith(prefix + "."):
                layer, _, parameter = name.removeprefix(prefix + ".").rpartition(".")
                layers.setdefault(layer, {})[parameter] = value
        return list(layers.values())

    def norm(self, x: Array, layer: dict[str, Array]) -> Array:
        if self.config.embedding.norm == "sample":
            return reference.normalize_alone(x, layer["weight"], layer["bias"])
        return reference.normalize(
            x, layer["running_mean"], layer["running_var"], layer["weight"], layer["bias"]
        )

    def layer(self, x: Array, weight: Array, bias: Array | None = None) -> Array:
        return (reference.conv3x3 if self.is_image else reference.linear)(x, weight, bias)

    def embed(self, x: Array) -> Array:
        layers = self.layers("embedding")
        for i, (linear, norm) in enumerate(zip(layers[::2], layers[1::2], strict=True)):
            x = self.layer(x, linear["weight"])
            if self.is_image and self.config.embedding.pooled[i]:
                x = reference.max_pool(x)
            x = reference.relu(self.norm(x, norm))
        return x

    def encode(self, x: Array) -> Array:
        """Compute the mean and, after it, the log-variance that one embedded sample gives."""
        assert self.config.context
        *hidden, last = self.layers("encoder.layers")
        for i, (linear, norm) in enumerate(zip(hidden[::2], hidden[1::2], strict=True)):
            x = self.norm(reference.relu(self.layer(x, linear["weight"], linear["bias"])), norm)
            if self.is_image and self.config.context.pooled[i]:
                x = reference.max_pool(x, ceil=True)
        return self.average(self.layer(x, last["weight"], last["bias"]))

    def average(self, x: Array) -> Array:
        return x.mean((1, 2)) if self.is_image else x

    def context(self, support: list[Array]) -> Array:
        """Compute the mean of eq. (1), which eq. (2) returns where nothing is drawn."""
        if self.config.context is None:
            return reference.mean([self.average(x) for x in support])
        return reference.mean([self.encode(x) for x in support])[: self.config.context.length]

    def generate(self, context: Array) -> list[tuple[Array, Array]]:
        """Compute kernels, divided by their norm, and biases of each layer, eq. (3)."""
        generated = []
        width = self.config.embedding.n_out
        for dense, out in zip(self.layers("generators"), self.config.target.widths, strict=True):
            flat = reference.linear(context, dense["weight"], dense["bias"])
            kernels = flat[:-out].reshape(out, width, *((3, 3) if self.is_image else ()))
            if self.config.target.weight_norm:
                kernels = np.stack([reference.unit(kernel) for kernel in kernels])
            generated.append((kernels, flat[-out:]))
            width = out
        return generated

    def target(self, weights: list[tuple[Array, Array]], x: Array) -> Array:
        """Compute the target embedding of an embedded sample, eq. (4)."""
        for i, (kernels, bias) in enumerate(weights):
            x = self.layer(x, kernels, bias)
            is_last = i == len(weights) - 1
            if self.is_image and not is_last:
                x = reference.max_pool(x)
            if self.config.target.norm:
                x = self.norm(x, self.layers("target.norms")[i])
            x = x if is_last else reference.relu(x)
        return x.flatten()

    def probabilities(self, support_x: Array, support_y: Array, query_x: Array) -> Array:
        support = [self.embed(x) for x in support_x]
        weights = self.generate(self.context(support))
        keys = np.stack([self.target(weights, x) for x in support])
        queries = [self.target(weights, self.embed(x)) for x in query_x]
        scale = math.exp(self.state["log_scale"])
        return np.array([reference.matching(q, keys, support_y, WAY, scale) for q in queries])


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("config", [CONV, LINEAR], ids=["conv", "linear"])
def test_lgm_net_computes_its_formulas(config, settings):
    """Two tasks at once, one with uneven and one with even shots, each with its own weights."""
    config = with_settings(config, settings)
    method = build_lgm_net(config)
    random = np.random.RandomState(1)
    support_x = random.normal(size=(2, 6, *config.embedding.feature_shape))
    query_x = random.normal(size=(2, 4, *config.embedding.feature_shape))
    with torch.no_grad():
        classifier = method.adapt(torch.from_numpy(support_x), torch.tensor(LABELS), WAY)
        probabilities = classifier(torch.from_numpy(query_x)).exp()
    numpy_method = ReferenceLGMNet(config, method.state_dict())
    expected = np.stack(
        [
            numpy_method.probabilities(support_x[task], np.array(LABELS[task]), query_x[task])
            for task in range(2)
        ]
    )
    torch.testing.assert_close(probabilities, torch.from_numpy(expected), rtol=1e-9, atol=1e-12)
    # Queries and tasks get different answers, so that a constant could not pass.
    assert np.ptp(expected, axis=1).min() > 1e-3
    assert not np.allclose(expected[0], expected[1], atol=1e-3)


@pytest.mark.parametrize(
    ("temperature", "scale", "is_learned"),
    [("10.0", 10, True), ("3.0", 3, True), ("none", 1, False)],
)
def test_the_temperature_starts_at_its_setting_and_is_learned(temperature, scale, is_learned):
    method = LGMNet(with_settings(LINEAR, [f"head.temperature={temperature}"]))
    assert method.log_scale.exp().item() == pytest.approx(scale)
    assert method.log_scale.requires_grad == is_learned
