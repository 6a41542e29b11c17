#!/usr/bin/env bash
# Train `mini` from nothing, on a CPU (about two hours on two idle cores) or a GPU. Run it again to resume.
#   runs/train_mini.sh [FOLDER] [options of `python -m animatic.toy.mini`]
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-runs/out/mini}
shift || true
# glibc gives large blocks back to the system after every step; keeping them is 10 % faster
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=10000000000 MALLOC_TOP_PAD_=268435456
.venv/bin/python -m animatic.toy.mini --out "$out" "$@"
echo "weights: $out/mini (copy them to src/animatic/weights/mini to bundle them)"
