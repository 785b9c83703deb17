"""Few-shot methods: one file, one paper."""

from lgmnet.methods.base import Classifier, Method, QueryAnalysis
from lgmnet.methods.ensemble import Ensemble
from lgmnet.methods.feat import FEAT, FEATConfig
from lgmnet.methods.fine_tune import FineTune, FineTuneConfig
from lgmnet.methods.from_scratch import TrainFromScratch, TrainFromScratchConfig
from lgmnet.methods.lgm_net import LGMClassifier, LGMNet, LGMNetConfig
from lgmnet.methods.lgm_net_features import LGMNetFeatures, LGMNetFeaturesConfig
from lgmnet.methods.lgm_net_vectors import LGMNetVectors, LGMNetVectorsConfig
from lgmnet.methods.logistic_regression import LogisticRegression, LogisticRegressionConfig
from lgmnet.methods.maml import MAML, MAMLConfig
from lgmnet.methods.matching_net import MatchingNet, MatchingNetConfig
from lgmnet.methods.network_ensemble import NetworkEnsemble, NetworkEnsembleConfig
from lgmnet.methods.proto_net import ProtoNet, ProtoNetConfig
from lgmnet.methods.random_weights import RandomWeights, RandomWeightsConfig
from lgmnet.methods.rfs import RFS, RFSConfig
from lgmnet.methods.ridge_regression import RidgeRegression, RidgeRegressionConfig

METHODS: dict[str, type[Method]] = {
    "lgm-net": LGMNet,
    "matching-net": MatchingNet,
    "proto-net": ProtoNet,
    "ridge-regression": RidgeRegression,
    "feat": FEAT,
    "maml": MAML,
    "fine-tune": FineTune,
    "logistic-regression": LogisticRegression,
    "rfs": RFS,
    "from-scratch": TrainFromScratch,
    "random-weights": RandomWeights,
    "lgm-net-vectors": LGMNetVectors,
    "lgm-net-features": LGMNetFeatures,
    "network-ensemble": NetworkEnsemble,
}
"""Every method by the name that files and the command line use."""

__all__ = [
    "FEAT",
    "MAML",
    "METHODS",
    "RFS",
    "Classifier",
    "Ensemble",
    "FEATConfig",
    "FineTune",
    "FineTuneConfig",
    "LGMClassifier",
    "LGMNet",
    "LGMNetConfig",
    "LGMNetFeatures",
    "LGMNetFeaturesConfig",
    "LGMNetVectors",
    "LGMNetVectorsConfig",
    "LogisticRegression",
    "LogisticRegressionConfig",
    "MAMLConfig",
    "MatchingNet",
    "MatchingNetConfig",
    "Method",
    "NetworkEnsemble",
    "NetworkEnsembleConfig",
    "ProtoNet",
    "ProtoNetConfig",
    "QueryAnalysis",
    "RFSConfig",
    "RandomWeights",
    "RandomWeightsConfig",
    "RidgeRegression",
    "RidgeRegressionConfig",
    "TrainFromScratch",
    "TrainFromScratchConfig",
]
