#!/usr/bin/env bash
# Train and score the most accurate Conv-4 for CIFAR-FS: two networks that answer together, in which nothing is generated.
# Needs CIFAR-100 (LGMNET_DATA). Each is trained by a process of one thread, which takes an hour and a half on two cores;
# whenever it is stopped, the same command goes on where it was.
set -euo pipefail
cd "$(dirname "$0")/.."
export OMP_NUM_THREADS=1
mkdir -p outputs

train() {
  local folder=outputs/cifar-fs-constant-$1 resume=()
  if [ -d "$folder" ]; then resume=(--resume); fi
  lgmnet train cifar-fs-constant --set "train.seed=$1" --out "$folder" "${resume[@]}" >>"$folder.log" 2>&1
}

for seed in 0 1; do train "$seed" & done
wait -n && wait -n
python scripts/join_networks.py outputs/cifar-fs-constant-{0,1} --out outputs/cifar-fs-ensemble

for shot in 1 5; do
  lgmnet evaluate outputs/cifar-fs-ensemble --data cifar-fs --split test --way 5 --shot "$shot" --query 15 \
    --episodes 2000 --seed 0 --record --save "results/cifar-fs-ensemble-5w${shot}s.json"
done
lgmnet audit outputs/cifar-fs-ensemble --data cifar-fs
python scripts/table.py
