"""Candidate sprites in frames of the toy world: template matching of every sprite at every size and place.

A sprite drawn over the backdrop explains part of the squared difference between the frame and the bare backdrop: its
gain. Candidates are ranked by the gain and by the fraction of the local difference that it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .world import COLOURABLE, COLOURS, FACING, LARGEST, NOUNS, SMALLEST, sprite

HALF = 2  # frames are scanned at half resolution: places are accurate to 2 pixels
STEP = 4  # pixels between the sizes that are tried
PAD = 8  # pixels that a square may exceed the frame: a flat sprite has empty rows above and below
PEAKS = 16  # candidates returned for each frame
POWER = 5  # exponent of the explained fraction in the rank: two small sprites are not one large one
SHADES = ("", *COLOURS)


class SpritePlacement(NamedTuple):
    """A sprite and its square in a frame, in pixels; `colour` "" is the natural one."""

    noun: str
    colour: str
    side: int
    x: int
    y: int
    mirrored: bool = False


@cache
def appearances() -> tuple[tuple[str, bool], ...]:
    """Every sprite as (noun, mirrored), nouns that take a colour first."""
    natural = [noun for noun in NOUNS if noun not in COLOURABLE]
    found = []
    for noun in (*COLOURABLE, *natural):
        found.append((noun, False))
        if noun in FACING:
            found.append((noun, True))
    return tuple(found)


@cache
def painted_appearances() -> int:
    """The number of appearances that take a colour."""
    return sum(noun in COLOURABLE for noun, _ in appearances())


@cache
def _bank(side: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The filters for squares of `side` pixels, at half resolution, of every appearance.

    A painted sprite is linear in its colour, base + colour * slope, so that its gain is a polynomial of the colour: six
    filters suffice for all shades, see `_mix`. Returns the filters of painted nouns `[6 * painted, 4, s, s]`, of other
    nouns `[natural, 4, s, s]`, alpha `[noun, 1, s, s]`, and the silhouette with its rim `[noun, 1, s + 2, s + 2]`.
    """

    def half(colour: str, wanted: Sequence[tuple[str, bool]]) -> Tensor:
        """The sprites at half resolution, `[appearance, rgba, s, s]`."""
        sprites = [sprite(noun, colour, side, mirrored) for noun, mirrored in wanted]
        stamps = np.stack(sprites)
        channels_first = torch.from_numpy(stamps).movedim(-1, 1)
        return F.avg_pool2d(channels_first, HALF)

    painted = painted_appearances()
    every = half("", appearances())
    natural = every[:, :3]
    alpha = every[:, 3:]

    # A painted sprite as base + colour * slope, from its rendering in two colours.
    black = half("black", appearances()[:painted])[:, :3]
    white = half("white", appearances()[:painted])[:, :3]
    low = torch.tensor(COLOURS["black"])[:, None, None] / 255
    high = torch.tensor(COLOURS["white"])[:, None, None] / 255
    slope = ((white - black) / (high - low)).mean(1, keepdim=True)
    base = black - low * slope

    # The filters of the colour, [painted, 6, 3, s, s]: natural, constant, red, green, blue, squared.
    axes = torch.eye(3)[:, :, None, None]
    by_colour = axes * slope[:, None]
    no_colour = torch.zeros_like(base)[:, None]
    filters = [natural[:painted, None], base[:, None], by_colour, no_colour]
    rgb = torch.cat(filters, 1)

    # The filters of its square divided by alpha, as the fourth channel: [painted, 6, 1, s, s].
    natural_squared = (natural**2).sum(1, True)
    base_squared = (base**2).sum(1, True)
    terms = [natural_squared[:painted], base_squared, 2 * base * slope, slope**2]
    coefficients = torch.cat(terms, 1)
    floored = alpha.clamp(min=1e-3)
    squares = coefficients[:, :, None] / floored[:painted, None]

    both = torch.cat([rgb, squares], 2).flatten(0, 1)
    with_square = torch.cat([natural, natural_squared / floored], 1)
    plain = with_square[painted:]
    silhouette = (alpha > 0.1).float()
    padded = F.pad(silhouette, (1,) * 4)
    halo = F.max_pool2d(padded, 3, 1, 1)
    return both, plain, alpha, halo


@cache
def _mix() -> Tensor:
    """The weights of the six filters of a painted noun in the gain of each shade: `[shade, 6]`."""
    colours = torch.tensor(list(COLOURS.values())) / 255
    one = torch.ones(len(colours), 1)
    squared = (colours**2).sum(1, True)
    named = torch.cat([0 * one, one, colours, squared], 1)
    natural = torch.eye(6)[:1]
    return torch.cat([natural, named])


def scan(pictures: Sequence[np.ndarray], noise: Sequence[float]) -> list[list[SpritePlacement]]:
    """The `PEAKS` best places in each of some pictures, seen at half size, best first.

    A picture is frame, backdrop and weight `[64 + 2 PAD, 64 + 2 PAD, 7]` in 0..1, its `noise` the squared colour
    distance per pixel that is white noise. Gain here is alpha * (|f - b|^2 - |f - c|^2), f the frame, b the backdrop,
    c the sprite's colour: five correlations.
    """
    # Frame, backdrop and weight at half resolution, [picture, channel, y, x].
    stacked = torch.from_numpy(np.stack(pictures)).movedim(-1, 1)
    half = F.avg_pool2d(stacked, HALF)
    f = half[:, :3]
    b = half[:, 3:6]
    w = half[:, 6:]
    white = torch.tensor(noise) / HALF**2  # averaging reduces noise
    white = white[:, None, None, None]

    # What the filters are correlated with: over the sprite, under it, and the difference that is to be explained.
    over = torch.cat([2 * w * f, -w], 1)
    coefficient = (2 * f * b - b**2).sum(1, keepdim=True)
    under = w * coefficient
    squared = ((f - b) ** 2).sum(1, keepdim=True)
    apart = F.pad(w * (squared - white), (1,) * 4)

    # The best candidates of each size.
    ranks = []
    places = []
    for side in range(SMALLEST, LARGEST + 1, STEP):
        rank, place = _candidates(side, over, under, apart)
        ranks.append(rank)
        places.append(place)

    # The best of all sizes.
    row = torch.arange(len(pictures))[:, None]
    values, order = torch.cat(ranks, 1).topk(PEAKS)
    best = torch.cat(places, 1)[row, order]
    found = []
    for ranked, numbers in zip(values.tolist(), best.tolist(), strict=True):
        positive = [place for value, place in zip(ranked, numbers, strict=True) if value > 0]
        found.append([_placement(*place) for place in positive])
    return found


def _candidates(side: int, over: Tensor, under: Tensor, apart: Tensor) -> tuple[Tensor, Tensor]:
    """The `PEAKS` best sprites of a size in each picture: ranks `[picture, PEAKS]`, and their placements.

    A placement is (appearance, shade, side, x, y), `[picture, PEAKS, 5]`. `over`, `under` and `apart` are those of
    `scan`, `[picture, channel, y, x]`.
    """
    painted = painted_appearances()
    filters, plain, alpha, halo = _bank(side)

    # The gain of every shade of painted nouns [picture, noun, shade, y, x], and of the others.
    parts = F.conv2d(over, filters).unflatten(1, (painted, 6))
    flat = _mix() @ parts.flatten(3)
    shades = flat.unflatten(3, parts.shape[3:])
    best_shade = shades.amax(2)
    explained = torch.cat([best_shade, F.conv2d(over, plain)], 1)
    gain = explained - F.conv2d(under, alpha)

    # The rank, kept at local maxima alone: one per noun and size at a place.
    local = torch.maximum(F.conv2d(apart, halo), gain)
    fraction = gain.clamp(min=0) / local.clamp(min=1e-3)
    rank = gain * fraction**POWER
    channels_last = rank.contiguous(memory_format=torch.channels_last)  # three times as fast
    is_peak = rank == F.max_pool2d(channels_last, 3, 1, 1)
    peaks = (rank * is_peak).flatten(1)
    ranks, at = peaks.topk(PEAKS)

    # Where they are, in pixels of the frame.
    noun, y, x = torch.unravel_index(at, gain.shape[1:])
    row = torch.arange(len(over))[:, None]
    by_shade = shades[row, noun.clamp(max=painted - 1), :, y, x]
    shade = by_shade.argmax(-1) * (noun < painted)
    sides = torch.full_like(x, side)
    left = x * HALF - PAD
    top = y * HALF - PAD
    return ranks, torch.stack([noun, shade, sides, left, top], -1)


def _placement(appearance: int, shade: int, side: int, x: int, y: int) -> SpritePlacement:
    noun, mirrored = appearances()[appearance]
    return SpritePlacement(noun, SHADES[shade], side, x, y, mirrored)
