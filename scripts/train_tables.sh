#!/usr/bin/env bash
# Train and score all missing rows of tables 1 to 3 and of the tasks in the plane, in two processes of one thread each,
# which share the work row by row. Needs Omniglot and CIFAR-100 (LGMNET_DATA). It takes a day; whenever it is stopped, the
# same command goes on where it was. Finished rows are skipped. Options such as
# `--steps 30 --episodes 64 --results R --out P --models M` are passed on.
set -euo pipefail
cd "$(dirname "$0")/.."
export OMP_NUM_THREADS=1
mkdir -p outputs

work() {
  for name in table-plane table2 table1 table3; do
    lgmnet reproduce "$name" "$@"
  done
}

for number in 1 2; do
  work "$@" >>"outputs/tables-$number.log" 2>&1 &
done
wait -n && wait -n
