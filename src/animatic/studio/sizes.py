"""Sizes of videos that suit a model: its own, and other shapes of as many pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..backbones.components import Components

SHAPES = {
    "square": (1, 1), "landscape": (16, 9), "landscape 4:3": (4, 3), "portrait": (9, 16), "portrait 3:4": (3, 4),
}  # fmt: skip
NATIVE = "native"


@dataclass(frozen=True)
class SizePreset:
    """A size in pixels and what it is called: `NATIVE`, or a name of `SHAPES`."""

    name: str
    width: int
    height: int


def size_presets(model: Components, most: int | None = None) -> list[SizePreset]:
    """The model's native size, then other shapes of at most as many pixels, whose sides the model takes.

    Sides are multiples of the model's `size_multiple`, the nearest to the shape, so that a shape may come out a little
    wider or narrower than its name; a size that is there already is left out. `most`: the longest side there may be.
    """
    geometry = model.geometry
    multiple = model.size_multiple
    area = geometry.width * geometry.height
    found = [SizePreset(NATIVE, geometry.width, geometry.height)]
    for name, (across, down) in SHAPES.items():
        # the longer side is rounded; the other one takes what is left of the pixels, to need no more memory
        longer = multiple * round(math.sqrt(area * max(across, down) / min(across, down)) / multiple)
        shorter = multiple * (area // longer // multiple)
        if across == down:
            longer = shorter = multiple * (math.isqrt(area) // multiple)
        width, height = (longer, shorter) if across >= down else (shorter, longer)
        is_new = all((width, height) != (each.width, each.height) for each in found)
        if shorter and is_new and (most is None or longer <= most):
            found.append(SizePreset(name, width, height))
    return found
