"""Kind and shape of the samples that a model takes."""

from dataclasses import dataclass
from typing import Literal

InputKind = Literal["drawing", "photo", "vector"]


@dataclass(frozen=True)
class InputSpec:
    """Samples that a model takes: drawings, photos or vectors."""

    shape: tuple[int, ...]
    """[1, side, side] of a drawing, [3, height, width] of a photo or [features] of a vector."""
    any_length: bool = False
    """True for a model of vectors that takes vectors of every length."""

    @property
    def kind(self) -> InputKind:
        """Kind of the samples."""
        if len(self.shape) == 1:
            return "vector"
        return "photo" if self.shape[0] == 3 else "drawing"

    @property
    def is_image(self) -> bool:
        """True for drawings and photos."""
        return self.kind != "vector"
