"""Label the images that help most: the least certain one is always asked for next.

A person would answer the questions; here the names of the folders do.
Needs `pip install 'lgmnet[sklearn]'`.
"""

import tempfile
from pathlib import Path

import numpy as np

from lgmnet import FewShotClassifier
from lgmnet.data.examples import write_example

N_QUESTIONS = 4


def main() -> None:
    """Begin with one drawing of each class, and add the answers to a few questions."""
    with tempfile.TemporaryDirectory() as folder:
        write_example("drawings", Path(folder))
        pool = sorted(Path(folder, "symbols").glob("*/*"))
        test = sorted(Path(folder, "test").glob("*/*"))
        first = {path.parent.name: path for path in reversed(pool)}  # One image of each class.
        classifier = FewShotClassifier("omniglot").fit([*first.values()], [*first])
        pool = [path for path in pool if path not in first.values()]
        for question in range(1, N_QUESTIONS + 1):
            ordered = np.sort(classifier.predict_proba(pool))
            margin = ordered[:, -1] - ordered[:, -2]  # Of the two most likely classes.
            path = pool.pop(int(margin.argmin()))
            label = path.parent.name  # What a person would say.
            classifier.partial_fit([path], [label])
            accuracy = classifier.score(test, [path.parent.name for path in test])
            print(f"question {question}: {path.name} is {label}; accuracy {100 * accuracy:.0f} %")


if __name__ == "__main__":
    main()
