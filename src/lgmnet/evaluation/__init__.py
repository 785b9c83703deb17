"""Numbers that can be trusted: protocol, mean and interval, comparison, audit."""

from lgmnet.evaluation.audit import Audit, audit
from lgmnet.evaluation.compare import compare
from lgmnet.evaluation.evaluate import Score, evaluate, mean_and_ci95, protocol

__all__ = ["Audit", "Score", "audit", "compare", "evaluate", "mean_and_ci95", "protocol"]
