#!/usr/bin/env bash
# Train `mini-upscale` and `mini-interpolate` on the toy world, on a CPU. Run it again to resume.
#   runs/train_finishers.sh [FOLDER] [STEPS]
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-runs/out/finishers} steps=${2:-4000}
run() {
  .venv/bin/python -m animatic train --text none --target x0 --schedule zero-snr --min-snr 0 --min-noise 0.999 --warmup-steps 50 \
    --ema-decay 0.99 --learning-rate 1e-3 --sample-every 0 --save-every 500 --steps "$steps" --decay "$((steps * 7 / 10))" "$@"
}
run --data toy:128:2 --learn upscale:2 --size 48 --crop --frames 1 --batch-size 8 --dim 32 --multiples 1,1,1 --blocks 1,1,1 \
  --out "$out/upscale"
run --data toy:64:4 --learn interpolate:4 --size 64 --frames 5 --batch-size 4 --dim 32 --multiples 1,2,3 --blocks 1,1,1 \
  --out "$out/interpolate"
echo "weights: $out/*/model (copy them to src/animatic/weights/mini-upscale and mini-interpolate to bundle them)"
