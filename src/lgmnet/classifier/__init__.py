"""Classifiers fitted to labelled samples: edits, files, validation, reports and export.

Two functions are public here: `expected_accuracy_with_more` estimates what more images would give,
and `suggest` says which unlabelled ones to label next.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lgmnet.classifier.learning_curve import expected_accuracy_with_more
    from lgmnet.classifier.suggestions import suggest

__all__ = ["expected_accuracy_with_more", "suggest"]

_MODULES = {"expected_accuracy_with_more": "learning_curve", "suggest": "suggestions"}


def __getattr__(name: str) -> Any:
    """Load a public name at its first use, because its module needs PyTorch."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
