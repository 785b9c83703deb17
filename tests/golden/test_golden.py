"""Losses, gradients and answers of small methods equal recorded ones, in 64 bits.

    python -m tests.golden.test_golden --regenerate

All random numbers come from NumPy's frozen `RandomState`, so no release of PyTorch changes them.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lgmnet.episode import Episode
from lgmnet.methods import (
    METHODS,
    FEATConfig,
    FineTuneConfig,
    LGMNetFeaturesConfig,
    LGMNetVectorsConfig,
    MAMLConfig,
    MatchingNetConfig,
    Method,
    NetworkEnsembleConfig,
    ProtoNetConfig,
    RidgeRegressionConfig,
)
from lgmnet.methods.lgm_net_features import ScaleGeneratorConfig
from lgmnet.nn.alignment import AlignmentConfig
from lgmnet.nn.class_conditioning import ClassConditioningConfig
from lgmnet.nn.classification import AuxiliaryConfig
from lgmnet.nn.context import ContextConfig
from lgmnet.nn.embedding import EmbeddingConfig, vector_embedding
from lgmnet.nn.matching import HeadConfig
from lgmnet.nn.target import TargetConfig
from tests.support.configs import lgm_net_config

GOLDEN = Path(__file__).with_suffix(".json")
COMMAND = "python -m tests.golden.test_golden --regenerate"
HINT = f"If the change is intended, record new values with `{COMMAND}` and give the reason."

IMAGES = EmbeddingConfig((1, 8, 8), widths=(3, 4), pooled=(True, True))
MAPS = replace(IMAGES, pooled=(True, False))
CONV = lgm_net_config(MAPS, context=3, encoder_width=4, target_widths=(4, 4))
CONFIGS: dict[str, tuple[str, Any]] = {
    "network-ensemble": ("network-ensemble", NetworkEnsembleConfig(network=CONV)),
    "lgm-net, conv": ("lgm-net", CONV),
    "lgm-net, linear": (
        "lgm-net",
        lgm_net_config(vector_embedding(2, 6, 5), context=3, encoder_width=4, target_widths=(5, 4)),
    ),
    "lgm-net, aligned, in views": (
        "lgm-net",
        replace(
            CONV,
            embedding=replace(MAPS, alignment=AlignmentConfig(power=0.5, canvas=10, views=3)),
        ),
    ),
    "lgm-net, of classes": (
        "lgm-net",
        replace(
            CONV,
            target=TargetConfig((4, 4), pooled=False, skip="beside"),
            conditioning=ClassConditioningConfig(detectors=2),
            head=HeadConfig("means"),
            auxiliary=AuxiliaryConfig(0.5),
        ),
    ),
    "any vectors": (
        "lgm-net-vectors",
        LGMNetVectorsConfig(
            embedding=vector_embedding(3),
            context=ContextConfig(3, (4, 4), ()),
            target=TargetConfig((5, 4), pooled=False, skip="beside"),
        ),
    ),
    "frozen features": (
        "lgm-net-features",
        LGMNetFeaturesConfig(
            feature_shape=(6,), axes=2, generator=ScaleGeneratorConfig(context_length=3, width=4)
        ),
    ),
    "proto-net": ("proto-net", ProtoNetConfig(IMAGES)),
    "matching-net": ("matching-net", MatchingNetConfig(IMAGES)),
    "matching-net, full context": (
        "matching-net",
        MatchingNetConfig(vector_embedding(2, 4), full_context_steps=5),
    ),
    "matching-net, auxiliary loss, further layers": (
        "matching-net",
        MatchingNetConfig(
            MAPS,
            TargetConfig((4, 4), pooled=False, skip="beside", weights="learned"),
            HeadConfig("means"),
            auxiliary=AuxiliaryConfig(0.5),
        ),
    ),
    "ridge-regression": ("ridge-regression", RidgeRegressionConfig(IMAGES)),
    "feat": (
        "feat",
        FEATConfig(IMAGES, head=HeadConfig("means"), width=3, dropout=0.0, contrast_weight=0.5),
    ),
    "maml": ("maml", MAMLConfig(IMAGES, inner_steps=2)),
    "fine-tune": ("fine-tune", FineTuneConfig(IMAGES, steps=3)),
    "fine-tune, cosine": ("fine-tune", FineTuneConfig(IMAGES, cosine_scale=10.0, steps=3)),
}


def build_episode(shape: tuple[int, ...], random: np.random.RandomState) -> Episode:
    """Build two tasks of three classes with uneven shots."""
    labels = torch.tensor([[0, 1, 1, 2, 2, 2], [2, 0, 1, 0, 2, 1]])
    return Episode(
        support_x=torch.from_numpy(random.normal(size=(2, 6, *shape))),
        support_y=labels,
        query_x=torch.from_numpy(random.normal(size=(2, 4, *shape))),
        query_y=torch.tensor([[0, 1, 2, 0], [1, 1, 2, 0]]),
        way=3,
        classes=torch.tensor([[0, 1, 3], [2, 3, 0]]),
    )


def build_method(name: str, config: Any, random: np.random.RandomState) -> Method:
    """Build a method with weights as large as ordinary initialization makes them."""
    method = METHODS[name](config).double()
    if name != "lgm-net-features":  # Its statistics keep their initial values.
        method.prepare(torch.empty(4, *method.inputs.shape), torch.arange(4), None)
    with torch.no_grad():
        for parameter_name, parameter in sorted(method.named_parameters()):
            if parameter_name.endswith(("log_scale", "log_strength")):
                parameter.fill_(2.0 if parameter_name.endswith("log_scale") else -1.0)
                continue
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
            values = random.normal(size=tuple(parameter.shape)) * np.sqrt(1 / fan_in)
            parameter.copy_(torch.from_numpy(values))
    return method


def measure(name: str, config: Any) -> dict[str, Any]:
    """Compute loss and gradients of a training step, and the answers in evaluation."""
    random = np.random.RandomState(7)
    method = build_method(name, config, random)
    e = build_episode(method.inputs.shape, random)
    loss, _ = method.train().learn(e)
    loss.backward()
    gradients = {n: p.grad for n, p in method.named_parameters() if p.grad is not None}
    with torch.no_grad():
        log_p = method.eval()(e.support_x, e.support_y, e.query_x, e.way)
    return {
        "training loss": loss.item(),
        "norm of gradients": {n: g.norm().item() for n, g in sorted(gradients.items())},
        "log-probabilities": log_p.tolist(),
    }


def flatten(values: Any, path: str = "") -> dict[str, float]:
    """Collect nested values by their paths."""
    if isinstance(values, float):
        return {path: values}
    pairs = values.items() if isinstance(values, dict) else enumerate(values)
    return {k: v for key, value in pairs for k, v in flatten(value, f"{path}/{key}").items()}


@pytest.mark.parametrize("case", CONFIGS)
def test_losses_gradients_and_answers_equal_the_recorded_ones(case):
    recorded = flatten(json.loads(GOLDEN.read_text(encoding="utf-8"))[case])
    measured = flatten(measure(*CONFIGS[case]))
    assert measured.keys() == recorded.keys(), HINT
    differences = {
        path: (value, recorded[path])
        for path, value in measured.items()
        # A gradient may be zero except for rounding.
        if value != pytest.approx(recorded[path], rel=1e-8, abs=1e-12)
    }
    assert not differences, HINT


def test_every_method_of_our_own_is_recorded():
    recorded = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert set(recorded) == set(CONFIGS), HINT
    # Two of these draw their weights with PyTorch's generator and two are solved by scikit-learn,
    # so new releases of those may change their answers.
    not_recorded = {"from-scratch", "random-weights", "logistic-regression", "rfs"}
    assert set(METHODS) - not_recorded == {name for name, _ in CONFIGS.values()}


def regenerate() -> None:
    """Record the present values."""
    recorded = {case: measure(name, config) for case, (name, config) in CONFIGS.items()}
    GOLDEN.write_text(json.dumps(recorded, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--regenerate", action="store_true", required=True)
    parser.parse_args()
    regenerate()
