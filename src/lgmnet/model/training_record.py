"""Record of a training run, stored with the model that it produced."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TrainingRecord:
    """Data and settings that a model was trained with; enough to train it again."""

    recipe: str
    """Name of the recipe."""
    data: str
    split: str
    split_hash: str
    """Hash of the training classes, which no test class may be among."""
    val_split: str | None
    """Split of the validation classes that chose the weights; None for those of the last step."""
    settings: dict[str, Any]
    """Train config of the recipe, with the changes made by ``--set``."""
    start: str | None = None
    """Model whose weights the training started from; None if it started from scratch."""
    earlier_splits: tuple[str, ...] = ()
    """Splits, as ``data:split``, that the weights of ``start`` were trained on."""
    step: int = 0
    """Optimiser step of the weights; 0 for a method without meta-training."""
    val_task: str = ""
    val_accuracy: float = 0.0
    """Accuracy on the validation classes, in percent."""
    val_ci95: float = 0.0
    """Half-width of its 95 % interval, in percent."""
    val_protocol: str = "inductive"

    @property
    def training_splits(self) -> tuple[str, ...]:
        """All splits, as ``data:split``, that the weights were trained on."""
        return (f"{self.data}:{self.split}", *self.earlier_splits)
