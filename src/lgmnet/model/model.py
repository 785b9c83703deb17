"""A trained method as a folder: weights, config, model card; loaded by name or by path."""

from __future__ import annotations

import copy
import dataclasses
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from lgmnet.config import from_json
from lgmnet.errors import ConfigError, FileFormatError, UserError, extra, unknown_name
from lgmnet.evaluation.evaluate import Score
from lgmnet.evaluation.rejection import Rejection
from lgmnet.input_spec import InputKind, InputSpec
from lgmnet.io import checksum, make_folder, read_tensors, write_tensors, write_text
from lgmnet.methods import METHODS
from lgmnet.methods.base import Method
from lgmnet.nn.pretrained import load_backbone

KIND, VERSION = "lgmnet-model", 2
WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
SHIPPED = Path(__file__).parents[1] / "pretrained"

BACKBONE_LINE = (
    "They are the features that the frozen network `{}` gives of a photo. It has been trained on "
    "ImageNet, whose 1,000 classes hold many of those that photos are tested on here: scores on "
    "such classes are not scores on classes never seen."
)


@dataclass(frozen=True)
class Training:
    """What a model was trained on and how; enough to train it again."""

    recipe: str
    """Name of the recipe."""
    data: str
    split: str
    split_hash: str
    """Hash of the classes seen in training; test classes must not be among them."""
    val_split: str | None
    """Split whose classes chose the weights; None if they are those of the last step."""
    settings: dict[str, Any]
    """The recipe's train config, as it was after ``--set``."""
    start: str | None = None
    """The model whose weights it started from, or None."""
    seen: tuple[str, ...] = ()
    """Further splits, as ``data:split``, that the weights it started from were trained on."""
    step: int = 0
    """The optimiser step whose weights these are."""
    val_task: str = ""
    val_accuracy: float = 0.0
    """In percent, on validation classes."""
    val_ci95: float = 0.0
    val_protocol: str = "inductive"

    @property
    def training_splits(self) -> tuple[str, ...]:
        """All splits, as ``data:split``, whose classes the weights have seen in training."""
        return (f"{self.data}:{self.split}", *self.seen)


@dataclass(frozen=True)
class Model:
    """A trained method with its story."""

    method: Method
    method_name: str
    training: Training
    scores: tuple[Score, ...] = ()
    """Test scores, without the per-episode scores."""
    name: str = ""
    half: bool = False
    """Whether the weights are stored in 16 bits: half the size, the same answers to 3 digits."""
    backbone: str = ""
    """The frozen network that photos pass before the method, or empty."""
    rejections: tuple[Rejection, ...] = ()
    """When a query is of none of the classes of its task, by way and shot."""

    @cached_property
    def fingerprint(self) -> str:
        """A short name for exactly these weights."""
        state = {name: tensor.cpu() for name, tensor in self.method.inference_state().items()}
        return checksum(state, {})[:12]

    @cached_property
    def inference_method(self) -> Method:
        """The method as it forges: anyone's vectors in 64 bits.

        In 32 bits the 7th digit of an answer hangs on what else is asked in the same batch.
        """
        return copy.deepcopy(self.method).double() if self.method.inputs.any_length else self.method

    @property
    def inputs(self) -> InputSpec:
        """Samples that it takes; with a backbone, photos.

        Raises:
            UserError: if the package of its backbone is not installed.
        """
        if self.backbone:
            return load_backbone(self.backbone).inputs
        return self.method.inputs

    @property
    def input_kind(self) -> InputKind:
        """Kind of the samples; known without the package of the backbone."""
        return "photo" if self.backbone else self.method.inputs.kind

    @classmethod
    def from_pretrained(cls, name: str | Path, *, revision: str | None = None) -> Model:
        """A model that ships, of a folder, or of the Hugging Face hub, as its conventions have it.

        Args:
            name: A shipped model's name, a folder, or a hub id such as ``someone/symbols``. The
                network is touched for a hub id alone, where there is no such folder.
            revision: Of the hub: a branch, tag or commit.

        Raises:
            ConfigError: if there is no such model.
            UserError: if the hub, or the package that speaks with it, is not to be had.
            FileFormatError: if the folder is incomplete, damaged or of another version.
        """
        if str(name) in shipped_models() or Path(name).is_dir() or str(name).count("/") != 1:
            return load_model(name)
        found = load_model(download_model(str(name), revision))
        return dataclasses.replace(found, name=str(name).split("/")[1])

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the model as a folder: ``model.safetensors``, ``config.json`` and its card."""
        save_model(self, Path(folder))

    def push_to_hub(self, repo_id: str, *, private: bool = False) -> str:
        """Send the model to the Hugging Face hub, and say where it is.

        Args:
            repo_id: Such as ``someone/symbols``; made if absent.
            private: Whether others may see it.

        Raises:
            UserError: if the hub, or the package that speaks with it, is not to be had.
        """
        with extra("hub", "models of the hub"):
            from huggingface_hub import HfApi
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / repo_id.rsplit("/", maxsplit=1)[-1]
            self.save_pretrained(folder)
            with translate_hub_errors(repo_id):
                hub = HfApi()
                hub.create_repo(repo_id, private=private, exist_ok=True)
                return str(hub.upload_folder(repo_id=repo_id, folder_path=folder))

    def with_score(self, score: Score) -> Model:
        """The same model with one more test score, in place of an older one of the same kind."""
        new = dataclasses.replace(score, scores=())
        kept = [s for s in self.scores if _kind(s) != _kind(new)]
        return dataclasses.replace(self, scores=tuple(sorted([*kept, new], key=_kind)))

    def with_rejection(self, rejection: Rejection) -> Model:
        """The same model with one more threshold, in place of an older one of the same shot."""
        kept = [r for r in self.rejections if r.shot != rejection.shot]
        ordered = sorted([*kept, rejection], key=lambda r: r.shot)
        return dataclasses.replace(self, rejections=tuple(ordered))


def _kind(score: Score) -> tuple[Any, ...]:
    return (score.data, score.split, score.way, score.shot, score.query, score.protocol)


def download_model(repo_id: str, revision: str | None) -> Path:
    """The folder to which a model of the hub has been fetched.

    Raises:
        UserError: if it cannot be.
    """
    with extra("hub", "models of the hub"):
        from huggingface_hub import snapshot_download
    with translate_hub_errors(repo_id):
        parts = [CONFIG, WEIGHTS, CARD]
        return Path(snapshot_download(repo_id, revision=revision, allow_patterns=parts))


@contextmanager
def translate_hub_errors(repo_id: str) -> Iterator[None]:
    """Turn what the hub raises into a sentence.

    Raises:
        UserError: with the hub's own words.
    """
    try:
        yield
    except (OSError, ValueError) as error:  # Its own are of these kinds.
        reason = str(error).strip().split("\n")[0]
        raise UserError(
            f"The Hugging Face hub cannot serve '{repo_id}' (there is no folder of this name, and "
            f"no such model ships): {reason}"
        ) from error


def shipped_models() -> list[str]:
    """The names of the models that come with the package."""
    return sorted(p.parent.name for p in SHIPPED.glob(f"*/{CONFIG}"))


def model_folder(name: str | Path) -> Path:
    """The folder of a shipped model by its name, or of any model by its folder.

    Raises:
        ConfigError: if there is no such model.
    """
    if str(name) in shipped_models():
        return SHIPPED / str(name)
    if Path(name).is_dir():
        return Path(name)
    known = shipped_models()
    raise unknown_name("shipped model or folder of a model", str(name), known)


def load_model(name: str | Path) -> Model:
    """Load a model that ships with the package by its name, or any model by its folder.

    Raises:
        ConfigError: if there is no such model.
        FileFormatError: if the folder is incomplete, damaged or of another version.
    """
    folder = model_folder(name)
    for part in (CONFIG, WEIGHTS):
        if not (folder / part).is_file():
            raise FileFormatError(f"'{folder}' is not a model: it has no {part}.")
    try:
        about = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if about["format"] != KIND or about["version"] != VERSION:
            raise FileFormatError(
                f"'{folder / CONFIG}' is {about['format']} of version {about['version']}; this "
                f"lgmnet reads {KIND} of version {VERSION}."
            )
        method = new_method(about["method"], about["config"])
        training = from_json(Training, about["training"])
        backbone = about.get("backbone", "")
        if not isinstance(backbone, str):
            raise ConfigError(f"'backbone' must be a text, but is {backbone!r}.")
        rejections = tuple(from_json(Rejection, one) for one in about.get("rejections", ()))
        scores = tuple(from_json(Score, score | {"scores": ()}) for score in about["scores"])
    except ConfigError as error:
        raise FileFormatError(f"'{folder / CONFIG}' cannot be used: {error}") from error
    except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise FileFormatError(f"'{folder / CONFIG}' is damaged: {error!r}.") from error
    tensors, _ = read_tensors(folder / WEIGHTS, KIND, VERSION)
    try:
        method.load_state_dict(
            {k: t.float() if t.is_floating_point() else t for k, t in tensors.items()}
        )
    except RuntimeError as error:
        raise FileFormatError(
            f"The weights in '{folder / WEIGHTS}' do not fit the config beside them."
        ) from error
    method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    half = any(tensor.dtype == torch.float16 for tensor in tensors.values())
    return Model(
        method.eval(),
        about["method"],
        training,
        scores,
        folder.absolute().name,
        half,
        backbone,
        rejections,
    )


def new_method(name: str, config: dict[str, Any]) -> Method:
    """An untrained method from its name and its config as JSON.

    Raises:
        ConfigError: if there is no such method or field.
    """
    if name not in METHODS:
        raise unknown_name("method", name, METHODS)
    kind = METHODS[name]
    return kind(from_json(kind.config_type, config))


def save_model(model: Model, folder: Path) -> None:
    """Write a model as a folder, which is made if absent; each file appears whole or not at all.

    Raises:
        UserError: if the folder cannot be made.
    """
    make_folder(folder)
    state = model.method.inference_state()
    if model.half:
        state = {k: t.to(torch.float16) if t.is_floating_point() else t for k, t in state.items()}
    about = {
        "format": KIND,
        "version": VERSION,
        "method": model.method_name,
        "backbone": model.backbone,
        "config": dataclasses.asdict(model.method.config),
        "training": dataclasses.asdict(model.training),
        "scores": [_without_episodes(score) for score in model.scores],
        "rejections": [dataclasses.asdict(rejection) for rejection in model.rejections],
    }
    write_tensors(folder / WEIGHTS, state, KIND, VERSION, {})
    write_text(folder / CONFIG, json.dumps(about, indent=2) + "\n")
    write_text(folder / CARD, model_card(dataclasses.replace(model, name=folder.absolute().name)))


def _without_episodes(score: Score) -> dict[str, Any]:
    about = dataclasses.asdict(score)
    del about["scores"]
    return about


def model_card(model: Model) -> str:
    """The model card: what the model is, what it saw, what it scores and under which protocol."""
    training, method = model.training, model.method
    started = f" from the weights of `{training.start}`" if training.start else ""
    parameters = sum(p.numel() for p in method.parameters())
    lines = [
        "---",
        "library_name: lgmnet",
        "license: mit",
        f"datasets: [{training.data}]",
        "tags: [few-shot-learning, image-classification, meta-learning, weight-generation]",
        "---",
        "",
        f"# {model.name}",
        "",
        f"{type(method).__name__}, {parameters:,} parameters, for samples of shape "
        f"{tuple(method.inputs.shape)}.",
        *([BACKBONE_LINE.format(model.backbone)] if model.backbone else []),
        *(["", method.card_note] if method.card_note else []),
        "",
        "## Training",
        "",
        f"- Recipe `{training.recipe}`{started}, seed {training.settings.get('seed')}, "
        f"{training.settings.get('steps'):,} steps; the weights are those of step "
        f"{training.step:,}, the {'last' if training.val_split is None else 'best on validation'}.",
        f"- Data: {training.data}, split `{training.split}`, class hash `{training.split_hash}`.",
        validation_line(training),
        "",
        "## Test scores",
        "",
    ]
    if model.scores:
        lines += score_table(model.scores)
    else:
        lines.append("None yet; `lgmnet evaluate MODEL --record` writes them here.")
    if model.rejections:
        lines += ["", "## None of these", "", *rejection_table(model.rejections)]
    return "\n".join(lines) + "\n"


def validation_line(training: Training) -> str:
    """What is known from validation classes, as a line of the model card."""
    if training.step == 0:
        return "- Nothing is learned beforehand: every task has its support set alone."
    if training.val_split is None:
        return "- Validation: none in this run; it trains on the validation classes too."
    return (
        f"- Validation classes `{training.val_split}`: {training.val_accuracy:.2f} ± "
        f"{training.val_ci95:.2f} % ({training.val_task}, {training.val_protocol})."
    )


def rejection_table(rejections: tuple[Rejection, ...]) -> list[str]:
    """Thresholds and their errors as the lines of a Markdown table."""
    lines = [
        "A query that is less like any class than the threshold is of none of them.",
        "",
        "| task | threshold | chosen on | measured on | of no class, taken for one, % "
        "| of a class, rejected, % |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r.way}-way {r.shot}-shot | {r.threshold:.3f} | {r.chosen_on} | {r.measured_on} "
        f"| {r.false_accept:.1f} | {r.false_reject:.1f} |"
        for r in rejections
    ]
    return lines


def score_table(scores: tuple[Score, ...]) -> list[str]:
    """Scores as the lines of a Markdown table."""
    lines = [
        "| task | accuracy, % | calibration error, % | data | split (classes) | protocol "
        "| episodes x queries a class |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {s.task} | {s.accuracy:.2f} ± {s.ci95:.2f} "
        f"| {'' if s.calibration_error is None else f'{s.calibration_error:.1f}'} "
        f"| {s.data} | {s.split} ({s.split_hash}) | {s.protocol} | {s.episodes} x {s.query} |"
        for s in scores
    ]
    return lines
