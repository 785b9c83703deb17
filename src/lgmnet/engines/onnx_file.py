"""Conversion of networks to ONNX by torch's exporter."""

import contextlib
import io
import logging
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from lgmnet.errors import require_extra
from lgmnet.warning_filter import ignore_warnings

OPSET = 20
"""Oldest ONNX opset that can resample drawings (GridSample)."""


def convert_to_onnx(
    network: nn.Module, example: dict[str, Tensor], axes: dict[str, Any] | None = None
) -> torch.onnx.ONNXProgram:
    """Convert a network to ONNX, traced with the inputs ``example``.

    Args:
        network: Network in eval mode.
        example: Inputs by name.
        axes: Dynamic axes of each input, as `torch.export.export` takes them; None for the first
            axis of each.

    Raises:
        UserError: if the packages of the extra ``export`` are not installed.
    """
    with require_extra("export", "exported networks"):
        import onnxscript  # noqa: F401  (torch imports it later, where the error would be obscure)
    axes = axes or {name: {0: torch.export.Dim.DYNAMIC} for name in example}
    # Without gradients, images are split into parts, and tracing would fix the number of parts.
    with silence_exporter(), torch.enable_grad():
        traced = torch.export.export(network, (), example, dynamic_shapes=axes, strict=False)
        program = torch.onnx.export(traced, dynamo=True, opset_version=OPSET, verbose=False)
    assert program is not None
    return program


@contextlib.contextmanager
def silence_exporter() -> Iterator[None]:
    """Silence the log, the output and the warnings of torch's exporter."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with ignore_warnings(), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        log.setLevel(level)
