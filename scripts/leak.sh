#!/usr/bin/env bash
# Measure the leak in the reference code's test protocol on pure noise (docs/concepts/leak.md). Needs no data. Takes a minute.
set -euo pipefail
cd "$(dirname "$0")/.."
lgmnet demo leak --seed 0 --json > leak.json
mv leak.json results/leak.json
python scripts/table.py
