"""Base classes of classifiers: those that attend to their support, and those that are networks."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence

from jaxtyping import Float, Int
from torch import Tensor, nn

from lgmnet.episode import check_every_class_shown
from lgmnet.methods.base import Classifier, QueryAnalysis
from lgmnet.nn.matching import Scale, Similarity, match_support, matching_log_p
from lgmnet.nn.stateless import StatelessNetwork, Statistics, Weights


class AttentionClassifier(Classifier):
    """Classifier whose queries attend to keys of the support by their similarity.

    Args:
        keys: Support samples, or one key for each class, in the space in which queries are
            compared.
        support_y: Label of each key.
        way: Number of classes.
        scale: Inverse temperature of the attention; part of the state if it is a tensor.
        similarity: Similarity of a query to a key.
    """

    keys: Tensor
    support_y: Tensor
    scale: Tensor | float

    def __init__(
        self,
        keys: Float[Tensor, "tasks support features"],
        support_y: Int[Tensor, "tasks support"],
        way: int,
        scale: Scale,
        similarity: Similarity = "cosine",
    ) -> None:
        super().__init__()
        self.way = way
        self.similarity: Similarity = similarity
        self.register_buffers({"keys": keys, "support_y": support_y})
        if isinstance(scale, Tensor):
            self.register_buffer("scale", scale)
        else:
            self.scale = scale

    @abstractmethod
    def embed_queries(
        self, query_x: Float[Tensor, "tasks query *feature"]
    ) -> Float[Tensor, "tasks query features"]:
        """Embed queries in the space of the keys."""

    def forward(
        self, query_x: Float[Tensor, "tasks query *feature"]
    ) -> Float[Tensor, "tasks query way"]:
        """Compute log-probabilities of each query with `matching_log_p`."""
        return matching_log_p(self.embed_queries(query_x), *self._get_keys())

    def analyze(self, query_x: Float[Tensor, "tasks query *feature"]) -> QueryAnalysis:
        """See `Classifier.analyze`."""
        queries = self.embed_queries(query_x)
        match = match_support(queries, *self._get_keys())
        return QueryAnalysis(match.log_p, match.similarity, match.attention, queries)

    def _get_keys(self) -> tuple[Tensor, Tensor, int, Scale, Similarity]:
        """Return the arguments of `matching_log_p` behind the queries."""
        return self.keys, self.support_y, self.way, self.scale, self.similarity

    @property
    def support_embedding(self) -> Float[Tensor, "tasks keys features"]:
        """See `Classifier.support_embedding`."""
        return self.keys


def select_keys(state: Mapping[str, Tensor], way: int) -> tuple[Tensor, Tensor]:
    """Select keys and labels of an `AttentionClassifier` from its state.

    Raises:
        KeyError, RuntimeError: if one is missing or has another shape.
        EpisodeError: if a class has no key.
    """
    check_shapes(state, {"support_y": (1, None)})
    keys, labels = state["keys"], state["support_y"]
    check_shapes(state, {"keys": (1, labels.shape[1], None)})
    if not labels.is_meta:  # There, tensors have no values.
        check_every_class_shown(labels, way)
    return keys, labels


def check_shapes(state: Mapping[str, Tensor], shapes: Mapping[str, Sequence[int | None]]) -> None:
    """Check tensors of a classifier's state by name and shape; None stands for any length.

    Raises:
        KeyError, RuntimeError: if one is missing or has another shape.
    """
    for name, shape in shapes.items():
        came = tuple(state[name].shape)
        expected = tuple(m if n is None else n for m, n in zip(came, shape, strict=False))
        if len(came) != len(shape) or came != expected:
            raise RuntimeError(f"'{name}' has the shape {came}, expected {tuple(shape)}")


class NetworkClassifier(Classifier):
    """Network with weights of each task, linear head included.

    Args:
        network: Network without its weights.
        weights: Weights of each task.
        statistics: Statistics of each task's support set in each layer.
        embedding: Layers that samples pass before the network; None for none.
        query_statistics: If True, queries are normalized by the statistics of all queries of their
            task, else by those of the support set.
    """

    def __init__(
        self,
        network: StatelessNetwork,
        weights: Weights,
        statistics: Statistics,
        embedding: nn.Module | None = None,
        *,
        query_statistics: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.way = weights["head_bias"].shape[-1]
        self.embedding = nn.Identity() if embedding is None else embedding
        self.query_statistics = query_statistics
        self.register_buffers(weights | statistics)

    @property
    def weights(self) -> Weights:
        """Weights by name."""
        return self.get_buffers(self.network.weight_shapes(self.way))

    def forward(
        self, query_x: Float[Tensor, "tasks query *feature"]
    ) -> Float[Tensor, "tasks query way"]:
        """Compute log-probabilities of each query."""
        x = embed_samples(self.embedding, query_x)

        def answer(weights: Weights, statistics: Statistics, query: Tensor) -> Tensor:
            return self.network(weights, query, None if self.query_statistics else statistics)

        statistics = self.get_buffers(self.network.statistics_names)
        log_p: Tensor = self.network.over_tasks(answer, x.device)(self.weights, statistics, x)
        return log_p


def embed_samples(
    embedding: nn.Module, x: Float[Tensor, "tasks samples *feature"]
) -> Float[Tensor, "tasks samples *feature"]:
    """Pass every sample of every task through layers that do not depend on the task."""
    embedded: Tensor = embedding(x.flatten(0, 1))
    return embedded.view_as(x)
