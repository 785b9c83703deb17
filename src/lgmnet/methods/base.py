"""What every method implements: adapting is a pure function from a support set to a classifier."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.episode import check_every_class_shown, check_samples
from lgmnet.errors import ConfigError


class Classifier(nn.Module, ABC):
    """What a method makes of a support set; holds all that answering needs, and nothing else.

    Its ``state_dict`` is the whole of it, so a classifier can be written to a file and read back
    without the method that made it.
    """

    way: int

    @abstractmethod
    def forward(
        self, query_x: Float[Tensor, "tasks query *feature"]
    ) -> Float[Tensor, "tasks query way"]:
        """Log-probabilities of each query.

        No query's answer depends on another query, unless the method is `Method.is_transductive`.
        """

    def attention(
        self, query_x: Float[Tensor, "tasks query *feature"]
    ) -> Float[Tensor, "tasks query support"]:
        """How much each support sample carries of each query's answer.

        A query's sum to 1, and those of a class's samples to the probability of the class.

        Raises:
            ConfigError: if the method does not answer by attention over its support samples.
        """
        raise ConfigError(
            f"A {type(self).__name__} does not answer by attention over its support samples, so "
            "none of them can be said to have carried an answer."
        )

    def similarity(
        self, query_x: Float[Tensor, "tasks query *feature"]
    ) -> Float[Tensor, "tasks query"]:
        """How like its most likely class each query is, whatever the other classes are.

        The less, the more likely a query is of none of them.

        Raises:
            ConfigError: if the method compares classes only with each other.
        """
        raise ConfigError(
            f"A {type(self).__name__} compares classes only with each other, so it cannot say "
            "that a query is of none of them."
        )


class Method(nn.Module, ABC):
    """A few-shot learner: one file of `lgmnet.methods`, one paper."""

    is_transductive: bool = False
    """Whether a query's answer may depend on the other queries (said in every protocol line)."""

    any_length: ClassVar[bool] = False
    """Whether it takes vectors of any length, whatever ``feature_shape`` its config has."""

    remark: ClassVar[str] = ""
    """What every model card of the method is to say, as a paragraph; empty for nothing."""

    config_type: ClassVar[type[Any]]
    """The frozen dataclass of the method's config."""

    config: Any
    """With it and a ``state_dict`` the method can be made again."""

    embedding: nn.Module
    """What every sample passes first, whatever its task; an identity where there is nothing."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Identity()

    @property
    def device(self) -> torch.device:
        """Where its weights lie; the CPU if it has none."""
        return next(self.parameters(), torch.empty(0)).device

    @property
    def is_trainable(self) -> bool:
        """Whether there is anything that meta-training could change."""
        return any(p.requires_grad for p in self.parameters())

    def prepare(
        self,
        samples: Num[Tensor, "samples *feature"],
        labels: Int[Tensor, " samples"],
        groups: Int[Tensor, " classes"] | None,
    ) -> None:
        """Look at all training samples, once, before the first step; most methods need not.

        Args:
            samples: Of all training classes, as they are stored.
            labels: The class of each, ``0..classes-1``.
            groups: What each class belongs to, from which tasks may be drawn; or None.
        """

    def without_embedding(self) -> Method:
        """This method for samples that have passed its embedding already; shares all weights."""
        behind = copy.copy(self)
        behind._modules = {**self._modules, "embedding": nn.Identity()}
        return behind

    def adapt(
        self,
        support_x: Float[Tensor, "tasks support *feature"],
        support_y: Int[Tensor, "tasks support"],
        way: int,
        *,
        generator: torch.Generator | None = None,
    ) -> Classifier:
        """Turn each task's support set into a classifier; nothing is stored on the method.

        Args:
            support_x: Support samples. Any order, and any number of at least one for each class.
            support_y: Their labels, ``0..way-1``.
            way: Number of classes.
            generator: Source of the method's randomness; None gives the method's best single guess.

        Raises:
            EpisodeError: if these do not make a support set.
        """
        check_samples("support", support_x, support_y, way)
        check_every_class_shown(support_y, way)
        return self._adapt(support_x, support_y, way, generator)

    @abstractmethod
    def _adapt(
        self, support_x: Tensor, support_y: Tensor, way: int, generator: torch.Generator | None
    ) -> Classifier:
        """What the paper does, on a checked support set."""

    @classmethod
    @abstractmethod
    def restore(cls, config: Any, way: int, state: Mapping[str, Tensor]) -> Classifier:
        """The classifier that `adapt` once made, from the config, ``way`` and its ``state_dict``.

        Raises:
            KeyError, RuntimeError: if ``state`` is not of such a classifier.
        """

    def forward(
        self,
        support_x: Float[Tensor, "tasks support *feature"],
        support_y: Int[Tensor, "tasks support"],
        query_x: Float[Tensor, "tasks query *feature"],
        way: int,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "tasks query way"]:
        """Adapt and answer at once."""
        answer: Tensor = self.adapt(support_x, support_y, way, generator=generator)(query_x)
        return answer

    def learn(
        self,
        support_x: Float[Tensor, "tasks support *feature"],
        support_y: Int[Tensor, "tasks support"],
        query_x: Float[Tensor, "tasks query *feature"],
        query_y: Int[Tensor, "tasks query"],
        way: int,
        generator: torch.Generator | None = None,
        classes: Int[Tensor, "tasks way"] | None = None,
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "tasks query way"]]:
        """What one step of training makes small, and the queries' log-probabilities.

        Args:
            support_x: Support samples.
            support_y: Their labels.
            query_x: Query samples.
            query_y: Their labels.
            way: Number of classes of a task.
            generator: Source of the method's randomness.
            classes: Numbers of the tasks' classes among all training classes, for methods that
                learn to tell all of those apart.
        """
        log_p = self(support_x, support_y, query_x, way, generator)
        return F.nll_loss(log_p.flatten(0, 1), query_y.flatten()), log_p
