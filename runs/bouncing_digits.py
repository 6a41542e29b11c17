"""Digits that bounce, from nothing, on one core: draw a folder of gifs, train, sample, and see whether they move.

python runs/bouncing_digits.py runs/out/digits [--steps 600]

After moving MNIST (Srivastava et al. 2015), with digits of a font. Printed at the end, for the data and for the
samples: the fraction of pixels that change by more than a quarter from frame to frame, the fraction that is bright, how
far the centre of the bright pixels travels in a clip, in pixels, and its largest step: smooth motion has small ones.
"""

import argparse
import json
import random
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from animatic.backbones import load
from animatic.rendering import render_batch
from animatic.scene import Scene
from animatic.training.fit import fit, grid
from animatic.training.settings import TrainingSettings
from animatic.video import Video

SIDE, FRAMES, DIGIT = 24, 8, 14


def bouncing(rng: random.Random, digit: str) -> Video:
    picture = Image.new("L", (DIGIT, DIGIT))
    ImageDraw.Draw(picture).text((DIGIT / 2, DIGIT / 2), digit, 255, ImageFont.load_default(DIGIT), anchor="mm")
    glyph, room = np.asarray(picture), SIDE - DIGIT
    x, y = rng.uniform(0, room), rng.uniform(0, room)
    u, v = (rng.choice((-1, 1)) * rng.uniform(1, 2) for _ in range(2))
    frames = np.zeros((FRAMES, SIDE, SIDE, 3), np.uint8)
    for frame in frames:
        frame[round(y) : round(y) + DIGIT, round(x) : round(x) + DIGIT] = glyph[..., None]
        x, y = x + u, y + v
        u, v = (-u if not 0 <= x <= room else u), (-v if not 0 <= y <= room else v)
        x, y = min(max(x, 0), room), min(max(y, 0), room)
    return Video(frames)


def statistics(videos: list[Video]) -> dict[str, float]:
    clips = np.stack([v.frames[..., 0] for v in videos]) / 255
    bright = np.clip(clips - 0.2, 0, None) + 1e-6
    across = np.arange(SIDE)
    x = (bright.sum(2) * across).sum(-1) / bright.sum((2, 3))
    y = (bright.sum(3) * across).sum(-1) / bright.sum((2, 3))
    hop = np.hypot(np.diff(x, axis=1), np.diff(y, axis=1))
    return {
        "pixels that change": round(float((np.abs(np.diff(clips, axis=1)) > 0.25).mean()), 3),
        "pixels that are bright": round(float((clips > 0.5).mean()), 3),
        "way of the centre": round(float(hop.sum(1).mean()), 2),
        "largest hop": round(float(hop.max(1).mean()), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--clips", type=int, default=500)
    args = parser.parse_args()
    rng = random.Random(0)
    videos = [bouncing(rng, rng.choice("0123456789")) for _ in range(args.clips)]
    for i, video in enumerate(videos):
        video.save(args.out / "data" / f"{i}.gif", scale=1)
    settings = TrainingSettings(
        data=str(args.out / "data"), out=str(args.out / "run"), text="none", frames=FRAMES, size=str(SIDE), dim=16,
        multiples="1,2,4", batch_size=8, steps=args.steps, learning_rate=2e-3, warmup_steps=50, decay=args.steps // 3,
        ema_decay=0.98, sample_every=0, save_every=100,
    )  # fmt: skip
    made = fit(settings, lambda done, count, report: print(done, report, flush=True) if done % 50 == 0 else None)
    samples = render_batch([Scene("digits", (), seconds=1.0)] * 16, load(str(made)), "none", list(range(16)))
    grid(samples).save(args.out / "samples.gif")
    print(
        json.dumps(
            {"steps": args.steps, "data": statistics(videos[:200]), "samples (n 16, seeds 0-15)": statistics(samples)}
        )
    )


if __name__ == "__main__":
    main()
