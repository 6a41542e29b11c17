"""Candidate sprites in frames of the toy world: template matching of every sprite at every size and place.

A sprite drawn over the backdrop explains part of the squared difference between the frame and the bare backdrop: its
gain. Candidates are ranked by the gain and by the fraction of the local difference that it is.
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

HALF = 2  # frames are scanned at half resolution: places are accurate to 2 pixels
STEP = 4  # pixels between the sizes that are tried
PAD = 8  # pixels that a square may exceed the frame: a flat sprite has empty rows above and below
PEAKS = 16  # candidates returned for each frame
POWER = 5  # exponent of the explained fraction in the rank: two small sprites are not one large one
SHADES = ("", *COLOURS)


@dataclass(frozen=True, eq=False)
class World:
    """A toy world whose sprites are detected.

    Sprites are `smallest` to `largest` pixels wide, those of `facing` nouns may be mirrored.
    `sprite(noun, colour, side, mirrored)` renders one, see `grid_world.sprite`; `tight(noun, x, y, side)` is its box,
    for pixels; `identify(phrase)` is `(noun, colour)`.
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
        """Every sprite as (noun, mirrored), nouns that take a colour first."""
        natural = [noun for noun in self.nouns if noun not in self.colourable]
        found = []
        for noun in (*self.colourable, *natural):
            found.append((noun, False))
            if noun in self.facing:
                found.append((noun, True))
        return tuple(found)

    @cached_property
    def painted(self) -> int:
        """The number of appearances that take a colour."""
        return sum(noun in self.colourable for noun, _ in self.appearances)


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
    """A sprite and its square in a frame, in pixels; `colour` "" is the natural one."""

    noun: str
    colour: str
    side: int
    x: int
    y: int
    mirrored: bool = False


@cache
def _bank(world: World, side: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The filters for squares of `side` pixels, at half resolution, of every appearance in the world.

    A painted sprite is linear in its colour, base + colour * slope, so that its gain is a polynomial of the colour: six
    filters suffice for all shades, see `_mix`. Returns the filters of painted nouns `[6 * painted, 4, s, s]`, of other
    nouns `[natural, 4, s, s]`, alpha `[noun, 1, s, s]`, and the silhouette with its rim `[noun, 1, s + 2, s + 2]`.
    """

    def half(colour: str, appearances: Sequence[tuple[str, bool]]) -> Tensor:
        stamps = np.stack([world.sprite(noun, colour, side, mirrored) for noun, mirrored in appearances])
        return F.avg_pool2d(torch.from_numpy(stamps).movedim(-1, 1), HALF)

    every = half("", world.appearances)
    painted = world.painted
    natural, alpha = every[:, :3], every[:, 3:]

    # A painted sprite as base + colour * slope, from its rendering in two colours.
    black, white = (half(colour, world.appearances[:painted])[:, :3] for colour in ("black", "white"))
    low, high = (torch.tensor(COLOURS[colour])[:, None, None] / 255 for colour in ("black", "white"))
    slope = ((white - black) / (high - low)).mean(1, keepdim=True)
    base = black - low * slope

    # Filters of the colour, and of its square divided by alpha.
    by_colour = torch.eye(3)[:, :, None, None] * slope[:, None]  # [painted, 3, 3, s, s]
    rgb = torch.cat([natural[:painted, None], base[:, None], by_colour, torch.zeros_like(base)[:, None]], 1)
    squares = [(natural[:painted] ** 2).sum(1, True), (base**2).sum(1, True), 2 * base * slope, slope**2]
    both = torch.cat([rgb, torch.cat(squares, 1)[:, :, None] / alpha[:painted, None].clamp(min=1e-3)], 2)
    plain = torch.cat([natural, (natural**2).sum(1, True) / alpha.clamp(min=1e-3)], 1)[painted:]
    halo = F.max_pool2d(F.pad((alpha > 0.1).float(), (1,) * 4), 3, 1, 1)
    return both.flatten(0, 1), plain, alpha, halo


@cache
def _mix() -> Tensor:
    """The weights of the six filters of a painted noun in the gain of each shade: `[shade, 6]`."""
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

    # The best candidates of each size, at local maxima of the rank.
    ranks, places = [], []
    for side in range(world.smallest, world.largest + 1, STEP):
        filters, plain, alpha, halo = _bank(world, side)
        parts = F.conv2d(over, filters).unflatten(1, (painted, 6))
        shades = (_mix() @ parts.flatten(3)).unflatten(3, parts.shape[3:])
        gain = torch.cat([shades.amax(2), F.conv2d(over, plain)], 1) - F.conv2d(under, alpha)
        fraction = gain.clamp(min=0) / torch.maximum(F.conv2d(apart, halo), gain).clamp(min=1e-3)
        rank = gain * fraction**POWER
        near = F.max_pool2d(rank.contiguous(memory_format=torch.channels_last), 3, 1, 1)  # three times as fast
        rank, at = (rank * (rank == near)).flatten(1).topk(PEAKS)  # one per noun and size at a place
        noun, y, x = torch.unravel_index(at, gain.shape[1:])
        shade = shades[row, noun.clamp(max=painted - 1), :, y, x].argmax(-1) * (noun < painted)
        ranks.append(rank)
        places.append(torch.stack([noun, shade, torch.full_like(x, side), x * HALF - PAD, y * HALF - PAD], -1))

    # The best of all sizes.
    values, order = torch.cat(ranks, 1).topk(PEAKS)
    best = torch.cat(places, 1)[row, order]
    return [
        [_placement(world, *place) for value, place in zip(*found, strict=True) if value > 0]
        for found in zip(values.tolist(), best.tolist(), strict=True)
    ]


def _placement(world: World, appearance: int, shade: int, side: int, x: int, y: int) -> SpritePlacement:
    noun, mirrored = world.appearances[appearance]
    return SpritePlacement(noun, SHADES[shade], side, x, y, mirrored)
