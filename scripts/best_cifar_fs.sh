#!/usr/bin/env bash
# Train and score the most accurate Conv-4 for CIFAR-FS: two networks side by side, in which nothing is generated. Needs
# CIFAR-100 (LGMNET_DATA). Takes two hours on two cores; whenever it is stopped, the same command goes on where it was.
set -euo pipefail
cd "$(dirname "$0")/.."
export OMP_NUM_THREADS=1

resume=()
if [ -d outputs/cifar-fs-ensemble ]; then resume=(--resume); fi
lgmnet train cifar-fs-ensemble --devices 2 --out outputs/cifar-fs-ensemble "${resume[@]}"
for shot in 1 5; do
  lgmnet evaluate outputs/cifar-fs-ensemble --data cifar-fs --split test --way 5 --shot "$shot" --episodes 2000 --record
done
