"""Cutting things out of their own pictures and laying them where a scene says: LMD's geometry, on grids of cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..scene import Box, Scene

Placement = Literal["floor", "middle", "kept"]
PARTS = 8  # things are shifted by whole eighths of the canvas, so that 8 x 8 attention shifts by whole cells


def one(scene: Scene, track: int) -> Scene:
    """The scene with one of its tracks."""
    return replace(scene, tracks=(scene.tracks[track],))


def masks_of(scenes: Sequence[Scene], frames: int, height: int, width: int, legacy: bool = False) -> Tensor:
    """Cells inside the box of each scene's one track: bool `[scene, frame, height, width]`."""
    return torch.stack([torch.from_numpy(scene.masks(frames, height, width, legacy)[0]) for scene in scenes])


def centred(box: Box, floor: float = 0.2, placement: Placement = "floor") -> Box:
    """The box in the middle of the canvas from side to side, its bottom `floor` above the canvas's (LMD).

    Or in the "middle" from top to bottom, too, or "kept" at its height.
    """
    width, height = box[2] - box[0], box[3] - box[1]
    top = {"floor": max(0.0, 1 - floor - height), "middle": 0.5 - height / 2, "kept": box[1]}[placement]
    return (0.5 - width / 2, top, 0.5 + width / 2, top + height)


def middle(mask: Tensor) -> tuple[float, float]:
    """(x, y) in 0..1 of the middle of what a mask `[height, width]` covers."""
    rows, columns = (mask.any(axis).nonzero().flatten().tolist() for axis in (1, 0))
    return (columns[0] + columns[-1] + 1) / 2 / mask.shape[1], (rows[0] + rows[-1] + 1) / 2 / mask.shape[0]


def mass(mask: Tensor) -> tuple[float, float]:
    """(x, y) in 0..1 of the centre of mass of a mask `[height, width]`, with cells counted from 0 (LMD)."""
    rows, columns = mask.nonzero().float().mean(0).tolist()
    return columns / mask.shape[1], rows / mask.shape[0]


def offsets(masks: Tensor, goals: Tensor) -> Tensor:
    """How far each mask's middle is from its goal's, in eighths of the canvas: int `[thing, frame, (x, y)]`."""
    out = torch.zeros(*masks.shape[:2], 2, dtype=torch.long)
    for thing, frame in (masks.any(-1).any(-1) & goals.any(-1).any(-1)).nonzero().tolist():
        (x, y), (to_x, to_y) = middle(masks[thing, frame]), middle(goals[thing, frame])
        out[thing, frame] = torch.tensor([round((to_x - x) * PARTS), round((to_y - y) * PARTS)])
    return out


def offsets_published(masks: Tensor, goals: Sequence[Scene]) -> Tensor:
    """The same as LMD reckons it: from a mask's centre of mass to the middle of the box itself, not of its cells.

    `goals` are scenes of one track with a box for each frame.
    """
    out = torch.zeros(*masks.shape[:2], 2, dtype=torch.long)
    for thing, scene in enumerate(goals):
        for frame, box in enumerate(scene.tracks[0].boxes):
            if box is None or not masks[thing, frame].any():
                continue
            x, y = mass(masks[thing, frame])
            to_x, to_y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
            out[thing, frame] = torch.tensor([round((to_x - x) * PARTS), round((to_y - y) * PARTS)])
    return out


def shifted(x: Tensor, offset: Tensor) -> Tensor:
    """`x` `[thing, frame, ..., height, width]` moved by eighths `[thing, frame, (x, y)]`; zeros come in."""
    height, width = x.shape[-2:]
    out = torch.zeros_like(x)
    for thing in range(x.shape[0]):
        for frame in range(x.shape[1]):
            right, down = (
                round(int(n) * size / PARTS) for n, size in zip(offset[thing, frame], (width, height), strict=True)
            )
            to_y, from_y = _overlap(down, height)
            to_x, from_x = _overlap(right, width)
            out[thing, frame][..., to_y, to_x] = x[thing, frame][..., from_y, from_x]
    return out


def _overlap(by: int, size: int) -> tuple[slice, slice]:
    """Where cells go and where they come from when a row of `size` moves by `by`."""
    by = max(-size, min(size, by))
    return slice(max(0, by), size + min(0, by)), slice(max(0, -by), size - max(0, by))


def enlarged(masks: Tensor) -> Tensor:
    """The box around each mask `[..., height, width]` and one cell more on every side, as masks."""

    def span(line: Tensor) -> Tensor:
        return line.cummax(-1).values * line.flip(-1).cummax(-1).values.flip(-1)

    box = span(masks.any(-1).float())[..., :, None] * span(masks.any(-2).float())[..., None, :]
    return (F.max_pool2d(box.view(-1, 1, *masks.shape[-2:]), 3, 1, 1) > 0).view(masks.shape)


def composed(
    x: Tensor, levels: Sequence[Tensor], masks: Tensor, rows: Sequence[int]
) -> tuple[Tensor, list[Tensor], Tensor]:
    """The first sample, the latents of every level, and what of them is things.

    `x` `[row, channel, frame, height, width]` is the rows' own noise, `levels` `[thing, ...]` the things' latents,
    `masks` `[thing, frame, height, width]`. Large things are laid first, so that small ones stand in front. In the
    first sample what is around a thing is replaced too. Returns samples, levels and cover
    (bool `[row, frame, height, width]`).
    """
    start, cover = x.clone(), torch.zeros(len(x), *x.shape[2:], dtype=torch.bool, device=x.device)
    laid = [torch.zeros_like(x) for _ in levels]
    around = enlarged(masks)
    for thing in masks.sum((1, 2, 3)).argsort(descending=True, stable=True).tolist():
        row = rows[thing]
        start[row] = torch.where(around[thing], levels[0][thing], start[row])
        for level, own in zip(laid, levels, strict=True):
            level[row] = torch.where(masks[thing], own[thing], level[row])
        cover[row] |= masks[thing]
    return start, laid, cover
