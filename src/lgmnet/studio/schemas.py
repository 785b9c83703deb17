"""Schemas of the API's responses, as /docs shows them."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Problem(BaseModel):
    """Error message: what was expected, what came, and how to mend it."""

    detail: str


class ImageOut(BaseModel):
    """Support image of a classifier."""

    place: int = Field(
        description="Index for /images/{place} and 'drop'; it changes when the classifier changes."
    )
    key: str = Field(description="Key of the image, which is the same in every version.")


class ClassOut(BaseModel):
    """Class of a classifier."""

    name: str
    shot: int = Field(description="Number of its images.")
    images: list[ImageOut]


class Summary(BaseModel):
    """Classifier in a list."""

    id: str
    name: str
    model: str = Field(description="Model that fitted it.")
    classes: dict[str, int] = Field(description="Number of images of each class.")
    etag: str = Field(description="Etag of the current version, for If-Match.")
    bytes: int
    created: float = Field(description="Time in seconds since 1970.")
    changed: float


class Page(BaseModel):
    """Page of a list of classifiers, newest first."""

    items: list[Summary]
    next: str | None = Field(description="Value of 'after' for the next page; null at the end.")


class ClassifierOut(Summary):
    """Classifier with its classes and images."""

    kind: str = Field(description="'drawings' or 'photos'.")
    class_details: list[ClassOut]
    detects_none_of_these: bool = Field(
        description="True if it can tell that an image belongs to none of its classes."
    )
    map: list[tuple[float, float]] = Field(
        description="Point of each image in the plane of the two main axes; empty if there is none."
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


class ModelOut(BaseModel):
    """Model that can fit classifiers."""

    name: str
    kind: str = Field(description="'drawings' or 'photos'.")
    shape: list[int]
    available: bool
    missing_extra: str | None = Field(default=None, description="Packages to install first.")


class Snippet(BaseModel):
    """Code that runs the exported classifier."""

    language: str
    lines: str
