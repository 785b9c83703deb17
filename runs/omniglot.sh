#!/usr/bin/env bash
# The shipped model and the README's table, seed 0. Needs Omniglot (LGMNET_DATA). On two CPU cores the
# two courses take about an hour and half an hour, the Lake model half an hour, all scores a few minutes.
set -euo pipefail
cd "$(dirname "$0")/.."

# First course. For the shipped weights it was ended with Ctrl-C after step 15,754 of 18,000, when
# validation had stood still for 6,000 steps; the second course starts from its best, those of step 15,000.
lgmnet train omniglot --out outputs/omniglot
# Second course: mirrored characters as further classes, bolder jitter.
lgmnet train omniglot-refined --from outputs/omniglot --out outputs/omniglot-refined
lgmnet publish outputs/omniglot-refined --out src/lgmnet/models/omniglot
# Whole alphabets new at test: a model of its own, for its training classes are others. Its first course
# was ended in the same way after step 3,138 of 8,000.
lgmnet train omniglot-lake --out outputs/omniglot-lake
lgmnet train omniglot-lake-refined --from outputs/omniglot-lake --out outputs/omniglot-lake-refined

for task in "5 1" "5 5" "20 1" "20 5"; do
  read -r way shot <<< "$task"
  for model in src/lgmnet/models/omniglot outputs/omniglot-lake-refined; do
    lgmnet evaluate "$model" --split test --way "$way" --shot "$shot" --query 15 --episodes 2000 \
      --seed 0 --record --save "runs/results/$(basename "$model")-${way}w${shot}s.json"
  done
done
python runs/table.py
