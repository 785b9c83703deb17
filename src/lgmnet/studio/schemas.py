"""What the service takes and gives, as typed models; they are what /docs shows."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Problem(BaseModel):
    """What went wrong, as a sentence: what was expected, what came, how to mend it."""

    detail: str


class ImageOut(BaseModel):
    """An image that a classifier was shown."""

    place: int = Field(description="For /images/{place} and to drop it; changes with the version.")
    key: str = Field(description="What it holds; the same in every version.")


class ClassOut(BaseModel):
    """A class of a classifier."""

    name: str
    shot: int = Field(description="Images that it was shown with.")
    images: list[ImageOut]


class Summary(BaseModel):
    """A classifier in a list."""

    id: str
    name: str
    model: str = Field(description="The model that forged it.")
    classes: dict[str, int] = Field(description="How many images each class was shown with.")
    etag: str = Field(description="Of its present version, for If-Match.")
    bytes: int
    created: float = Field(description="Seconds since 1970.")
    changed: float


class Page(BaseModel):
    """Some classifiers, the newest first."""

    items: list[Summary]
    next: str | None = Field(description="What to ask for as 'after' to see more; none at the end.")


class ClassifierOut(Summary):
    """A classifier with its images."""

    kind: str = Field(description="'drawings' or 'photos'.")
    shown: list[ClassOut]
    knows_none: bool = Field(description="Whether it can say that an image is of no class.")
    map: list[tuple[float, float]] = Field(
        description="Where each of its images lies in the plane of the two main axes."
    )
    milliseconds: float | None = Field(default=None, description="That forging took just now.")
    why: str | None = Field(default=None, description="Why this model, where it was chosen here.")
    unreadable: list[str] = Field(
        default_factory=list, description="A sentence for each image that could not be read."
    )


class Carried(BaseModel):
    """An image that the classifier was shown and that carried part of an answer."""

    image: int = Field(description="Its place, for /images/{place}.")
    weight: float


class Prediction(BaseModel):
    """The answer to one image; or the sentence that says why there is none."""

    image: str = Field(description="Its file name.")
    label: str | None = Field(default=None, description="The most probable class.")
    probabilities: dict[str, float] = Field(default_factory=dict)
    none_of_these: bool | None = Field(
        default=None, description="Whether it fits no class; null where the model cannot say."
    )
    support_attention: list[Carried] = Field(
        default_factory=list, description="The heaviest first."
    )
    map: tuple[float, float] | None = Field(default=None, description="Where it lies in the plane.")
    error: str | None = None


class Predictions(BaseModel):
    """Answers, in the order of the images."""

    etag: str = Field(description="Of the version that answered.")
    milliseconds: float = Field(description="From the pixels to the answers, waiting included.")
    predictions: list[Prediction]


class ModelOut(BaseModel):
    """A model that can forge."""

    name: str
    kind: str = Field(description="'drawings' or 'photos'.")
    shape: list[int]
    available: bool
    missing_extra: str | None = Field(default=None, description="What is to be installed first.")


class Snippet(BaseModel):
    """The lines that run the exported classifier."""

    language: str
    lines: str
