#!/usr/bin/env bash
# Train `mini-dit` on the toy world: a CogVideoX transformer of 5 M parameters on the latents of `mini`, distilled
# from it. In the background on a CPU, or on a GPU. Run it again to resume.
#   runs/train_mini_dit.sh [FOLDER] [options of `python -m animatic.toy.train_dit`, such as --teacher FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-runs/out/mini-dit}
shift || true
"${PYTHON:-.venv/bin/python}" -m animatic.toy.train_dit --out "$out" "$@"
echo "model: $out/mini-dit, in half precision"
