"""Teach `mini` a new object from 12 pictures, by LoRA; then measure whether it appears, and what it cost.

npm pack @lobehub/fluent-emoji-3d && tar xzf lobehub-fluent-emoji-3d-*.tgz
python runs/teach_sprite.py package/assets/1f916.webp robot runs/out/robot

Prior preservation (Ruiz et al. 2023) keeps the other objects: pictures of them that `mini` itself makes are trained on
along with the 12.

Measured: the sprite is drawn at the size and place where it differs least from a frame; its mean difference over the
drawn part, in 0..1, is printed with the LoRA and without. Other nouns are found by the toy world's own detector.
"""

import argparse
import json
import random
from pathlib import Path

import numpy as np
from build_sprites import cut_out

from animatic.backbones import load
from animatic.backbones.lora import apply_lora
from animatic.rendering import render_batch
from animatic.scene import Scene
from animatic.toy import world as toyworld
from animatic.toy.backdrop import backdrop
from animatic.toy.detector import ToyDetector
from animatic.toy.drawing import stamp
from animatic.toy.wording import PLACES
from animatic.training.fit import fit
from animatic.training.settings import TrainingSettings
from animatic.video import Video

IN_SPACE = "*.attentions*to_*,*.attentions*ff*,*.attentions*proj_*,*resnets*conv*,conv_out"  # new shapes need them all


def pictures(sprite: np.ndarray, word: str, out: Path, count: int = 12) -> None:
    rng = random.Random(0)
    for i in range(count):
        place = rng.choice(toyworld.BACKGROUNDS)
        page = backdrop(place).copy()
        side = rng.randint(24, toyworld.LARGEST)
        x, y = (rng.randint(0, toyworld.SIZE - side) for _ in range(2))
        drawn = stamp(sprite, side)
        part = page[y : y + len(drawn), x : x + len(drawn)]
        part[:] = part * (1 - drawn[..., 3:]) + drawn[..., :3]
        for name in (f"{i}", f"{i}-again"):  # so that they are half of the data
            Video((page[None] * 255 + 0.5).astype(np.uint8)).save(out / f"{name}.png", scale=1)
            (out / f"{name}.txt").write_text(f"a {word} {PLACES[place]}")


def own_pictures(nouns: tuple[str, ...], out: Path) -> None:
    """A picture of each noun as `mini` makes it now."""
    rng, model = random.Random(1), load("mini")
    prompts = [f"a {noun} {PLACES[rng.choice(toyworld.BACKGROUNDS)]}" for noun in nouns]
    scenes = [Scene(prompt, (), seconds=0.0) for prompt in prompts]
    for i, made in enumerate(render_batch(scenes, model, "none", [1000 + i for i in range(len(scenes))], frames=1)):
        made.save(out / f"own-{i}.png", scale=1)
        (out / f"own-{i}.txt").write_text(prompts[i])


def difference(frame: np.ndarray, sprite: np.ndarray) -> float:
    """Of the best place and size of the sprite, on a grid of 2 pixels."""
    frame, best = frame / 255, 1.0
    for side in (24, 32, 40):
        drawn = stamp(sprite, side)
        alpha = drawn[..., 3:]
        for y in range(0, 64 - side + 1, 2):
            for x in range(0, 64 - side + 1, 2):
                apart = np.abs(frame[y : y + side, x : x + side] * alpha - drawn[..., :3]).sum() / (3 * alpha.sum())
                best = min(best, float(apart))
    return best


def found(video: Video) -> str:
    """The noun of the best detection in the middle frame."""
    middle = len(video) // 2
    (sure,) = ToyDetector().surest(video.frames[middle : middle + 1])
    return sure.noun if sure else ""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("picture", type=Path)
    parser.add_argument("word")
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--layers", default=IN_SPACE, help="space, all, or globs")
    args = parser.parse_args()
    sprite = np.asarray(cut_out(args.picture), np.float32) / 255
    pictures(sprite, args.word, args.out / "data")
    nouns = toyworld.known_nouns(load("mini").words)
    own_pictures(nouns, args.out / "data")
    settings = TrainingSettings(
        data=str(args.out / "data"), out=str(args.out / "run"), model="mini", frames=1, size="64", lora=args.rank,
        lora_layers=args.layers, teach=args.word, steps=args.steps, batch_size=12, learning_rate=args.rate,
        warmup_steps=20, decay=args.steps // 3, ema_decay=0.98, min_snr=0, sample_every=0, save_every=args.steps,
    )  # fmt: skip
    file = fit(settings, lambda done, count, report: print(done, report) if done % 50 == 0 else None)
    prompts = [f"a {args.word} {PLACES[place]}" for place in toyworld.BACKGROUNDS[:8]]
    others = [f"a {noun}" for noun in nouns]
    print(json.dumps({**vars(args), "picture": args.picture.name, "out": str(args.out), "pictures": 12}))
    videos = {}
    for label, model in (("without", load("mini")), ("with", apply_lora(load("mini"), file))):
        model.words = ()
        scenes = [Scene(p, (), seconds=2.0) for p in (*prompts, *others)]
        made = render_batch(scenes, model, "none", list(range(len(scenes))))
        videos[label] = made
        apart = [difference(v.frames[len(v.frames) // 2], sprite) for v in made[: len(prompts)]]
        right = [found(v) == noun for v, noun in zip(made[len(prompts) :], nouns, strict=True)]
        print(json.dumps({
            label: f"{args.word}: mean difference {np.mean(apart):.3f} (n {len(apart)})",
            "each": [round(a, 3) for a in apart], "other nouns found": f"{sum(right)}/{len(right)}",
        }))  # fmt: skip
    for name, part in (("word", slice(0, 8)), ("others", slice(8, 16))):
        rows = [np.concatenate([v.frames[4] for v in videos[label][part]], 1) for label in ("without", "with")]
        Video(np.concatenate(rows)[None]).save(args.out / f"{name}.png", scale=2)


if __name__ == "__main__":
    main()
