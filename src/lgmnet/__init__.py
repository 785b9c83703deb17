"""lgmnet: a handful of labelled images in, a working classifier out, in one forward pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lgmnet.episode import Episode, EpisodeShape
from lgmnet.errors import LgmnetError, UserError
from lgmnet.evaluation import Score, audit, compare, evaluate
from lgmnet.forge import ForgedClassifier, forge
from lgmnet.hub import Model, load_model, save_model, shipped_models
from lgmnet.methods import (
    MAML,
    METHODS,
    AnyVectors,
    AnyVectorsConfig,
    Classifier,
    DirectConfig,
    DirectTraining,
    Ensemble,
    FineTune,
    FineTuneConfig,
    FrozenFeatures,
    FrozenFeaturesConfig,
    LGMNet,
    LGMNetConfig,
    LogisticRegression,
    LogisticRegressionConfig,
    MAMLConfig,
    MatchingNet,
    MatchingNetConfig,
    Method,
    ProtoNet,
    ProtoNetConfig,
    RandomWeights,
    RandomWeightsConfig,
)

if TYPE_CHECKING:
    from lgmnet.estimator import FewShotClassifier

__version__ = "0.1.0"

__all__ = [
    "MAML",
    "METHODS",
    "AnyVectors",
    "AnyVectorsConfig",
    "Classifier",
    "DirectConfig",
    "DirectTraining",
    "Ensemble",
    "Episode",
    "EpisodeShape",
    "FewShotClassifier",
    "FineTune",
    "FineTuneConfig",
    "ForgedClassifier",
    "FrozenFeatures",
    "FrozenFeaturesConfig",
    "LGMNet",
    "LGMNetConfig",
    "LgmnetError",
    "LogisticRegression",
    "LogisticRegressionConfig",
    "MAMLConfig",
    "MatchingNet",
    "MatchingNetConfig",
    "Method",
    "Model",
    "ProtoNet",
    "ProtoNetConfig",
    "RandomWeights",
    "RandomWeightsConfig",
    "Score",
    "UserError",
    "audit",
    "compare",
    "evaluate",
    "forge",
    "load_model",
    "save_model",
    "shipped_models",
]


def __getattr__(name: str) -> Any:
    """What needs scikit-learn is loaded when it is asked for."""
    if name == "FewShotClassifier":
        from lgmnet.estimator import FewShotClassifier

        return FewShotClassifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
