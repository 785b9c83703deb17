"""A network as a function of its weights, for methods that adapt them by gradient descent."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import grad, vmap
from torch.nn import functional as F

from lgmnet.nn.embedding import EmbeddingConfig, need

Weights = dict[str, Tensor]
Statistics = dict[str, Tensor]
EPS = 1e-5
BETA_1, BETA_2, ADAM_EPS = 0.9, 0.999, 1e-8
INITIAL_SEED = 0


class Network:
    """Layers like those of the shared embedding, and a linear head; for one task (`over_tasks`).

    It holds no weights: they come with every call, by name: ``weight_i``, ``gain_i``, ``shift_i``
    of each layer (the body), ``head_weight`` and ``head_bias``.

    Args:
        feature_shape: Shape of one sample, an image or a vector.
        widths: Channels (or units) of each layer.
        pooled: For each convolution, whether a 2x2 max-pool follows; not read for vectors.
        by_itself: Whether each sample is normalised by itself; else over the samples of the call.
    """

    def __init__(
        self,
        feature_shape: Sequence[int],
        widths: Sequence[int],
        pooled: Sequence[bool],
        *,
        by_itself: bool = False,
    ) -> None:
        self.widths = tuple(widths)
        self.of_images = len(feature_shape) == 3
        self.pooled = tuple(pooled) if self.of_images else (False,) * len(widths)
        self.by_itself = by_itself
        ins = [feature_shape[0], *widths[:-1]]
        kernel = (3, 3) if self.of_images else ()
        self.body_shapes: dict[str, tuple[int, ...]] = {}
        for i, (wide_in, width) in enumerate(zip(ins, widths, strict=True)):
            self.body_shapes[f"weight_{i}"] = (width, wide_in, *kernel)
            self.body_shapes[f"gain_{i}"] = self.body_shapes[f"shift_{i}"] = (width,)
        halvings = sum(self.pooled)
        self.features = widths[-1] * math.prod(side >> halvings for side in feature_shape[1:])
        self.statistics_names = (
            ()
            if by_itself
            else tuple(f"{name}_{i}" for i in range(len(widths)) for name in ("mean", "variance"))
        )

    def weight_shapes(self, way: int) -> dict[str, tuple[int, ...]]:
        """The shape of every weight, for tasks of so many classes."""
        return {**self.body_shapes, "head_weight": (way, self.features), "head_bias": (way,)}

    def checked(
        self, state: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]
    ) -> Weights:
        """The weights of one task from a classifier's state.

        Raises:
            KeyError, RuntimeError: if one is missing or of another shape.
        """
        for name, shape in shapes.items():
            if state[name].shape != (1, *shape):
                raise RuntimeError(f"{name} is of shape {tuple(state[name].shape)}")
        return {name: state[name] for name in shapes}

    def initial_body(self, generator: torch.Generator | None = None) -> Weights:
        """Fresh weights of all layers but the head, as He et al. (2015) start them."""
        body: Weights = {}
        for name, shape in self.body_shapes.items():
            if name.startswith("weight"):
                scale = math.sqrt(2 / math.prod(shape[1:]))
                body[name] = scale * torch.randn(shape, generator=generator)
            else:
                body[name] = torch.full(shape, 1.0 if name.startswith("gain") else 0.0)
        return body

    def loops(self, device: torch.device) -> bool:
        """Whether tasks go through this network one after the other, not all at once.

        Convolutions whose kernels differ from task to task are grouped ones when vmapped; on a CPU
        they take two to six times as long as one task after the other.
        """
        return self.of_images and device.type == "cpu"

    def over_tasks(self, f: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
        """A function of one task, such as a call of this network, as a function of many.

        Args:
            f: Of tensors, or dicts of them; its last argument is a tensor.
            device: Where it will run.
        """
        return one_by_one(f) if self.loops(device) else vmap(f)

    def gradient(
        self, loss: Callable[[Weights], Tensor], weights: Weights, *, further: bool = False
    ) -> Weights:
        """The gradient of a loss by each of its weights, within `over_tasks`.

        Args:
            loss: Of one task.
            weights: Of one task, by name.
            further: Whether gradients of this gradient may be asked for; else it is a constant.
        """
        tensors = list(weights.values())
        if not self.loops(tensors[0].device):
            gradient = grad(loss)(weights)
            return gradient if further else {name: g.detach() for name, g in gradient.items()}
        # What `grad` gives, and a third faster: no transform stands between the small operations.
        with torch.enable_grad():
            tensors = [w if w.requires_grad else w.detach().requires_grad_() for w in tensors]
            value = loss(dict(zip(weights, tensors, strict=True)))
            found = torch.autograd.grad(value, tensors, create_graph=further)
        return dict(zip(weights, found, strict=True))

    def initial_head(self, way: int, like: Tensor) -> Weights:
        """A head of zeros, [way, features] and [way], of the type and device of ``like``."""
        return {"head_weight": like.new_zeros(way, self.features), "head_bias": like.new_zeros(way)}

    def __call__(
        self,
        weights: Weights,
        x: Float[Tensor, "samples *feature"],
        statistics: Statistics | None = None,
    ) -> Float[Tensor, "samples way"]:
        """Log-probabilities of one task's samples.

        Args:
            weights: By name.
            x: Samples.
            statistics: What to normalise by; None for the statistics of these samples.
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
        """What the head sees of these samples."""
        for i in range(len(self.widths)):
            x = self.normalised(weights, self.weighted(weights, x, i), i, statistics)
        return x.flatten(1)

    def statistics(self, weights: Weights, x: Float[Tensor, "samples *feature"]) -> Statistics:
        """What these samples are normalised by in each layer."""
        found: Statistics = {}
        for i in range(0 if self.by_itself else len(self.widths)):
            x = self.weighted(weights, x, i)
            found |= moments(x, i)
            x = self.normalised(weights, x, i, found)
        return found

    def weighted(self, weights: Weights, x: Tensor, i: int) -> Tensor:
        """Layer i as far as its normalisation."""
        weight = weights[f"weight_{i}"]
        if not self.of_images:
            return x @ weight.mT
        x = F.conv2d(x, channels_last(weight), padding=1)
        return F.max_pool2d(x, 2) if self.pooled[i] else x

    def normalised(
        self, weights: Weights, x: Tensor, i: int, statistics: Statistics | None
    ) -> Tensor:
        """Layer i from its normalisation on.

        Each sample is normalised by itself, or each channel by statistics or over these samples.
        """
        gain, shift = weights[f"gain_{i}"], weights[f"shift_{i}"]
        if self.by_itself:
            x = F.group_norm(x, 1, gain, shift, EPS)
        elif statistics is None and self.loops(x.device):
            # Not under `vmap`: there, gradients of its gradient come out wrong in the third digit.
            # And not `F.batch_norm`, which refuses a single value, whose variance is 0.
            x = torch.batch_norm(x, gain, shift, None, None, True, 0.0, EPS, False)
        else:
            statistics = moments(x, i) if statistics is None else statistics
            scale = gain * torch.rsqrt(statistics[f"variance_{i}"] + EPS)
            shift = shift - statistics[f"mean_{i}"] * scale
            scale, shift = self.by_channel(scale).to(x.dtype), self.by_channel(shift).to(x.dtype)
            x = torch.addcmul(shift, x, scale)
        return F.relu(x)

    def by_channel(self, values: Float[Tensor, " channels"]) -> Tensor:
        """Values for each channel, in a shape that broadcasts over samples."""
        return values[:, None, None] if self.of_images else values


def moments(x: Float[Tensor, "samples channels *space"], i: int) -> Statistics:
    """Mean and variance of each channel of layer i, as `Network.statistics` names them."""
    variance, mean = torch.var_mean(x, [0, *range(2, x.ndim)], correction=0)
    return {f"mean_{i}": mean, f"variance_{i}": variance}


def channels_last(
    kernels: Float[Tensor, "out in_ height width"],
) -> Float[Tensor, "out in_ height width"]:
    """Kernels in the format in which convolution and pooling are fast; the maps follow them.

    Kernels of one channel are in both formats at once, so their strides must say which is meant.
    """
    if kernels.shape[1] == 1:
        return kernels.squeeze(1).unsqueeze(3).movedim(3, 1)
    return kernels.movedim(1, 3).contiguous().movedim(3, 1)


def one_by_one(f: Callable[..., Any]) -> Callable[..., Any]:
    """What `torch.func.vmap` does, for dicts of tensors and a tensor last, one after the other."""

    def picked(of_all: Any, i: int) -> Any:
        if isinstance(of_all, Mapping):
            return {name: value[i] for name, value in of_all.items()}
        return of_all[i]

    def stacked(of_each: Sequence[Any]) -> Any:
        first = of_each[0]
        if isinstance(first, Mapping):
            return {name: torch.stack([one[name] for one in of_each]) for name in first}
        if isinstance(first, tuple):
            return tuple(stacked(parts) for parts in zip(*of_each, strict=True))
        return torch.stack(list(of_each))

    def of_all(*arguments: Any) -> Any:
        tasks = len(arguments[-1])
        return stacked([f(*(picked(a, i) for a in arguments)) for i in range(tasks)])

    return of_all


def adam(
    gradient: Callable[[Weights], Weights], weights: Weights, steps: int, rate: float
) -> Weights:
    """The weights after Adam's steps down a loss (Kingma and Ba, 2015, algorithm 1); vmappable.

    Args:
        gradient: Of the loss, by the weights.
        weights: To start from.
        steps: How many.
        rate: Learning rate.
    """
    first = {name: torch.zeros_like(w) for name, w in weights.items()}
    second = dict(first)
    for step in range(1, steps + 1):
        g = gradient(weights)
        first = {n: BETA_1 * m + (1 - BETA_1) * g[n] for n, m in first.items()}
        second = {n: BETA_2 * v + (1 - BETA_2) * g[n] ** 2 for n, v in second.items()}
        size, floor = rate / (1 - BETA_1**step), 1 - BETA_2**step
        weights = {
            n: w - size * first[n] / ((second[n] / floor).sqrt() + ADAM_EPS)
            for n, w in weights.items()
        }
    return weights


def build_network(config: EmbeddingConfig) -> Network:
    """The network that a config asks for, without its weights.

    Raises:
        ConfigError: if it is asked for layers that such networks do not have.
    """
    plain = config.embedding_layers == "plain"
    need(config, "embedding_layers", plain, "'plain' for this method")
    return Network(
        config.feature_shape,
        config.embedding_widths,
        config.embedding_pooled,
        by_itself=not config.intertask_norm,
    )


def init_bodies(
    network: Network,
    like: Float[Tensor, "tasks support *feature"],
    generator: torch.Generator | None,
) -> Weights:
    """Random weights of the body for each task; always the same ones without a generator."""
    if generator is None:
        generator = torch.Generator().manual_seed(INITIAL_SEED)
        bodies = [network.initial_body(generator)] * len(like)
    else:
        bodies = [network.initial_body(generator) for _ in range(len(like))]
    return {name: torch.stack([body[name] for body in bodies]).to(like) for name in bodies[0]}


def need_nothing_before(config: EmbeddingConfig) -> None:
    """Check that no alignment, canvas or views are asked for.

    Raises:
        ConfigError: naming the field.
    """
    need(config, "align", config.align is None, "None for this method")
    need(config, "views", config.views == 1, "1 for this method")
