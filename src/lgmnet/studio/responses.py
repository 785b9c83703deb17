"""Conversion of the studio's objects to the schemas of the API."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fastapi import Response

from lgmnet.data.images.read import ImageBytes
from lgmnet.methods.base import QueryAnalysis
from lgmnet.model.model import Model
from lgmnet.studio.classifiers import FitResult, PredictResult, StoredClassifier
from lgmnet.studio.models import missing_extra
from lgmnet.studio.schemas import (
    ClassifierOut,
    ClassOut,
    ImageOut,
    ModelOut,
    Prediction,
    Summary,
    SupportAttention,
)
from lgmnet.studio.store import Record

MAX_ATTENTION_IMAGES = 8


def to_summary(record: Record) -> Summary:
    """Convert a record of the store."""
    return Summary(
        id=record.id,
        name=record.name,
        model=record.model,
        classes=dict(zip(record.classes, record.shots, strict=True)),
        etag=record.version,
        bytes=record.bytes,
        created=record.created,
        changed=record.changed,
    )


def to_classifier_out(stored: StoredClassifier, response: Response) -> ClassifierOut:
    """Convert a classifier, and set the response's ETag header to its version."""
    response.headers["ETag"] = f'"{stored.record.version}"'
    fitted = stored.fitted
    details = [ClassOut(name=name, shot=0, images=[]) for name in fitted.classes]
    labels = fitted.support.labels.tolist()
    for place, (label, key) in enumerate(zip(labels, stored.image_keys, strict=True)):
        details[label].shot += 1
        details[label].images.append(ImageOut(place=place, key=key))
    return ClassifierOut(
        **to_summary(stored.record).model_dump(),
        kind="photos" if fitted.inputs.kind == "photo" else "drawings",
        class_details=details,
        detects_none_of_these=bool(fitted.rejections),
        map=stored.project(fitted.support_embedding),
    )


def to_fitted_out(result: FitResult, response: Response) -> ClassifierOut:
    """Convert a classifier that was just fitted or edited, and set the ETag header."""
    out = to_classifier_out(result.stored, response)
    out.milliseconds = round(result.milliseconds, 2)
    out.unreadable = list(result.unreadable)
    out.model_reason = result.model_reason
    return out


def to_model_out(model: Model) -> ModelOut:
    """Convert a model."""
    missing = missing_extra(model)
    return ModelOut(
        name=model.name,
        kind="photos" if model.input_kind == "photo" else "drawings",
        shape=list(model.inputs.shape) if missing is None else [],
        available=missing is None,
        missing_extra=missing,
    )


def to_predictions(files: Sequence[ImageBytes], result: PredictResult) -> list[Prediction]:
    """Convert the predictions for image files, in the order of the files."""
    rows = iter(() if result.analysis is None else to_rows(result.stored, result.analysis))
    predictions = []
    for file, error in zip(files, result.errors, strict=True):
        if error is not None:
            predictions.append(Prediction(image=file.name, error=str(error)))
            continue
        probabilities, is_rejected, attention, point = next(rows)
        predictions.append(
            Prediction(
                image=file.name,
                label=max(probabilities, key=probabilities.__getitem__),
                probabilities=probabilities,
                none_of_these=is_rejected,
                support_attention=attention,
                map=point,
            )
        )
    return predictions


def to_rows(
    stored: StoredClassifier, analysis: QueryAnalysis
) -> Iterator[
    tuple[dict[str, float], bool | None, list[SupportAttention], tuple[float, float] | None]
]:
    """Give for each image its probabilities, if it is rejected, its attention and its point."""
    fitted = stored.fitted
    n = len(analysis.log_p)
    can_reject = bool(fitted.rejections) and analysis.similarity is not None
    rejected = fitted.rejected(analysis).tolist() if can_reject else [None] * n
    attention: list[list[SupportAttention]] = [[] for _ in range(n)]
    if analysis.support_attention is not None:
        n_top = min(MAX_ATTENTION_IMAGES, analysis.support_attention.shape[1])
        weights, places = analysis.support_attention.topk(n_top, 1)
        attention = [
            [SupportAttention(image=p, weight=w) for p, w in zip(*row, strict=True)]
            for row in zip(places.tolist(), weights.tolist(), strict=True)
        ]
    points = stored.project(analysis.embedding)
    for i, row in enumerate(analysis.log_p.exp().tolist()):
        probabilities = dict(zip(fitted.classes, row, strict=True))
        yield probabilities, rejected[i], attention[i], points[i] if points else None
