#!/usr/bin/env bash
# Train `mini-dit` on the toy world: a CogVideoX transformer of 6 M parameters on the latents of `mini`, with
# the words of a trained one. Meant for a GPU; a CPU needs days. Run it again to resume.
#   runs/train_mini_dit.sh [FOLDER] [options of `python -m animatic.toy.train_dit`, such as --text FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-runs/out/mini-dit}
shift || true
"${PYTHON:-.venv/bin/python}" -m animatic.toy.train_dit --out "$out" "$@"
echo "model: $out/mini-dit, in half precision"
