"""The HTTP service: routes, and how errors become answers."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal, no_type_check
from urllib.parse import quote

import anyio
from fastapi import FastAPI, File, Form, Header, Path, Query, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.datastructures import UploadFile as Upload
from starlette.exceptions import HTTPException

from lgmnet import __version__
from lgmnet.classifier.export import snippet
from lgmnet.data.images.read import ImageBytes
from lgmnet.errors import ConfigError, UserError
from lgmnet.methods.base import QueryAnalysis
from lgmnet.model.model import Model
from lgmnet.studio.middleware import POLICY, Gate, Guard, Metrics
from lgmnet.studio.schemas import (
    Carried,
    ClassifierOut,
    ClassOut,
    ImageOut,
    ModelOut,
    Page,
    Prediction,
    Predictions,
    Problem,
    Snippet,
    Summary,
)
from lgmnet.studio.service import (
    AUTO,
    Edit,
    FitResult,
    LabelledFile,
    Limits,
    Service,
    StoredClassifier,
    missing_extra,
)
from lgmnet.studio.store import (
    AbsentError,
    ConflictError,
    Record,
    Store,
    StoreError,
    StoreFullError,
)

PAGE = FilePath(__file__).parent / "page"
MOST_CARRIED = 8
STATUS: dict[type[UserError], int] = {
    AbsentError: 404,
    ConflictError: 412,
    StoreFullError: 507,
    StoreError: 503,
}
"""All other errors that a caller can mend are 422."""

Id = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="Of the classifier.")]
Images = Annotated[list[UploadFile], File(description="Image files.")]
Labels = Annotated[
    list[str], Form(description="The class of each image, in the order of the images.")
]
IfMatch = Annotated[
    str | None,
    Header(description="The etag of the version that is meant, or * for whichever is there."),
]
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": words}
    for status, words in {
        400: "No such request.",
        401: "A token is needed.",
        403: "From a page of another site.",
        404: "There is no such classifier or image.",
        412: "It was changed since.",
        413: "Too much in one request.",
        421: "Not this server's name.",
        422: "It cannot be made of this; the sentence says why.",
        428: "If-Match is needed.",
        429: "Too many requests at a time.",
        503: "The store cannot be used, or the server is about to end.",
        507: "The disk is full.",
    }.items()
}


@dataclass(frozen=True)
class Settings:
    """What a server is started with; plain values, so that other processes can be given it."""

    database: str
    """URL of the index."""
    files: str
    """Folder or URL of the files."""
    models: Sequence[str] = ()
    limits: Limits = field(default_factory=Limits)
    token: str | None = None
    hosts: Sequence[str] = ()
    """Names under which it may be spoken to; none for any."""
    page: bool = True
    """Whether the studio's page is served."""


def create_app(settings: Settings) -> FastAPI:
    """The service as an ASGI application; ``app.state.gate`` says when it may end."""
    metrics = Metrics()
    gate = Gate(settings.limits.in_flight)
    store = Store(settings.database, settings.files)
    service = Service(store, settings.models, settings.limits, metrics.answered)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        await anyio.to_thread.run_sync(service.start)
        app.state.ready = True
        yield
        await anyio.to_thread.run_sync(service.close)

    app = FastAPIOffline(
        title="lgmnet",
        version=__version__,
        summary="A handful of labelled images in, a working classifier out.",
        lifespan=life,
        responses=PROBLEMS,
        redoc_url=None,
    )
    app.state.gate, app.state.service, app.state.ready = gate, service, False
    app.add_middleware(
        Guard,
        gate=gate,
        metrics=metrics,
        body=settings.limits.body,
        token=settings.token,
        hosts=settings.hosts,
    )
    add_problems(app)
    add_classifiers(app, service)
    add_state(app, service, metrics)
    if settings.page:
        add_page(app)
    return app


def add_problems(app: FastAPI) -> None:
    """How errors become answers: one sentence each."""

    @app.exception_handler(UserError)
    def mendable(_: Request, error: UserError) -> JSONResponse:
        status = next((s for kind, s in STATUS.items() if isinstance(error, kind)), 422)
        return JSONResponse({"detail": str(error)}, status)

    @app.exception_handler(RequestValidationError)
    def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        said = [
            f"'{'.'.join(str(part) for part in one['loc'][1:])}': {one['msg']}"
            for one in error.errors()
        ]
        return JSONResponse({"detail": f"The request is not as expected: {'; '.join(said)}."}, 422)

    @app.exception_handler(HTTPException)
    def refused(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"detail": str(error.detail)}, error.status_code, error.headers)


def add_classifiers(app: FastAPI, service: Service) -> None:
    """The routes of classifiers. Those that need networks wait without a thread of their own."""

    @app.post("/v1/classifiers", status_code=201, tags=["classifiers"])
    @no_type_check  # Starlette's files come where FastAPI's are named.
    async def forge(
        response: Response,
        images: Images = [],  # noqa: B006  (FastAPI makes a new one each time)
        labels: Labels = [],  # noqa: B006
        name: Annotated[str, Form(description="What you call it.")] = "untitled",
        model: Annotated[str, Form(description="A model's name, or auto.")] = AUTO,
        file: Annotated[
            UploadFile | None, File(description="In place of images: a classifier's own file.")
        ] = None,
    ) -> ClassifierOut:
        """Forge a classifier from labelled images, or keep one that comes as a file."""
        if file is not None:
            given = None if name == "untitled" else name
            opened = await anyio.to_thread.run_sync(service.open, file.file.read(), given)
            return made_out(opened, response)
        made = await service.forge(name, model, labelled(images, labels))
        return made_out(made, response)

    @app.get("/v1/classifiers", tags=["classifiers"])
    def page(
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        after: Annotated[str | None, Query(description="The 'next' of the page before.")] = None,
    ) -> Page:
        """Classifiers, the newest first."""
        records = service.store.page(limit + 1, None if after is None else cursor_of(after))
        shown = records[:limit]
        more = len(records) > limit
        following = f"{shown[-1].created!r}_{shown[-1].id}" if more else None
        return Page(items=[summary(one) for one in shown], next=following)

    @app.get("/v1/classifiers/{id}", tags=["classifiers"])
    def get(id: Id, response: Response) -> ClassifierOut:
        """A classifier with its classes and images."""
        return classifier_out(service.get(id), response)

    @app.patch("/v1/classifiers/{id}", tags=["classifiers"])
    @no_type_check  # Starlette's files come where FastAPI's are named.
    async def edit(
        id: Id,
        response: Response,
        if_match: IfMatch = None,
        images: Images = [],  # noqa: B006
        labels: Labels = [],  # noqa: B006
        name: Annotated[str | None, Form(description="A new name for the classifier.")] = None,
        rename: Annotated[list[str], Form(description="Classes to rename.")] = [],  # noqa: B006
        to: Annotated[list[str], Form(description="Their new names, in this order.")] = [],  # noqa: B006
        drop: Annotated[list[int], Form(description="Places of images to drop.")] = [],  # noqa: B006
        remove: Annotated[list[str], Form(description="Classes to remove.")] = [],  # noqa: B006
    ) -> ClassifierOut:
        """Rename classes, drop images, remove classes, add images: in this order, at once."""
        if if_match is None:
            raise HTTPException(
                428,
                "Send the header If-Match with the etag of the version you mean to change, so that "
                "nobody's work is overwritten; or * for whichever is there.",
            )
        if len(rename) != len(to):
            raise ConfigError(
                f"Expected a new name for each class to rename, but there are {len(rename)} of "
                f"'rename' and {len(to)} of 'to'."
            )
        kept = await anyio.to_thread.run_sync(service.get, id)
        check_match(if_match, kept.record)
        wanted = Edit(
            name=name,
            rename=tuple(zip(rename, to, strict=True)),
            drop=tuple(drop),
            remove=tuple(remove),
            add=tuple(labelled(images, labels)),
        )
        return made_out(await service.edit(kept, wanted), response)

    @app.delete("/v1/classifiers/{id}", status_code=204, response_model=None, tags=["classifiers"])
    def remove(id: Id, if_match: IfMatch = None) -> None:
        """Remove a classifier."""
        record = service.store.get(id)
        any_version = if_match is None or if_match.strip() == "*"
        if not any_version:
            check_match(if_match or "", record)
        service.store.remove(id, None if any_version else record.version)

    @app.post("/v1/classifiers/{id}/predict", tags=["classifiers"])
    @no_type_check  # Starlette's files come where FastAPI's are named.
    async def predict(
        id: Id,
        images: Annotated[list[UploadFile], File(description="One image or many.")],
    ) -> Predictions:
        """Answer images; one that cannot be read has an error in place of its answer."""
        started = time.perf_counter()
        files = [image_of(image) for image in images]
        kept, problems, answers = await service.ask(id, files)
        return Predictions(
            etag=kept.record.version,
            milliseconds=round(1000 * (time.perf_counter() - started), 2),
            predictions=predictions(kept, files, problems, answers),
        )

    @app.get(
        "/v1/classifiers/{id}/export",
        tags=["classifiers"],
        response_class=Response,
        responses={200: {"content": {"application/octet-stream": {}}}},
    )
    def export(
        id: Id, format: Annotated[Literal["safetensors", "onnx"], Query()] = "safetensors"
    ) -> Response:
        """The classifier as a file: its own, or ONNX, which runs without lgmnet (some seconds)."""
        kept = service.get(id)
        data = service.export(kept) if format == "onnx" else service.file(kept)
        name = quote(f"{kept.record.about.name or 'classifier'}.{format}", safe="")
        return Response(
            data,
            media_type="application/octet-stream",
            headers={"Content-Disposition": f"attachment; filename*=UTF-8''{name}"},
        )

    @app.get("/v1/classifiers/{id}/snippet", tags=["classifiers"])
    def lines(
        id: Id, language: Annotated[Literal["python", "javascript"], Query()] = "python"
    ) -> Snippet:
        """The lines that run the exported ONNX file."""
        return Snippet(language=language, lines=snippet(language, service.get(id).fitted))

    @app.get(
        "/v1/classifiers/{id}/images/{place}",
        tags=["classifiers"],
        response_class=Response,
        responses={200: {"content": {"image/png": {}, "image/webp": {}}}},
    )
    def picture(id: Id, place: Annotated[int, Path(ge=0, le=10**9)]) -> Response:
        """An image that the classifier was shown, in small."""
        data = service.picture(service.get(id), place)
        kind = "image/png" if data.startswith(b"\x89PNG") else "image/webp"
        return Response(data, media_type=kind)


def add_state(app: FastAPI, service: Service, metrics: Metrics) -> None:
    """The routes that say how the server is, and what it has."""

    @app.get("/v1/models", tags=["models"])
    def models() -> list[ModelOut]:
        """The models that can forge."""
        return [model_out(model) for model in service.models()]

    @app.post("/v1/examples/digits", status_code=201, tags=["classifiers"])
    async def digits(response: Response) -> ClassifierOut:
        """A ready example: five of scikit-learn's handwritten digits a class."""
        images = await anyio.to_thread.run_sync(example_digits)
        return made_out(await service.forge("digits", "omniglot", images), response)

    @app.get("/healthz", tags=["state"])
    def alive() -> dict[str, str]:
        """Whether the process answers."""
        return {"status": "alive"}

    @app.get("/readyz", tags=["state"])
    def ready() -> dict[str, str]:
        """Whether requests can be worked on: models read, store usable, not about to end."""
        if not app.state.ready or app.state.gate.closing:
            raise HTTPException(503, "The server is starting or about to end.")
        service.store.check()
        return {"status": "ready"}

    @app.get("/metrics", tags=["state"], response_class=Response)
    def counted() -> Response:
        """Counts and times, as Prometheus reads them."""
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)


def add_page(app: FastAPI) -> None:
    """The studio's page: its own few files, and nothing from elsewhere."""

    @app.get("/", include_in_schema=False)
    def studio() -> FileResponse:
        headers = {"content-security-policy": POLICY, "cache-control": "no-cache"}
        return FileResponse(PAGE / "index.html", headers=headers)

    app.mount("/static", StaticFiles(directory=PAGE), "static")


def labelled(images: Sequence[Upload], labels: Sequence[str]) -> list[LabelledFile]:
    """Images with their labels.

    Raises:
        ConfigError: if they are not as many.
    """
    if len(images) != len(labels):
        raise ConfigError(
            f"Expected one label for each image, but there are {len(images)} images and "
            f"{len(labels)} labels."
        )
    return [LabelledFile(label, image_of(i)) for i, label in zip(images, labels, strict=True)]


def image_of(upload: Upload) -> ImageBytes:
    """A file that was sent; its name is what errors call it, and nothing else."""
    return ImageBytes((upload.filename or "image")[:200], upload.file.read())


def check_match(if_match: str, record: Record) -> None:
    """Check that a classifier is of a version that If-Match names.

    Raises:
        ConflictError: if it is of another.
    """
    named = {tag.strip().removeprefix("W/").strip('"') for tag in if_match.split(",")}
    if not named & {"*", record.version}:
        raise ConflictError(
            "The classifier was changed by somebody else since you read it; read it again, then "
            "make your change anew."
        )


def cursor_of(after: str) -> tuple[float, str]:
    """Where a page goes on.

    Raises:
        ConfigError: if it is no 'next' that a page gave.
    """
    created, _, id = after.partition("_")
    try:
        at = float(created)
    except ValueError as error:
        raise ConfigError(f"'after' must be the 'next' of a page, but is '{after}'.") from error
    if not abs(at) < 1e12:
        raise ConfigError(f"'after' must be the 'next' of a page, but is '{after}'.")
    return at, id.replace("\0", "")


def summary(record: Record) -> Summary:
    """A record as the API gives it."""
    return Summary(
        id=record.id,
        name=record.about.name,
        model=record.about.model,
        classes=dict(zip(record.about.classes, record.about.shots, strict=True)),
        etag=record.version,
        bytes=record.bytes,
        created=record.created,
        changed=record.changed,
    )


def made_out(made: FitResult, response: Response) -> ClassifierOut:
    """A classifier just made, as the API gives it."""
    shown = classifier_out(made.kept, response)
    shown.milliseconds = round(made.milliseconds, 2)
    shown.unreadable, shown.why = list(made.unreadable), made.why
    return shown


def classifier_out(kept: StoredClassifier, response: Response) -> ClassifierOut:
    """A classifier as the API gives it, its version in the ETag."""
    fitted = kept.fitted
    response.headers["ETag"] = f'"{kept.record.version}"'
    labels = fitted.support.labels.tolist()
    shown = [ClassOut(name=name, shot=0, images=[]) for name in fitted.classes]
    for place, (label, key) in enumerate(zip(labels, kept.keys, strict=True)):
        shown[label].shot += 1
        shown[label].images.append(ImageOut(place=place, key=key))
    return ClassifierOut(
        **summary(kept.record).model_dump(),
        kind="photos" if kept.is_of_photos else "drawings",
        shown=shown,
        knows_none=bool(fitted.rejections),
        map=kept.places(fitted.support_embedding),
    )


def model_out(model: Model) -> ModelOut:
    """A model as the API gives it."""
    missing = missing_extra(model)
    return ModelOut(
        name=model.name,
        kind="photos" if model.input_kind == "photo" else "drawings",
        shape=list(model.inputs.shape) if missing is None else [],
        available=missing is None,
        missing_extra=missing,
    )


def predictions(
    kept: StoredClassifier,
    files: Sequence[ImageBytes],
    problems: Sequence[UserError | None],
    answers: QueryAnalysis | None,
) -> list[Prediction]:
    """The answer to each image, in order."""
    if answers is None:
        return [
            Prediction(image=f.name, error=str(p)) for f, p in zip(files, problems, strict=True)
        ]
    rows = answers.log_p.exp().tolist()
    places = kept.places(answers.embedding)
    known = bool(kept.fitted.rejections) and answers.similarity is not None
    rejected = kept.fitted.rejected(answers).tolist() if known else []
    heaviest = None
    if answers.support_attention is not None:
        most = min(MOST_CARRIED, answers.support_attention.shape[1])
        top = answers.support_attention.topk(most, 1)
        heaviest = (top.indices.tolist(), top.values.tolist())
    found, i = [], -1
    for file, problem in zip(files, problems, strict=True):
        if problem is not None:
            found.append(Prediction(image=file.name, error=str(problem)))
            continue
        i += 1
        probabilities = dict(zip(kept.fitted.classes, rows[i], strict=True))
        pairs = zip(heaviest[0][i], heaviest[1][i], strict=True) if heaviest else ()
        found.append(
            Prediction(
                image=file.name,
                label=max(probabilities, key=probabilities.__getitem__),
                probabilities=probabilities,
                none_of_these=rejected[i] if known else None,
                support_attention=[Carried(image=place, weight=weight) for place, weight in pairs],
                map=places[i] if places else None,
            )
        )
    return found


def example_digits(shot: int = 5) -> list[LabelledFile]:
    """Some handwritten digits of each class, as dark ink on white paper."""
    from PIL import Image

    from lgmnet.data.datasets.digits import digits
    from lgmnet.studio.service import encoded

    store = digits()
    found = []
    for c, name in enumerate(store.class_names):
        apart = int(store.counts[c]) // shot  # Neighbours are of one hand.
        for i in range(shot):
            pixels = 255 - store.images[int(store.starts[c]) + i * apart, 0].numpy()
            data = encoded(Image.fromarray(pixels), "PNG")
            found.append(LabelledFile(name, ImageBytes(f"{name}-{i}.png", data)))
    return found
