"""A context that sees the labels: the variance of each feature between and within the classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.config import require
from lgmnet.devices import without_autocast
from lgmnet.nn.matching import class_means, one_hot

N_HEADS = 4
TOKEN_LENGTH = 8
"""Length of a group's token where it enters the gains of the group's features."""
N_GROUP_STATISTICS, N_LEAVE_ONE_OUT, N_FEATURE_STATISTICS = 6, 3, 4
FLOOR = 0.05
"""Added to each variance of a feature, in units of the mean variance of all features, so that the
ratios of features that hardly vary stay near 1."""
EPS = 1e-6
LEAVE_ONE_OUT_STRENGTH = 0.5
"""Strength of the ridge regressions whose leave-one-out errors are computed."""
LEAVE_ONE_OUT_SCALE = 10.0
"""Inverse temperature of their predictions."""
MAX_LOG_GAIN = 8.0
GROUP_RATE = 3.0
"""Factor of the log gains of groups, so that they are learned faster than those of features."""


@dataclass(frozen=True)
class LabelContextConfig:
    """Context of statistics between and within the classes of the support.

    Raises:
        ConfigError: if a field has a value that is not allowed.
    """

    width: int = 48
    """Units of a group's token; a multiple of 4, the heads of attention."""
    depth: int = 2
    """Layers of attention over the groups of features."""
    hidden: int = 32
    """Units of the hidden layer that gives each feature its gain."""
    leave_one_out: bool = True
    """Ablation: if False, the tokens do not see the leave-one-out error of each group."""
    knows_groups: bool = True
    """If True, tokens begin with a learned vector of their group; if False, no weight belongs to a
    certain group."""
    head: bool = False
    """If True, the temperature of the head and the strength of its ridge regression are generated
    too: changes of their logs, from the mean of all tokens."""
    one_shot: bool = True
    """If False, log gains are multiplied by 1 - 1 / shot, so that none are generated at one shot,
    where nothing varies within the classes."""

    def __post_init__(self) -> None:
        valid = self.width > 0 and self.width % N_HEADS == 0
        require(self, "width", valid, f"a positive multiple of {N_HEADS}")
        for field in ("depth", "hidden"):
            require(self, field, getattr(self, field) > 0, "positive")


class LabelContext(nn.Module):
    """Generator of a gain for each feature, from statistics between and within the classes.

    The context of LGM-Net is a mean over the support and never reads a label, so it cannot know
    which of many possible labelings a task asks for. This one sees, for each feature f, with class
    means m_k, their mean m, K classes and N samples::

        between_f = mean over k of (m_kf - m_f)^2
        within_f  = sum over samples x of class k of (x_f - m_kf)^2 / (N - K)
        total_f   = mean over samples of (x_f - mean x_f)^2

    Each group of features, such as those of one layer, becomes a token of the means of these over
    the group, of 1 / shot and 1 / way, and of how well the group alone predicts the label of each
    sample from all the others. Attention over the groups compares them. Then a small network that
    all features share computes each gain from the logs of the feature's statistics and the token of
    its group::

        log gain_f = g(log between_f / total_f, log within_f / total_f, log total_f, 1 / shot,
                       token) + a(token)

    The network that all features share belongs to none of them, so what is learned holds for
    criteria that never occurred in training; only tokens begin with a learned vector of their
    group, which is nearly all that is known where a task has one shot. With one sample a class
    nothing varies within; within_f is 0, the leave-one-out statistics are left out, and 1 / shot
    tells so. Where the config has ``one_shot=False``, the log gains are multiplied by 1 - 1 / shot.

    Args:
        groups: Number of features in each group, in the order of the features.
        config: Sizes of the networks.
    """

    group_of_feature: Tensor
    sizes: Tensor

    def __init__(self, groups: Sequence[int], config: LabelContextConfig) -> None:
        super().__init__()
        self.groups = tuple(groups)
        sizes = torch.tensor(self.groups)
        index = torch.tensor([i for i, n in enumerate(self.groups) for _ in range(n)])
        self.register_buffer("group_of_feature", index, persistent=False)
        self.register_buffer("sizes", sizes, persistent=False)
        self.leaves_one_out, self.one_shot = config.leave_one_out, config.one_shot
        width, n = config.width, N_GROUP_STATISTICS + N_LEAVE_ONE_OUT * config.leave_one_out
        self.enter = nn.Linear(n, width)
        self.group_tokens: nn.Parameter | None = None
        if config.knows_groups:
            self.group_tokens = nn.Parameter(0.1 * torch.randn(len(sizes), width))
        self.attention = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, N_HEADS, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(config.depth)
        )
        self.token = nn.Linear(width, TOKEN_LENGTH)
        self.group_gain = nn.Linear(width, 1, bias=False)
        self.feature_gain = nn.Sequential(
            nn.Linear(N_FEATURE_STATISTICS + TOKEN_LENGTH, config.hidden),
            nn.GELU(),
            nn.Linear(config.hidden, 1, bias=False),
        )
        self.head = nn.Linear(width, 2, bias=False) if config.head else None
        # So training starts where nothing is generated. There are no biases, because a factor that
        # all gains share changes no cosine, and the head has learned values that these change.
        for layer in (self.group_gain, self.feature_gain[-1], self.head):
            for weight in layer.parameters() if layer is not None else ():
                nn.init.zeros_(weight)

    def forward(
        self,
        support: Float[Tensor, "tasks support features"],
        support_y: Int[Tensor, "tasks support"],
        way: int,
    ) -> Float[Tensor, "tasks features"]:
        """Generate the gain of each feature, in 32 bits or more."""
        return self.generate(support, support_y, way)["gains"]

    def generate(
        self,
        support: Float[Tensor, "tasks support features"],
        support_y: Int[Tensor, "tasks support"],
        way: int,
    ) -> dict[str, Tensor]:
        """Generate everything, in 32 bits or more.

        Returns:
            ``gains`` [tasks, features]; and with ``config.head`` the changes ``log_scale`` and
            ``log_strength`` [tasks, 1, 1] of the logs of temperature and strength.
        """
        with without_autocast(support.device):
            wide = torch.promote_types(support.dtype, torch.float32)
            log_gains, tokens = self.read(support.to(wide), support_y, way)
            gains = log_gains.clamp(-MAX_LOG_GAIN, MAX_LOG_GAIN).exp()
            if self.head is None:
                return {"gains": gains}
            changes: Tensor = self.head(tokens.mean(1))[:, None]
            log_scale, log_strength = changes.split(1, 2)
            return {"gains": gains, "log_scale": log_scale, "log_strength": log_strength}

    def read(self, support: Tensor, support_y: Tensor, way: int) -> tuple[Tensor, Tensor]:
        """Compute the log gains and the tokens of all groups, in the precision of the support."""
        tasks, samples = support.shape[:2]
        between, within, total = class_variances(support, support_y, way)
        floor = FLOOR * total.mean(1, keepdim=True) + EPS**2
        ratios = [((v + floor) / (total + floor)).log() for v in (between, within)]
        pooled = [self.pool(v) for v in (between, within, total)]
        per_task = support.new_tensor([way / samples, 3 / way])
        statistics = [
            *(v / (pooled[2] + EPS) for v in pooled[:2]),
            (pooled[2] * self.sizes + EPS).log() / 3,
            self.pool(ratios[0] - ratios[1]),
            *per_task[:, None, None].expand(-1, tasks, len(self.groups)),
        ]
        if self.leaves_one_out:
            statistics += self.leave_one_out(support, support_y, way)
        tokens = self.enter(torch.stack(statistics, -1))
        if self.group_tokens is not None:
            tokens = tokens + self.group_tokens
        for layer in self.attention:
            tokens = layer(tokens)
        size = self.sizes[self.group_of_feature]
        inputs = [
            *ratios,
            (total * size + EPS).log() / 3,
            per_task[0].expand_as(total),
            *self.token(tokens)[:, self.group_of_feature].unbind(-1),
        ]
        of_groups = GROUP_RATE * self.group_gain(tokens)[:, self.group_of_feature, 0]
        log_gains = self.feature_gain(torch.stack(inputs, -1))[..., 0] + of_groups
        if not self.one_shot:
            log_gains = (1 - per_task[0]) * log_gains
        return log_gains, tokens

    def pool(self, values: Float[Tensor, "tasks features"]) -> Float[Tensor, "tasks groups"]:
        """Compute the mean over the features of each group."""
        sums = values.new_zeros(len(values), len(self.groups))
        return sums.index_add(1, self.group_of_feature, values) / self.sizes

    def leave_one_out(
        self, support: Tensor, support_y: Tensor, way: int
    ) -> list[Float[Tensor, "tasks groups"]]:
        """Measure how well each group alone predicts each sample's label from all the others.

        In closed form: with the kernel K of a ridge regression and R = (K + strength I)^-1, the
        prediction for sample i without it is ``y_i - (R y)_i / R_ii``.

        Returns:
            Squared error, cross-entropy, and the mean cosine within classes less that between; the
            parts that need two samples of a class are 0 where each class has one.
        """
        y = one_hot(support_y, way).to(support)
        centred = support - support.mean(1, keepdim=True)
        rows = [F.normalize(part, dim=-1) for part in centred.split(self.groups, -1)]
        kernels = torch.stack([x @ x.mT for x in rows], 1)
        samples = y.shape[1]
        eye = torch.eye(samples).to(kernels)
        inverse = torch.linalg.inv(kernels + LEAVE_ONE_OUT_STRENGTH * eye)
        targets = (y - 1 / way)[:, None]
        diagonal = inverse.diagonal(dim1=-2, dim2=-1)[..., None]
        predicted = targets - (inverse @ targets) / diagonal
        error = (predicted - targets).square().mean((2, 3)) / targets.square().mean((2, 3))
        log_p = (LEAVE_ONE_OUT_SCALE * predicted).log_softmax(-1)
        entropy = -(log_p * y[:, None]).sum(-1).mean(-1) / math.log(way)
        is_same = (y @ y.mT)[:, None]
        other = is_same * (1 - eye)
        near = (kernels * other).sum((2, 3)) / other.sum((2, 3)).clamp_min(1)
        far = (kernels * (1 - is_same)).sum((2, 3)) / (1 - is_same).sum((2, 3))
        varies = float(samples > way)
        return [varies * error, varies * entropy, varies * near - far]


def class_variances(
    support: Float[Tensor, "tasks support features"],
    support_y: Int[Tensor, "tasks support"],
    way: int,
) -> tuple[
    Float[Tensor, "tasks features"],
    Float[Tensor, "tasks features"],
    Float[Tensor, "tasks features"],
]:
    """Compute the variance of each feature between class means, within classes, and in total.

    Args:
        support: Features of the support samples.
        support_y: Their labels; every class occurs.
        way: Number of classes.
    """
    means = class_means(support, support_y, way)
    own = means.gather(1, support_y.long()[..., None].expand_as(support))
    within = (support - own).square().sum(1) / max(support.shape[1] - way, 1)
    # The squares one by one: `Tensor.var` over an axis that is not the last takes several times as
    # long.
    between, total = ((x - x.mean(1, keepdim=True)).square().mean(1) for x in (means, support))
    return between, within, total
