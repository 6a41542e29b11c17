#!/usr/bin/env bash
# Train `mini-2` on the toy world: its codec (eight minutes of one CPU core), then its network with its grounding (by what its
# steps cost, some six hours). Run it again to resume; `--inner mini` begins with what today's `mini` knows. In the background:
#   OMP_NUM_THREADS=1 setsid nohup nice -n 19 runs/train_mini.sh FOLDER >FOLDER.log 2>&1 &
#   runs/train_mini.sh [FOLDER] [options of `python -m animatic.toy.train_mini`]
# PROCESSES=2 trains in as many processes, each with a batch of its own; `--mixed-precision bf16` is quicker where the processor multiplies in it.
set -euo pipefail

main() { # read whole before it runs, so that the file may change meanwhile
  cd "$(dirname "$0")/.."
  local out=${1:-runs/out/mini} python=${PYTHON:-.venv/bin/python}
  shift || true
  # glibc gives large blocks back to the system after every step; keeping them is 10 % faster
  export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=10000000000 MALLOC_TOP_PAD_=268435456
  [[ -d $out/decoder/vae ]] || "$python" -m animatic.toy.train_decoder --out "$out/decoder"
  local launch=()
  ((${PROCESSES:-1} > 1)) && launch=(-m torch.distributed.run --nproc_per_node "$PROCESSES")
  "$python" "${launch[@]}" -m animatic.toy.train_mini --out "$out" "$@"
  echo "weights: $out/mini (copy them to src/animatic/weights/mini-2 to bundle them)"
}

main "$@"
exit
