#!/usr/bin/env bash
# Reproduce the tables of all methods and figures 3 to 5. Needs Omniglot and CIFAR-100 (LGMNET_DATA). A table takes hours
# on two CPU cores. Trained models stay in outputs/. `--only ROW` runs a single row and leaves the others unchanged.
set -euo pipefail
cd "$(dirname "$0")/.."

lgmnet reproduce figure4 --episodes 1000
for name in figure3 figure5 table1 table2 table3; do
  lgmnet reproduce "$name"
done
