#!/usr/bin/env bash
# Train and evaluate the shipped model for ordinary classes of photos. Needs Caltech-101 and CIFAR-100 (LGMNET_DATA) and the
# extra `photos`. With one thread, the features of all photos take ten minutes on the first run, and training takes two.
set -euo pipefail
cd "$(dirname "$0")/.."

lgmnet train photos-classes --out outputs/photos-classes
lgmnet publish outputs/photos-classes --out outputs/publish/photos-classes
lgmnet calibrate outputs/publish/photos-classes --on cifar-fs:val --data caltech101
for data in caltech101 cifar-fs; do
  for task in "5 1" "5 5" "20 1" "20 5"; do
    read -r way shot <<< "$task"
    lgmnet evaluate outputs/publish/photos-classes --data "$data" --split test --way "$way" --shot "$shot" --episodes 1000 --record
  done
done
# Shipped models are read-only: the complete model replaces the one in the package at the end.
lgmnet publish outputs/publish/photos-classes --out src/lgmnet/pretrained/photos-classes --force
lgmnet reproduce table-photos --episodes 1000
