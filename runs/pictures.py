"""Make the pictures of the README and the docs from the bundled models.

python runs/pictures.py [FOLDER]     # docs/bear.gif, story.gif, edit.gif, mini-2.webp
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from animatic.contact_sheet import evenly
from animatic.finishing.stages import finish, stage_context, stages_of
from animatic.planning.rules import plan
from animatic.planning.stories import plan_story
from animatic.rendering import edit, render
from animatic.scene import Scene
from animatic.video import Video, side_by_side, sketch

BEAR = "A brown bear walks from the left to the right on the grass"
STORY = (
    "A yellow duck moves to the left on the beach. Then the duck moves up in the desert. "
    "Then it moves to the left on the grass."
)
PROMPTS = (
    "A red car drives from the left to the right, road background",
    "A white rabbit jumps up in the meadow",
    "A blue balloon rises into the sky",
    "A green turtle moves to the left on the beach",
    "A dog on the left and a cat on the right",
    "A purple butterfly flies from the right to the left over the flowers",
    "An orange fish swims to the left",
    "A rocket flies up at night",
    "A train moves from the right to the left in the snow",
    "A red apple falls down",
    "A yellow star moves from the bottom left to the top right at night",
    "A boat moves from the left to the right and a bird flies to the left",
)
SEED = 1
STEPS = 25
LARGER = "upscale:2:model=mini-upscale"
SHOWN = 8  # frames of a prompt on the sheet


def boxes_of(scene: Scene, video: Video) -> Video:
    """The plan of a video alone, at twice its size."""
    _, height, width, _ = video.frames.shape
    return sketch(scene, len(video), height, width, video.fps).enlarged(2)


def larger(video: Video) -> Video:
    """Twice the size, through the bundled upscaler."""
    return finish(video, stages_of(LARGER), stage_context(video, "", SEED))


def sheet() -> Image.Image:
    """Every prompt with its plan's boxes and the frames that `mini-2` makes of it."""
    strips = []
    for prompt in PROMPTS:
        scene = plan(prompt)
        video = render(scene, seed=SEED, steps=STEPS)
        shown = (boxes_of(scene, video), larger(video))
        rows = [np.concatenate(list(evenly(each, SHOWN).frames), axis=1) for each in shown]
        strips.append(np.concatenate(rows))
        print(prompt, flush=True)
    height, width = strips[0].shape[:2]
    line, columns = 24, 2
    page = Image.new("RGB", (columns * width + 16, (height + line) * len(strips) // columns), "white")
    draw = ImageDraw.Draw(page)
    for i, (prompt, strip) in enumerate(zip(PROMPTS, strips, strict=True)):
        row, column = divmod(i, columns)
        corner = (column * (width + 16), row * (height + line))
        draw.text((corner[0] + 4, corner[1] + 2), prompt, fill="#222222", font=ImageFont.load_default(16))
        page.paste(Image.fromarray(strip), (corner[0], corner[1] + line))
    return page


def bear() -> Video:
    """The plan; `mini-2` in its boxes; the same model from the words alone."""
    scene = plan(BEAR)
    shown = [render(scene, "mini-2", method, SEED, steps=STEPS) for method in ("lvd-gligen", "none")]
    return side_by_side([boxes_of(scene, shown[0]), *map(larger, shown)])


def story() -> Video:
    """Three scenes in a row."""
    return larger(render(plan_story(STORY), "mini-2", seed=SEED, steps=STEPS))


def edited() -> Video:
    """A clip, and the same with another word."""
    video = render(
        plan("A red car drives from the left to the right, road background"), "mini-2", seed=SEED, steps=STEPS
    )
    return side_by_side([larger(video), larger(edit(video, swap={"car": "train"}))])


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1] / "docs")
    for name, made in (("bear", bear), ("story", story), ("edit", edited)):
        replace(made(), info={}).save(folder / f"{name}.gif", scale=1)
        print(name, flush=True)
    sheet().save(folder / "mini-2.webp", quality=80)


if __name__ == "__main__":
    main()
