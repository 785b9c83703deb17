"""What every method implements: adapting is a pure function from a support set to a classifier."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.episode import check_every_class_shown, check_samples
from lgmnet.input_spec import InputSpec


@dataclass(frozen=True)
class QueryAnalysis:
    """All that a classifier can say about queries, computed in one pass.

    The tasks axis is absent where a person's classifier, which is one task, is asked.
    """

    log_p: Float[Tensor, "*tasks query way"]
    """Log-probability of each class."""
    similarity: Float[Tensor, "*tasks query"] | None = None
    """Similarity to the most likely class, whatever the other classes are: the lower, the more
    likely a query belongs to no class. None if the method compares classes only with each other."""
    support_attention: Float[Tensor, "*tasks query keys"] | None = None
    """Share of each answer that each support sample accounts for; rows sum to 1, and the entries of
    a class's samples sum to its probability. With the head ``means`` there is one column for each
    class. None if the method does not attend to its support."""
    embedding: Float[Tensor, "*tasks query features"] | None = None
    """Queries as they are compared with the support; None if the method does not do that."""


class Classifier(nn.Module, ABC):
    """A support set turned into a classifier; holds all that answering needs and nothing else.

    Its ``state_dict`` is complete, so a classifier can be written to a file and read back without
    the method that made it.
    """

    way: int

    @abstractmethod
    def forward(
        self, query_x: Float[Tensor, "tasks query *feature"]
    ) -> Float[Tensor, "tasks query way"]:
        """Compute log-probabilities of each query.

        No query's answer depends on another query, unless the method is
        `Method.is_transductive`.
        """

    def analyze(self, query_x: Float[Tensor, "tasks query *feature"]) -> QueryAnalysis:
        """Compute log-probabilities and whatever else this classifier can say about queries."""
        return QueryAnalysis(self(query_x))

    @property
    def support_embedding(self) -> Float[Tensor, "tasks keys features"] | None:
        """Keys that queries are compared with, in the space of `QueryAnalysis.embedding`.

        None if the method does not compare queries with its support.
        """
        return None


class Method(nn.Module, ABC):
    """A few-shot learner: one file of `lgmnet.methods`, one paper."""

    is_transductive: bool = False
    """Whether a query's answer may depend on the other queries (said in every protocol line)."""

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

    @classmethod
    def input_spec(cls, config: Any) -> InputSpec:
        """Describe the samples that a method with this config takes."""
        return InputSpec(tuple(config.feature_shape))

    @property
    def inputs(self) -> InputSpec:
        """Samples that this method takes."""
        return self.input_spec(self.config)

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
