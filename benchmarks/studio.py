"""What the service adds to the model's own time, under load: 32 clients on loopback for a minute.

Run ``python benchmarks/studio.py``; it writes ``benchmarks/results/studio.json``. Nothing else
should run at the same time. Needs the extra ``studio``. Each client asks one classifier, the same
for all, about one drawing nine times, then forges a classifier of its own of five classes and
removes it, all at 28 x 28, over one connection that stays.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import os
import platform
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import torch
from PIL import Image

import lgmnet
from lgmnet.data.images.read import ImageBytes, read_image
from lgmnet.data.synthetic.characters import SyntheticCharacters
from lgmnet.episode import EpisodeShape
from lgmnet.studio.service import encoded

CLIENTS, SECONDS, WARM = 32, 60.0, 10.0
WORKERS = os.cpu_count() or 1
WAY, SHOT, ASKED_FOR_EACH_FORGE = 5, 1, 9
RESULT = Path(__file__).parent / "results" / "studio.json"


def drawings(images: int) -> list[bytes]:
    """Invented characters as PNG files."""
    pixels = torch.empty(2 * images, 1, 28, 28, dtype=torch.uint8)
    SyntheticCharacters("test").draw(
        EpisodeShape(images, 1, 1), torch.Generator().manual_seed(0), pixels
    )
    return [encoded(Image.fromarray(255 - p[0].numpy()), "PNG") for p in pixels[:images]]


def multipart(files: list[bytes], labels: list[str] | None) -> tuple[bytes, dict[str, str]]:
    """A body and its headers."""
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


def clients(port: int, found: Any) -> None:
    """All clients, in a process of their own."""
    files = drawings(WAY * SHOT + 64)
    shown = [f"class {i // SHOT}" for i in range(WAY * SHOT)]
    forge = multipart(files[: WAY * SHOT], shown)
    asks = [multipart([one], None) for one in files[WAY * SHOT :]]
    times: dict[str, list[float]] = {"predict": [], "forge": [], "delete": []}
    errors: list[str] = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/v1/classifiers", *forge)
    shared = json.loads(connection.getresponse().read())["id"]
    lock, end = threading.Lock(), time.perf_counter() + WARM + SECONDS
    count_from = time.perf_counter() + WARM

    def client(seed: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        chance = random.Random(seed)

        def send(kind: str, method: str, path: str, what: tuple[bytes, dict[str, str]]) -> bytes:
            started = time.perf_counter()
            connection.request(method, path, *what)
            answer = connection.getresponse()
            body = answer.read()
            now = time.perf_counter()
            with lock:
                if answer.status >= 400:
                    errors.append(f"{kind}: {answer.status} {body[:200]!r}")
                elif count_from <= now < end:
                    times[kind].append(now - started)
            return body

        nothing: tuple[bytes, dict[str, str]] = (b"", {})
        while time.perf_counter() < end:
            for _ in range(ASKED_FOR_EACH_FORGE):
                send("predict", "POST", f"/v1/classifiers/{shared}/predict", chance.choice(asks))
            made = json.loads(send("forge", "POST", "/v1/classifiers", forge))["id"]
            send("delete", "DELETE", f"/v1/classifiers/{made}", nothing)

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found.put((times, errors))


def bare() -> tuple[float, float]:
    """Milliseconds of the model's own calls: one image answered, one classifier forged."""
    model = lgmnet.load_model("omniglot")
    files = [ImageBytes("x", data) for data in drawings(WAY * SHOT + 1)]
    pixels = torch.stack([read_image(file, (1, 28, 28)) for file in files])
    labels, names = [i // SHOT for i in range(WAY * SHOT)], [str(i) for i in range(WAY)]
    support, query = pixels[: WAY * SHOT], pixels[WAY * SHOT :]
    fitted = lgmnet.classifier.classifier(model, support, labels, names)

    def median_ms(act: Any) -> float:
        for _ in range(20):
            act()
        seconds = []
        for _ in range(400):
            started = time.perf_counter()
            act()
            seconds.append(time.perf_counter() - started)
        return 1000 * statistics.median(seconds)

    return (
        median_ms(lambda: fitted.analyze(query)),
        median_ms(lambda: lgmnet.classifier.classifier(model, support, labels, names)),
    )


def resident_mb(pid: int) -> float:
    """Resident memory of a process and those that it has started."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6 + sum(resident_mb(int(c)) for c in children)


def quantiles(seconds: list[float]) -> dict[str, float]:
    """Median and 99 % quantile in milliseconds."""
    cuts = statistics.quantiles(seconds, n=100)
    return {"p50_ms": round(1000 * cuts[49], 1), "p99_ms": round(1000 * cuts[98], 1)}


def main() -> None:
    """Measure and write."""
    before = bare()
    with tempfile.TemporaryDirectory() as folder:
        line = [sys.executable, "-m", "lgmnet.cli", "serve", "--port", "0", "--store", folder]
        line += ["--workers", str(WORKERS)]
        server = subprocess.Popen(
            line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert server.stdout is not None
        port = int(re.findall(r":(\d+)", server.stdout.readline())[0])
        fresh = multiprocessing.get_context("spawn")  # A fork would inherit torch's threads.
        answers: Any = fresh.Queue()
        load = fresh.Process(target=clients, args=(port, answers))
        load.start()
        memory = []
        started = time.perf_counter()
        while time.perf_counter() - started < WARM + SECONDS:
            time.sleep(1.0)
            memory.append(resident_mb(server.pid))
        times, errors = answers.get(timeout=120)
        load.join()
        server.send_signal(signal.SIGINT)
        server.wait(60)
    # Before and after the load, for it varies by a tenth and more.
    predict_ms, forge_ms = (statistics.mean(pair) for pair in zip(before, bare(), strict=True))
    counts = {kind: len(some) for kind, some in times.items()}
    model_seconds = (counts["predict"] * predict_ms + counts["forge"] * forge_ms) / 1000
    warm = int(WARM)
    found = {
        "clients": CLIENTS,
        "processes": WORKERS,
        "seconds": SECONDS,
        "errors": len(errors),
        "first_errors": errors[:3],
        "requests_a_second": round(sum(counts.values()) / SECONDS, 1),
        "predictions_a_second": round(counts["predict"] / SECONDS, 1),
        "forged_a_second": round(counts["forge"] / SECONDS, 1),
        **{kind: quantiles(some) for kind, some in times.items()},
        "bare_predict_ms": round(predict_ms, 2),
        "bare_forge_ms": round(forge_ms, 2),
        "overhead_percent_of_model_time": round(100 * (SECONDS / model_seconds - 1), 1),
        "resident_mb_after_warming_up": round(memory[warm], 1),
        "resident_mb_half_way": round(memory[(warm + len(memory)) // 2], 1),
        "resident_mb_at_the_end": round(memory[-1], 1),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lgmnet": lgmnet.__version__,
    }
    RESULT.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
