"""What a device can do."""

from __future__ import annotations

import ctypes
import sys
from contextlib import AbstractContextManager
from typing import Any

import torch
from jaxtyping import Num
from torch import Tensor


def supports_bf16(device: str) -> bool:
    """Whether a device, ``cpu`` or ``cuda``, computes in bf16.

    Where it only emulates it, 32 bits are faster.
    """
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # torch.cpu.get_capabilities is new in torch 2.13; older ones stay at 32 bits.
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name) for name in ("amx_bf16", "avx512_bf16", "bf16"))


def inference_autocast(samples: Num[Tensor, "samples *feature"]) -> AbstractContextManager[object]:
    """What a trained method is best asked within: images in bf16, where the device computes in it.

    Probabilities then differ by some thousandths from those in 32 bits. Vectors stay as they are.
    """
    device = samples.device.type
    images = samples.ndim == 4
    return torch.autocast(device, torch.bfloat16, enabled=images and supports_bf16(device))


def keep_freed_memory() -> None:
    """Have this process keep what it frees, for what it needs next.

    A step of training frees hundreds of megabytes and needs as much again in the next. The C
    library of Linux hands freed memory back, and the system fills every page anew with zeros: on a
    CPU a third of the time of training. Elsewhere nothing is done.
    """
    if not sys.platform.startswith("linux"):
        return
    trim_threshold, mmap_threshold, most = -1, -3, 2**31 - 1  # From <malloc.h>; C takes an int.
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)  # Other C libraries have none.
    if set_option is not None:
        set_option(mmap_threshold, most)
        set_option(trim_threshold, most)
