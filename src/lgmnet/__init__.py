"""lgmnet: a handful of labelled images in, a working classifier out, in one forward pass."""

from lgmnet.episode import Episode, EpisodeShape
from lgmnet.errors import LgmnetError, UserError
from lgmnet.evaluation import Score, audit, compare, evaluate
from lgmnet.forge import ForgedClassifier, forge
from lgmnet.hub import Model, load_model, save_model, shipped_models
from lgmnet.methods import (
    MAML,
    METHODS,
    Classifier,
    DirectConfig,
    DirectTraining,
    Ensemble,
    FineTune,
    FineTuneConfig,
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

__version__ = "0.1.0"

__all__ = [
    "MAML",
    "METHODS",
    "Classifier",
    "DirectConfig",
    "DirectTraining",
    "Ensemble",
    "Episode",
    "EpisodeShape",
    "FineTune",
    "FineTuneConfig",
    "ForgedClassifier",
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
