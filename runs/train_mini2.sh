#!/usr/bin/env bash
# Take `mini` on to the world off the grid, in 16 frames (about ten hours of one CPU core). Run it again to resume;
# in the background: OMP_NUM_THREADS=1 setsid nohup nice -n 19 runs/train_mini2.sh --out FOLDER >FOLDER.log 2>&1 &
#   runs/train_mini2.sh [--out FOLDER] [options of `python -m animatic.toy.train_mini`]
set -euo pipefail
cd "$(dirname "$0")/.."
[[ " $* " == *" --out"* ]] || set -- --out runs/out/mini2 "$@"
# glibc gives large blocks back to the system after every step; keeping them is 10 % faster
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=10000000000 MALLOC_TOP_PAD_=268435456
exec "${PYTHON:-.venv/bin/python}" -m animatic.toy.train_mini "$@"
