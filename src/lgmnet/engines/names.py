"""Names of the engines, for options and messages; importing them loads no PyTorch."""

from typing import Final, Literal, get_args

EngineName = Literal["auto", "torch", "onnxruntime", "openvino"]
"""``auto`` is the fastest engine that is installed and gives the features that PyTorch gives."""
AUTO: Final = "auto"
TORCH: Final = "torch"
ENGINES = get_args(EngineName)
ENGINE_VARIABLE = "LGMNET_ENGINE"
"""Environment variable with the engine that ``auto`` stands for."""
