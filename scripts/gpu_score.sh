#!/usr/bin/env bash
# Score the models that scripts/gpu.sh trained, on the CPU, on the lossless test images. Needs CIFAR-100 and Omniglot
# (LGMNET_DATA). Weights are joined first. Writes results/gpu-*.json and benchmarks/results/gpu.json, and draws
# docs/results/benchmarks.md. With two threads it takes a few hours; EPISODES=100 is a quick trial.
#
#   scripts/gpu_score.sh RESULTS [FOLDER OF THE SCORES]
set -euo pipefail
results="$(cd "${1:?"the folder of the results of scripts/gpu.sh is missing"}" && pwd)"
cd "$(dirname "$0")/.."
scores="${2:-results}"
python="${PYTHON:-python}"
episodes="${EPISODES:-2000}"

mkdir -p "$scores"
"$python" scripts/gpu/weights.py "$results"
for folder in "$results"/models/*/; do
  name="$(basename "$folder")"
  data=cifar-fs split=test
  case "$name" in omniglot*) data=omniglot split=vinyals/test ;; esac
  for task in "5 1" "5 5" "20 1" "20 5"; do
    read -r way shot <<< "$task"
    "$python" -m lgmnet evaluate "$folder" --data "$data" --split "$split" --way "$way" --shot "$shot" \
      --episodes "$episodes" --seed 0 --save "$scores/gpu-$name-${way}w${shot}s.json" --force
  done
done
if [ -f "$results/speeds.json" ] && [ "$scores" = results ]; then
  cp "$results/speeds.json" benchmarks/results/gpu.json
  "$python" benchmarks/page.py
fi
