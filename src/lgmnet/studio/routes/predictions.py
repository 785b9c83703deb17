"""Route that predicts the classes of images."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, File

from lgmnet.studio.responses import to_predictions
from lgmnet.studio.routes.parameters import Id, StudioService, Upload
from lgmnet.studio.schemas import Predictions

router = APIRouter(tags=["classifiers"])


@router.post("/v1/classifiers/{id}/predict")
async def predict(
    service: StudioService,
    id: Id,
    images: Annotated[Sequence[Upload], File(description="One image or several.")],
) -> Predictions:
    """Predict the classes of images; one that cannot be read gets an error in its place."""
    start = time.perf_counter()
    result = await service.predict(id, images)
    return Predictions(
        etag=result.stored.record.version,
        milliseconds=round(1000 * (time.perf_counter() - start), 2),
        predictions=to_predictions(images, result),
    )
