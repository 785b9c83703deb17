"""Fine-tune a shipped model by a recipe of one's own: another data set, a smaller rate, few steps.

A recipe is a function that returns the whole configuration. This one goes on from `omniglot` on
synthetic characters, which need no data. Needs `pip install 'lgmnet[train]'`.
"""

import dataclasses
import tempfile
from pathlib import Path

import lgmnet
from lgmnet.data.registry import open_source
from lgmnet.experiments.recipes import RECIPES
from lgmnet.training.config import OptimizerConfig, Run, TrainConfig, ValidationConfig
from lgmnet.training.launch import launch


def refined_on_strokes() -> Run:
    """Describe the run: the network of `omniglot-refined`, whose weights it starts from."""
    run = RECIPES["omniglot-refined"]()
    return dataclasses.replace(
        run,
        recipe="refined-on-strokes",
        data="strokes",
        split="train",
        val_split="val",
        start="omniglot",
        train=TrainConfig(
            steps=10,  # A real run has some thousands.
            tasks=1,
            way=5,
            query=2,
            optimizer=OptimizerConfig(learning_rate=1e-4, warmup=2),
            validation=ValidationConfig(way=5, query=5, episodes=20, every=5),
        ),
    )


def main() -> None:
    """Train, and score the result beside the model that it started from."""
    run = refined_on_strokes()
    with tempfile.TemporaryDirectory() as folder:
        splits = ("train", "val", "test")
        train, val, test = (open_source("strokes", split) for split in splits)
        model = launch(run, train, val, Path(folder, "refined"), accelerator="cpu")
        assert model is not None
        methods = {"omniglot": lgmnet.load_model("omniglot").method, "refined": model.method}
        for name, method in methods.items():
            score = lgmnet.evaluate(method, test, lgmnet.EpisodeShape(5, 1, 5), episodes=40)
            print(f"{name}: {score.accuracy:.1f} ± {score.ci95:.1f} % ({score.protocol})")


if __name__ == "__main__":
    main()
