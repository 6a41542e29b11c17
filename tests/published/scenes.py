"""The boxes that the originals were given for their recordings: left, top, width, height on a canvas of 512."""

from __future__ import annotations

from animatic.scene import Box, Scene, Track

Corner = tuple[int, int, int, int]


def boxes(*given: Corner | None) -> tuple[Box | None, ...]:
    return tuple(
        box and (box[0] / 512, box[1] / 512, (box[0] + box[2]) / 512, (box[1] + box[3]) / 512) for box in given
    )


# LVD's six key frames: a thing that moves, one that comes late, and another of the first's name
MOVING = Scene(
    "a cat and a dog on the grass",
    (
        Track("cat", boxes(
            (0, 100, 200, 200), (40, 100, 200, 200), (80, 110, 200, 200), (120, 120, 200, 180), (160, 130, 200, 180),
            (200, 140, 200, 180),
        )),
        Track("cat", boxes(*[(350, 30, 100, 100)] * 6)),
        Track("dog", boxes(
            None, None, (300, 200, 150, 160), (280, 220, 150, 160), (260, 240, 150, 160), (240, 260, 150, 160),
        )),
    ),
    "grass",
)  # fmt: skip

# LMD's picture
STILL = Scene(
    "two cats and a dog on a lawn",
    (
        Track("a cat", boxes((20, 100, 200, 200))),
        Track("a dog", boxes((300, 200, 150, 190))),
        Track("a cat", boxes((330, 30, 120, 100))),
    ),
    "a big lawn",
    seconds=0,
)
