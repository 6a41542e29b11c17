"""The pictures of the README and of docs/, from the bundled weights: `python runs/pictures.py [FOLDER]`.

Every clip is upscaled by `mini-upscale`, from 64 to 128 pixels.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import animatic
from animatic.contact_sheet import comparison_sheet, evenly, png
from animatic.planning.planners import RulePlanner
from animatic.video import Video, side_by_side, sketch

SIZE = 128
STAGES = "upscale:2"
METHOD = "lvd"
STORY_METHOD = "ditctrl+lvd"
SCENE = "A bear walks from the left to the right in the forest"
STORY = "A red ball rolls to the right on the grass. Then the ball rises in the sky. Then it falls in the desert."
EDITED = ("A cat walks from the right to the left on the grass", "cat", "dog")
PROMPTS = (
    "A yellow car drives from the left to the right on the road",
    "A duck swims from the right to the left in the water",
    "A rocket rises at night",
    "A blue balloon floats up in the sky",
    "A turtle walks to the left on the beach",
    "A red ball falls onto the grass",
    "A horse runs from the left to the right on the grass",
    "A green train drives from the right to the left in the desert",
    "A purple butterfly flies to the right in the forest",
    "A cat walks from the left to the right in the room",
    "A fish swims to the right in the water, and a turtle swims to the left",
    "A brown dog chases a white rabbit on the grass",
)


def main(out: Path) -> None:
    model = animatic.load("mini")
    scene = animatic.plan(SCENE)
    made = [animatic.render(scene, model, method, seed=1, stages=STAGES) for method in ("none", METHOD)]
    boxes = sketch(scene, len(made[0]), SIZE, SIZE, made[0].fps)
    picture(out / "bear.gif", [boxes, *made])

    story = RulePlanner("story").plan(STORY).story
    picture(out / "story.gif", [animatic.render(story, model, STORY_METHOD, seed=1, stages=STAGES)])

    prompt, word, other = EDITED
    first = animatic.render(animatic.plan(prompt), model, METHOD, seed=1, stages=STAGES)
    picture(out / "edit.gif", [first, animatic.edit(first, swap={word: other}, model=model)])

    rows = {}
    for seed, prompt in enumerate(PROMPTS):
        video = animatic.render(animatic.plan(prompt), model, METHOD, seed=seed, stages=STAGES)
        rows[prompt] = evenly(video, 8)
    title = f"mini, {METHOD}, seeds 0 to {len(PROMPTS) - 1}, upscaled from 64 pixels; 8 of 16 frames"
    (out / "prompts.png").write_bytes(png(comparison_sheet(rows, title)))


def picture(file: Path, videos: list[Video]) -> None:
    """Save the videos next to each other, without what they were made from."""
    replace(side_by_side(videos), info={}).save(file, scale=1)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
