"""Scores and cost of one method on random scenes with boxes: a row of the table that compares methods.

    python -m animatic.toy.evals.controls lvd --n 100 --seeds 2 [--still]

One process for each method, so that the peak memory is that of the method; `runs/compare_controls.sh` makes the table.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from ...backbones import load
from ...benchmarks.detect import overlap
from ...rendering import render_batch
from ...scene import Box
from ...video import Video
from ..backdrop import backdrop
from ..detector import ToyDetector
from ..world import known_nouns
from .held_out import HeldOutCase, held_out_cases
from .judging import judge_one, means


def cases_of(n: int, seed: int, still: bool, nouns: Sequence[str]) -> list[HeldOutCase]:
    """`n` random scenes of one object in a box that the prompt does not imply; with `still` their first frames."""
    rng = random.Random(seed)
    cases = held_out_cases(rng, n, nouns)
    if not still:
        return cases

    # The first frames of the same scenes, as pictures.
    stills = [replace(case.scene.at(1), seconds=0.0) for case in cases]
    return [replace(case, scene=still) for case, still in zip(cases, stills, strict=True)]


def measured(case: HeldOutCase, video: Video, detector: ToyDetector) -> dict[str, float]:
    """The scores of `judge_one`, the intersection over union with the box, and the error of the background."""
    boxes = case.scene.at(len(video)).tracks[0].boxes
    finds = detector(video.frames)
    ious = []
    for detections, box in zip(finds, boxes, strict=True):
        found = next(iter(detections), None)
        ious.append(overlap(found.box, box) if found and box else 0.0)

    # A frame without a detection counts as no overlap.
    result = judge_one(case, video.frames, finds)
    result["IoU"] = float(np.mean(ious))
    result["background error"] = background_error(video, boxes, case.scene.background)
    return result


def background_error(video: Video, boxes: Sequence[Box | None], background: str) -> float:
    """Mean absolute difference from the painted background, in 0..1, outside the boxes and a cell around them."""
    expected = backdrop(background) * 255
    height, width = expected.shape[:2]
    errors = []
    for frame, box in zip(video.frames, boxes, strict=True):
        outside = np.ones((height, width), bool)
        if box is not None:
            # The box and a cell of 8 pixels around it, which the codec may blur.
            x0, x1 = (round(x * width) for x in box[0::2])
            y0, y1 = (round(y * height) for y in box[1::2])
            top, left = max(0, y0 - 8), max(0, x0 - 8)  # a cell is 8 pixels
            bottom, right = y1 + 8, x1 + 8
            outside[top:bottom, left:right] = False
        off = np.abs(frame.astype(np.float32) - expected)
        errors.append(off[outside].mean() / 255)
    return float(np.mean(errors))


def main(
    method: str,
    model: str = "mini",
    n: Annotated[int, typer.Option(help="Scenes.")] = 100,
    seeds: Annotated[int, typer.Option(help="Seeds for each scene.")] = 2,
    seed: int = 0,
    steps: int = 25,
    still: Annotated[bool, typer.Option(help="Pictures, not videos.")] = False,
    keep: Annotated[Path | None, typer.Option(help="Folder to keep what was made in.")] = None,
    batch: int = 10,
    fast: Annotated[bool, typer.Option("--fast", help="Unguided steps reuse features.")] = False,
) -> None:
    """Print one row as JSON: settings, n, means, CPU seconds a sample on one thread, peak memory of the process."""
    import resource  # Unix alone has it; the rest of this file is for everybody

    torch.set_num_threads(1)
    backbone = load(model)
    detector = ToyDetector()
    cases = cases_of(n, seed, still, known_nouns(backbone.words))
    suffix = "png" if still else "webp"

    results = []
    seconds = 0.0
    for k in range(seeds):
        for i in range(0, n, batch):
            part = cases[i : i + batch]
            scenes = [case.scene for case in part]
            first = seed + 1000 * k + i
            own_seeds = range(first, first + len(part))

            # Scoring is not counted.
            began = time.process_time()
            videos = render_batch(scenes, backbone, method, own_seeds, steps=steps, fast=fast)
            seconds += time.process_time() - began

            for case, number, video in zip(part, own_seeds, videos, strict=True):
                results.append(measured(case, video, detector))
                if keep:
                    file = f"{method.replace(':', '-')}-{number:04d}.{suffix}"
                    video.save(keep / file)

    # Means over all samples, cost a sample.
    count = n * seeds
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux counts in KiB
    row = {"method": method, "model": model, "still": still, "n": count, "seed": seed, "steps": steps, "fast": fast}
    row |= means(results)
    row |= {"cpu seconds": round(seconds / count, 2), "peak MB": round(peak)}
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    typer.run(main)
