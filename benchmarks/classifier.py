"""Measure the time and memory that a fitted classifier and the commands need.

``python benchmarks/classifier.py`` writes ``benchmarks/results/classifier.json``. Needs the extras
``sklearn``, ``export`` and ``photos``. Takes four minutes. Run nothing else at the same time.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import onnxruntime
import torch
from harness import interleaved_ms, write_result
from PIL import Image

import lgmnet
from lgmnet import load_model
from lgmnet.classifier.classifier import BATCH_SIZE
from lgmnet.classifier.export import export, export_network
from lgmnet.classifier.support import to_float
from lgmnet.data.synthetic.characters import SyntheticCharacters
from lgmnet.devices import inference_autocast
from lgmnet.episode import EpisodeShape
from lgmnet.estimator import FewShotClassifier
from lgmnet.nn.pretrained import load_backbone

BACKBONE = "efficientnet-lite0-layers"
"""Backbone of the model `photos`."""
N_TURNS, N_PHOTO_TURNS = 51, 11
N_IMAGES, N_FOLDER_IMAGES = 4 * BATCH_SIZE, 30_000


def draw_characters(way: int, shot: int, query: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Draw synthetic characters, dark ink on white.

    Returns:
        Support images and query images, uint8 [images, 28, 28], and the labels of the support.
    """
    pixels = torch.empty(way * (shot + query), 1, 28, 28, dtype=torch.uint8)
    SyntheticCharacters("test").draw(
        EpisodeShape(way, shot, query), torch.Generator().manual_seed(0), pixels
    )
    images = 255 - pixels[:, 0].numpy()
    labels = [f"class {i // shot:02d}" for i in range(way * shot)]
    return images[: way * shot], images[way * shot :], labels


def measure_latency() -> dict[str, Any]:
    """Time `fit` and the prediction of one query, from pixels, with one thread."""
    torch.set_num_threads(1)
    calls: dict[str, Callable[[], object]] = {}
    for way, shot in ((5, 1), (5, 5), (20, 5)):
        support, query, labels = draw_characters(way, shot, 1)
        fitted = FewShotClassifier("omniglot").fit(support, labels)
        calls[f"fit, {way}-way {shot}-shot, ms"] = partial(fitted.fit, support, labels)
        calls[f"predict one query, {way}-way {shot}-shot, ms"] = partial(fitted.predict, query[:1])
    return interleaved_ms(calls, N_TURNS)


class EmbeddingOfPixels(torch.nn.Module):
    """Embedding network that takes uint8 images."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Embed uint8 images [images, 1, height, width]."""
        embeddings: torch.Tensor = self.network(to_float(images))
        return embeddings


def open_onnx_session(path: Path) -> onnxruntime.InferenceSession:
    """Load an exported network to run with two threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def measure_throughput() -> dict[str, Any]:
    """Count predicted images per second, 5-way 5-shot, with two threads.

    PyTorch and ONNX Runtime both run the whole classifier and only its embedding network.
    """
    torch.set_num_threads(2)
    support, query, labels = draw_characters(5, 5, N_IMAGES // 5 + 1)
    query = query[:N_IMAGES]
    fitted = FewShotClassifier("omniglot").fit(support, labels)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export(fitted.classifier_, path)
        onnx_classifier = open_onnx_session(path)
        embedding = EmbeddingOfPixels(load_model("omniglot").method.embedding)
        inputs = {"images": fitted.classifier_.support.samples[:3]}
        export_network(embedding, inputs, path, {}, [inputs])
        onnx_embedding = open_onnx_session(path)
    batches = torch.from_numpy(255 - query)[:, None].split(BATCH_SIZE)

    @torch.inference_mode()
    def run_embedding() -> None:
        for batch in batches:
            with inference_autocast(batch):
                embedding(batch)

    def run_onnx(session: onnxruntime.InferenceSession) -> None:
        for batch in batches:
            session.run(None, {"images": batch.numpy()})

    ms = interleaved_ms(
        {
            "predict": lambda: fitted.predict(query),
            "embedding network only": run_embedding,
            "predict in ONNX Runtime": lambda: run_onnx(onnx_classifier),
            "embedding network only in ONNX Runtime": lambda: run_onnx(onnx_embedding),
        },
        N_TURNS // 10,
    )
    torch_ms, torch_embedding_ms, onnx_ms, onnx_embedding_ms = ms.values()
    return {
        **{f"{name}, images per second": round(1000 * N_IMAGES / t) for name, t in ms.items()},
        "time of predict / time of the embedding network": round(torch_ms / torch_embedding_ms, 3),
        "the same in ONNX Runtime": round(onnx_ms / onnx_embedding_ms, 3),
    }


def measure_photos() -> dict[str, Any]:
    """Measure the cost of all steps but the backbone, relative to the backbone, with one thread."""
    torch.set_num_threads(1)
    backbone = load_backbone(BACKBONE)
    random_source = np.random.default_rng(0)

    def make_photos(n_photos: int) -> np.ndarray:
        shape = (n_photos, backbone.side, backbone.side, 3)
        return random_source.integers(0, 256, shape, np.uint8)

    def run_backbone(photos: np.ndarray) -> None:
        backbone.on_engine()(torch.from_numpy(photos).movedim(3, 1))

    labels = [f"class {i // 5}" for i in range(25)]
    # Features are cached by content, also between runs. New photos for each call and an empty cache
    # make every call compute them.
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, {"LGMNET_CACHE": folder}):
        fitted = FewShotClassifier("photos").fit(make_photos(25), labels)
        fit_photos = iter([make_photos(25) for _ in range(2 * (N_PHOTO_TURNS + 3))])
        ms = interleaved_ms(
            {
                "fit": lambda: fitted.fit(next(fit_photos), labels),
                "backbone of fit": lambda: run_backbone(next(fit_photos)),
            },
            N_PHOTO_TURNS,
        )
        predict_photos = iter([make_photos(32) for _ in range(2 * (N_PHOTO_TURNS + 3))])
        ms |= interleaved_ms(
            {
                "predict": lambda: fitted.predict(next(predict_photos)),
                "backbone of predict": lambda: run_backbone(next(predict_photos)),
            },
            N_PHOTO_TURNS,
        )
    fit_ratio = ms["fit"] / ms["backbone of fit"]
    predict_ratio = ms["predict"] / ms["backbone of predict"]
    return {
        "fit on photos, 5-way 5-shot, ms": ms["fit"],
        "fit on photos, time added to the backbone's, %": round(100 * (fit_ratio - 1), 1),
        "predict photos, time added to the backbone's, %": round(100 * (predict_ratio - 1), 1),
    }


def measure_commands() -> dict[str, Any]:
    """Measure the commands from start to end: seconds, and peak memory in megabytes."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        classifier = folder / "classifier.safetensors"
        photo_classifier = folder / "photos.safetensors"
        support, query, labels = draw_characters(20, 5, 15)
        save_images(support, folder / "classes", labels)
        save_images(query, folder / "queries", [""] * len(query))
        queries = sorted((folder / "queries").iterdir())
        large_folder = folder / "large"
        large_folder.mkdir()
        # Links to a few files cost as much to read as copies.
        for i in range(N_FOLDER_IMAGES):
            os.link(queries[i % len(queries)], large_folder / f"{i:06d}.png")
        photo = folder / "photo.png"
        photos = np.random.default_rng(0).integers(0, 256, (4, 240, 320, 3), np.uint8)
        Image.fromarray(photos[0]).save(photo)
        FewShotClassifier("photos").fit(photos, ["a", "a", "b", "b"]).save(photo_classifier)
        _, forge_peak = run_command("forge", folder / "classes", "-o", classifier)
        image_seconds = median_seconds("predict", classifier, queries[0])
        large_seconds, large_peak = run_command(
            "predict", classifier, large_folder, "--format", "csv"
        )
        photo_seconds = median_seconds("predict", photo_classifier, photo)
    return {
        "`lgmnet forge`, 20-way 5-shot, peak memory, MB": forge_peak,
        "`lgmnet predict` of one image, s": image_seconds,
        "`lgmnet predict` of 30,000 images, s": round(large_seconds, 1),
        "`lgmnet predict` of 30,000 images, peak memory, MB": large_peak,
        "`lgmnet predict` of one photo, s": photo_seconds,
    }


def save_images(images: np.ndarray, folder: Path, class_names: Sequence[str]) -> None:
    """Save images as PNG files of 105 x 105 pixels, Omniglot's size, in a folder per class."""
    for i, (image, name) in enumerate(zip(images, class_names, strict=True)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).resize((105, 105)).save(folder / name / f"{i:04d}.png")


def run_command(*arguments: str | Path) -> tuple[float, float]:
    """Run the command line and return its seconds and its peak resident memory in megabytes."""
    code = (
        "import resource, subprocess, sys; "
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    command = [sys.executable, "-c", code, sys.executable, "-m", "lgmnet", *arguments]
    start = time.perf_counter()
    finished = subprocess.run(command, check=True, capture_output=True, text=True)
    return time.perf_counter() - start, round(int(finished.stdout) / 1024, 1)


def median_seconds(*arguments: str | Path) -> float:
    """Return the median seconds of three runs of the command line, after one that warms up."""
    seconds = [run_command(*arguments)[0] for _ in range(4)]
    return round(statistics.median(seconds[1:]), 2)


def main() -> None:
    """Measure and write the result."""
    result: dict[str, Any] = {}
    for measure in (measure_latency, measure_throughput, measure_photos, measure_commands):
        result |= measure()
        print(json.dumps(result, indent=2), flush=True)
    result |= {
        "threads": "1; throughput and commands: 2",
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
        "lgmnet": lgmnet.__version__,
    }
    write_result("classifier", result)


if __name__ == "__main__":
    main()
