"""A network as a function of its weights, for methods that adapt them by gradient descent."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from lgmnet.config import require
from lgmnet.nn.embedding import EmbeddingConfig
from lgmnet.nn.layers import build_layers
from lgmnet.nn.norms import TaskNorm, compute_moments

Weights = dict[str, Tensor]
Statistics = dict[str, Tensor]


class StatelessNetwork:
    """Layers of the shared embedding with a linear head, for one task (see `over_tasks`).

    It holds no weights. They come with every call, by name: ``weight_i``, ``gain_i`` and
    ``shift_i`` of each layer (the body), ``head_weight`` and ``head_bias``. Layers are normalized
    over the samples of the call or by statistics that come with it (`TaskNorm`); with
    ``norm="sample"`` each sample is normalized by itself. ``config`` has the layers below the head.

    Raises:
        ConfigError: if the layers are residual blocks.
    """

    def __init__(self, config: EmbeddingConfig) -> None:
        require(config, "layers", config.layers != "residual", "'conv' or 'linear' for this method")
        norm = "task" if config.norm == "intertask" else config.norm
        n_in = config.feature_shape[0]
        with torch.device("meta"):  # The modules are called with other weights than their own.
            layers = build_layers(config.layers, n_in, config.widths, config.pooled, norm)
        self.is_image = config.is_image
        self.n_features = config.n_features
        self.layers = nn.Sequential(*layers)
        # Each layer has three parameters: its weight, and the normalization's weight and bias.
        parameters = dict(self.layers.named_parameters())
        names = name_by_layer(("weight", "gain", "shift"), len(config.widths))
        self.parameter_names = dict(zip(names, parameters, strict=True))
        self.body_shapes = {
            name: tuple(parameters[parameter].shape)
            for name, parameter in self.parameter_names.items()
        }
        self.norm_layers = [
            index for index, layer in self.layers.named_children() if isinstance(layer, TaskNorm)
        ]
        self.statistics_names = name_by_layer(("mean", "variance"), len(self.norm_layers))
        self.statistics_shapes = {
            name: (config.widths[int(name.rsplit("_", 1)[1])],) for name in self.statistics_names
        }

    def weight_shapes(self, way: int) -> dict[str, tuple[int, ...]]:
        """Compute the shape of every weight, for tasks with ``way`` classes."""
        head = {"head_weight": (way, self.n_features), "head_bias": (way,)}
        return {**self.body_shapes, **head}

    def select_state(
        self, state: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]
    ) -> tuple[Weights, Statistics]:
        """Select the weights and statistics of one task from a classifier's state.

        Raises:
            KeyError, RuntimeError: if one is missing or has another shape.
        """
        for name, shape in {**shapes, **self.statistics_shapes}.items():
            if state[name].shape != (1, *shape):
                raise RuntimeError(f"{name} has the shape {tuple(state[name].shape)}")
        return {n: state[n] for n in shapes}, {n: state[n] for n in self.statistics_names}

    def init_body(self, generator: torch.Generator | None = None) -> Weights:
        """Draw fresh weights of all layers but the head, as He et al. (2015) initialize them."""
        body: Weights = {}
        for name, shape in self.body_shapes.items():
            if name.startswith("weight"):
                scale = math.sqrt(2 / math.prod(shape[1:]))
                body[name] = scale * torch.randn(shape, generator=generator)
            else:
                body[name] = torch.full(shape, 1.0 if name.startswith("gain") else 0.0)
        return body

    def init_bodies(
        self, like: Float[Tensor, "tasks support *feature"], generator: torch.Generator | None
    ) -> Weights:
        """Draw weights of the body for each task; without a generator always the same ones."""
        if generator is None:
            bodies = [self.init_body(torch.Generator().manual_seed(0))] * len(like)
        else:
            bodies = [self.init_body(generator) for _ in range(len(like))]
        return {name: torch.stack([body[name] for body in bodies]).to(like) for name in bodies[0]}

    def init_head(self, way: int, like: Tensor) -> Weights:
        """Make a head of zeros, [way, features] and [way], of the type and device of ``like``."""
        weight, bias = like.new_zeros(way, self.n_features), like.new_zeros(way)
        return {"head_weight": weight, "head_bias": bias}

    def runs_one_by_one(self, device: torch.device) -> bool:
        """Return True if tasks go through this network one after the other, not all at once.

        Convolutions whose kernels differ from task to task become grouped convolutions under vmap;
        on a CPU they take two to six times as long as one task after the other.
        """
        return self.is_image and device.type == "cpu"

    def over_tasks(self, f: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
        """Turn a function of one task, such as a call of this network, into one of many tasks.

        Its arguments are tensors or dicts of tensors; the last one is a tensor.
        """
        return map_one_by_one(f) if self.runs_one_by_one(device) else vmap(f)

    def gradient(
        self, loss: Callable[[Weights], Tensor], weights: Weights, *, create_graph: bool = False
    ) -> Weights:
        """Compute the gradient of one task's loss for each of its weights, within `over_tasks`.

        Without ``create_graph`` it is a constant, which cannot be differentiated.
        """
        tensors = list(weights.values())
        if not self.runs_one_by_one(tensors[0].device):
            gradient = grad(loss)(weights)
            return gradient if create_graph else {n: g.detach() for n, g in gradient.items()}
        # Gives what `grad` gives, a third faster: no transform stands between small operations.
        with torch.enable_grad():
            tensors = [w if w.requires_grad else w.detach().requires_grad_() for w in tensors]
            value = loss(dict(zip(weights, tensors, strict=True)))
            gradients = torch.autograd.grad(value, tensors, create_graph=create_graph)
        return dict(zip(weights, gradients, strict=True))

    def __call__(
        self,
        weights: Weights,
        x: Float[Tensor, "samples *feature"],
        statistics: Statistics | None = None,
    ) -> Float[Tensor, "samples way"]:
        """Compute log-probabilities of one task's samples.

        Layers are normalized by ``statistics``, or by those of these samples if it is None.
        """
        features = self.embed(weights, x, statistics)
        logits = features @ weights["head_weight"].mT + weights["head_bias"]
        return logits.log_softmax(-1)

    def embed(
        self,
        weights: Weights,
        x: Float[Tensor, "samples *feature"],
        statistics: Statistics | None = None,
    ) -> Float[Tensor, "samples features"]:
        """Compute the features of one task's samples below the head; see `__call__`."""
        state = self._module_state(weights, statistics)
        maps: Tensor = functional_call(self.layers, state, (x,))
        return maps.flatten(1)

    def statistics(self, weights: Weights, x: Float[Tensor, "samples *feature"]) -> Statistics:
        """Compute the statistics that these samples are normalized by in each layer."""
        statistics: Statistics = {}
        state = self._module_state(weights, None)
        for index, layer in self.layers.named_children():
            if index in self.norm_layers:
                i = self.norm_layers.index(index)
                mean, variance = compute_moments(x)
                statistics |= {f"mean_{i}": mean, f"variance_{i}": variance}
                state |= {f"{index}.mean": mean, f"{index}.variance": variance}
            prefix = f"{index}."
            own = {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}
            x = functional_call(layer, own, (x,))
        return statistics

    def _module_state(self, weights: Weights, statistics: Statistics | None) -> dict[str, Tensor]:
        """Name weights and statistics as the modules do."""
        state = {
            parameter: channels_last(weights[name]) if weights[name].ndim == 4 else weights[name]
            for name, parameter in self.parameter_names.items()
        }
        for name, tensor in (statistics or {}).items():
            kind, i = name.rsplit("_", 1)
            state[f"{self.norm_layers[int(i)]}.{kind}"] = tensor
        return state


def name_by_layer(kinds: Sequence[str], layers: int) -> tuple[str, ...]:
    """Name tensors of each layer, such as ``mean_0``, ``variance_0``, ``mean_1``, ..."""
    return tuple(f"{kind}_{i}" for i in range(layers) for kind in kinds)


def channels_last(
    kernels: Float[Tensor, "out in_ height width"],
) -> Float[Tensor, "out in_ height width"]:
    """Lay out kernels as convolution and pooling are fast; the maps follow them.

    Kernels of one channel are in both layouts at once, so their strides must say which is meant.
    """
    if kernels.shape[1] == 1:
        return kernels.squeeze(1).unsqueeze(3).movedim(3, 1)
    return kernels.movedim(1, 3).contiguous().movedim(3, 1)


def map_one_by_one(f: Callable[..., Any]) -> Callable[..., Any]:
    """Do what `torch.func.vmap` does for dicts of tensors and a tensor last, in a loop."""

    def select(argument: Any, i: int) -> Any:
        if isinstance(argument, Mapping):
            return {name: value[i] for name, value in argument.items()}
        return argument[i]

    def stack(results: Sequence[Any]) -> Any:
        first = results[0]
        if isinstance(first, Mapping):
            return {name: torch.stack([result[name] for result in results]) for name in first}
        if isinstance(first, tuple):
            return tuple(stack(parts) for parts in zip(*results, strict=True))
        return torch.stack(list(results))

    def mapped(*arguments: Any) -> Any:
        tasks = len(arguments[-1])
        return stack([f(*(select(a, i) for a in arguments)) for i in range(tasks)])

    return mapped


def adam(
    gradient: Callable[[Weights], Weights], weights: Weights, steps: int, rate: float
) -> Weights:
    """Take Adam's steps down a loss (Kingma and Ba, 2015, algorithm 1); works under vmap.

    ``gradient`` computes the gradient of the loss with respect to the weights.
    """
    beta_1, beta_2, eps = 0.9, 0.999, 1e-8
    first = {name: torch.zeros_like(w) for name, w in weights.items()}
    second = dict(first)
    for step in range(1, steps + 1):
        g = gradient(weights)
        first = {n: beta_1 * m + (1 - beta_1) * g[n] for n, m in first.items()}
        second = {n: beta_2 * v + (1 - beta_2) * g[n] ** 2 for n, v in second.items()}
        size, floor = rate / (1 - beta_1**step), 1 - beta_2**step
        roots = {n: (v / floor).sqrt() + eps for n, v in second.items()}
        weights = {n: w - size * first[n] / roots[n] for n, w in weights.items()}
    return weights


def require_plain(config: EmbeddingConfig) -> None:
    """Check that a config has at least one layer, the last as its output, and no alignment.

    Raises:
        ConfigError: if not.
    """
    require(config, "widths", len(config.widths) > 0, "positive numbers, at least one")
    require(config, "alignment", config.alignment is None, "None for this method")
    require(config, "readout", config.readout == "last", "'last' for this method")
