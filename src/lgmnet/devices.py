"""Capabilities and settings of the devices that tensors are computed on."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from jaxtyping import Num
from torch import Tensor

from lgmnet.errors import ConfigError

MAX_INT = 2**31 - 1
"""Largest threshold that the C library takes."""
USUAL_TRIM_THRESHOLD, USUAL_MMAP_THRESHOLD = 64 * 2**20, 32 * 2**20
"""Largest thresholds, in bytes, that the C library of Linux chooses by itself on 64 bits."""


def resolve_device(name: str | torch.device) -> torch.device:
    """Return the device of a name: ``cpu``, ``cuda``, ``cuda:1`` or ``auto``.

    ``auto`` is ``cuda`` where PyTorch finds a GPU for it, else ``cpu``.

    Raises:
        ConfigError: if PyTorch cannot compute on this device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ConfigError(
            f"PyTorch cannot compute on the device {str(name)!r} here. Expected 'cpu', 'cuda' "
            "(which needs a GPU), or 'auto' for a GPU if there is one."
        ) from error
    return device


def supports_bf16(device: str) -> bool:
    """Return True if a device, ``cpu`` or ``cuda``, computes in bf16.

    On a device that only emulates bf16, 32 bits are faster.
    """
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # torch.cpu.get_capabilities is new in torch 2.13; older versions use 32 bits.
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name) for name in ("amx_bf16", "avx512_bf16", "bf16"))


def inference_autocast(samples: Num[Tensor, "samples *feature"]) -> AbstractContextManager[object]:
    """Autocast context for inference: images in bf16 where the device supports it.

    Probabilities then differ from those in 32 bits by some thousandths. Vectors are not cast.
    """
    device = samples.device.type
    is_image = samples.ndim == 4
    return torch.autocast(device, torch.bfloat16, enabled=is_image and supports_bf16(device))


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Context that switches autocast off, for what must be computed in 32 bits or more.

    PyTorch has no autocast on the meta device, where classifiers from files are checked.
    """
    if device.type == "meta":
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def keep_freed_memory() -> None:
    """Make this process keep freed memory for its next allocations instead of returning it.

    A training step frees hundreds of megabytes and the next step needs as much again. On Linux the
    C library returns freed memory to the system, which fills every page with zeros before it is
    used again: on a CPU this takes a third of the training time. Other systems are left as they
    are.
    """
    set_memory_thresholds(trim=MAX_INT, mmap=MAX_INT)


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep freed memory within the context, and return all of it at the end.

    What comes after a training in the same process opens other data; without the end it would need
    the memory of both.
    """
    keep_freed_memory()
    try:
        yield
    finally:
        set_memory_thresholds(trim=USUAL_TRIM_THRESHOLD, mmap=USUAL_MMAP_THRESHOLD)
        if (trim := c_function("malloc_trim")) is not None:
            trim(0)


def set_memory_thresholds(*, trim: int, mmap: int) -> None:
    """Set the sizes, in bytes, from which the C library of Linux returns freed memory."""
    if (set_option := c_function("mallopt")) is not None:
        m_trim_threshold, m_mmap_threshold = -1, -3  # From <malloc.h>.
        set_option(m_mmap_threshold, mmap)
        set_option(m_trim_threshold, trim)


def c_function(name: str) -> Any:
    """Find a function of the C library of Linux; None elsewhere, or if it has no such function."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None
