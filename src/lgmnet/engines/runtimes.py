"""The engines beside PyTorch: what each is called, and how it loads a converted network."""

import os
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from lgmnet.engines.names import AUTO, ENGINE_VARIABLE, ENGINES, TORCH
from lgmnet.errors import ConfigError, require_extra, unknown_name_error

Run = Callable[[np.ndarray], np.ndarray]
"""Runs a network on a batch of at least one image; several threads may call it."""


@dataclass(frozen=True)
class Runtime:
    """Engine that runs networks from ONNX files on the CPU."""

    name: str
    """Value of the keyword ``engine``, which is the name of the package, too."""
    title: str
    """Name in messages."""
    extra: str
    """Extra of lgmnet that contains it."""
    load: Callable[[Path, int], Run]
    """Loads an ONNX file to run on a number of threads."""

    @property
    def version(self) -> str:
        """Installed version; empty if it is not installed."""
        try:
            return version(self.name)
        except PackageNotFoundError:
            return ""


def load_openvino(path: Path, n_threads: int) -> Run:
    """Load a network in OpenVINO, to run one image on each thread.

    So the maps of an image stay in the cache of a core, and its shape is known when the network is
    compiled; both make it faster. It computes in 32 bits: in bf16, which it would choose itself,
    features of photos fail the parity check.

    Raises:
        UserError: if OpenVINO is not installed.
    """
    with require_extra("fast", "networks in OpenVINO"):
        import openvino
    # Not by its path, because OpenVINO opens no path that is not UTF-8.
    model = openvino.Core().read_model(path.read_bytes())
    model.reshape([1, *list(model.input(0).partial_shape)[1:]])
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": n_threads,
        "NUM_STREAMS": n_threads,
        # Or the workers of a machine would all run on its first core.
        "ENABLE_CPU_PINNING": False,
    }
    compiled = openvino.compile_model(model, "CPU", settings)
    # OpenVINO's own queue: threads of Python that wait for a request each can block each other.
    queue, lock = openvino.AsyncInferQueue(compiled, n_threads), threading.Lock()

    def run(batch: np.ndarray) -> np.ndarray:
        results: list[Any] = [None] * len(batch)

        def store(request: Any, index: int) -> None:
            results[index] = np.array(request.get_output_tensor().data)

        with lock:
            queue.set_callback(store)
            for index in range(len(batch)):
                queue.start_async([batch[index : index + 1]], index)
            queue.wait_all()
        return np.concatenate(results)

    return run


def load_onnxruntime(path: Path, n_threads: int) -> Run:
    """Load a network in ONNX Runtime, to run one image on each thread.

    Raises:
        UserError: if ONNX Runtime is not installed.
    """
    run_outputs, _ = load_onnx_outputs(path.read_bytes(), n_threads)
    return lambda batch: run_outputs(batch)[0]


def load_onnx_outputs(
    content: bytes, n_threads: int
) -> tuple[Callable[[np.ndarray], list[np.ndarray]], dict[str, str]]:
    """Load a network with one input in ONNX Runtime, to run one image on each thread.

    Args:
        content: Content of the ONNX file, because ONNX Runtime opens no path that is not UTF-8.
        n_threads: Number of threads.

    Returns:
        Function from a batch of at least one image to all outputs, and the metadata of the file.

    Raises:
        UserError: if ONNX Runtime is not installed.
    """
    with require_extra("photos", "networks in ONNX Runtime"):
        import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (name,) = (node.name for node in session.get_inputs())

    pool = ThreadPoolExecutor(n_threads, "lgmnet-engine")

    def run_one(image: np.ndarray) -> list[np.ndarray]:
        outputs: list[np.ndarray] = session.run(None, {name: image})
        return outputs

    def run(batch: np.ndarray) -> list[np.ndarray]:
        results = pool.map(run_one, np.split(batch, len(batch)))
        return [np.concatenate(outputs) for outputs in zip(*results, strict=True)]

    return run, dict(session.get_modelmeta().custom_metadata_map)


RUNTIMES = {
    runtime.name: runtime
    for runtime in (
        Runtime("openvino", "OpenVINO", "fast", load_openvino),
        Runtime("onnxruntime", "ONNX Runtime", "photos", load_onnxruntime),
    )
}
"""All engines beside PyTorch, by name."""


def check_engine(engine: str) -> str:
    """Check the name of an engine; `ENGINE_VARIABLE` may replace ``auto``.

    Returns:
        Its name; ``torch``, with a warning once in a process, if it is not installed.

    Raises:
        ConfigError: if there is no such engine.
    """
    name = (os.environ.get(ENGINE_VARIABLE) or AUTO) if engine == AUTO else engine
    if name not in ENGINES:
        error = unknown_name_error("engine", name, ENGINES)
        if engine == AUTO:
            raise ConfigError(f"{error} The name comes from the variable {ENGINE_VARIABLE}.")
        raise error
    if name in RUNTIMES and not RUNTIMES[name].version:
        warn_of_absence(name, RUNTIMES[name].extra)
        return TORCH
    return name


@cache
def warn_of_absence(name: str, extra: str) -> None:
    """Warn, once in a process, that an engine is not installed, and name its extra."""
    warnings.warn(
        f"The engine '{name}' is not installed, so PyTorch runs in its place; pip install "
        f"'lgmnet[{extra}]'.",
        stacklevel=3,
    )
