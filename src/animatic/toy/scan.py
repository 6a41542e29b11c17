"""Where in a frame which sprite of the toy world may stand: every look at every size and place, by correlation.

A sprite drawn over the backdrop explains part of the frame's difference from the bare backdrop, its gain. Places are
ranked by gain and by its share of the difference there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..scene import Box
from . import grid_world as toyworld
from . import world as off_grid
from .grid_world import CELL, COLOURS, LARGEST, SMALLEST

HALF = 2  # the scan sees every second pixel, so places are right to 2 pixels
STEP = 4  # pixels between the sizes looked for: what a model paints need not keep to the world's cells
PAD = 8  # pixels a square may stand outside the frame: a cell, for a flat sprite has empty ones above and below
PEAKS = 16  # places looked at closely
POWER = 5  # of the share in the rank: two alike side by side are not one large sprite
SHADES = ("", *COLOURS)


@dataclass(frozen=True, eq=False)
class World:
    """A world whose sprites are looked for, `smallest` to `largest` pixels wide; nouns that are `facing` mirrored too.

    `sprite(noun, colour, side, mirrored)` is drawn as `toyworld.sprite`; `tight(noun, x, y, side)`, in pixels, is the
    box of a sprite; `identify(phrase)` is `(noun, colour)`.
    """

    nouns: Collection[str]
    colourable: Collection[str]
    facing: Collection[str]
    smallest: int
    largest: int
    sprite: Callable[[str, str, int, bool], np.ndarray]
    tight: Callable[[str, float, float, float], Box]
    identify: Callable[[str], tuple[str, str]]

    @cached_property
    def appearances(self) -> tuple[tuple[str, bool], ...]:
        """(noun, mirrored), those that have colours first."""
        plain = [noun for noun in self.nouns if noun not in self.colourable]
        return tuple((noun, m) for noun in (*self.colourable, *plain) for m in (False, True)[: 1 + self.faces(noun)])

    @cached_property
    def painted(self) -> int:
        """How many of the looks have colours."""
        return sum(noun in self.colourable for noun, _ in self.appearances)

    def faces(self, noun: str) -> bool:
        return noun in self.facing


ON_GRID = World(
    toyworld.NOUNS, toyworld.COLOURABLE, (), SMALLEST * CELL, LARGEST * CELL,
    lambda noun, colour, side, mirrored: toyworld.sprite(noun, colour, side),
    lambda noun, x, y, side: toyworld.tight(noun, x / CELL, y / CELL, side / CELL), toyworld.identify,
)  # fmt: skip
OFF_GRID = World(
    off_grid.NOUNS, off_grid.COLOURABLE, off_grid.FACING, off_grid.SMALLEST, off_grid.LARGEST, off_grid.sprite,
    off_grid.tight, off_grid.identify,
)  # fmt: skip


class SpritePlacement(NamedTuple):
    """A sprite's square in a frame, in pixels."""

    noun: str
    colour: str
    side: int
    x: int
    y: int
    mirrored: bool = False


@cache
def _bank(world: World, side: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The scan's filters for squares of `side` pixels, at half size, of each look of the world.

    A painted sprite is linear in its colour, base + colour * slope, so what it explains is a polynomial of the colour:
    six filters stand for all shades, see `_mix`. Filters of colour and its square `[6 * painted, 4, s, s]`, of nouns
    that have no colours `[plain, 4, s, s]`, alpha `[noun, 1, s, s]`, halo `[noun, 1, s + 2, s + 2]`.
    """

    def half(colour: str, looks: Sequence[tuple[str, bool]]) -> Tensor:
        stamps = np.stack([world.sprite(noun, colour, side, mirrored) for noun, mirrored in looks])
        return F.avg_pool2d(torch.from_numpy(stamps).movedim(-1, 1), HALF)

    every, painted = half("", world.appearances), world.painted
    alpha, natural = every[:, 3:], every[:, :3]
    black, white = (half(colour, world.appearances[:painted])[:, :3] for colour in ("black", "white"))
    low, high = (torch.tensor(COLOURS[colour])[:, None, None] / 255 for colour in ("black", "white"))
    slope = ((white - black) / (high - low)).mean(1, keepdim=True)
    base = black - low * slope
    by_colour = torch.eye(3)[:, :, None, None] * slope[:, None]  # [painted, 3, 3, s, s]
    rgb = torch.cat([natural[:painted, None], base[:, None], by_colour, torch.zeros_like(base)[:, None]], 1)
    squares = [(natural[:painted] ** 2).sum(1, True), (base**2).sum(1, True), 2 * base * slope, slope**2]
    both = torch.cat([rgb, torch.cat(squares, 1)[:, :, None] / alpha[:painted, None].clamp(min=1e-3)], 2)
    plain = torch.cat([natural, (natural**2).sum(1, True) / alpha.clamp(min=1e-3)], 1)[painted:]
    halo = F.max_pool2d(F.pad((alpha > 0.1).float(), (1,) * 4), 3, 1, 1)
    return both.flatten(0, 1), plain, alpha, halo


@cache
def _mix() -> Tensor:
    """How the six filters of a painted noun make the gain of each shade: `[shade, 6]`."""
    colours = torch.tensor(list(COLOURS.values())) / 255
    one = torch.ones(len(colours), 1)
    named = torch.cat([0 * one, one, colours, (colours**2).sum(1, True)], 1)
    return torch.cat([torch.eye(6)[:1], named])


def scan(pictures: Sequence[np.ndarray], noise: Sequence[float], world: World = ON_GRID) -> list[list[SpritePlacement]]:
    """The `PEAKS` best places in each of some pictures, seen at half size, best first.

    A picture is frame, backdrop and weight `[64 + 2 PAD, 64 + 2 PAD, 7]` in 0..1, its `noise` the squared colour
    distance per pixel that is white noise. Gain here is alpha * (|f - b|^2 - |f - c|^2), f the frame, b the backdrop,
    c the sprite's colour: five correlations.
    """
    half = F.avg_pool2d(torch.from_numpy(np.stack(pictures)).movedim(-1, 1), HALF)
    f, b, w = half[:, :3], half[:, 3:6], half[:, 6:]
    white = torch.tensor(noise)[:, None, None, None] / HALF**2
    over = torch.cat([2 * w * f, -w], 1)
    under = w * (2 * f * b - b**2).sum(1, keepdim=True)
    apart = F.pad(w * (((f - b) ** 2).sum(1, keepdim=True) - white), (1,) * 4)
    painted, row = world.painted, torch.arange(len(pictures))[:, None]
    ranks, places = [], []
    for side in range(world.smallest, world.largest + 1, STEP):
        filters, plain, alpha, halo = _bank(world, side)
        parts = F.conv2d(over, filters).unflatten(1, (painted, 6))
        shades = (_mix() @ parts.flatten(3)).unflatten(3, parts.shape[3:])
        gain = torch.cat([shades.amax(2), F.conv2d(over, plain)], 1) - F.conv2d(under, alpha)
        share = gain.clamp(min=0) / torch.maximum(F.conv2d(apart, halo), gain).clamp(min=1e-3)
        rank = gain * share**POWER
        near = F.max_pool2d(rank.contiguous(memory_format=torch.channels_last), 3, 1, 1)  # thrice as quick
        rank, at = (rank * (rank == near)).flatten(1).topk(PEAKS)  # one of each noun and size at a place
        noun, y, x = torch.unravel_index(at, gain.shape[1:])
        shade = shades[row, noun.clamp(max=painted - 1), :, y, x].argmax(-1) * (noun < painted)
        ranks.append(rank)
        places.append(torch.stack([noun, shade, torch.full_like(x, side), x * HALF - PAD, y * HALF - PAD], -1))
    values, order = torch.cat(ranks, 1).topk(PEAKS)
    best = torch.cat(places, 1)[row, order]
    return [
        [_placed(world, *place) for value, place in zip(*found, strict=True) if value > 0]
        for found in zip(values.tolist(), best.tolist(), strict=True)
    ]


def _placed(world: World, look: int, shade: int, side: int, x: int, y: int) -> SpritePlacement:
    noun, mirrored = world.appearances[look]
    return SpritePlacement(noun, SHADES[shade], side, x, y, mirrored)
