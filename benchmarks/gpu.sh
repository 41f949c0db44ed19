#!/usr/bin/env bash
# Everything that is to be measured on one GPU, into benchmarks/records/<GPU>.json and docs/performance.md. About half an
# hour. In an environment with the project's requirements and a CUDA build of PyTorch:
#   benchmarks/gpu.sh [STRUCTURES]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
structures=${1:-5000}

python -c 'import sys, torch; sys.exit("error: PyTorch finds no CUDA device" if not torch.cuda.is_available() else 0)'
python benchmarks/gpu.py --structures "$structures" --json device
python benchmarks/gpu.py --structures "$structures" --tf32 --json device
python benchmarks/page.py > docs/performance.md.part
mv docs/performance.md.part docs/performance.md
