"""What forging costs: fit, answers a second, start and peak memory of the commands.

Run ``python benchmarks/forge.py``; it writes ``benchmarks/results/forge.json``. Nothing else should
run at the same time. Needs the extras ``sklearn``, ``export`` and ``photos``; takes ten minutes.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from PIL import Image
from race import interleaved_ms

import lgmnet
from lgmnet import load_model
from lgmnet.classifier.classifier import IMAGES_A_BATCH, to_float
from lgmnet.classifier.export import export, exported
from lgmnet.data.synthetic.characters import SyntheticCharacters
from lgmnet.devices import inference_autocast
from lgmnet.episode import EpisodeShape
from lgmnet.estimator import FewShotClassifier
from lgmnet.nn.pretrained import load_backbone

REPEATS = 51
ANSWERED, FOLDER_IMAGES = 4 * IMAGES_A_BATCH, 100_000
RESULT = Path(__file__).parent / "results" / "forge.json"


def drawings(way: int, shot: int, query: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Support and queries of invented characters, [images, 28, 28], and the support's labels."""
    pixels = torch.empty(way * (shot + query), 1, 28, 28, dtype=torch.uint8)
    SyntheticCharacters("test").draw(
        EpisodeShape(way, shot, query), torch.Generator().manual_seed(0), pixels
    )
    paper = 255 - pixels[:, 0].numpy()
    labels = [f"class {i // shot:02d}" for i in range(way * shot)]
    return paper[: way * shot], paper[way * shot :], labels


def fitting() -> dict[str, Any]:
    """`fit` from pixels, and the answer to one query, on one thread."""
    torch.set_num_threads(1)
    acts: dict[str, Callable[[], object]] = {}
    for way, shot in ((5, 1), (5, 5), (20, 5)):
        support, query, labels = drawings(way, shot, 1)
        fitted = FewShotClassifier().fit(support, labels)
        acts[f"fit_{way}way_{shot}shot_ms"] = partial(fitted.fit, support, labels)
        acts[f"one_query_{way}way_{shot}shot_ms"] = partial(fitted.predict, query[:1])
    return interleaved_ms(acts, REPEATS)


def answering() -> dict[str, Any]:
    """Images answered a second, 5-way 5-shot, on two threads: torch, ONNX, the embedding alone."""
    torch.set_num_threads(2)
    support, query, labels = drawings(5, 5, ANSWERED // 5 + 1)
    query = query[:ANSWERED]
    fitted = FewShotClassifier().fit(support, labels)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export(fitted.classifier_, path)
        onnx = session_of(path)
        embedding = Embedding(load_model("omniglot").method.embedding)
        inputs = {"images": fitted.classifier_.support.samples[:3]}
        exported(embedding, inputs, path, {}, [inputs])
        onnx_embedding = session_of(path)
    parts = torch.from_numpy(255 - query)[:, None].split(IMAGES_A_BATCH)

    @torch.inference_mode()
    def embedding_alone() -> None:
        for part in parts:
            with inference_autocast(part):
                embedding(part)

    def run_all(session: onnxruntime.InferenceSession) -> None:
        for part in parts:
            session.run(None, {"images": part.numpy()})

    ms = interleaved_ms(
        {
            "predict": lambda: fitted.predict(query),
            "embedding": embedding_alone,
            "onnx": lambda: run_all(onnx),
            "onnx_embedding": lambda: run_all(onnx_embedding),
        },
        REPEATS // 5,
    )
    rates = {f"{name}_images_a_second": round(1000 * ANSWERED / t) for name, t in ms.items()}
    return {
        **rates,
        "predict_over_embedding": round(ms["predict"] / ms["embedding"], 3),
        "onnx_over_embedding": round(ms["onnx"] / ms["onnx_embedding"], 3),
    }


class Embedding(torch.nn.Module):
    """Pixels to what the embedding network makes of them."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Of uint8 images [images, 1, height, width]."""
        embedded: torch.Tensor = self.network(to_float(images))
        return embedded


def session_of(path: Path) -> onnxruntime.InferenceSession:
    """An exported network, on two threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def of_photos() -> dict[str, Any]:
    """What all but the backbone costs, of the backbone's own time, on one thread."""
    torch.set_num_threads(1)
    backbone = load_backbone("efficientnet-lite0")
    side = backbone.side
    random = np.random.default_rng(0)

    def fresh(photos: int) -> np.ndarray:  # None that the cache of features has seen.
        return random.integers(0, 256, (photos, side, side, 3), np.uint8)

    @torch.inference_mode()
    def backbone_alone(photos: np.ndarray) -> None:
        pixels = torch.from_numpy(photos).movedim(3, 1)
        with inference_autocast(pixels):
            backbone(pixels)

    labels = [f"class {i // 5}" for i in range(25)]
    fitted = FewShotClassifier("photos").fit(fresh(25), labels)
    shown = iter([fresh(25) for _ in range(2 * 24)])
    ms = interleaved_ms(
        {
            "fit": lambda: fitted.fit(next(shown), labels),
            "backbone": lambda: backbone_alone(next(shown)),
        },
        REPEATS // 3,
    )
    asked = iter([fresh(32) for _ in range(2 * 24)])
    ms |= interleaved_ms(
        {
            "predict": lambda: fitted.predict(next(asked)),
            "backbone_of_predict": lambda: backbone_alone(next(asked)),
        },
        REPEATS // 3,
    )
    return {
        "photos_fit_5way_5shot_ms": ms["fit"],
        "photos_fit_beside_backbone_percent": round(100 * (ms["fit"] / ms["backbone"] - 1), 1),
        "photos_predict_beside_backbone_percent": round(
            100 * (ms["predict"] / ms["backbone_of_predict"] - 1), 1
        ),
    }


def commands() -> dict[str, Any]:
    """The commands as a person runs them: seconds to the first answer, and peak memory."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        support, query, labels = drawings(20, 5, 15)
        file = str(folder / "classifier.safetensors")
        save_images(support, folder / "classes", labels)
        save_images(query, folder / "queries", [""] * len(query))
        found["forge_20way_5shot_peak_mb"] = run("forge", str(folder / "classes"), "-o", file)[1]
        queries = sorted((folder / "queries").iterdir())
        starts = [run("predict", file, str(queries[0]))[0] for _ in range(6)]
        found["predict_start_to_first_answer_s"] = round(statistics.median(starts[1:]), 2)
        many = folder / "many"
        many.mkdir()
        for i in range(FOLDER_IMAGES):  # Names of the same few files: what is read is as much.
            os.link(queries[i % len(queries)], many / f"{i:06d}.png")
        seconds, peak = run("predict", file, str(many), "--format", "csv")
        found["predict_100000_images_s"] = round(seconds, 1)
        found["predict_100000_images_peak_mb"] = peak
        photos = folder / "photos.safetensors"
        random = np.random.default_rng(0)
        pictures = random.integers(0, 256, (4, 240, 320, 3), np.uint8)
        FewShotClassifier("photos").fit(pictures, ["a", "a", "b", "b"]).save(photos)
        picture = folder / "picture.png"
        Image.fromarray(pictures[0]).save(picture)
        starts = [run("predict", str(photos), str(picture))[0] for _ in range(6)]
        found["predict_photo_start_to_first_answer_s"] = round(statistics.median(starts[1:]), 2)
    return found


def save_images(images: np.ndarray, folder: Path, names: Sequence[str]) -> None:
    """Images as PNG files of 105 x 105 pixels, as Omniglot's are, in a folder for each name."""
    for i, (image, name) in enumerate(zip(images, names, strict=True)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).resize((105, 105)).save(folder / name / f"{i:04d}.png")


def run(*words: str) -> tuple[float, float]:
    """Seconds and peak resident megabytes of one run of the command line."""
    code = (
        "import resource, subprocess, sys; "
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    line = [sys.executable, "-c", code, sys.executable, "-m", "lgmnet.cli", *words]
    started = time.perf_counter()
    done = subprocess.run(line, check=True, capture_output=True, text=True)
    return time.perf_counter() - started, round(int(done.stdout) / 1024, 1)


def main() -> None:
    """Measure and write."""
    found: dict[str, Any] = {}
    for part in (fitting, answering, of_photos, commands):
        found |= part()
        print(json.dumps(found, indent=2), flush=True)
    found |= {
        "threads": "1; answers a second and commands: 2",
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
        "lgmnet": lgmnet.__version__,
    }
    RESULT.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
