"""The engines beside PyTorch: what each is called, and how it loads a converted network."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from lgmnet.engines.names import AUTO, ENGINE_VARIABLE, ENGINES
from lgmnet.errors import UserError, require_extra, unknown_name_error

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
    with require_extra("photos", "networks in ONNX Runtime"):
        import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    content = path.read_bytes()  # ONNX Runtime opens no path that is not UTF-8.
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (name,) = (node.name for node in session.get_inputs())

    pool = ThreadPoolExecutor(n_threads, "lgmnet-engine")

    def run_one(image: np.ndarray) -> np.ndarray:
        result: np.ndarray = session.run(None, {name: image})[0]
        return result

    def run(batch: np.ndarray) -> np.ndarray:
        return np.concatenate(list(pool.map(run_one, np.split(batch, len(batch)))))

    return run


RUNTIMES = {
    runtime.name: runtime
    for runtime in (
        Runtime("openvino", "OpenVINO", "fast", load_openvino),
        Runtime("onnxruntime", "ONNX Runtime", "photos", load_onnxruntime),
    )
}
"""All engines beside PyTorch, by name."""


def check_engine(engine: str) -> str:
    """Check that an engine can be used; `ENGINE_VARIABLE` may replace ``auto``.

    Returns:
        Its name.

    Raises:
        ConfigError: if there is no such engine.
        UserError: if it is not installed.
    """
    name = os.environ.get(ENGINE_VARIABLE, AUTO) if engine == AUTO else engine
    if name not in ENGINES:
        raise unknown_name_error("engine", name, ENGINES)
    if name in RUNTIMES and not RUNTIMES[name].version:
        raise UserError(
            f"The engine '{name}' is not installed; pip install "
            f"'lgmnet[{RUNTIMES[name].extra}]', or give engine 'torch'."
        )
    return name
