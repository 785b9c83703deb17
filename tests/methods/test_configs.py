"""Wrong configs of methods and of their parts are refused with what was expected."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

from lgmnet.config import from_json, with_settings
from lgmnet.errors import ConfigError
from lgmnet.methods import (
    FineTuneConfig,
    LGMNetConfig,
    LogisticRegressionConfig,
    MAMLConfig,
    MatchingNetConfig,
    ProtoNetConfig,
    RandomWeightsConfig,
    TrainFromScratchConfig,
)
from lgmnet.nn.alignment import AlignmentConfig
from lgmnet.nn.class_conditioning import ClassConditioningConfig
from lgmnet.nn.classification import AuxiliaryConfig
from lgmnet.nn.context import ContextConfig
from lgmnet.nn.embedding import EmbeddingConfig, vector_embedding
from lgmnet.nn.label_context import LabelContextConfig
from lgmnet.nn.matching import HeadConfig
from lgmnet.nn.target import TargetConfig
from tests.support.configs import lgm_net_config

IMAGES = lgm_net_config(EmbeddingConfig((1, 8, 8), widths=(6, 8), pooled=(True, False)))
VECTORS = lgm_net_config(vector_embedding(3, 16, 16))
ALIGNED = EmbeddingConfig(alignment=AlignmentConfig())
IN_VIEWS = EmbeddingConfig(alignment=AlignmentConfig(views=2))
ON_A_CANVAS = EmbeddingConfig(alignment=AlignmentConfig(canvas=36))
NO_LAYERS = vector_embedding(3)
ALL_LAYERS = EmbeddingConfig(readout="layers")

PARTS: list[tuple[type[Any], dict[str, Any], str]] = [
    (EmbeddingConfig, {"feature_shape": (8, 8)}, "'feature_shape' must be 1 or 3 positive numbers"),
    (EmbeddingConfig, {"feature_shape": (1, 0, 8)}, "'feature_shape' must be 1 or 3 positive"),
    (EmbeddingConfig, {"feature_shape": (1, 3, 3)}, "at least 4 pixels high and wide for 2"),
    (EmbeddingConfig, {"layers": "linear"}, "'layers' must be 'conv' or 'residual', but is"),
    (EmbeddingConfig, {"widths": (), "pooled": ()}, "'widths' must be positive numbers, at least"),
    (EmbeddingConfig, {"widths": (8, 0), "pooled": (True, True)}, "'widths' must be positive"),
    (EmbeddingConfig, {"pooled": (True,)}, "'pooled' must be 4 values, one for each of 'widths'"),
    (EmbeddingConfig, {"readout": "first"}, "'readout' must be 'last' or 'layers', but is 'first'"),
    (EmbeddingConfig, {"norm": "batch"}, "'norm' must be 'intertask' or 'sample', but is 'batch'"),
    (ContextConfig, {"length": 0}, "'length' must be positive, but is 0"),
    (ContextConfig, {"widths": (8, -1)}, "'widths' must be positive numbers, but is"),
    (ContextConfig, {"pooled": (True,)}, "'pooled' must be 2 values, or empty for vectors"),
    (TargetConfig, {"widths": (8, 0)}, "'widths' must be positive numbers, but is"),
    (TargetConfig, {"skip": "over"}, "'skip' must be 'none', 'beside' or 'added', but is 'over'"),
    (TargetConfig, {"weights": "fixed"}, "'weights' must be 'generated' or 'learned', but is"),
    (HeadConfig, {"kind": "linear"}, "'kind' must be 'attention' or 'means' or .* but is 'linear'"),
    (HeadConfig, {"temperature": 0.0}, "'temperature' must be positive or None, but is 0.0"),
    (ClassConditioningConfig, {"detectors": 0}, "'detectors' must be positive, but is 0"),
    (ClassConditioningConfig, {"dropout": 1.0}, "'dropout' must be 0 or more and below 1, but is"),
    (MAMLConfig, {"inner_steps": 0}, "'inner_steps' must be positive, but is 0"),
    (MAMLConfig, {"inner_rate": -1.0}, "'inner_rate' must be positive, but is -1.0"),
    (MAMLConfig, {"embedding": NO_LAYERS}, "'widths' must be positive numbers, at least one"),
    (MAMLConfig, {"embedding": ALL_LAYERS}, "'readout' must be 'last' for this method, but is"),
    (LGMNetConfig, {"gains_train_embedding": False}, "must be True unless gains are generated"),
    (LabelContextConfig, {"width": 6}, "'width' must be a positive multiple of 4, but is 6"),
    (LabelContextConfig, {"depth": 0}, "'depth' must be positive, but is 0"),
    (LabelContextConfig, {"hidden": 0}, "'hidden' must be positive, but is 0"),
    (MAMLConfig, {"embedding": IN_VIEWS}, "'views' must be 1 for this method, but is 2"),
    (MAMLConfig, {"embedding": ON_A_CANVAS}, "'canvas' must be None for this method, but is 36"),
    (MatchingNetConfig, {"full_context_steps": -1}, "'full_context_steps' must be 0 to 100"),
    (
        MatchingNetConfig,
        {"embedding": IN_VIEWS, "full_context_steps": 5},
        "'full_context_steps' must be 0 where drawings are embedded in several views, but is 5",
    ),
    (
        MatchingNetConfig,
        {"head": HeadConfig("means"), "full_context_steps": 5},
        "'full_context_steps' must be 0 unless the head is 'attention'",
    ),
    (ProtoNetConfig, {"target": TargetConfig((64, 64))}, "'weights' must be 'learned' for this"),
    (ProtoNetConfig, {"feature_tasks": -1.0}, "'feature_tasks' must be 0 or more, but is -1.0"),
    (AuxiliaryConfig, {"weight": 0.0}, "'weight' must be positive, but is 0.0"),
    (FineTuneConfig, {"steps": 0}, "'steps' must be positive, but is 0"),
    (FineTuneConfig, {"rate": 0.0}, "'rate' must be positive, but is 0.0"),
    (FineTuneConfig, {"cosine_scale": 0.0}, "'cosine_scale' must be positive or None, but is 0.0"),
    (LogisticRegressionConfig, {"strength": 0.0}, "'strength' must be positive, but is 0.0"),
    (LogisticRegressionConfig, {"roots": True}, "'roots' must be False where embeddings are maps"),
    (HeadConfig, {"strength": 1.0}, "'strength' must be None for this head, but is 1.0"),
    (HeadConfig, {"kind": "ridge", "strength": 0.0}, "'strength' must be positive or None, but is"),
    (TrainFromScratchConfig, {"steps": 0}, "'steps' must be positive, but is 0"),
    (TrainFromScratchConfig, {"embedding": ALIGNED}, "'alignment' must be None for this method"),
    (TrainFromScratchConfig, {"embedding": NO_LAYERS}, "'widths' must be positive numbers, at"),
    (RandomWeightsConfig, {"temperature": 0.0}, "'temperature' must be positive, but is 0.0"),
    (RandomWeightsConfig, {"embedding": ALIGNED}, "'alignment' must be None for this method"),
    (RandomWeightsConfig, {"embedding": ALL_LAYERS}, "'readout' must be 'last' for this method"),
    (RandomWeightsConfig, {"embedding": NO_LAYERS}, "'widths' must be positive numbers, at least"),
]


@pytest.mark.parametrize(
    ("config_type", "fields", "expected"),
    PARTS,
    ids=[f"{config_type.__name__}-{'-'.join(fields)}" for config_type, fields, _ in PARTS],
)
@pytest.mark.usefixtures("unchecked")
def test_wrong_values_are_refused(config_type, fields, expected):
    config = config_type()
    with pytest.raises(ConfigError, match=expected):
        replace(config, **fields)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"layers": "conv"}, "'layers' must be 'linear', but is 'conv'"),
        ({"pooled": (True, True)}, r"'pooled' must be empty, but is \(True, True\)"),
        ({"readout": "layers"}, "'readout' must be 'last', but is 'layers'"),
        ({"alignment": AlignmentConfig()}, "'alignment' must be None where samples are vectors"),
    ],
)
def test_an_embedding_of_vectors_has_no_parts_of_images(fields, expected):
    with pytest.raises(ConfigError, match=expected):
        replace(VECTORS.embedding, **fields)


@pytest.mark.parametrize(
    ("config", "settings", "expected"),
    [
        (VECTORS, ["auxiliary.pooled=true"], "'pooled' must be False where embeddings are vectors"),
        (IMAGES, ["target.weights=learned"], "'context' must be None where weights are learned"),
        (
            IMAGES,
            ["target.weights=learned", "context=none", "detectors=2"],
            "'conditioning' must be None where weights are learned",
        ),
        (IMAGES, ["target.widths=[]"], "'widths' must be positive numbers, at least one, but is"),
        (
            IMAGES,
            ["target.widths=[]", "labels.width=8"],
            "'context' must be None where TargetNet has no layers",
        ),
        (
            IMAGES,
            ["target.widths=[]", "labels.width=8", "context=none", "detectors=2"],
            "'conditioning' must be None where TargetNet has no layers",
        ),
        (
            IMAGES,
            ["readout=layers"],
            "'pooled' must be False where embeddings are vectors, but is True",
        ),
        (IMAGES, ["context.pooled=[]"], r"'pooled' must be 2 values, but is \(\)"),
        (
            IMAGES,
            ["target.widths=[8,8,8,8]"],
            "'feature_shape' must be at least 16 pixels high and wide for 4 poolings",
        ),
        (
            VECTORS,
            ["target.pooled=true"],
            "'pooled' must be False where embeddings are vectors, but is True",
        ),
        (
            VECTORS,
            ["context.pooled=[false,false]"],
            "'pooled' must be empty where embeddings are vectors",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_parts_of_an_lgm_net_must_agree(config, settings, expected):
    with pytest.raises(ConfigError, match=expected):
        with_settings(config, settings)


@pytest.mark.parametrize("settings", [["target.widths=[8,4]"], ["target.pooled=true"]])
def test_the_skip_added_needs_a_target_that_keeps_the_size_of_the_embedding(settings):
    added = with_settings(IMAGES, ["target.pooled=false", "skip=added"])
    expected = "'skip' must be 'none' or 'beside', unless TargetNet keeps the size"
    with pytest.raises(ConfigError, match=expected):
        with_settings(added, settings)


def test_an_lgm_net_without_generation_has_no_context():
    config = with_settings(IMAGES, ["target.weights=learned", "context=none"])
    assert config == LGMNetConfig(
        embedding=IMAGES.embedding,
        context=None,
        target=TargetConfig((8, 8), weights="learned"),
    )


@pytest.mark.parametrize(
    ("config_type", "values", "head"),
    [
        (ProtoNetConfig, {"distance": "euclidean", "temperature": None}, ("euclidean", None)),
        (ProtoNetConfig, {"distance": "cosine", "temperature": 10.0}, ("means", 10.0)),
        (MatchingNetConfig, {"temperature": 3.0}, ("attention", 3.0)),
    ],
)
def test_fields_of_earlier_files_are_read_by_their_old_names(config_type, values, head):
    assert from_json(config_type, values) == config_type(head=HeadConfig(*head))
    assert from_json(config_type, asdict(config_type())) == config_type()


def test_the_weight_of_an_auxiliary_loss_is_read_by_its_old_name():
    assert from_json(LGMNetConfig, {"auxiliary_weight": 0.0}) == LGMNetConfig()
    auxiliary = AuxiliaryConfig(0.5)
    assert from_json(LGMNetConfig, {"auxiliary_weight": 0.5}) == LGMNetConfig(auxiliary=auxiliary)
