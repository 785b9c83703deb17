"""Checks of a classifier that comes from a file, before anything of its size is allocated."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.classifier.support import Support
from lgmnet.errors import ConfigError
from lgmnet.evaluation.aspects import Profile
from lgmnet.methods.base import Classifier, Method
from lgmnet.methods.network_ensemble import NetworkEnsembleConfig
from lgmnet.nn.pretrained import EFFICIENTNETS, TIMM, find_timm_weights

MAX_MAP_VALUES = 1 << 26
"""Limit for the number of values that a layer may give for one sample, if it has no pooling before
it: 256 MB. The weights of a convolution tell nothing of the size of its maps."""
MAX_SAMPLE_VALUES = 1 << 20
"""Limit for the number of values of a sample of which the file holds none, nor as large a tensor:
an empty tensor may state any shape."""
FLOAT_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
INFINITE_TENSOR = "frame.scale"
"""Divisors of features; infinite for features that are constant in the support set."""
KEY_LABELS = "support_y"
N_PROBES = 1
"""Number of support samples that the trial answer classifies, and of random samples."""
MAX_SUM_ERROR = 1e-3


def check_support(
    support: Support,
    way: int,
    shape: tuple[int, ...],
    *,
    any_length: bool,
    has_samples: bool = True,
) -> None:
    """Check samples, labels and sources of a support set.

    Args:
        support: Support set.
        way: Number of classes, at least 2.
        shape: Shape of a sample that the method takes.
        any_length: If True, samples may be vectors of another length.
        has_samples: If False, the labels stand alone.

    Raises:
        ValueError: if they do not agree with each other or with the arguments.
    """
    samples, labels = support.samples, support.labels
    n = len(support.sources)
    came = tuple(samples.shape[1:])
    expected = came if any_length and len(came) == 1 and came[0] > 0 else shape
    types = (torch.uint8,) if len(shape) == 3 else FLOAT_TYPES
    if came != expected or samples.dtype not in types:
        raise ValueError(f"its samples are {samples.dtype} of shape {came}, expected {expected}")
    if labels.dtype != torch.int64 or labels.shape != (n,) or len(samples) != n * has_samples:
        raise ValueError(
            f"it has {n} sources, {len(samples)} samples, and labels of shape "
            f"{tuple(labels.shape)} and type {labels.dtype}"
        )
    if way < 2 or not torch.equal(labels.unique(), torch.arange(way)):
        raise ValueError(f"its labels are not those of {way} classes, each with a sample")


def check_state(
    method: type[Method], config: Any, support: Support, way: int, state: Mapping[str, Tensor]
) -> None:
    """Check a classifier's weights against its config, without memory for either.

    The classifier is built on the meta device, where tensors have shapes but no values. It does not
    answer there, because that makes PyTorch import its compiler, which takes seconds.

    Raises:
        ValueError, RuntimeError, KeyError: if a tensor has a wrong name, shape, type or value, or
            the classifier would need more memory than its weights justify.
    """
    n_layers, n_values = measure_layers(config)
    if n_layers > len(state):
        raise ValueError(f"{n_layers} layers are described, but there are {len(state)} tensors")
    if n_values > MAX_MAP_VALUES:
        raise ValueError(f"a layer would give {n_values:,} values; at most {MAX_MAP_VALUES:,} may")
    check_sample_size(support, state)
    for name, tensor in state.items():
        check_tensor(name, tensor)
    check_key_labels(config, support, way, state)
    on_meta = {name: tensor.to("meta") for name, tensor in state.items()}
    with torch.device("meta"), torch.inference_mode():
        restore_classifier(method, config, way, on_meta)


def check_sample_size(support: Support, state: Mapping[str, Tensor]) -> None:
    """Check that a sample is not much larger than the weights, if the file holds no sample.

    Raises:
        ValueError: if it is.
    """
    n_values = math.prod(support.samples.shape[1:])
    limit = max(MAX_SAMPLE_VALUES, *(tensor.numel() for tensor in state.values()))
    if not support.has_samples and n_values > limit:
        raise ValueError(f"a sample would have {n_values:,} values; at most {limit:,} may be")


def measure_layers(config: Any) -> tuple[int, int]:
    """Return the number of layers of a method's networks, and the largest size of a layer's output.

    The size is that for one sample, without the poolings.
    """
    if isinstance(config, NetworkEnsembleConfig):
        n_layers, largest = measure_layers(config.network)
        return config.networks * n_layers, largest
    embedding = getattr(config, "embedding", None)
    if embedding is None:
        return 0, 0
    target = getattr(config, "target", None)
    widths = (*embedding.widths, *(target.widths if target else ()))
    n_layers = len(widths) + (len(embedding.axes.groups) if embedding.axes else 0)
    canvas = embedding.alignment and embedding.alignment.canvas
    n_pixels = canvas**2 if canvas else math.prod(embedding.feature_shape[1:])
    return n_layers, n_pixels * max(widths, default=1)


def check_tensor(name: str, tensor: Tensor) -> None:
    """Check type and values of one tensor of a classifier's state.

    Raises:
        ValueError: if the type is not allowed, or a value is not finite.
    """
    is_labels = name.endswith(KEY_LABELS)
    if tensor.dtype not in ((torch.int64,) if is_labels else FLOAT_TYPES):
        raise ValueError(f"'{name}' has the type {tensor.dtype}")
    values = tensor.nan_to_num(nan=math.nan, posinf=0) if name == INFINITE_TENSOR else tensor
    if not bool(values.isfinite().all()):
        raise ValueError(f"'{name}' holds NaN or infinity")


def check_key_labels(config: Any, support: Support, way: int, state: Mapping[str, Tensor]) -> None:
    """Check that the keys that queries attend to have the labels of the support samples.

    Raises:
        ValueError: if they have other labels.
    """
    one = config.network if isinstance(config, NetworkEnsembleConfig) else config
    head = getattr(one, "head", None)
    labels = torch.arange(way) if head and head.kind != "attention" else support.labels
    for name, tensor in state.items():
        if name.endswith(KEY_LABELS) and not torch.equal(tensor, labels[None]):
            raise ValueError(f"'{name}' differs from the labels of the samples")


def check_profiles(classifier: Classifier, profiles: Sequence[Profile]) -> None:
    """Check that profiles are about the groups of features that a classifier has.

    Raises:
        ValueError: if they are not.
    """
    shares = classifier.group_shares
    n_groups = 0 if shares is None else shares.shape[1]
    if any(len(profile.shares) != n_groups for profile in profiles):
        raise ValueError(f"its profiles are not of {n_groups} groups of features")


def restore_classifier(
    method: type[Method], config: Any, way: int, state: Mapping[str, Tensor]
) -> Classifier:
    """Restore a classifier in the precision of inference (see `Model.inference_method`)."""
    classifier = method.restore(config, way, state)
    return classifier.double() if method.input_spec(config).any_length else classifier


def check_backbone(name: str, kind: str) -> None:
    """Check that photos can be turned into features without a download.

    Args:
        name: Name of the backbone; empty if there is none.
        kind: Kind of the samples that the method takes.

    Raises:
        ConfigError: if the backbone is unknown, does not go with the method, or is one of timm
            whose weights are not on this machine.
    """
    if not name:
        return
    is_known = name in EFFICIENTNETS or re.fullmatch(rf"{TIMM}[\w.-]+", name)
    if kind != "vector" or not is_known:
        raise ConfigError(f"There is no backbone '{name}' for a method that takes a {kind}.")
    if name.startswith(TIMM) and find_timm_weights(name.removeprefix(TIMM)) is None:
        raise ConfigError(
            f"This classifier needs the network '{name.removeprefix(TIMM)}' of timm, whose weights "
            "are not on this machine. A file never starts a download. If you trust the file, "
            "download them first: "
            f"python -c \"import timm; timm.create_model('{name.removeprefix(TIMM)}', "
            'pretrained=True)".'
        )


@torch.inference_mode()
def check_answers(fitted: FittedClassifier) -> None:
    """Let a classifier answer some samples, and check that it gives probabilities.

    Raises:
        ValueError, RuntimeError: if it does not.
    """
    samples = fitted.support.samples
    generator = torch.Generator().manual_seed(0)
    shape = (N_PROBES, *samples.shape[1:])
    if samples.is_floating_point():
        noise = torch.randn(shape, generator=generator).to(samples)
    else:
        noise = torch.randint(256, shape, generator=generator, dtype=samples.dtype)
    probes = torch.cat([samples[:N_PROBES], torch.zeros_like(noise[:1]), noise])
    analysis = fitted.analyze(probes)
    if analysis.log_p.shape != (len(probes), len(fitted.classes)):
        raise ValueError(f"an answer has the shape {tuple(analysis.log_p.shape)}")
    values = {name: value for name, value in vars(analysis).items() if value is not None}
    values["log_p"] = values["log_p"].exp()
    for name, value in values.items():
        if not bool(value.isfinite().all()):
            raise ValueError(f"a trial answer is not finite ({name})")
    if float((values["log_p"].sum(1) - 1).abs().max()) > MAX_SUM_ERROR:
        raise ValueError("the probabilities of a trial answer do not sum to 1")
