#!/usr/bin/env bash
# The paper's tasks in the plane and its figure 4. Needs no data; ten minutes on two CPU cores.
set -euo pipefail
cd "$(dirname "$0")/.."

for family in blobs lines spirals circles; do
  lgmnet train "$family" --out "outputs/$family"
done
lgmnet figure boundaries --models outputs --shot 5 --episodes 500 --seed 0 \
  --out docs/boundaries.png --save runs/results/boundaries.json
