"""Few-shot methods: one file, one paper."""

from lgmnet.methods.base import Classifier, Method
from lgmnet.methods.ensemble import Ensemble
from lgmnet.methods.lgm_net import LGMClassifier, LGMNet, LGMNetConfig

METHODS: dict[str, type[Method]] = {"lgm-net": LGMNet}
"""Every method by the name that files and the command line use."""

__all__ = ["METHODS", "Classifier", "Ensemble", "LGMClassifier", "LGMNet", "LGMNetConfig", "Method"]
