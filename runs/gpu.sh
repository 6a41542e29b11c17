#!/usr/bin/env bash
# What a GPU shows and a CPU cannot, as tables of Markdown: steps and guided passes in half precision, memory, compile.
# runs/gpu.sh [OPTIONS OF gpu.py]; --tiny is the same on tiny networks; PYTHON=python3 says which Python.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false

timeout 25m "$python" runs/gpu.py "$@"
