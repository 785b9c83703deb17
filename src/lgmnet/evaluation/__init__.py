"""Numbers that can be trusted: protocol, mean and interval."""

from lgmnet.evaluation.evaluate import Score, evaluate, mean_and_ci95, protocol

__all__ = ["Score", "evaluate", "mean_and_ci95", "protocol"]
