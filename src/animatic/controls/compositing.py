"""Objects cut out of their own images and composited where a scene places them: LMD's geometry, on grids of cells.

Lian et al. 2023, arXiv 2305.13655, https://github.com/TonyLianLong/LLM-groundedDiffusion.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..scene import Box, Scene

Placement = Literal["floor", "middle", "kept"]
PARTS = 8  # objects are shifted by whole eighths of the canvas, so that 8 x 8 attention shifts by whole cells


def masks_of(scenes: Sequence[Scene], frames: int, height: int, width: int, legacy: bool = False) -> Tensor:
    """Cells inside the box of each scene's one track: bool `[scene, frame, height, width]`."""
    masks = []
    for scene in scenes:
        of_track = scene.masks(frames, height, width, legacy)[0]
        masks.append(torch.from_numpy(of_track))
    return torch.stack(masks)


def centred(box: Box, floor: float = 0.2, placement: Placement = "floor") -> Box:
    """The box moved to the middle of the canvas from side to side, its bottom `floor` above the canvas's (LMD).

    `placement`: with "middle" it is centred from top to bottom too, with "kept" it stays at its height.
    """
    left, upper, right, lower = box
    width = right - left
    height = lower - upper

    # a box that is taller than the space above the floor begins at the top
    on_floor = max(0.0, 1 - floor - height)
    tops = {"floor": on_floor, "middle": 0.5 - height / 2, "kept": upper}
    top = tops[placement]
    return (0.5 - width / 2, top, 0.5 + width / 2, top + height)


def middle(mask: Tensor) -> tuple[float, float]:
    """(x, y) in 0..1 of the middle of the bounding box of a mask `[height, width]`."""
    height, width = mask.shape

    # rows and columns that the mask reaches; the last one ends one cell further
    rows = mask.any(1).nonzero().flatten().tolist()
    columns = mask.any(0).nonzero().flatten().tolist()
    column = (columns[0] + columns[-1] + 1) / 2
    row = (rows[0] + rows[-1] + 1) / 2
    return column / width, row / height


def mass(mask: Tensor) -> tuple[float, float]:
    """(x, y) in 0..1 of the centre of mass of a mask `[height, width]`, with cells counted from 0 (LMD)."""
    height, width = mask.shape
    cells = mask.nonzero().float()  # [cell, (row, column)]
    row, column = cells.mean(0).tolist()
    return column / width, row / height


def offsets(masks: Tensor, goals: Tensor) -> Tensor:
    """Offset of each mask's middle to its goal's, in eighths of the canvas: int `[object, frame, (x, y)]`.

    `masks` and `goals` are `[object, frame, height, width]`; where one of them is empty the offset is 0.
    """
    out = torch.zeros(*masks.shape[:2], 2, dtype=torch.long)

    # absent objects are not moved
    found = masks.any(-1).any(-1)
    wanted = goals.any(-1).any(-1)
    both = found & wanted
    for i, frame in both.nonzero().tolist():
        start = middle(masks[i, frame])
        goal = middle(goals[i, frame])
        out[i, frame] = _eighths(start, goal)
    return out


def offsets_published(masks: Tensor, goals: Sequence[Scene]) -> Tensor:
    """The same by LMD's rule: from a mask's centre of mass to the middle of the box itself, not of its cells.

    `goals` are scenes of one track with a box for each frame.
    """
    out = torch.zeros(*masks.shape[:2], 2, dtype=torch.long)
    for i, scene in enumerate(goals):
        track = scene.tracks[0]
        for frame, box in enumerate(track.boxes):
            mask = masks[i, frame]
            if box is None or not mask.any():
                continue

            # the box itself is the goal, however it is rounded to cells
            left, top, right, bottom = box
            goal = ((left + right) / 2, (top + bottom) / 2)
            out[i, frame] = _eighths(mass(mask), goal)
    return out


def _eighths(start: tuple[float, float], goal: tuple[float, float]) -> Tensor:
    """The way from one place to another, (x, y) in 0..1 each, in whole eighths of the canvas: int `[(x, y)]`."""
    way = []
    for axis in (0, 1):
        distance = goal[axis] - start[axis]
        way.append(round(distance * PARTS))
    return torch.tensor(way)


def shifted(x: Tensor, offset: Tensor) -> Tensor:
    """`x` `[object, frame, ..., height, width]` moved by eighths `[object, frame, (x, y)]`; zeros come in."""
    height, width = x.shape[-2:]
    objects, frames = x.shape[:2]
    eighths = offset.tolist()
    out = torch.zeros_like(x)
    for i in range(objects):
        for frame in range(frames):
            # whole cells of this grid; what leaves the canvas is lost
            along_x, along_y = eighths[i][frame]
            right = round(along_x * width / PARTS)
            down = round(along_y * height / PARTS)
            to_y, from_y = _overlap(down, height)
            to_x, from_x = _overlap(right, width)
            target = out[i, frame]
            target[..., to_y, to_x] = x[i, frame][..., from_y, from_x]
    return out


def _overlap(by: int, size: int) -> tuple[slice, slice]:
    """(destination, origin) of the cells that stay inside when an axis of `size` cells moves by `by`."""
    by = max(-size, min(size, by))
    overlap = size - abs(by)
    destination = max(0, by)
    origin = max(0, -by)
    return slice(destination, destination + overlap), slice(origin, origin + overlap)


def enlarged(masks: Tensor) -> Tensor:
    """The bounding box of each mask `[..., height, width]`, one cell larger on every side, as masks."""

    def span(line: Tensor) -> Tensor:
        """1 from the first to the last 1 of the last axis."""
        from_first = line.cummax(-1).values
        to_last = line.flip(-1).cummax(-1).values.flip(-1)
        return from_first * to_last

    rows = span(masks.any(-1).float())
    columns = span(masks.any(-2).float())
    box = rows[..., :, None] * columns[..., None, :]

    # a 3 x 3 maximum adds one cell on every side
    height, width = masks.shape[-2:]
    images = box.view(-1, 1, height, width)
    larger = F.max_pool2d(images, 3, 1, 1) > 0
    return larger.view(masks.shape)


def composed(
    x: Tensor, levels: Sequence[Tensor], masks: Tensor, samples: Sequence[int]
) -> tuple[Tensor, list[Tensor], Tensor]:
    """(first sample, latents of every noise level, cover) of the objects composited.

    `x` `[sample, channel, frame, height, width]` is the samples' own noise; `levels` are the objects' latents
    `[object, channel, frame, height, width]` at each noise level, the first included; `masks`
    `[object, frame, height, width]`; `samples` the sample of each object. Large objects are composited first, so that
    small ones are in front. In the first sample the surroundings of an object are replaced too. Cover is where objects
    are: bool `[sample, frame, height, width]`.
    """
    start = x.clone()
    cover = torch.zeros(len(x), *x.shape[2:], dtype=torch.bool, device=x.device)
    composited = [torch.zeros_like(x) for _ in levels]
    surroundings = enlarged(masks)
    first_level = levels[0]

    # large objects first: small ones are in front; "stable" keeps the order of those of one size
    areas = masks.sum((1, 2, 3))
    by_size = areas.argsort(descending=True, stable=True)
    for i in by_size.tolist():
        sample = samples[i]
        start[sample] = torch.where(surroundings[i], first_level[i], start[sample])

        # latents of every level inside the mask alone
        mask = masks[i]
        for target, own in zip(composited, levels, strict=True):
            target[sample] = torch.where(mask, own[i], target[sample])
        cover[sample] |= mask
    return start, composited, cover
