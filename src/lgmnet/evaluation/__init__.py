"""Scores with confidence intervals, paired comparisons, rejection thresholds and the audit."""

from lgmnet.evaluation.audit import Audit, audit
from lgmnet.evaluation.compare import compare
from lgmnet.evaluation.evaluate import Score, describe_protocol, evaluate, mean_and_ci95

__all__ = ["Audit", "Score", "audit", "compare", "describe_protocol", "evaluate", "mean_and_ci95"]
