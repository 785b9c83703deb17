#!/usr/bin/env bash
# Train ResNet-12 on CIFAR-FS and Omniglot's recipe, and measure speeds, in at most 10 minutes on one GPU. The machine
# needs no network; python3 there must have PyTorch for CUDA, NumPy and Pillow. The data comes with the code, in one folder:
#
#   python scripts/gpu/pack.py --out outputs/gpu-pack     # here, with CIFAR-100 and Omniglot (LGMNET_DATA); 64 MiB at most
#   bash outputs/gpu-pack/scripts/gpu.sh --out RESULTS    # on the machine with the GPU; all parts, or --part NAME
#   scripts/gpu_score.sh RESULTS                          # here again: joins the weights and scores them on the CPU
#
# In a checkout on the machine with the GPU, `scripts/gpu.sh --pack PACK --out RESULTS` does the same. PYTHON names another
# interpreter. Each part has its share of --minutes (9), and trains for as many steps as fit into it.
set -euo pipefail
root="$(cd "$(dirname "$0")/.." && pwd)"
python="${PYTHON:-python3}"

if ! command -v "$python" >/dev/null; then
  echo "error: There is no '$python' here. Install Python 3.11 or newer, or name one with PYTHON=/its/path." >&2
  exit 2
fi
export PYTHONPATH="$root/src:$root/benchmarks${PYTHONPATH:+:$PYTHONPATH}"
# Past the planned minutes, training is interrupted; the results so far stay.
if command -v timeout >/dev/null; then
  exec timeout --foreground --signal=INT --kill-after=10 590 "$python" "$root/scripts/gpu/run.py" "$@"
fi
exec "$python" "$root/scripts/gpu/run.py" "$@"
