"""Scoring of many images: a callable for batch engines, and folders of Parquet parts."""

from lgmnet.scoring.scorer import Scorer

__all__ = ["Scorer"]
