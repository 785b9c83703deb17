"""Join networks of LGM-Net that were trained apart into one model.

The model answers by the mean of their probabilities, and is scored on the validation tasks of the
first one's training.

    python scripts/join_networks.py outputs/first outputs/second --out outputs/joined
"""

import argparse
import dataclasses
from pathlib import Path

from lgmnet.config import from_json
from lgmnet.methods import NetworkEnsemble
from lgmnet.model.model import Model, load_model, save_model
from lgmnet.model.sources import open_model_source
from lgmnet.training.config import TrainConfig
from lgmnet.training.trainer import add_score, validate


def join_networks(models: list[Model]) -> Model:
    """Join models whose methods are LGM-Nets with one config, trained by one recipe.

    Raises:
        ConfigError: if they are not.
        DataError: if the validation data cannot be opened.
    """
    method, first = NetworkEnsemble.of([model.method for model in models]), models[0].training
    assert first.val_split is not None
    source = open_model_source(first.data, first.val_split)
    score = validate(method, source, from_json(TrainConfig, first.settings))
    seeds = " and ".join(str(model.training.settings["seed"]) for model in models)
    training = dataclasses.replace(
        first,
        recipe=f"{first.recipe} with seeds {seeds}",
        step=max(model.training.step for model in models),
    )
    return Model(method, "network-ensemble", add_score(training, score))


def main() -> None:
    """Read the models, and write the joined one."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("models", nargs="+", help="folders of the models")
    parser.add_argument("--out", type=Path, required=True, help="folder of the new model")
    arguments = parser.parse_args()
    model = join_networks([load_model(folder) for folder in arguments.models])
    save_model(model, arguments.out)
    training = model.training
    print(
        f"{arguments.out}: {training.val_accuracy:.2f} ± {training.val_ci95:.2f} % on validation "
        f"classes ({training.val_task})"
    )


if __name__ == "__main__":
    main()
