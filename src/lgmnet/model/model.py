"""Trained method that is saved to a folder and loaded by name, by path or from the hub."""

from __future__ import annotations

import copy
import dataclasses
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from lgmnet.config import coerce, from_json
from lgmnet.criterion import Criterion, check_criterion
from lgmnet.engines.names import AUTO
from lgmnet.engines.runtimes import check_engine
from lgmnet.errors import ConfigError, FileFormatError, to_utf8, unknown_name_error
from lgmnet.evaluation.aspects import Profile, emphasize
from lgmnet.evaluation.evaluate import Score
from lgmnet.evaluation.rejection import Rejection
from lgmnet.input_spec import InputKind, InputSpec
from lgmnet.methods import METHODS
from lgmnet.methods.base import Method
from lgmnet.model.card import format_model_card
from lgmnet.model.folder import read_model_folder, write_model_folder
from lgmnet.model.hub import download_model, is_hub_name, parse_hub_name, upload_model
from lgmnet.model.registry import model_folder
from lgmnet.model.training_record import TrainingRecord
from lgmnet.nn.pretrained import load_backbone
from lgmnet.tensor_file import checksum


@dataclass(frozen=True)
class Model:
    """Trained method with its training record, test scores and rejection thresholds.

    >>> Model.from_pretrained("vectors").method_name
    'lgm-net-vectors'
    """

    method: Method
    method_name: str
    """Key of the method in `lgmnet.methods.METHODS`."""
    training: TrainingRecord
    scores: tuple[Score, ...] = ()
    """Test scores, without the scores of the single episodes."""
    name: str = ""
    half_precision: bool = False
    """If True, the weights are stored in 16 bits: half the size, the same answers to 3 digits."""
    backbone: str = ""
    """Name of the frozen network that embeds photos for the method; empty if there is none."""
    rejections: tuple[Rejection, ...] = ()
    """Thresholds below which a query belongs to none of the classes, at most one for each shot."""
    profiles: tuple[Profile, ...] = ()
    """Aspects that classifiers by known criteria look at (see `lgmnet.evaluation.aspects`)."""
    engine: str = AUTO
    """Engine of its backbone, or of its embedding of drawings (see `lgmnet.engines.engine`); it is
    not stored."""

    @cached_property
    def fingerprint(self) -> str:
        """Short hash of the weights."""
        state = {name: tensor.cpu() for name, tensor in self.method.inference_state().items()}
        return checksum(state, {})[:12]

    @cached_property
    def inference_method(self) -> Method:
        """Copy of the method for inference, made when it is first used and kept.

        Classifiers share its modules, so they stay as they are if the method is trained further or
        moved; what is fitted afterwards needs a new model. For vectors of any length it computes in
        64 bits: in 32 bits, the 7th digit of an answer depends on the other queries of its batch.
        """
        with torch.inference_mode(False):  # MAML adapts by gradients.
            method = copy.deepcopy(self.method)
            return method.double() if method.inputs.any_length else method

    def inference_method_by(self, by: Criterion) -> Method:
        """Return `inference_method` for a criterion that a person states.

        Raises:
            ConfigError: if there is no such criterion, or the model does not know things from
                looks.
        """
        check_criterion(by)
        if by == "auto":
            return self.inference_method
        return self.inference_method.with_emphasis(emphasize(self.profiles, by))

    @property
    def inputs(self) -> InputSpec:
        """Samples that the model takes; photos if it has a backbone.

        Raises:
            UserError: if the package of its backbone is not installed.
        """
        if self.backbone:
            return load_backbone(self.backbone).inputs
        return self.method.inputs

    @property
    def input_kind(self) -> InputKind:
        """Kind of the samples, which does not need the package of the backbone."""
        return "photo" if self.backbone else self.method.inputs.kind

    @property
    def card(self) -> str:
        """Text of the model card, in Markdown."""
        return format_model_card(
            self.name, self.method, self.training, self.backbone, self.scores, self.rejections
        )

    @classmethod
    def from_pretrained(cls, name: str | Path, *, revision: str | None = None) -> Model:
        """Load a shipped model, the model of a folder, or a model of the Hugging Face hub.

        Args:
            name: Name of a shipped model, path of a folder, or name on the hub such as
                ``hub:someone/symbols``. Nothing else needs the network.
            revision: Branch, tag or commit of the hub.

        Raises:
            ConfigError: if there is no such model.
            UserError: if `huggingface_hub` is not installed, or the download fails.
            FileFormatError: if the folder is incomplete, damaged or of another version.
        """
        if not is_hub_name(name):
            return load_model(name)
        repo_id = parse_hub_name(str(name))
        model = load_model(download_model(repo_id, revision))
        return dataclasses.replace(model, name=repo_id.split("/")[1])

    def save_pretrained(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the model as a folder (see `save_model`).

        It holds ``model.safetensors``, ``config.json`` and the model card.
        """
        save_model(self, Path(folder), overwrite=overwrite)

    def push_to_hub(self, repo_id: str, *, private: bool = False) -> str:
        """Upload the model to the Hugging Face hub and return its address.

        Args:
            repo_id: Repository of the hub, such as ``someone/symbols``; created if absent.
            private: If True, a new repository is private.

        Raises:
            UserError: if `huggingface_hub` is not installed, or the upload fails.
        """
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / repo_id.rsplit("/", maxsplit=1)[-1]
            self.save_pretrained(folder)
            return upload_model(folder, repo_id, private=private)

    def with_score(self, score: Score) -> Model:
        """Return a copy with this test score, which replaces an earlier one of the same kind."""
        by_kind = {_sort_key(s): s for s in (*self.scores, dataclasses.replace(score, scores=()))}
        return dataclasses.replace(self, scores=tuple(by_kind[kind] for kind in sorted(by_kind)))

    def with_rejection(self, rejection: Rejection) -> Model:
        """Return a copy with this threshold, which replaces an earlier one of the same shot."""
        by_shot = {r.shot: r for r in (*self.rejections, rejection)}
        return dataclasses.replace(self, rejections=tuple(by_shot[s] for s in sorted(by_shot)))


def _sort_key(score: Score) -> tuple[Any, ...]:
    return (score.data, score.split, score.way, score.shot, score.query, score.protocol)


def load_model(name: str | Path, *, engine: str = AUTO) -> Model:
    """Load a shipped model by its name, any model by its folder, or one of the hub.

    The latter are named ``hub:owner/name`` (see `Model.from_pretrained`).

    Args:
        name: Name or folder of the model.
        engine: Engine of its backbone, or of its embedding of drawings: ``torch``,
            ``onnxruntime``, ``openvino``, or ``auto`` for the fastest that is installed and passes
            a parity check. Vectors are always computed by PyTorch.

    Raises:
        ConfigError: if there is no such model or engine.
        UserError: if a model of the hub cannot be downloaded.
        FileFormatError: if the folder is incomplete, damaged or of another version.

    >>> load_model("vectors").input_kind
    'vector'
    """
    check_engine(engine)
    if is_hub_name(name):
        return dataclasses.replace(Model.from_pretrained(name), engine=engine)
    folder = model_folder(name)
    tensors, config, config_path = read_model_folder(folder)
    try:
        backbone = coerce("backbone", config.get("backbone", ""), str)
        method_name = config["method"]
        if method_name not in METHODS:
            raise unknown_name_error("method", str(method_name), METHODS)
        method_class = METHODS[method_name]
        method = method_class(from_json(method_class.config_type, config["config"]))
        training = from_json(TrainingRecord, config["training"])
        scores = tuple(from_json(Score, values | {"scores": ()}) for values in config["scores"])
        rejections = tuple(from_json(Rejection, values) for values in config.get("rejections", ()))
        profiles = tuple(from_json(Profile, values) for values in config.get("profiles", ()))
    except ConfigError as error:
        raise FileFormatError(f"The config in '{config_path}' cannot be used: {error}") from error
    except (AttributeError, KeyError, TypeError) as error:
        raise FileFormatError(
            f"The config in '{config_path}' is damaged: {error!r}. Use an intact copy, or make the "
            "model again."
        ) from error
    state = {k: t.float() if t.is_floating_point() else t for k, t in tensors.items()}
    try:
        method.load_state_dict(state)
    except RuntimeError as error:
        raise FileFormatError(
            f"The weights in '{folder}' do not fit the config in '{config_path}'. Take both from "
            "the same model."
        ) from error
    method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    name = to_utf8(folder.absolute().name)
    is_half = any(t.dtype == torch.float16 for t in tensors.values())
    return Model(
        method.eval(),
        method_name,
        training,
        scores,
        name,
        is_half,
        backbone,
        rejections,
        profiles,
        engine,
    )


def save_model(model: Model, folder: Path, *, overwrite: bool = False) -> None:
    """Write a model as a folder, which is made if absent.

    Whenever the process ends, the folder holds the old model or the new one, never parts of both.

    Args:
        model: The model.
        folder: Folder that is absent, empty or a model, which is replaced.
        overwrite: If True, the folder may also hold other files, and be that of a shipped model.

    Raises:
        UserError: if the folder cannot be made, or files of others would be replaced.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_model(load_model("vectors"), Path(folder, "mine"))
    ...     load_model(Path(folder, "mine")).name
    'mine'
    """
    state = model.method.inference_state()
    if model.half_precision:
        state = {k: t.to(torch.float16) if t.is_floating_point() else t for k, t in state.items()}
    scores = [dataclasses.asdict(score) for score in model.scores]
    for score in scores:
        del score["scores"]
    config = {
        "method": model.method_name,
        "backbone": model.backbone,
        "config": dataclasses.asdict(model.method.config),
        "training": dataclasses.asdict(model.training),
        "scores": scores,
        "rejections": [dataclasses.asdict(rejection) for rejection in model.rejections],
        "profiles": [dataclasses.asdict(profile) for profile in model.profiles],
    }
    card = dataclasses.replace(model, name=folder.absolute().name).card
    write_model_folder(folder, state, config, card, overwrite=overwrite)
