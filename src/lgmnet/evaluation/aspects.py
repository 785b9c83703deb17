"""Words for the criterion of a classifier: shares of aspects such as texture or place.

Which group of features belongs to which word is not decided by anybody, but measured: on training
tasks of known criteria.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lgmnet.config import require
from lgmnet.data.sampler import Sampler
from lgmnet.data.synthetic.criterion_pool import CriterionPool
from lgmnet.episode import EpisodeShape
from lgmnet.errors import ConfigError, EpisodeError
from lgmnet.methods.base import Method
from lgmnet.progress import track_progress

THINGS = "things"
"""Aspect of what is shown, such as the class; all others are looks."""
MIN_SHARE = 1e-3
"""Added to the share of each group in a profile, so that none is impossible."""
N_STEPS = 100
"""Steps of expectation maximization, each of which cannot make the mixture less likely."""
WAYS, SHOTS = (2, 3, 4, 5), (3, 5, 8)
"""Shapes of the tasks that profiles are measured on. One shot does not show the criterion."""
TASKS_PER_SHAPE = 24


@dataclass(frozen=True)
class Profile:
    """Shares that the groups of features have in classifiers by one criterion.

    Raises:
        ConfigError: if the shares are not positive, or do not sum to 1.
    """

    criterion: str
    """Name of the factor that decided."""
    aspect: str
    """Word for it; several criteria may share one."""
    shares: tuple[float, ...]
    """Share of each group."""

    def __post_init__(self) -> None:
        valid = all(share > 0 for share in self.shares) and abs(sum(self.shares) - 1) < 1e-3
        require(self, "shares", valid, "positive numbers that sum to 1")


@torch.inference_mode()
def measure_profiles(method: Method, pool: CriterionPool, seed: int = 0) -> tuple[Profile, ...]:
    """Measure the profile of each criterion of a pool, on tasks of several shapes.

    Args:
        method: Method in evaluation mode.
        pool: Training samples. Validation and test classes are left for checking the words.
        seed: Seed of the tasks.

    Raises:
        ConfigError: if the method has no groups of features.
    """
    generator = torch.Generator().manual_seed(seed)
    profiles = []
    with track_progress("profiles", len(pool.criteria)) as progress:
        for criterion in pool.criteria:
            sampler = Sampler(pool.with_weights({criterion: 1.0}), generator)
            shares = []
            for way in WAYS:
                for shot in SHOTS:
                    try:
                        tasks = sampler.sample(EpisodeShape(way, shot, 1, TASKS_PER_SHAPE))
                    except EpisodeError:  # The criterion has fewer values or images.
                        continue
                    classifier = method.adapt(tasks.support_x, tasks.support_y, way)
                    if classifier.group_shares is None:
                        raise ConfigError(
                            f"A {type(method).__name__} of this config has no groups of features, "
                            "so there is nothing to name that it judges by."
                        )
                    shares.append(classifier.group_shares)
            aspect = pool.table.factors[pool.table.column(criterion)].aspect
            mean = torch.cat(shares).double().mean(0) + MIN_SHARE
            profiles.append(Profile(criterion, aspect, tuple((mean / mean.sum()).tolist())))
            progress.advance()
    return tuple(profiles)


def explain_shares(
    shares: Float[Tensor, " groups"], profiles: Sequence[Profile]
) -> dict[str, float]:
    """Explain the shares of a classifier's groups as a mixture of measured profiles.

    The mixture is the most likely one: of all weights that sum to 1, those with the largest
    ``sum over groups of share * log(sum over profiles of weight * profile)``, found by expectation
    maximization.

    Args:
        shares: Share of each group; they sum to 1.
        profiles: Profiles of known criteria, at least one.

    Returns:
        Share of each aspect, the largest first; they sum to 1.
    """
    known = torch.tensor([profile.shares for profile in profiles], dtype=torch.float64)
    shares = shares.double().cpu()
    weights = torch.full((len(known),), 1 / len(known), dtype=torch.float64)
    for _ in range(N_STEPS):
        parts = weights[:, None] * known
        weights = (parts / parts.sum(0)) @ shares
    mixture: dict[str, float] = {}
    for profile, weight in zip(profiles, weights.tolist(), strict=True):
        mixture[profile.aspect] = mixture.get(profile.aspect, 0.0) + weight
    return dict(sorted(mixture.items(), key=lambda item: -item[1]))


def emphasize(
    profiles: Sequence[Profile], by: Literal["things", "looks"]
) -> Float[Tensor, " groups"]:
    """Compute factors of the gains of groups for a person who says what counts.

    With one image of each class nothing in the images can tell. The factor is the root of the part
    that a group has in the profiles of things, or in those of looks.

    Args:
        profiles: Profiles of known criteria, of things and of looks.
        by: What counts.

    Raises:
        ConfigError: if no profile is of things, or none of looks.
    """
    things, looks = (
        torch.tensor([p.shares for p in profiles if (p.aspect == THINGS) == is_thing])
        for is_thing in (True, False)
    )
    if not (len(things) and len(looks)):
        raise ConfigError(
            f"This model does not know things from looks, so it cannot judge by '{by}'. Use "
            "'auto', or a model that was trained by criterion, such as 'photos'."
        )
    wanted, other = (things, looks) if by == THINGS else (looks, things)
    return (wanted.mean(0) / (wanted.mean(0) + other.mean(0))).sqrt()
