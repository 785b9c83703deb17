#!/usr/bin/env bash
# The shipped model for colour photographs, and its table. Needs Caltech-101 and CIFAR-100 (LGMNET_DATA) and the
# extra `photos`. The features of all photos take ten minutes of one thread, once; the training two.
set -euo pipefail
cd "$(dirname "$0")/.."

lgmnet train photos --out outputs/photos
lgmnet publish outputs/photos --out src/lgmnet/models/photos
for data in caltech101 cifar-fs; do
  for shot in 1 5; do
    lgmnet calibrate src/lgmnet/models/photos --data "$data" --shot "$shot" || true
  done
done
lgmnet reproduce table-photos
