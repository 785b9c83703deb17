#!/usr/bin/env bash
# Reproduce the tables of all methods and figures 3 to 5. Needs Omniglot and CIFAR-100 (LGMNET_DATA). The tables take a
# day on two CPU cores. Trained models stay in outputs/, and rows that have a result are not run again.
# `lgmnet reproduce table2 --only ROW --train-seed 0` runs a single row once and leaves the others unchanged.
set -euo pipefail
cd "$(dirname "$0")/.."

lgmnet reproduce figure4 --episodes 1000
for name in figure3 figure5; do
  lgmnet reproduce "$name"
done
scripts/train_tables.sh
