"""Small configs of every method, the promises that each is exempt from, and tasks for them."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lgmnet.config import with_settings
from lgmnet.episode import Episode
from lgmnet.methods import (
    FEATConfig,
    FineTuneConfig,
    LGMNetConfig,
    LGMNetFeatures,
    LGMNetFeaturesConfig,
    LGMNetVectorsConfig,
    LogisticRegressionConfig,
    MAMLConfig,
    MatchingNetConfig,
    Method,
    NetworkEnsembleConfig,
    ProtoNetConfig,
    RandomWeightsConfig,
    RFSConfig,
    RidgeRegressionConfig,
    TrainFromScratchConfig,
)
from lgmnet.methods.lgm_net_features import ScaleGeneratorConfig
from lgmnet.nn.alignment import AlignmentConfig
from lgmnet.nn.axes import AxisGroup
from lgmnet.nn.classification import AuxiliaryConfig
from lgmnet.nn.context import ContextConfig
from lgmnet.nn.embedding import EmbeddingConfig, vector_embedding
from lgmnet.nn.factor_probe import FactorProbeConfig, ProbedFactor
from lgmnet.nn.label_context import LabelContextConfig
from lgmnet.nn.layer_axes import AxesConfig
from lgmnet.nn.matching import HeadConfig
from lgmnet.nn.target import TargetConfig
from tests.support.configs import lgm_net_config
from tests.support.models import build_method
from tests.support.random import noise, seeded

IMAGES = EmbeddingConfig((1, 8, 8), widths=(6, 8), pooled=(True, True))
VECTORS = vector_embedding(3, 16, 16)
ALIGNED = replace(IMAGES, alignment=AlignmentConfig(power=0.5))
TWO_VIEWS = replace(IMAGES, alignment=AlignmentConfig(power=0.5, views=2))
CONV = lgm_net_config(EmbeddingConfig((1, 8, 8), widths=(6, 8), pooled=(True, False)))
LINEAR = lgm_net_config(VECTORS, target_widths=(16, 8))
FEATURES = LGMNetFeaturesConfig(
    feature_shape=(8,), axes=3, mean_pull=1.0, generator=ScaleGeneratorConfig(context_length=4)
)
MAPS = replace(IMAGES, pooled=(True, False))
LAYERS = replace(MAPS, readout="layers")
GAINS = LGMNetConfig(
    LAYERS,
    TargetConfig((), pooled=False),
    HeadConfig("ridge"),
    context=None,
    labels=LabelContextConfig(width=8, hidden=8),
)
"""Statistics of all layers, of which generated gains tell which count."""
AXES = LGMNetConfig(
    EmbeddingConfig(
        (8,),
        "linear",
        (),
        (),
        axes=AxesConfig(
            (AxisGroup("first", 0, 5, 3), AxisGroup("second", 3, 8, 4, "classes")),
            FactorProbeConfig((ProbedFactor("blur", 2),), hidden=4, steps=3),
        ),
    ),
    TargetConfig((), pooled=False, gains=True),
    HeadConfig("ridge"),
    context=None,
    labels=LabelContextConfig(width=8, hidden=8, head=True),
)
"""Features that are compressed by a fitted projection, learned and generated gains."""
MIXED = replace(AXES, target=replace(AXES.target, natural=True))
"""The same, and the features in their natural scale beside."""
BESIDE = TargetConfig((8, 8), pooled=False, skip="beside", weights="learned")
VIEWS = ("alignment.power=0.5", "alignment.views=2")
ABLATIONS = {
    "temperature": ["head.temperature=none"],
    "target norm": ["target.norm=false"],
    "generation": ["target.weights=learned", "context=none"],
    "intertask norm": ["embedding.norm=sample"],
    "context encoder": ["context=none"],
    "random context": ["context.sampled=false"],
    "weight norm": ["target.weight_norm=false"],
}


def lgm_net(config: LGMNetConfig, *settings: str) -> tuple[str, LGMNetConfig]:
    """Build a case of an LGM-Net with these settings."""
    return "lgm-net", with_settings(config, settings)


CASES: dict[str, tuple[str, Any]] = {
    "lgm-net, conv": ("lgm-net", CONV),
    "lgm-net, linear": ("lgm-net", LINEAR),
    "lgm-net, class detectors": lgm_net(CONV, "detectors=2", *VIEWS),
    "lgm-net, linear, class detectors": lgm_net(LINEAR, "detectors=2"),
    "lgm-net, class dropout": lgm_net(CONV, "detectors=2", "conditioning.dropout=0.3"),
    "lgm-net, auxiliary loss": lgm_net(CONV, "auxiliary.weight=0.5", *VIEWS),
    "lgm-net, auxiliary loss on means": lgm_net(CONV, "auxiliary.pooled=true"),
    "lgm-net, linear, auxiliary loss": lgm_net(LINEAR, "auxiliary.weight=0.5"),
    "lgm-net, class means, skip beside": lgm_net(CONV, "head.kind=means", "skip=beside"),
    "lgm-net, skip added": lgm_net(CONV, "skip=added", "target.pooled=false"),
    "lgm-net, linear, class means, skip beside": lgm_net(LINEAR, "head.kind=means", "skip=beside"),
    "lgm-net, aligned": lgm_net(CONV, "alignment.power=0.5"),
    "lgm-net, in views": lgm_net(CONV, "alignment.power=1.0", "alignment.views=3"),
    "network-ensemble": (
        "network-ensemble",
        NetworkEnsembleConfig(network=replace(CONV, auxiliary=AuxiliaryConfig(0.5))),
    ),
    "proto-net, images": ("proto-net", ProtoNetConfig(IMAGES)),
    "proto-net, cosine, in views": (
        "proto-net",
        ProtoNetConfig(TWO_VIEWS, head=HeadConfig("means")),
    ),
    "proto-net, residual blocks": (
        "proto-net",
        ProtoNetConfig(replace(IMAGES, layers="residual")),
    ),
    "proto-net, vectors": ("proto-net", ProtoNetConfig(VECTORS, head=HeadConfig("euclidean", 1.0))),
    "matching-net, images": ("matching-net", MatchingNetConfig(IMAGES)),
    "matching-net, vectors": (
        "matching-net",
        MatchingNetConfig(VECTORS, head=HeadConfig(temperature=None)),
    ),
    "matching-net, full context": (
        "matching-net",
        MatchingNetConfig(VECTORS, full_context_steps=5),
    ),
    "proto-net, auxiliary loss, further layers beside": (
        "proto-net",
        ProtoNetConfig(MAPS, BESIDE, HeadConfig("means"), AuxiliaryConfig(0.5)),
    ),
    "matching-net, auxiliary loss, in views": (
        "matching-net",
        MatchingNetConfig(TWO_VIEWS, auxiliary=AuxiliaryConfig(0.5, pooled=True)),
    ),
    "matching-net, further layers": ("matching-net", MatchingNetConfig(MAPS, BESIDE)),
    "lgm-net, ridge": lgm_net(CONV, "head.kind=ridge"),
    "lgm-net, gains from labels alone": ("lgm-net", GAINS),
    "lgm-net, gains from labels alone, in views": lgm_net(GAINS, *VIEWS, "head.kind=means"),
    "lgm-net, gains from labels": lgm_net(CONV, "labels.width=8", "skip=beside", "head.kind=means"),
    "lgm-net, linear, gains from labels": lgm_net(
        LINEAR, "labels.width=8", "labels.leave_one_out=false"
    ),
    "lgm-net, gains from labels alone, not for the embedding": lgm_net(
        GAINS, "gains_train_embedding=false", "labels.one_shot=false"
    ),
    "lgm-net, gains from labels, feature tasks": lgm_net(GAINS, "feature_tasks=0.5"),
    "lgm-net, axes of features": ("lgm-net", AXES),
    "lgm-net, axes of features, mixed": ("lgm-net", MIXED),
    "lgm-net, axes of features, nothing generated": ("lgm-net", replace(MIXED, labels=None)),
    "feat, feature tasks": ("feat", FEATConfig(MAPS, width=8, feature_tasks=0.5)),
    "proto-net, feature tasks, in views": (
        "proto-net",
        ProtoNetConfig(replace(TWO_VIEWS, pooled=(True, False)), feature_tasks=0.5),
    ),
    "lgm-net, statistics of all layers": (
        "lgm-net",
        lgm_net_config(LAYERS, encoder_width=8),
    ),
    "ridge-regression, statistics of all layers": (
        "ridge-regression",
        RidgeRegressionConfig(replace(LAYERS, layers="residual")),
    ),
    "ridge-regression, images": ("ridge-regression", RidgeRegressionConfig(IMAGES)),
    "ridge-regression, vectors, auxiliary loss": (
        "ridge-regression",
        RidgeRegressionConfig(VECTORS, auxiliary=AuxiliaryConfig(0.5)),
    ),
    "ridge-regression, fewer features than samples": (
        "ridge-regression",
        RidgeRegressionConfig(vector_embedding(3, 16, 5)),
    ),
    "feat, images": ("feat", FEATConfig(IMAGES, head=HeadConfig("euclidean", 0.1), width=8)),
    "feat, cosine, auxiliary loss": (
        "feat",
        FEATConfig(VECTORS, head=HeadConfig("means"), auxiliary=AuxiliaryConfig(0.5), dropout=0.0),
    ),
    "feat, further layers, no contrast": (
        "feat",
        FEATConfig(MAPS, BESIDE, HeadConfig("means"), contrast_weight=0.0),
    ),
    "maml, images": ("maml", MAMLConfig(IMAGES)),
    "maml, vectors": ("maml", MAMLConfig(VECTORS)),
    "maml, aligned": ("maml", MAMLConfig(ALIGNED, inner_rate=0.05)),
    "maml, norm of single samples": (
        "maml",
        MAMLConfig(replace(VECTORS, norm="sample"), inner_steps=2),
    ),
    "fine-tune, images": ("fine-tune", FineTuneConfig(IMAGES, steps=3)),
    "fine-tune, cosine, in views": (
        "fine-tune",
        FineTuneConfig(TWO_VIEWS, cosine_scale=10.0, steps=3),
    ),
    "fine-tune, vectors": ("fine-tune", FineTuneConfig(VECTORS, steps=3)),
    "logistic-regression, images": ("logistic-regression", LogisticRegressionConfig(IMAGES)),
    "logistic-regression, vectors": ("logistic-regression", LogisticRegressionConfig(VECTORS)),
    "logistic-regression, roots": (
        "logistic-regression",
        LogisticRegressionConfig(VECTORS, roots=True),
    ),
    "rfs, images": ("rfs", RFSConfig(IMAGES)),
    "from scratch, images": ("from-scratch", TrainFromScratchConfig(IMAGES, steps=3)),
    "from scratch, vectors": ("from-scratch", TrainFromScratchConfig(VECTORS, steps=3)),
    "random-weights": ("random-weights", RandomWeightsConfig(IMAGES)),
    "lgm-net-vectors": (
        "lgm-net-vectors",
        LGMNetVectorsConfig(
            embedding=VECTORS,
            context=ContextConfig(4, pooled=()),
            target=TargetConfig((16, 8), pooled=False),
        ),
    ),
    "lgm-net-features": ("lgm-net-features", FEATURES),
    "lgm-net-features, no generator": ("lgm-net-features", replace(FEATURES, generator=None)),
    "maml, query statistics": ("maml", MAMLConfig(IMAGES, query_statistics=True)),
} | {
    f"lgm-net, {target}, no {name}": lgm_net(config, *changes)
    for target, config in (("conv", CONV), ("linear", LINEAR))
    for name, changes in ABLATIONS.items()
}
"""Key in `METHODS` and config of each case, by its name."""

# Promises that some cases do not make, with the reason.
DETERMINISTIC = {
    *("proto-net", "matching-net", "ridge-regression", "feat", "maml"),
    *("fine-tune", "logistic-regression", "rfs"),
}
NOT_RANDOM = (
    {
        f"lgm-net, {target}, no {ablation}": reason
        for target in ("conv", "linear")
        for ablation, reason in (
            ("random context", "its context is the mean in training too"),
            ("context encoder", "its context is a point, from which nothing can be drawn"),
            ("generation", "its weights are the same for all tasks"),
        )
    }
    | {
        "lgm-net-features, no generator": "it has no context",
    }
    | dict.fromkeys(
        (
            "lgm-net, gains from labels alone",
            "lgm-net, gains from labels alone, in views",
            "lgm-net, gains from labels alone, not for the embedding",
            "lgm-net, gains from labels, feature tasks",
            "lgm-net, axes of features",
            "lgm-net, axes of features, mixed",
            "lgm-net, axes of features, nothing generated",
        ),
        "gains follow from the labels, and nothing else is generated",
    )
    | {
        case: "it draws nothing at random"
        for case, (name, _) in CASES.items()
        if name in DETERMINISTIC
    }
)
NOTHING_LEARNED = {
    case: "there is nothing that it could learn from other tasks"
    for case, (name, _) in CASES.items()
    if name in ("from-scratch", "random-weights")
}
NO_OVERFITTING = (
    NOTHING_LEARNED
    | {
        case: "it has too few parameters to fit random labels, on purpose"
        for case, (name, _) in CASES.items()
        if name == "lgm-net-features" or "axes of features" in case
    }
    | {
        "ridge-regression, fewer features than samples": (
            "one feature that ReLU has switched off for good leaves too few for random labels"
        )
    }
)
ORDER_MATTERS = {
    "matching-net, full context": "its LSTM reads the support in order, as that of the paper does",
}

# Parameters without any effect on the loss. The normalization behind a generated layer subtracts
# what is the same for all tasks, and a factor that all scales share changes no cosine.
WRITER_BIASES = {"writers.0.bias.bias", "writers.1.bias.bias"}
NO_EFFECT = {
    "lgm-net, class detectors": WRITER_BIASES,
    "lgm-net, linear, class detectors": WRITER_BIASES,
    "lgm-net, class dropout": WRITER_BIASES,
    "lgm-net-features": {"scales.2.bias"},
}

EPISODE_TENSORS = ("support_x", "support_y", "query_x", "query_y", "classes")


def build_episode(
    method: Method,
    *,
    shots: tuple[int, ...] = (1, 3, 2),
    queries: int = 4,
    tasks: int = 3,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> Episode:
    """Build tasks whose classes can be told apart.

    Args:
        method: Method that takes the samples.
        shots: Support samples of each class; each task has them in another order.
        queries: Queries of each task.
        tasks: Number of tasks.
        seed: Seed of samples and labels.
        dtype: Type of the samples.
    """
    generator = seeded(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, *method.inputs.shape, generator=generator, dtype=dtype)

    way = len(shots)
    labels = torch.arange(way).repeat_interleave(torch.tensor(shots))
    support_y = torch.stack(
        [labels[torch.randperm(len(labels), generator=generator)] for _ in range(tasks)]
    )
    query_y = torch.randint(way, (tasks, queries), generator=generator)
    centres, rows = draw(tasks, way), torch.arange(tasks)[:, None]
    return Episode(
        support_x=centres[rows, support_y] + 0.5 * draw(tasks, len(labels)),
        support_y=support_y,
        query_x=centres[rows, query_y] + 0.5 * draw(tasks, queries),
        query_y=query_y,
        way=way,
        classes=torch.arange(way).expand(tasks, -1),
    )


def answer(method: Method, episode: Episode) -> Tensor:
    """Compute the log-probabilities of the queries."""
    classifier = method.adapt(episode.support_x, episode.support_y, episode.way)
    log_p: Tensor = classifier(episode.query_x)
    return log_p.detach()


@functools.cache
def build_shared_method(case: str) -> Method:
    """Build the method of a case in evaluation mode, with random weights and running statistics.

    All tests share it, so none may change it. Its first weights do not depend on which tests ran
    before.
    """
    name, config = CASES[case]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        method = build_method(name, config).double()
    n_classes, n_samples = 4, 10
    samples = noise(n_classes * n_samples, *method.inputs.shape)
    if isinstance(method, LGMNetFeatures):  # Its statistics are those of samples that vary.
        samples *= torch.linspace(0.5, 2, samples.shape[1], dtype=torch.float64)
    method.prepare(samples, torch.arange(n_classes).repeat_interleave(n_samples), None)
    with torch.no_grad():
        generator = seeded()
        for parameter in method.parameters():
            if parameter.ndim == 1 or not parameter.any():
                change = torch.empty_like(parameter).uniform_(-0.2, 0.2, generator=generator)
                parameter.add_(change)
        for seed in range(10):
            answer(method, build_episode(method, seed=seed))
    return method.eval()
