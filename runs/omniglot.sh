#!/usr/bin/env bash
# The shipped model and the README's table, seed 0. Needs Omniglot (LGMNET_DATA); two CPU cores:
# training takes about 1.6 hours on one of them, all scores together some minutes.
set -euo pipefail
cd "$(dirname "$0")/.."

lgmnet train omniglot --out outputs/omniglot
lgmnet publish outputs/omniglot --out src/lgmnet/models/omniglot
for task in "5 1" "5 5" "20 1" "20 5"; do
  read -r way shot <<< "$task"
  lgmnet evaluate src/lgmnet/models/omniglot --split test --way "$way" --shot "$shot" \
    --query 15 --episodes 2000 --seed 0 --record --save "runs/results/omniglot-${way}w${shot}s.json"
done

# Whole alphabets new at test: its own model, for its training classes are others.
lgmnet train omniglot-lake --out outputs/omniglot-lake
for task in "5 1" "5 5" "20 1" "20 5"; do
  read -r way shot <<< "$task"
  lgmnet evaluate outputs/omniglot-lake --split test --way "$way" --shot "$shot" \
    --query 15 --episodes 2000 --seed 0 --record --save "runs/results/omniglot-lake-${way}w${shot}s.json"
done
