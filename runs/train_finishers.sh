#!/usr/bin/env bash
# Train `mini-upscale` on the toy world, on a CPU. Run it again to resume.
#   runs/train_finishers.sh [FOLDER] [STEPS]
# For frames between there is no bundled network: on the toy world none was better than its prior, the stage `motion`.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-runs/out/finishers} steps=${2:-4000}
.venv/bin/python -m animatic train --text none --target x0 --schedule zero-snr --min-snr 0 --min-noise 0.999 --warmup-steps 50 \
  --ema-decay 0.99 --learning-rate 1e-3 --sample-every 0 --save-every 500 --steps "$steps" --decay "$((steps * 7 / 10))" \
  --data toy:128:2 --learn upscale:2 --size 48 --crop --frames 1 --batch-size 8 --dim 32 --multiples 1,1,1 --blocks 1,1,1 \
  --out "$out/upscale"
echo "weights: $out/upscale/model (copy them to src/animatic/weights/mini-upscale to bundle them)"
