"""Use a few-shot classifier in scikit-learn: a pipeline, and a search over its parameters.

Needs `pip install 'lgmnet[sklearn]'`.
"""

from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline

from lgmnet import FewShotClassifier


def main() -> None:
    """Choose the number of components by cross-validation, and score the best on other digits."""
    X, y = load_digits(return_X_y=True)
    # Eight drawings of each digit to learn from; 200 others to test on.
    train_X, rest_X, train_y, rest_y = train_test_split(
        X, y, train_size=80, stratify=y, random_state=0
    )
    pipeline = make_pipeline(PCA(whiten=False, random_state=0), FewShotClassifier("vectors"))
    search = GridSearchCV(pipeline, {"pca__n_components": [8, 16, 32]}, cv=4)
    search.fit(train_X, train_y)
    print("number of components:", search.best_params_["pca__n_components"])
    print(f"accuracy in cross-validation: {100 * search.best_score_:.0f} %")
    print(f"accuracy on 200 other digits: {100 * search.score(rest_X[:200], rest_y[:200]):.0f} %")


if __name__ == "__main__":
    main()
