"""lgmnet: a handful of labelled images in, a working classifier out, in one forward pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lgmnet.classifier.classifier import FittedClassifier, fit_classifier
from lgmnet.episode import Episode, EpisodeShape
from lgmnet.errors import LgmnetError, UserError
from lgmnet.evaluation import Score, audit, compare, evaluate
from lgmnet.methods import (
    MAML,
    METHODS,
    Classifier,
    Ensemble,
    FineTune,
    FineTuneConfig,
    LGMNet,
    LGMNetConfig,
    LGMNetFeatures,
    LGMNetFeaturesConfig,
    LGMNetVectors,
    LGMNetVectorsConfig,
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
    TrainFromScratch,
    TrainFromScratchConfig,
)
from lgmnet.model.model import Model, load_model, save_model
from lgmnet.model.registry import shipped_models

if TYPE_CHECKING:
    from lgmnet.estimator import FewShotClassifier

__version__ = "0.1.0"

__all__ = [
    "MAML",
    "METHODS",
    "Classifier",
    "Ensemble",
    "Episode",
    "EpisodeShape",
    "FewShotClassifier",
    "FineTune",
    "FineTuneConfig",
    "FittedClassifier",
    "LGMNet",
    "LGMNetConfig",
    "LGMNetFeatures",
    "LGMNetFeaturesConfig",
    "LGMNetVectors",
    "LGMNetVectorsConfig",
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
    "TrainFromScratch",
    "TrainFromScratchConfig",
    "UserError",
    "audit",
    "compare",
    "evaluate",
    "fit_classifier",
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
