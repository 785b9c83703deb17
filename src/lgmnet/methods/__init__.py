"""Few-shot methods: one file, one paper."""

from lgmnet.methods.any_vectors import AnyVectors, AnyVectorsConfig
from lgmnet.methods.base import Classifier, Method
from lgmnet.methods.direct import DirectConfig, DirectTraining
from lgmnet.methods.ensemble import Ensemble
from lgmnet.methods.fine_tune import FineTune, FineTuneConfig
from lgmnet.methods.frozen_features import FrozenFeatures, FrozenFeaturesConfig
from lgmnet.methods.lgm_net import LGMClassifier, LGMNet, LGMNetConfig
from lgmnet.methods.logistic_regression import LogisticRegression, LogisticRegressionConfig
from lgmnet.methods.maml import MAML, MAMLConfig
from lgmnet.methods.matching_net import MatchingNet, MatchingNetConfig
from lgmnet.methods.proto_net import ProtoNet, ProtoNetConfig
from lgmnet.methods.random_weights import RandomWeights, RandomWeightsConfig

METHODS: dict[str, type[Method]] = {
    "lgm-net": LGMNet,
    "matching-net": MatchingNet,
    "proto-net": ProtoNet,
    "maml": MAML,
    "fine-tune": FineTune,
    "logistic-regression": LogisticRegression,
    "direct": DirectTraining,
    "random-weights": RandomWeights,
    "lgm-net-vectors": AnyVectors,
    "lgm-net-features": FrozenFeatures,
}
"""Every method by the name that files and the command line use."""

__all__ = [
    "MAML",
    "METHODS",
    "AnyVectors",
    "AnyVectorsConfig",
    "Classifier",
    "DirectConfig",
    "DirectTraining",
    "Ensemble",
    "FineTune",
    "FineTuneConfig",
    "FrozenFeatures",
    "FrozenFeaturesConfig",
    "LGMClassifier",
    "LGMNet",
    "LGMNetConfig",
    "LogisticRegression",
    "LogisticRegressionConfig",
    "MAMLConfig",
    "MatchingNet",
    "MatchingNetConfig",
    "Method",
    "ProtoNet",
    "ProtoNetConfig",
    "RandomWeights",
    "RandomWeightsConfig",
]
