"""Model card: a README in Markdown, with the metadata that the Hugging Face hub reads.

Every saved model gets a card, so the card is written without the optional `huggingface_hub`.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from lgmnet.evaluation.evaluate import Score
from lgmnet.evaluation.rejection import Rejection
from lgmnet.methods.base import Method
from lgmnet.model.training_record import TrainingRecord

CARD_START = "---\nlibrary_name: lgmnet"
"""First lines of every card."""


def is_model_card(text: str) -> bool:
    """Return True if a text is a card that `format_model_card` formatted."""
    return text.startswith(CARD_START)


def format_model_card(
    name: str,
    method: Method,
    training: TrainingRecord,
    backbone: str,
    scores: Sequence[Score],
    rejections: Sequence[Rejection],
) -> str:
    """Format the card of a model from the fields of `lgmnet.Model`."""
    parameters = sum(p.numel() for p in method.parameters())
    is_of_images = bool(backbone) or method.inputs.is_image
    card = f"""\
{CARD_START}
license: mit
{format_metadata(name, training, scores, is_of_images=is_of_images)}
---

# {name}

{type(method).__name__}, {parameters:,} parameters, for samples of shape {method.inputs.shape}.
"""
    if backbone:
        card += (
            f"The samples are features of photos, computed by the frozen network `{backbone}`, "
            "which was trained on ImageNet. Its 1,000 classes include many of the classes tested "
            "here; scores on those are not scores on unseen classes.\n"
        )
    if method.card_note:
        card += f"\n{method.card_note}\n"
    card += f"\n## Training\n\n{describe_training(training)}\n"
    card += f"\n## Test scores\n\n{format_scores(scores)}\n"
    if rejections:
        card += f"\n## Rejection thresholds\n\n{format_rejections(rejections)}\n"
    return card


def format_metadata(
    name: str, training: TrainingRecord, scores: Sequence[Score], *, is_of_images: bool
) -> str:
    """Format the metadata by which the Hugging Face hub finds and shows a model.

    Each line is a key with JSON, which is valid YAML, whatever the name of a folder contains.
    """
    task = "image-classification" if is_of_images else "tabular-classification"
    fields: dict[str, Any] = {
        "pipeline_tag": task,
        "tags": ["few-shot-learning", "meta-learning", "weight-generation"],
    }
    if is_data_id(training.data):
        fields["datasets"] = [training.data]
    if results := [describe_score(score, task) for score in scores if is_data_id(score.data)]:
        fields["model-index"] = [{"name": name, "results": results}]
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items()]
    return "\n".join(lines)


def is_data_id(name: str) -> bool:
    """Return True if data has a name of its own, in the form of an id, and is no folder."""
    return re.fullmatch(r"\w[\w.-]*", name, re.ASCII) is not None


def describe_score(score: Score, task: str) -> dict[str, Any]:
    """Describe a test score as an entry of the hub's ``model-index``."""
    return {
        "task": {"type": task, "name": f"{score.task}, {score.protocol}"},
        "dataset": {"type": score.data, "name": score.data, "split": score.split},
        "metrics": [
            {
                "type": "accuracy",
                "name": f"accuracy in %, ± {score.ci95:.2f} (95 %)",
                "value": round(score.accuracy, 2),
            }
        ],
    }


def describe_training(training: TrainingRecord) -> str:
    """Describe the training run as a list."""
    start = f" from the weights of `{training.start}`" if training.start else ""
    choice = "last step" if training.val_split is None else "best on validation"
    if training.step == 0:
        validation = "No meta-training: each task is learned from its support set alone."
    elif training.val_split is None:
        validation = "Validation: none; the run also trains on the validation classes."
    else:
        validation = (
            f"Validation classes `{training.val_split}`: {training.val_accuracy:.2f} ± "
            f"{training.val_ci95:.2f} % ({training.val_task}, {training.val_protocol})."
        )
    return (
        f"- Recipe `{training.recipe}`{start}, seed {training.settings.get('seed')}, "
        f"{training.settings.get('steps'):,} steps; weights of step {training.step:,} ({choice}).\n"
        f"- Data: {training.data}, split `{training.split}`, class hash `{training.split_hash}`.\n"
        f"- {validation}"
    )


def format_scores(scores: Sequence[Score]) -> str:
    """Format test scores as a Markdown table."""
    if not scores:
        return "None yet; `lgmnet evaluate MODEL --record` adds them here."
    rows = (
        f"| {s.task} | {s.accuracy:.2f} ± {s.ci95:.2f} "
        f"| {'' if s.calibration_error is None else f'{s.calibration_error:.1f}'} "
        f"| {s.data} | {s.split} ({s.split_hash}) | {s.protocol} | {s.episodes} x {s.query} |"
        for s in scores
    )
    return (
        "| task | accuracy, % | calibration error, % | data | split (class hash) | protocol "
        "| episodes x queries per class |\n|---|---|---|---|---|---|---|\n"
    ) + "\n".join(rows)


def format_rejections(rejections: Sequence[Rejection]) -> str:
    """Format rejection thresholds and their error rates as a Markdown table with a legend."""
    rows = (
        f"| {r.way}-way {r.shot}-shot | {r.threshold:.3f} | {r.chosen_on} | {r.measured_on} "
        f"| {r.false_accept:.1f} | {r.false_reject:.1f} |"
        for r in rejections
    )
    return (
        "A query is rejected if its similarity to the most likely class is below the threshold. "
        "False accepts are accepted queries of none of the task's classes; false rejects are "
        "rejected queries of one of them.\n\n"
        "| task | threshold | chosen on | measured on | false accepts, % | false rejects, % |\n"
        "|---|---|---|---|---|---|\n"
    ) + "\n".join(rows)
