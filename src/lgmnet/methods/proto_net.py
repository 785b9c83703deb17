"""Prototypical Networks: a class is the mean of its support samples."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lgmnet.methods.metric import MetricConfig, MetricMethod
from lgmnet.nn.matching import HeadConfig


@dataclass(frozen=True)
class ProtoNetConfig(MetricConfig):
    """All parts of a Prototypical Network; see `MetricConfig`.

    Raises:
        ConfigError: if a field has a value that is not allowed.

    >>> ProtoNetConfig().head.kind
    'euclidean'
    """

    head: HeadConfig = HeadConfig("euclidean", temperature=None)
    """``euclidean``: squared distances, as in the paper; ``means``: cosines, the alternative."""

    @staticmethod
    def upgrade(values: Mapping[str, Any]) -> dict[str, Any]:
        """Rename the fields that had other names in earlier files (see `lgmnet.config`)."""
        values = MetricConfig.upgrade(values)
        if "distance" in values:
            kinds = {"euclidean": "euclidean", "cosine": "means"}
            kind = kinds.get(values["distance"], values.pop("distance"))
            values["head"] = {"kind": kind, "temperature": values.pop("temperature", None)}
        return values


class ProtoNet(MetricMethod):
    """Prototypical Networks for Few-shot Learning (Snell, Swersky and Zemel, NeurIPS 2017).

    https://arxiv.org/abs/1703.05175

    Every sample is embedded. The prototype of a class is the mean of its support samples'
    embeddings, and a query belongs to the classes whose prototypes are near::

        c_k = mean over the support samples x of class k of embedding(x)      (1)
        p(k | x) = softmax over k of -scale * |embedding(x) - c_k|^2          (2)

    The mean is that of samples of unit length where cosines stand in place of distances.

    >>> import torch
    >>> method = ProtoNet(ProtoNetConfig()).eval()
    >>> support_x, support_y = torch.rand(2, 5, 1, 28, 28), torch.arange(5).expand(2, -1)
    >>> classifier = method.adapt(support_x, support_y, way=5)  # Two tasks, 5-way 1-shot.
    >>> classifier(torch.rand(2, 3, 1, 28, 28)).shape
    torch.Size([2, 3, 5])
    """

    config_type = ProtoNetConfig
    config: ProtoNetConfig
