"""Small models that know things from looks: of vectors, and of drawings."""

from __future__ import annotations

from lgmnet.data.synthetic.criterion_pool import CriterionPool
from lgmnet.evaluation.aspects import Profile, measure_profiles
from lgmnet.methods import LGMNetConfig
from lgmnet.model.model import Model
from lgmnet.model.training_record import TrainingRecord
from lgmnet.nn.embedding import EmbeddingConfig
from lgmnet.nn.layer_axes import LayerAxes
from lgmnet.nn.matching import HeadConfig
from lgmnet.nn.target import TargetConfig
from tests.support.models import build_method

RECORD = TrainingRecord("toy", "toy", "train", "0" * 12, None, {"seed": 0, "steps": 0})


def ridge_config(embedding: EmbeddingConfig) -> LGMNetConfig:
    """Build the config of an LGM-Net that has gains of features and a ridge head."""
    target = TargetConfig((), pooled=False, gains=True)
    return LGMNetConfig(embedding, target, HeadConfig("ridge"), context=None)


def vector_model(embedding: EmbeddingConfig, pool: CriterionPool) -> Model:
    """Build a model of vectors whose axes and profiles are those of a pool of samples."""
    method = build_method("lgm-net", ridge_config(embedding)).eval()
    assert isinstance(method.embedding, LayerAxes)
    values = pool.table.values
    method.embedding.fit(pool.samples, ("class",), values[:, :1], pool.table.images)
    profiles = measure_profiles(method, pool)
    return Model(method, "lgm-net", RECORD, name="toy", profiles=profiles)


def drawing_model() -> Model:
    """Build a model of drawings with random weights and made-up profiles."""
    embedding = EmbeddingConfig(widths=(8, 8), pooled=(True, True), readout="layers")
    method = build_method("lgm-net", ridge_config(embedding)).eval()
    n = len(embedding.groups)
    profiles = []
    for criterion, aspect, group in (
        ("character", "things", n - 1),
        ("noise", "texture", 0),
        ("size", "place and size", 1),
    ):
        shares = [0.01] * n
        shares[group] = 1 - 0.01 * (n - 1)
        profiles.append(Profile(criterion, aspect, tuple(shares)))
    return Model(method, "lgm-net", RECORD, name="toy", profiles=tuple(profiles))
