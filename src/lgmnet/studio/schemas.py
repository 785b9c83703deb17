"""Responses of the API, as /docs shows them, and how the studio's objects are converted."""

from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Annotated, Any, cast

from fastapi import Depends, Request, Response
from pydantic import BaseModel, Field

from lgmnet.classifier.cross_validation import LeaveOneOut
from lgmnet.classifier.learning_curve import ExpectedAccuracy
from lgmnet.classifier.report import rank_suspects
from lgmnet.data.images.read import ImageBytes
from lgmnet.methods.base import QueryAnalysis
from lgmnet.model.model import Model as LoadedModel
from lgmnet.studio.classifiers import (
    FitResult,
    PredictResult,
    StoredClassifier,
    source_file_name,
)
from lgmnet.studio.index import Record
from lgmnet.studio.service import Service

MAX_ATTENTION_IMAGES = 8


async def get_service(request: Request) -> Service:
    """Return the application's service."""
    return cast("Service", request.app.state.service)


StudioService = Annotated[Service, Depends(get_service)]


class Error(BaseModel):
    """Error message: what was expected, what came, and how to mend it."""

    detail: str


class SupportImage(BaseModel):
    """Support image of a classifier."""

    place: int = Field(
        description="Index for /images/{place} and 'drop'; it changes when the classifier changes."
    )
    key: str = Field(description="Key of the image, which is the same in every version.")
    file: str = Field(description="Name of the image's file; empty if unknown.")


class ClassifierClass(BaseModel):
    """Class of a classifier."""

    name: str
    shot: int = Field(description="Number of its images.")
    images: list[SupportImage]


class ClassifierSummary(BaseModel):
    """Classifier in a list."""

    id: str
    name: str
    model: str = Field(description="Model that fitted it.")
    classes: dict[str, int] = Field(description="Number of images of each class.")
    etag: str = Field(description="Etag of the current version, for If-Match.")
    bytes: int
    created: float = Field(description="Time in seconds since 1970.")
    changed: float


class ClassifierPage(BaseModel):
    """Page of a list of classifiers, newest first."""

    items: list[ClassifierSummary]
    damaged: list[str] = Field(
        description="Ids of classifiers in this page whose entry in the index is damaged; they can "
        "only be removed."
    )
    next: str | None = Field(description="Value of 'after' for the next page; null at the end.")


class Classifier(ClassifierSummary):
    """Classifier with its classes and images."""

    kind: str = Field(description="'drawings' or 'photos'.")
    class_details: list[ClassifierClass]
    detects_none_of_these: bool = Field(
        description="True if it can tell that an image belongs to none of its classes."
    )
    map: list[tuple[float, float]] = Field(
        description="Point of each image in the plane of the two main axes; empty if there is none."
    )
    judged_by: dict[str, float] = Field(
        description="Share of each aspect of the images by which it tells its classes apart, such "
        "as 'things' or 'texture'. The largest is first, and they sum to 1. Empty if its model "
        "cannot tell.",
        examples=[{"things": 0.61, "colour and brightness": 0.22, "texture": 0.17}],
    )
    milliseconds: float | None = Field(default=None, description="Time that fitting just took.")
    model_reason: str | None = Field(
        default=None, description="Reason for the choice of the model, if it was automatic."
    )
    unreadable: list[str] = Field(
        default_factory=list, description="Message for each image that cannot be read."
    )


class SupportAttention(BaseModel):
    """Support image with its share of a prediction."""

    image: int = Field(description="Place of the image, for /images/{place}.")
    weight: float


class Prediction(BaseModel):
    """Prediction for one image, or the error that prevents it."""

    image: str = Field(description="File name of the image.")
    label: str | None = Field(default=None, description="Most probable class.")
    probabilities: dict[str, float] = Field(default_factory=dict)
    none_of_these: bool | None = Field(
        default=None,
        description="True if the image belongs to none of the classes; null if unknown.",
    )
    none_probability: float | None = Field(
        default=None,
        description="Probability of that, if every second image belongs to none; null if unknown.",
    )
    support_attention: list[SupportAttention] = Field(
        default_factory=list, description="Support images with the largest shares, largest first."
    )
    map: tuple[float, float] | None = Field(default=None, description="Point in the plane.")
    error: str | None = None


class Predictions(BaseModel):
    """Predictions, in the order of the images."""

    etag: str = Field(description="Etag of the version that made the predictions.")
    milliseconds: float = Field(description="Time to read and predict the images, with waiting.")
    predictions: list[Prediction]


class Confusion(BaseModel):
    """Images of one class that were taken for another."""

    label: str = Field(description="Class of the images.")
    predicted: str = Field(description="Class that was predicted for them.")
    images: int = Field(description="Number of these images.")


class Suspect(BaseModel):
    """Support image that may be in the wrong class, as a classifier without it judges."""

    image: int = Field(description="Place of the image, for /images/{place}.")
    label: str = Field(description="Its class.")
    predicted: str = Field(description="Class that was predicted for it.")
    probability: float = Field(description="Probability of the predicted class.")


class MoreImages(BaseModel):
    """Accuracy that a classifier is expected to have with more images."""

    shot: float = Field(description="Mean number of images of a class that it would have then.")
    accuracy: float = Field(description="In percent.")
    interval: tuple[float, float] = Field(description="95 % interval of the accuracy.")


class Estimate(BaseModel):
    """Estimate of a classifier's accuracy by leave-one-out."""

    etag: str = Field(description="Etag of the version that was tested.")
    asked: int = Field(description="Number of images that were left out and classified.")
    right: int = Field(description="Number of them that were classified correctly.")
    accuracy: float | None = Field(description="In percent; null if no image could be left out.")
    interval: tuple[float, float] | None = Field(description="95 % interval of the accuracy.")
    confusions: list[Confusion] = Field(
        description="Classes of the images that were classified wrongly, the most frequent pair "
        "first."
    )
    suspects: list[Suspect] = Field(
        description="Images whose own class is improbable, to check; the most suspect first."
    )
    not_asked: int = Field(description="Number of images that are alone in their class.")
    copies: int = Field(description="Number of copies of other images, which count once.")
    in_several_classes: list[list[int]] = Field(
        description="Places of the images that are the same one, but in several classes."
    )
    with_twice_the_images: MoreImages | None = Field(
        description="Expected accuracy with twice the images; null if no class has two different "
        "ones."
    )


class Model(BaseModel):
    """Model that can fit classifiers."""

    name: str
    kind: str = Field(description="'drawings' or 'photos'.")
    shape: list[int]
    available: bool
    missing_extra: str | None = Field(default=None, description="Packages to install first.")


class CodeSnippet(BaseModel):
    """Code that runs the exported classifier."""

    language: str
    lines: str


def to_summary(record: Record) -> ClassifierSummary:
    """Convert a record of the store."""
    classes = dict(zip(record.classes, record.shots, strict=True))
    return ClassifierSummary(**vars(record) | {"classes": classes, "etag": record.version})


def to_classifier_out(stored: StoredClassifier, response: Response) -> Classifier:
    """Convert a classifier, and set the response's ETag header to its version."""
    response.headers["ETag"] = f'"{stored.record.version}"'
    fitted = stored.fitted
    details = [ClassifierClass(name=name, shot=0, images=[]) for name in fitted.classes]
    labels = fitted.support.labels.tolist()
    for place, (label, key) in enumerate(zip(labels, stored.image_keys, strict=True)):
        file = source_file_name(fitted.support.sources[place])
        details[label].shot += 1
        details[label].images.append(SupportImage(place=place, key=key, file=file))
    return Classifier(
        **to_summary(stored.record).model_dump(),
        kind="photos" if fitted.inputs.kind == "photo" else "drawings",
        class_details=details,
        detects_none_of_these=bool(fitted.rejections),
        map=stored.project(fitted.support_embedding),
        judged_by=stored.judged_by,
    )


def to_fitted_out(result: FitResult, response: Response) -> Classifier:
    """Convert a classifier that was just fitted or edited, and set the ETag header."""
    out = to_classifier_out(result.stored, response)
    out.milliseconds = round(result.milliseconds, 2)
    out.unreadable = list(result.unreadable)
    out.model_reason = result.model_reason
    return out


def to_estimate(
    stored: StoredClassifier, result: LeaveOneOut, more: ExpectedAccuracy | None
) -> Estimate:
    """Convert the result of leaving out images, and what more images would give."""
    numbers = result.as_json(stored.fitted.support.sources)
    conflicts = [list(group) for group in result.conflicts]
    names = stored.fitted.classes
    predicted = result.probabilities.argmax(1).tolist()
    pairs = Counter(zip(result.labels.tolist(), predicted, strict=True))
    confusions = [
        Confusion(label=names[label], predicted=names[other], images=count)
        for (label, other), count in pairs.most_common()
        if label != other
    ]
    suspects = [
        Suspect(
            image=int(result.indices[row]),
            label=names[int(result.labels[row])],
            predicted=names[predicted[row]],
            probability=float(result.probabilities[row, predicted[row]]),
        )
        for row in rank_suspects(result).tolist()
    ]
    return Estimate(
        etag=stored.record.version,
        confusions=confusions,
        suspects=suspects,
        with_twice_the_images=MoreImages(**more.as_json()) if more else None,
        **numbers | {"in_several_classes": conflicts},
    )


def to_model_out(model: LoadedModel) -> Model:
    """Convert a model."""
    missing = None
    if model.backbone and find_spec("efficientnet_lite_pytorch") is None:
        missing = "Photos need the extra 'photos': pip install 'lgmnet[photos]'."
    return Model(
        name=model.name,
        kind="photos" if model.input_kind == "photo" else "drawings",
        shape=list(model.inputs.shape) if missing is None else [],
        available=missing is None,
        missing_extra=missing,
    )


def to_predictions(files: Sequence[ImageBytes], result: PredictResult) -> list[Prediction]:
    """Convert the predictions for image files, in the order of the files."""
    fields = iter(() if result.analysis is None else to_fields(result.stored, result.analysis))
    return [
        Prediction(image=file.name, **(next(fields) if error is None else {"error": str(error)}))
        for file, error in zip(files, result.errors, strict=True)
    ]


def to_fields(stored: StoredClassifier, analysis: QueryAnalysis) -> Iterator[dict[str, Any]]:
    """Give the fields of the `Prediction` of each image that can be read."""
    fitted = stored.fitted
    n = len(analysis.log_p)
    can_reject = bool(fitted.rejections) and analysis.similarity is not None
    rejected = fitted.rejected(analysis).tolist() if can_reject else [None] * n
    none = fitted.none_probability(analysis)
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
        yield {
            "label": max(probabilities, key=probabilities.__getitem__),
            "probabilities": probabilities,
            "none_of_these": rejected[i],
            "none_probability": None if none is None else float(none[i]),
            "support_attention": attention[i],
            "map": points[i] if points else None,
        }
