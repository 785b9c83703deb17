"""Audit of an evaluation: whether anything but the support set reveals the query classes."""

from lgmnet.evaluation.audit.chance import accuracies
from lgmnet.evaluation.audit.label_free_checks import EpisodeTransform, leave_unchanged
from lgmnet.evaluation.audit.noise import make_noise_dataset
from lgmnet.evaluation.audit.report import EXIT_CODES, Audit, Check, Outcome
from lgmnet.evaluation.audit.run import audit

__all__ = [
    "EXIT_CODES",
    "Audit",
    "Check",
    "EpisodeTransform",
    "Outcome",
    "accuracies",
    "audit",
    "leave_unchanged",
    "make_noise_dataset",
]
