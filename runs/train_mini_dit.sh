#!/usr/bin/env bash
# Train `mini-dit` from nothing: a CogVideoX transformer of 6 M parameters on the pixels of the toy world, 8 frames of
# 64 x 64, a token a block of 8 x 8. Meant for a GPU; a CPU needs days. Run it again to resume.
#   runs/train_mini_dit.sh [FOLDER] [options of `animatic train`]
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-runs/out/mini-dit}
shift || true
.venv/bin/animatic train --data toy --model runs/mini_dit.json --text own --frames 8 --size 64 --fps 4 --images 4 \
  --target v --schedule zero-snr --batch-size 32 --learning-rate 6e-4 --warmup-steps 1000 --steps 60000 --decay 15000 --ema-decay 0.9995 \
  --sample-every 2500 --out "$out" "$@"
.venv/bin/python - "$out" <<'PYTHON'
import sys
from pathlib import Path

from animatic.backbones import load
from animatic.backbones.small_model import save_model

model = load(f"{sys.argv[1]}/model", "cpu")
for part in (model.unet, model.text.encoder):
    part.half()
save_model(Path(sys.argv[1]) / "mini-dit", model)
PYTHON
echo "model: $out/mini-dit, in half precision (to bundle it: copy it to src/animatic/weights, name it in PRESETS)"
