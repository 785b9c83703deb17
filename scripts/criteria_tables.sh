#!/usr/bin/env bash
# Reproduce the tables of tasks by criterion and of other domains, and the figure of two labelings. Needs Omniglot at
# 105x105, CIFAR-100, Caltech-101 and the sets of other domains (LGMNET_DATA), and the extra `photos`. With one thread,
# the features take half an hour on the first run, and each row a few minutes beside its training (docs/concepts/criteria.md).
# Finished rows are skipped. The regularization of the rivals comes from scripts/choose_regularization.py.
set -euo pipefail
cd "$(dirname "$0")/.."

for name in table-criteria table-domains figure-criteria; do
  lgmnet reproduce "$name"
done
