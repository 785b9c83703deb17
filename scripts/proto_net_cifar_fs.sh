#!/usr/bin/env bash
# Train and score ProtoNet with cosines and the auxiliary loss on CIFAR-FS, for twice as many steps as in table 2.
# Needs CIFAR-100 (LGMNET_DATA). One thread trains for about 20 minutes; whenever it is stopped, the same command goes on
# where it was.
set -euo pipefail
cd "$(dirname "$0")/.."
export OMP_NUM_THREADS=1
model=outputs/cifar-fs-proto-net resume=()

if [ -d "$model" ]; then resume=(--resume); fi
lgmnet train cifar-fs-proto-net --steps 6000 --out "$model" \
  --set 'head={"kind": "means", "temperature": 10}' --set 'auxiliary={}' "${resume[@]}"

for shot in 1 5; do
  lgmnet evaluate "$model" --data cifar-fs --split test --way 5 --shot "$shot" --query 15 \
    --episodes 2000 --seed 0 --record --save "results/cifar-fs-proto-net-5w${shot}s.json"
done
lgmnet audit "$model" --data cifar-fs
