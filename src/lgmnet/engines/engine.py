"""Networks on engines: the one that is asked for, or the fastest that gives the same features."""

import json
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from weakref import WeakKeyDictionary

import torch
from filelock import FileLock
from jaxtyping import Num
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet import devices
from lgmnet.config import from_json
from lgmnet.engines.cuda_graphs import GraphCache
from lgmnet.engines.names import AUTO, TORCH
from lgmnet.engines.onnx_file import OPSET, convert_to_onnx
from lgmnet.engines.runtimes import RUNTIMES, Run, Runtime, check_engine
from lgmnet.errors import ConfigError, UserError, require_extra
from lgmnet.io import atomic_write, make_cache_folder, write_text
from lgmnet.progress import track_progress
from lgmnet.tensor_file import checksum

CONVERSION_VERSION = 1
"""Version of the conversion; part of the name of every converted network."""
MIN_COSINE = 0.9999
"""Least cosine of features with those of PyTorch in 32 bits that passes the parity check."""
N_TIMED_RUNS = 3


@dataclass(frozen=True)
class Trial:
    """Parity and speed of an engine on one network."""

    cosine: float = 1.0
    """Least cosine of features with those of PyTorch in 32 bits."""
    milliseconds: float = 0.0
    """Time for one image of a batch."""
    problem: str = ""
    """Why the engine cannot run the network at all; empty if it can."""

    @property
    def has_passed(self) -> bool:
        """True if the engine can take the place of PyTorch."""
        return not self.problem and self.cosine >= MIN_COSINE

    @property
    def reason(self) -> str:
        """Why the engine has not passed, as the end of a sentence."""
        if self.problem:
            return f"cannot run the network: {self.problem}"
        return (
            f"fails the parity check: the cosine of its features with those of PyTorch is "
            f"{self.cosine:.6f}, and at least {MIN_COSINE} is needed"
        )


@dataclass(frozen=True)
class Engine:
    """Network that runs on one engine."""

    name: str
    """``torch``, or one of `RUNTIMES`."""
    precision: str
    """Precision in which it computes: ``f32`` or ``bf16``."""
    run: Callable[[Tensor], Tensor]

    def __call__(self, images: Num[Tensor, "images *shape"]) -> Num[Tensor, "images *features"]:
        """Compute the features of one batch of images."""
        return self.run(images)


_loaded: WeakKeyDictionary[nn.Module, dict[tuple[str, int], Engine | None]] = WeakKeyDictionary()
"""Engines of the networks in use; None for PyTorch, which would hold the network itself."""
_graphs: WeakKeyDictionary[nn.Module, GraphCache] = WeakKeyDictionary()
"""CUDA graphs of the networks in use."""


def load_engine(
    network: nn.Module,
    draw_examples: Callable[[], Num[Tensor, "images *shape"]],
    engine: str = AUTO,
) -> Engine:
    """Load a network on an engine; it is converted once, into the cache folder.

    ``auto`` takes the fastest engine that is installed and passes the parity check. The outcome of
    the check is stored beside the converted network. An engine that is not installed or fails is
    named in a warning, once, and PyTorch takes its place. Engines beside PyTorch run on the CPU, on
    as many threads as PyTorch has at this time.

    Args:
        network: Frozen network in eval mode, from a batch of images to their features.
        draw_examples: Draws the fixed images of the conversion, the parity check and the timing.
        engine: One of `ENGINES`.

    Raises:
        ConfigError: if there is no such engine, or another than PyTorch is named for a GPU.
        UserError: if the packages for the conversion are not installed, or the cache folder cannot
            be written to.
    """
    name = check_engine(engine)
    device = next(network.parameters()).device
    if device.type != "cpu" and name not in (AUTO, TORCH):
        raise ConfigError(f"The engine '{name}' runs on the CPU only; give 'torch' for {device}.")
    key = (name, torch.get_num_threads())
    engines = _loaded.setdefault(network, {})
    if key not in engines:
        is_on_torch = name == TORCH or device.type != "cpu"
        engines[key] = None if is_on_torch else convert(network, draw_examples(), name)
    return engines[key] or on_torch(network)


def on_torch(network: nn.Module) -> Engine:
    """Run a network in PyTorch, images in bf16 where the device supports it; on a GPU by graphs."""
    weights = next(network.parameters())
    device = weights.device
    is_cuda, is_bf16 = device.type == "cuda", devices.supports_bf16(device.type)

    def compute(images: Tensor) -> Tensor:
        # A graph must not use casts of weights that were cached outside of it.
        autocast = torch.autocast(
            device.type, torch.bfloat16, enabled=is_bf16, cache_enabled=not is_cuda
        )
        with torch.inference_mode(), autocast:
            features: Tensor = network(images)
        return features

    def run(images: Tensor) -> Tensor:
        images = images.to(device)
        if not is_cuda:
            return compute(images)
        return _graphs.setdefault(network, GraphCache()).run(compute, images, weights)

    return Engine(TORCH, "bf16" if is_bf16 else "f32", run)


def on_runtime(runtime: Runtime, path: Path) -> Engine:
    """Run a converted network on another engine."""
    run_array: Run = runtime.load(path, torch.get_num_threads())

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(run_array(images.cpu().contiguous().numpy()))

    return Engine(runtime.name, "f32", run)


def convert(network: nn.Module, examples: Tensor, name: str) -> Engine | None:
    """Load a network on the CPU on an engine other than PyTorch, or the fastest of all.

    Returns:
        The engine; None if PyTorch is the fastest, or the only one that passes the check.

    Raises:
        UserError: if the packages for the conversion are not installed, or the cache folder cannot
            be written to.
    """
    runtimes = [r for r in RUNTIMES.values() if r.version and name in (AUTO, r.name)]
    if not runtimes:
        return None
    path = converted_path(network, examples)
    untried = list_untried(read_trials(path), runtimes)
    trials = try_engines(network, examples, path, runtimes)
    # An engine that is named is expected to run, so its failure is told to every process.
    warn_of_failures(untried if name == AUTO else runtimes, trials)
    passed = [r for r in runtimes if trials[label(r)].has_passed]
    fastest = min(passed, key=lambda r: trials[label(r)].milliseconds, default=None)
    if fastest is None:
        return None
    if name == AUTO and trials[torch_label()].milliseconds < trials[label(fastest)].milliseconds:
        return None
    return on_runtime(fastest, path)


def converted_path(network: nn.Module, examples: Tensor) -> Path:
    """Return the path of a converted network, which depends on all that its features depend on."""
    folder = make_cache_folder("engines")
    identity = {
        "version": f"{CONVERSION_VERSION} {OPSET}",
        "network": repr(network),
        "images": f"{examples.dtype} {tuple(examples.shape[1:])}",
    }
    return folder / f"{checksum(network.state_dict(), identity)[:16]}.onnx"


def try_engines(
    network: nn.Module, examples: Tensor, path: Path, runtimes: list[Runtime]
) -> dict[str, Trial]:
    """Convert a network and try engines on it, unless that was done before.

    If two processes call it at once, one of them converts and the other waits.

    Returns:
        Trial of each engine, by its `label`.

    Raises:
        UserError: if the packages for the conversion are not installed, or the cache folder cannot
            be written to.
    """
    trials = read_trials(path)
    if not list_untried(trials, runtimes):
        return trials
    try:
        with FileLock(path.parent / f".{path.name}.lock"):
            trials = read_trials(path)
            if untried := list_untried(trials, runtimes):
                with track_progress("converted networks", 1) as progress:
                    trials |= try_untried(network, examples, path, untried)
                    progress.advance()
                content = {name: asdict(trial) for name, trial in trials.items()}
                write_text(path.with_suffix(".json"), json.dumps(content, indent=1))
    except OSError as error:
        raise UserError(
            f"Cannot store converted networks in '{path.parent}': {error}. Set LGMNET_CACHE to a "
            "folder that can be written to."
        ) from error
    return trials


def read_trials(path: Path) -> dict[str, Trial]:
    """Read the trials that are stored beside a converted network.

    Returns:
        Trials by label; none if they, or the network that an engine passed on, are missing.
    """
    try:
        content = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        trials = {name: from_json(Trial, trial) for name, trial in content.items()}
    except (OSError, ValueError, AttributeError):
        return {}
    is_needed = any(trial.has_passed for name, trial in trials.items() if name != torch_label())
    return trials if path.is_file() or not is_needed else {}


def list_untried(trials: dict[str, Trial], runtimes: list[Runtime]) -> list[Runtime]:
    """List the engines that have not been tried on this machine, all if PyTorch has not."""
    return [r for r in runtimes if label(r) not in trials or torch_label() not in trials]


def try_untried(
    network: nn.Module, examples: Tensor, path: Path, runtimes: list[Runtime]
) -> dict[str, Trial]:
    """Convert a network if it is not yet converted, and try engines on it."""
    trials = {torch_label(): Trial(milliseconds=measure_time(on_torch(network), examples))}
    problem = "" if path.is_file() else write_converted(network, examples, path)
    with torch.inference_mode():
        expected = network(examples)
    for runtime in runtimes:
        trial = Trial(problem=problem) if problem else try_engine(runtime, path, examples, expected)
        trials[label(runtime)] = trial
    return trials


def warn_of_failures(runtimes: list[Runtime], trials: dict[str, Trial]) -> None:
    """Warn of the engines that cannot take the place of PyTorch, one warning for each reason."""
    failures: dict[str, list[str]] = {}
    for runtime in runtimes:
        trial = trials[label(runtime)]
        if not trial.has_passed:
            failures.setdefault(trial.reason, []).append(runtime.title)
    for reason, titles in failures.items():
        warnings.warn(f"Engine not used: {' and '.join(titles)} {reason}.", stacklevel=2)


def write_converted(network: nn.Module, examples: Tensor, path: Path) -> str:
    """Write a network as ONNX, and return why that is not possible, or an empty text."""
    with require_extra("fast", "networks on other engines than PyTorch"):
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    for draft in path.parent.glob(f".*.{path.name}"):  # A killed process leaves it behind.
        draft.unlink()
    try:
        program = convert_to_onnx(network, {name_input(network): examples[:3]})
    except Exception as error:  # The exporter raises any exception for what it does not know.
        return f"torch cannot convert it to ONNX ({first_line(error)})"
    with atomic_write(path) as draft:
        program.save(draft)
    return ""


def name_input(network: nn.Module) -> str:
    """Return the name of the argument that a network takes its images as."""
    import inspect

    return next(iter(inspect.signature(network.forward).parameters))


def try_engine(runtime: Runtime, path: Path, examples: Tensor, expected: Tensor) -> Trial:
    """Compare the features of an engine with those of PyTorch in 32 bits, and time it."""
    try:
        engine = on_runtime(runtime, path)
        cosine = F.cosine_similarity(engine(examples).flatten(1), expected.flatten(1)).min()
        return Trial(float(cosine), measure_time(engine, examples))
    except Exception as error:  # Engines raise exceptions of their own.
        return Trial(0.0, problem=first_line(error))


def measure_time(engine: Engine, images: Tensor) -> float:
    """Measure the milliseconds that an engine needs for one image, the best of some batches."""
    batch = images[torch.arange(16) % len(images)]
    engine(batch)
    times = []
    for _ in range(N_TIMED_RUNS):
        started = time.perf_counter()
        engine(batch)
        times.append(time.perf_counter() - started)
    return 1000 * min(times) / len(batch)


def first_line(error: Exception) -> str:
    """Return the first line of an error message, shortened, or the name of its type."""
    return (str(error).strip().splitlines() or [""])[0][:200] or type(error).__name__


def label(runtime: Runtime) -> str:
    """Return the name, version and processor that the outcome of a trial holds for."""
    return f"{runtime.name} {runtime.version} {capability()}"


def torch_label() -> str:
    """Return the same for PyTorch."""
    return f"{TORCH} {torch.__version__} {capability()}"


@cache
def capability() -> str:
    """Return the kind of instructions that the processor has."""
    return torch.backends.cpu.get_cpu_capability()
