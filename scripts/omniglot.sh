#!/usr/bin/env bash
# The shipped model and its rows of the README's table. Needs Omniglot (LGMNET_DATA). On two CPU cores with
# bf16 the first course takes 45 minutes, the second 40, the scores a few.
set -euo pipefail
cd "$(dirname "$0")/.."

# First course, chosen on validation classes. For the shipped weights it was begun on one thread and went on
# with two, and was ended with Ctrl-C at step 13,348 of 18,000: the second course starts from there.
lgmnet train omniglot --set seed=1 --out outputs/omniglot
# Second course: a larger canvas, and validation classes to train on too; its last weights ship.
lgmnet train omniglot-refined --from outputs/omniglot --out outputs/omniglot-refined
lgmnet publish outputs/omniglot-refined --out src/lgmnet/pretrained/omniglot

for task in "5 1" "5 5" "20 1" "20 5"; do
  read -r way shot <<< "$task"
  lgmnet evaluate src/lgmnet/pretrained/omniglot --split test --way "$way" --shot "$shot" --query 15 \
    --episodes 2000 --seed 0 --record --save "results/omniglot-${way}w${shot}s.json"
done
python scripts/table.py
lgmnet calibrate src/lgmnet/pretrained/omniglot --on strokes:val --data omniglot

# The row `omniglot-lake-refined` (whole alphabets new at test) is of an earlier recipe, on a model of its own:
# its results name the commit that has the recipes `omniglot-lake` and `omniglot-lake-refined` they were made by.
