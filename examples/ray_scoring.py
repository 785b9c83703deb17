"""Score many images with Ray Data: each worker loads the classifier once and scores batches.

Needs `pip install 'lgmnet[ray]'`. On a cluster, give Ray its address and read images from a bucket;
`read_binary_files` and `write_parquet` take its URLs.
"""

import tempfile
from pathlib import Path

import ray

from lgmnet import FewShotClassifier
from lgmnet.data.examples import write_example
from lgmnet.scoring import Scorer


def main() -> None:
    """Score the example's images with a worker, and count the answers."""
    with tempfile.TemporaryDirectory() as folder:
        write_example("drawings", Path(folder))
        paths = sorted(Path(folder, "symbols").glob("*/*"))
        classifier = FewShotClassifier("omniglot").fit(paths, [path.parent.name for path in paths])
        file = Path(folder, "symbols.safetensors")
        classifier.save(file)
        ray.init(num_cpus=2, include_dashboard=False, logging_level="error", log_to_driver=False)
        ray.data.DataContext.get_current().enable_progress_bars = False
        images = ray.data.read_binary_files([str(Path(folder, "test"))], include_paths=True)
        scores = images.map_batches(
            Scorer,
            fn_constructor_args=[str(file)],
            batch_size=8,
            compute=ray.data.ActorPoolStrategy(size=1),
        )
        scores.write_parquet(str(Path(folder, "scores")))
        rows = ray.data.read_parquet(str(Path(folder, "scores"))).take_all()
        print(f"{len(rows)} images are scored; columns: {', '.join(sorted(rows[0]))}")
        ray.shutdown()


if __name__ == "__main__":
    main()
