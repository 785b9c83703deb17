"""The interface of all methods: adapting is a pure function from a support set to a classifier."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.episode import Episode, check_every_class_shown, check_samples
from lgmnet.errors import ConfigError
from lgmnet.input_spec import InputSpec


@dataclass(frozen=True)
class QueryAnalysis:
    """Answers of a classifier to queries, with everything it can say about them, from one pass.

    A fitted classifier is one task, so its analyses have no tasks axis.

    >>> import torch
    >>> from lgmnet.methods import MatchingNet, MatchingNetConfig
    >>> method = MatchingNet(MatchingNetConfig()).eval()
    >>> classifier = method.adapt(torch.rand(1, 2, 1, 28, 28), torch.tensor([[0, 1]]), way=2)
    >>> classifier.analyze(torch.rand(1, 3, 1, 28, 28)).support_attention.shape
    torch.Size([1, 3, 2])
    """

    log_p: Float[Tensor, "*tasks query way"]
    """Log-probability of each class."""
    similarity: Float[Tensor, "*tasks query"] | None = None
    """Similarity to the most likely class, whatever the other classes are: the lower, the more
    likely a query belongs to no class. None if the method compares classes only with each other."""
    support_attention: Float[Tensor, "*tasks query keys"] | None = None
    """Share of each answer that each support sample accounts for; rows sum to 1, and the entries of
    a class's samples sum to its probability. With any head but ``attention`` there is one column
    for each class. None if the method does not attend to its support."""
    embedding: Float[Tensor, "*tasks query features"] | None = None
    """Queries as they are compared with the support; None if the method does not do that."""


class Classifier(nn.Module, ABC):
    """A support set turned into a classifier; holds all that answering needs and nothing else.

    Its ``state_dict`` is complete, so a classifier can be written to a file and read back without
    the method that made it.

    >>> import torch
    >>> from lgmnet.methods import RandomWeights, RandomWeightsConfig
    >>> method = RandomWeights(RandomWeightsConfig()).eval()
    >>> classifier = method.adapt(torch.rand(1, 2, 1, 28, 28), torch.tensor([[0, 1]]), way=2)
    >>> classifier.way
    2
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

    def share_support(
        self,
        analysis: QueryAnalysis,
        support: Float[Tensor, "tasks support features"],
        support_y: Int[Tensor, "tasks support"],
    ) -> Float[Tensor, "tasks query support"] | None:
        """Compute the share of each answer that each support sample accounts for.

        For classifiers that no longer need their support, and so get it again.

        Args:
            analysis: Answers to queries (see `analyze`).
            support: Support samples that the classifier was adapted to, embedded as queries are
                (`QueryAnalysis.embedding`).
            support_y: Their labels.

        Returns:
            As `QueryAnalysis.support_attention`; None if answers cannot be traced back.
        """
        return None

    @property
    def group_shares(self) -> Float[Tensor, "tasks groups"] | None:
        """Share of each group of features in what decides; shares of a task sum to 1.

        None if the features have no groups, or the classes are not linear functions of them.
        """
        return None

    def register_buffers(self, tensors: Mapping[str, Tensor]) -> None:
        """Register several buffers by name."""
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)

    def get_buffers(self, names: Iterable[str]) -> dict[str, Tensor]:
        """Return several buffers by name."""
        return {name: self.get_buffer(name) for name in names}

    def load(self, state: Mapping[str, Tensor]) -> Classifier:
        """Load a ``state_dict`` and switch to evaluation.

        Raises:
            RuntimeError: if it does not belong to such a classifier.
        """
        self.load_state_dict(state)
        return self.eval()


@dataclass(frozen=True, eq=False)
class TrainingFactors:
    """Values of the factors, such as class or blur, of all samples that a method is trained on.

    A task chooses one factor as its criterion, and its classes are values of it.
    """

    names: tuple[str, ...]
    """Names of the factors."""
    values: Int[Tensor, "samples factors"]
    """Value of each factor in each sample; negative where it was left as it is or is unknown."""
    images: Int[Tensor, " samples"]
    """Number of the underlying image of each sample; several samples may show the same one."""
    groups: Int[Tensor, " samples"]
    """Number of the data set of each sample; the samples of a task are from one."""

    def labels(self, name: str) -> Int[Tensor, " samples"]:
        """Return the value of one factor in each sample."""
        return self.values[:, self.names.index(name)]


class Method(nn.Module, ABC):
    """Few-shot learner: one file of `lgmnet.methods`, one paper.

    >>> from lgmnet.methods import ProtoNet, ProtoNetConfig
    >>> isinstance(ProtoNet(ProtoNetConfig()), Method)
    True
    """

    config_type: ClassVar[type[Any]]
    """Frozen dataclass of the method's config."""

    card_note: ClassVar[str] = ""
    """Paragraph in the model card of every model of this method; empty for none."""

    training_modules: ClassVar[tuple[str, ...]] = ()
    """Names of child modules that only training uses; model folders leave them out."""

    is_transductive: bool = False
    """True if a query's answer may depend on the other queries; stated with every score."""

    config: Any
    """With it and `inference_state` the method can be built again."""

    embedding: nn.Module
    """Layers that every sample passes first, whatever its task; an identity if there are none."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Identity()

    @classmethod
    def input_spec(cls, config: Any) -> InputSpec:
        """Describe the samples that a method with this config takes."""
        return InputSpec(tuple(config.embedding.feature_shape))

    @property
    def inputs(self) -> InputSpec:
        """Samples that this method takes."""
        return self.input_spec(self.config)

    @property
    def device(self) -> torch.device:
        """Device of the weights; the CPU if there are none."""
        return next(self.parameters(), torch.empty(0)).device

    @property
    def is_trainable(self) -> bool:
        """True if there is anything that meta-training could change."""
        return any(p.requires_grad for p in self.parameters())

    def prepare(
        self,
        samples: Num[Tensor, "samples *feature"],
        labels: Int[Tensor, " samples"],
        groups: Int[Tensor, " classes"] | None,
    ) -> None:
        """Prepare for a finite set of training classes, once, before the first step.

        Most methods do nothing here. It is not called for data with infinitely many classes, nor
        for tasks by criterion (see `prepare_for_criteria`).

        Args:
            samples: Samples of all training classes, as they are stored.
            labels: Class of each sample, ``0..classes-1``.
            groups: Group of each class, from which tasks may be drawn; or None.
        """

    def prepare_for_criteria(
        self, samples: Num[Tensor, "samples *feature"], factors: TrainingFactors
    ) -> Tensor | None:
        """Prepare for training tasks by criterion over a finite table, once, before the first step.

        Most methods do nothing here. For such data it is called in place of `prepare`. A method
        whose embedding is fitted here and then stays as it is may return the embedded samples,
        [samples, *embedding]; training goes on with them.

        Args:
            samples: All training samples, as they are stored: float16 for many features.
            factors: What is known of each sample.
        """
        return None

    def start_from(self, other: Method) -> None:
        """Take over what training starts from: here the weights of the same method.

        Parts without weights may differ.

        Args:
            other: Trained method.

        Raises:
            RuntimeError: if it does not fit.
        """
        if type(other) is not type(self):
            raise RuntimeError(f"it is a {type(other).__name__}")
        self.load_state_dict(other.inference_state())

    def inference_state(self) -> dict[str, Tensor]:
        """Collect the ``state_dict`` without the modules that only training uses."""
        prefixes = tuple(f"{name}." for name in self.training_modules)
        return {n: t for n, t in self.state_dict().items() if not n.startswith(prefixes)}

    def without_embedding(self) -> Method:
        """Copy this method for samples that are embedded already; all weights are shared."""
        copied = copy.copy(self)
        copied._modules = {**self._modules, "embedding": nn.Identity()}
        return copied

    def with_emphasis(self, factors: Float[Tensor, " groups"]) -> Method:
        """Copy this method for a support whose criterion is known; all weights are shared.

        Args:
            factors: Factor of the gains of each group of features.

        Raises:
            ConfigError: if features have no gains.
        """
        raise ConfigError(
            f"A {type(self).__name__} of this config has no gains of features, so nobody can say "
            "what counts. Use 'auto'."
        )

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
            support_x: Support samples, in any order, at least one for each class.
            support_y: Their labels, ``0..way-1``.
            way: Number of classes.
            generator: Source of the method's randomness; None gives its best single guess.

        Raises:
            EpisodeError: if these do not make a support set.
        """
        is_recorded = support_x.is_cuda and torch.cuda.is_current_stream_capturing()
        if not is_recorded:  # The recording of a CUDA graph cannot read values.
            check_samples("support", support_x, support_y, way)
            check_every_class_shown(support_y, way)
        return self._adapt(support_x, support_y, way, generator)

    @abstractmethod
    def _adapt(
        self, support_x: Tensor, support_y: Tensor, way: int, generator: torch.Generator | None
    ) -> Classifier:
        """Adapt to a checked support set as the paper does."""

    @classmethod
    @abstractmethod
    def restore(cls, config: Any, way: int, state: Mapping[str, Tensor]) -> Classifier:
        """Rebuild the classifier that `adapt` made from its config, ``way`` and ``state_dict``.

        Raises:
            KeyError, RuntimeError: if ``state`` does not belong to such a classifier.
        """

    def forward(
        self,
        support_x: Float[Tensor, "tasks support *feature"],
        support_y: Int[Tensor, "tasks support"],
        query_x: Float[Tensor, "tasks query *feature"],
        way: int,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "tasks query way"]:
        """Adapt and answer in one call; see `adapt` and `Classifier.forward`."""
        log_p: Tensor = self.adapt(support_x, support_y, way, generator=generator)(query_x)
        return log_p

    def learn(
        self, episode: Episode, generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "tasks query way"]]:
        """Compute the loss of one training step and the queries' log-probabilities.

        Args:
            episode: Batch of training tasks.
            generator: Source of the method's randomness.
        """
        e = episode
        log_p = self._adapt(e.support_x, e.support_y, e.way, generator)(e.query_x)
        return F.nll_loss(log_p.flatten(0, 1), e.query_y.flatten()), log_p
