"""Network that recognises how a photo was changed, such as its turn or its blur."""

import copy
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.config import require
from lgmnet.progress import ProgressTask, track_progress

FOLDS = 2
BATCH_SIZE = 4096
MIN_DEVIATION = 1e-4


@dataclass(frozen=True)
class ProbedFactor:
    """Factor that is recognised."""

    name: str
    """Name of the factor."""
    values: int
    """Number of its values."""


@dataclass(frozen=True)
class FactorProbeConfig:
    """Network that recognises factors, and its training.

    Raises:
        ConfigError: if a field has a value that is not allowed.
    """

    factors: tuple[ProbedFactor, ...]
    """Factors that it recognises."""
    hidden: int = 256
    """Units of the hidden layer."""
    dropout: float = 0.5
    """Part of the inputs, and of the hidden units, that are left out at random in training."""
    steps: int = 2_500
    """Training steps."""
    batch: int = 256
    """Samples of a training step."""
    learning_rate: float = 2e-3
    """Highest learning rate."""
    weight_decay: float = 0.3
    """Weight decay of AdamW."""

    def __post_init__(self) -> None:
        for field in ("hidden", "steps", "batch", "learning_rate"):
            require(self, field, getattr(self, field) > 0, "positive")
        require(self, "dropout", 0 <= self.dropout < 1, "0 to below 1")
        require(self, "factors", len(self.factors) > 0, "at least one factor")


class FactorProbe(nn.Module):
    """Two layers that recognise the values of several factors.

    They are trained by `fit` before anything else and stay as they are.

    Args:
        n_in: Number of input features.
        config: Config of the network.
    """

    def __init__(self, n_in: int, config: FactorProbeConfig) -> None:
        super().__init__()
        self.config = config
        self.sizes = [factor.values for factor in config.factors]
        self.register_buffer("scale", torch.ones(n_in))
        self.hidden = nn.Linear(n_in, config.hidden)
        self.output = nn.Linear(config.hidden, sum(self.sizes))
        self.requires_grad_(False)

    def forward(self, x: Float[Tensor, "samples features"]) -> Float[Tensor, "samples values"]:
        """Compute the probabilities of the values of all factors, minus those of a guess."""
        scores = self.compute_scores(x, 0.0)
        return torch.cat([part.softmax(1) - 1 / part.shape[1] for part in scores], 1)

    def compute_scores(
        self, x: Float[Tensor, "samples features"], dropout: float
    ) -> tuple[Float[Tensor, "samples values"], ...]:
        """Compute the scores of the values of each factor."""
        scaled = F.dropout(x * self.get_buffer("scale"), dropout)
        hidden = F.dropout(F.gelu(self.hidden(scaled)), dropout)
        scores: tuple[Tensor, ...] = self.output(hidden).split(self.sizes, 1)
        return scores

    def fit(
        self,
        x: Float[Tensor, "samples features"],
        values: Int[Tensor, "samples factors"],
        images: Int[Tensor, " samples"],
    ) -> Float[Tensor, "samples values"]:
        """Train on all samples, and answer each sample by a network that has not seen its image.

        Answers to images that a network was trained on would be far better than those to new
        images, and whoever learns from them would trust the network too much.

        Args:
            x: Features of the samples.
            values: Value of each of the factors; negative where it is unknown.
            images: Number of the underlying image of each sample.

        Returns:
            Answers to the samples.
        """
        self.get_buffer("scale").copy_(1 / (x.std(0) + MIN_DEVIATION))
        answers = x.new_zeros(len(x), sum(self.sizes))
        with track_progress("recognising changes", (FOLDS + 1) * self.config.steps) as progress:
            for fold in range(FOLDS):
                other, is_left_out = copy.deepcopy(self), images % FOLDS == fold
                other.train_on(x, values, ~is_left_out, progress)
                rows = is_left_out.nonzero().flatten()
                with torch.no_grad():
                    for batch in rows.split(BATCH_SIZE):
                        answers[batch] = other(x[batch])
            self.train_on(x, values, torch.ones_like(is_left_out), progress)
        return answers

    def train_on(
        self,
        x: Float[Tensor, "samples features"],
        values: Int[Tensor, "samples factors"],
        is_used: Bool[Tensor, " samples"],
        progress: ProgressTask,
    ) -> None:
        """Train from the present weights on the samples that are used; see `fit`."""
        config, rows = self.config, is_used.nonzero().flatten()
        self.requires_grad_(True)
        optimizer = torch.optim.AdamW(
            self.parameters(), config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, config.learning_rate, config.steps, pct_start=0.1
        )
        for _ in range(config.steps):
            batch = rows[torch.randint(len(rows), (config.batch,))]
            y = values[batch].long()
            losses = [
                F.cross_entropy(scores[known], y[known, i])
                for i, scores in enumerate(self.compute_scores(x[batch], config.dropout))
                if (known := y[:, i] >= 0).any()
            ]
            optimizer.zero_grad()
            torch.stack(losses).sum().backward()
            optimizer.step()
            schedule.step()
            progress.advance(1)
        self.requires_grad_(False)
