"""Few-shot classification: a handful of labelled images in, a working classifier out.

Your own images:

>>> from lgmnet import FewShotClassifier
>>> classifier = FewShotClassifier("omniglot")  # .fit(images, labels).predict(more_images)

Trained models and honest scores: `load_model`, `shipped_models`, `evaluate`, `compare`, `audit`.
The methods themselves, for training and research: `lgmnet.methods`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lgmnet.classifier.classifier import FittedClassifier as FittedClassifier
    from lgmnet.classifier.fit import fit_classifier as fit_classifier
    from lgmnet.episode import Episode as Episode
    from lgmnet.episode import EpisodeShape as EpisodeShape
    from lgmnet.errors import LgmnetError as LgmnetError
    from lgmnet.errors import UserError as UserError
    from lgmnet.estimator import FewShotClassifier as FewShotClassifier
    from lgmnet.evaluation import Score as Score
    from lgmnet.evaluation import audit as audit
    from lgmnet.evaluation import compare as compare
    from lgmnet.evaluation import evaluate as evaluate
    from lgmnet.model.model import Model as Model
    from lgmnet.model.model import load_model as load_model
    from lgmnet.model.model import save_model as save_model
    from lgmnet.model.registry import shipped_models as shipped_models

__version__ = "0.1.0"

# Public names. They are loaded at first use, so that `import lgmnet` needs neither PyTorch nor
# scikit-learn. There is no `__all__`, because `help(lgmnet)` would then print all their classes.
_MODULES = {
    "Episode": "lgmnet.episode",
    "EpisodeShape": "lgmnet.episode",
    "FewShotClassifier": "lgmnet.estimator",
    "FittedClassifier": "lgmnet.classifier.classifier",
    "LgmnetError": "lgmnet.errors",
    "Model": "lgmnet.model.model",
    "Score": "lgmnet.evaluation",
    "UserError": "lgmnet.errors",
    "audit": "lgmnet.evaluation",
    "compare": "lgmnet.evaluation",
    "evaluate": "lgmnet.evaluation",
    "fit_classifier": "lgmnet.classifier.fit",
    "load_model": "lgmnet.model.model",
    "save_model": "lgmnet.model.model",
    "shipped_models": "lgmnet.model.registry",
}


def __getattr__(name: str) -> Any:
    """Load a public name at its first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
