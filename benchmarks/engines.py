"""Measure `lgmnet predict` on photos, next to its engine alone and to plain PyTorch.

``python benchmarks/engines.py [PHOTOS [THREADS]]`` writes ``benchmarks/results/engines.json``. It
needs the extras ``fast``, ``photos`` and ``sklearn``. It takes a minute and a half with 1,000
photos, the default, and a quarter of an hour with 10,000. Run nothing else at the same time.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from harness import write_result
from PIL import Image
from sklearn.linear_model import LogisticRegression

from lgmnet.classifier.classifier import FittedClassifier
from lgmnet.cli.predictions import predict_files
from lgmnet.data.images.read import read_image
from lgmnet.estimator import FewShotClassifier
from lgmnet.nn.pretrained import load_backbone
from lgmnet.scoring.loaded import load_content

N_PHOTOS, N_ROUNDS, N_THREADS = 1_000, 10, 2
WIDTH, HEIGHT = 640, 480
EAGER_BATCH_SIZE = 32
LABELS = [f"class {i // 5}" for i in range(25)]


def write_photos(folder: Path, n_photos: int) -> list[Path]:
    """Write JPEGs, no two alike: smooth pictures with grain, 85 % quality."""
    random_source = np.random.default_rng(0)
    grain = random_source.integers(-6, 7, (HEIGHT, WIDTH, 1))
    paths = []
    for i in range(n_photos):
        small = Image.fromarray(random_source.integers(0, 256, (15, 20, 3), np.uint8))
        smooth = np.asarray(small.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
        paths.append(folder / f"{i:05d}.jpg")
        picture = np.clip(smooth.astype(np.int16) + grain, 0, 255).astype(np.uint8)
        Image.fromarray(picture).save(paths[-1], quality=85)
    return paths


def fit_eager(backbone: torch.nn.Module, paths: Sequence[Path]) -> Callable[[Sequence[Path]], None]:
    """Fit what a user writes: an eager network, batch by batch, and scikit-learn."""

    def embed(paths: Sequence[Path]) -> np.ndarray:
        features = []
        for start in range(0, len(paths), EAGER_BATCH_SIZE):
            photos = []
            for path in paths[start : start + EAGER_BATCH_SIZE]:
                with Image.open(path) as image:
                    side = min(image.size)
                    left, top = (image.width - side) // 2, (image.height - side) // 2
                    cropped = image.convert("RGB").crop((left, top, left + side, top + side))
                    photos.append(np.asarray(cropped.resize((224, 224), Image.Resampling.BICUBIC)))
            x = torch.from_numpy(np.stack(photos)).movedim(3, 1)
            with torch.inference_mode():
                features.append(backbone(x).numpy())
        return np.concatenate(features)

    head = LogisticRegression(max_iter=1000).fit(embed(paths[: len(LABELS)]), LABELS)
    return lambda some: head.predict_proba(embed(some))


def measure(n_photos: int, n_threads: int) -> dict[str, float]:
    """Measure the photos per second of each way, in turns."""
    torch.set_num_threads(n_threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["LGMNET_CACHE"] = str(folder / "cache")
        paths = write_photos(folder, n_photos)
        shown, classifier = paths[: len(LABELS)], folder / "photos.safetensors"
        FewShotClassifier("photos").fit(list(map(str, shown)), LABELS).save(classifier)
        loaded = load_content(classifier.read_bytes(), str(classifier))
        on_torch = load_content(classifier.read_bytes(), str(classifier), "torch")
        backbone = load_backbone(FittedClassifier.load(classifier).backbone)
        engine = backbone.on_engine()
        photos = torch.stack([read_image(path, loaded.shape) for path in shown])
        eager = fit_eager(backbone, shown)

        def run_bare(some: Sequence[Path]) -> None:
            for start in range(0, len(some), len(photos)):
                engine(photos[: len(some) - start])

        ways: dict[str, Callable[[Sequence[Path]], object]] = {
            "the engine alone": run_bare,
            "predict": lambda some: list(predict_files(loaded, some)),
            "predict with the engine torch": lambda some: list(predict_files(on_torch, some)),
            "eager PyTorch and scikit-learn": eager,
        }
        rest = paths[len(LABELS) :]
        rates: dict[str, list[float]] = {way: [] for way in ways}
        for i in range(N_ROUNDS):
            some = rest[i::N_ROUNDS]
            for way, run in ways.items():
                started = time.perf_counter()
                run(some)
                rates[way].append(len(some) / (time.perf_counter() - started))
    median = {way: statistics.median(values) for way, values in rates.items()}
    # Of each round, because the speed of a machine changes over minutes.
    ratios = {
        f"predict / {way}": round(
            statistics.median(a / b for a, b in zip(rates["predict"], values, strict=True)), 2
        )
        for way, values in rates.items()
        if way != "predict"
    }
    return {f"{way}, photos per second": round(rate, 1) for way, rate in median.items()} | ratios


def main() -> None:
    """Measure, and write the result."""
    given = list(map(int, sys.argv[1:]))
    n_photos, n_threads = [*given, *(N_PHOTOS, N_THREADS)[len(given) :]]
    result = {"photos": n_photos, "threads": n_threads, **measure(n_photos, n_threads)}
    write_result("engines", result)


if __name__ == "__main__":
    main()
