"""Measure the time that the HTTP service adds to the model's own time, under load.

``python benchmarks/service.py`` writes ``benchmarks/results/service.json``. Needs the extra
``studio``. Takes a minute. Run nothing else at the same time.

32 clients send requests over loopback for 40 seconds, each over one connection that it keeps open.
A client sends nine predictions of one 28 x 28 drawing each to a classifier that all clients share.
It then creates a classifier of five classes, deletes it and starts again.
"""

from __future__ import annotations

import http.client
import io
import json
import multiprocessing
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from harness import interleaved_ms, write_result
from PIL import Image

import lgmnet
from lgmnet.data.images.read import ImageBytes, read_image
from lgmnet.data.synthetic.characters import SyntheticCharacters
from lgmnet.episode import EpisodeShape

N_CLIENTS, SECONDS, WARM_UP_SECONDS = 32, 40.0, 10.0
N_PROCESSES = os.cpu_count() or 1
WAY, SHOT, N_QUERIES, PREDICTIONS_PER_CLASSIFIER = 5, 1, 64, 9

Request = tuple[bytes, dict[str, str]]
"""Body and headers."""


def draw_characters(n_images: int) -> list[bytes]:
    """Draw synthetic characters and return them as PNG files."""
    pixels = torch.empty(2 * n_images, 1, 28, 28, dtype=torch.uint8)
    SyntheticCharacters("test").draw(
        EpisodeShape(n_images, 1, 1), torch.Generator().manual_seed(0), pixels
    )
    files = []
    for drawing in pixels[:n_images]:
        file = io.BytesIO()
        Image.fromarray(255 - drawing[0].numpy()).save(file, "PNG")
        files.append(file.getvalue())
    return files


def make_request(files: list[bytes], labels: list[str] | None = None) -> Request:
    """Create a multipart request: a prediction, or a new classifier if there are labels."""
    parts = []
    for i, data in enumerate(files):
        head = f'form-data; name="images"; filename="{i}.png"\r\nContent-Type: image/png'
        parts.append(f"--x\r\nContent-Disposition: {head}\r\n\r\n".encode() + data + b"\r\n")
    for label in labels or ():
        head = 'form-data; name="labels"'
        parts.append(f"--x\r\nContent-Disposition: {head}\r\n\r\n{label}\r\n".encode())
    if labels:
        head = 'form-data; name="model"'
        parts.append(f"--x\r\nContent-Disposition: {head}\r\n\r\nomniglot\r\n".encode())
    body = b"".join([*parts, b"--x--\r\n"])
    return body, {"Content-Type": "multipart/form-data; boundary=x"}


def run_clients(port: int, results: Any) -> None:
    """Run all clients in this process, and put the times in seconds and the errors in a queue."""
    files = draw_characters(WAY * SHOT + N_QUERIES)
    labels = [f"class {i // SHOT}" for i in range(WAY * SHOT)]
    create = make_request(files[: WAY * SHOT], labels)
    predictions = [make_request([file]) for file in files[WAY * SHOT :]]
    times: dict[str, list[float]] = {"predict": [], "create": [], "delete": []}
    errors: list[str] = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/v1/classifiers", *create)
    shared_id = json.loads(connection.getresponse().read())["id"]
    lock = threading.Lock()
    measure_from = time.perf_counter() + WARM_UP_SECONDS
    end = measure_from + SECONDS

    def run_client(seed: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        random_source = random.Random(seed)

        def send(kind: str, method: str, path: str, request: Request) -> bytes:
            start = time.perf_counter()
            connection.request(method, path, *request)
            response = connection.getresponse()
            body = response.read()
            now = time.perf_counter()
            with lock:
                if response.status >= 400:
                    errors.append(f"{kind}: {response.status} {body[:200]!r}")
                elif measure_from <= now < end:
                    times[kind].append(now - start)
            return body

        empty: Request = (b"", {})
        while time.perf_counter() < end:
            for _ in range(PREDICTIONS_PER_CLASSIFIER):
                request = random_source.choice(predictions)
                send("predict", "POST", f"/v1/classifiers/{shared_id}/predict", request)
            own_id = json.loads(send("create", "POST", "/v1/classifiers", create))["id"]
            send("delete", "DELETE", f"/v1/classifiers/{own_id}", empty)

    threads = [threading.Thread(target=run_client, args=(seed,)) for seed in range(N_CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put((times, errors))


def measure_model() -> dict[str, float]:
    """Return the median milliseconds of "predict" and "fit" without the service."""
    model = lgmnet.load_model("omniglot")
    files = [ImageBytes("x", data) for data in draw_characters(WAY * SHOT + 1)]
    images = torch.stack([read_image(file, (1, 28, 28)) for file in files])
    labels, class_names = [i // SHOT for i in range(WAY * SHOT)], [str(i) for i in range(WAY)]
    support_x, query_x = images[: WAY * SHOT], images[WAY * SHOT :]
    fitted = lgmnet.fit_classifier(model, support_x, labels, class_names)
    calls: dict[str, Callable[[], object]] = {
        "predict": lambda: fitted.analyze(query_x),
        "fit": lambda: lgmnet.fit_classifier(model, support_x, labels, class_names),
    }
    return interleaved_ms(calls, 400)


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process and its descendants, in megabytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6 + sum(resident_mb(int(c)) for c in children)


def quantiles_ms(seconds: list[float]) -> dict[str, float]:
    """Return the median and the 99 % quantile, in milliseconds."""
    cuts = statistics.quantiles(seconds, n=100)
    return {"p50_ms": round(1000 * cuts[49], 1), "p99_ms": round(1000 * cuts[98], 1)}


def main() -> None:
    """Measure and write the result."""
    model_ms_before = measure_model()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "lgmnet", "serve", "--port", "0", "--store", folder]
        command += ["--workers", str(N_PROCESSES)]
        server = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert server.stdout is not None
        port = int(re.findall(r":(\d+)", server.stdout.readline())[0])
        context = multiprocessing.get_context("spawn")  # A fork would inherit torch's threads.
        results: Any = context.Queue()
        clients = context.Process(target=run_clients, args=(port, results))
        clients.start()
        memory = []
        start = time.perf_counter()
        while time.perf_counter() - start < WARM_UP_SECONDS + SECONDS:
            time.sleep(1.0)
            memory.append(resident_mb(server.pid))
        times, errors = results.get(timeout=120)
        clients.join()
        server.send_signal(signal.SIGINT)
        server.wait(60)
    # Measured before and after the load, because it varies by 10 % and more.
    model_ms_after = measure_model()
    predict_ms, fit_ms = ((model_ms_before[k] + model_ms_after[k]) / 2 for k in ("predict", "fit"))
    counts = {kind: len(seconds) for kind, seconds in times.items()}
    model_seconds = (counts["predict"] * predict_ms + counts["create"] * fit_ms) / 1000
    warm_up = int(WARM_UP_SECONDS)
    result = {
        "clients": N_CLIENTS,
        "server processes": N_PROCESSES,
        "duration, s": SECONDS,
        "errors": len(errors),
        "first errors": errors[:3],
        "requests per second": round(sum(counts.values()) / SECONDS, 1),
        "predictions per second": round(counts["predict"] / SECONDS, 1),
        "classifiers created per second": round(counts["create"] / SECONDS, 1),
        **{kind: quantiles_ms(seconds) for kind, seconds in times.items()},
        "predict without the service, ms": round(predict_ms, 2),
        "fit without the service, ms": round(fit_ms, 2),
        "time added to the model's own, %": round(100 * (SECONDS / model_seconds - 1), 1),
        "memory after the warm-up, MB": round(memory[warm_up], 1),
        "memory at half time, MB": round(memory[(warm_up + len(memory)) // 2], 1),
        "memory at the end, MB": round(memory[-1], 1),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "lgmnet": lgmnet.__version__,
    }
    write_result("service", result)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
