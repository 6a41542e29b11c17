"""Which sprite of the toy world stands where: what scores frames, filmed or generated, without knowing what was asked.

Matching pursuit. A sprite drawn over the backdrop explains part of the frame's difference from the bare backdrop; the
one that explains most is found, its pixels are set aside, and the search goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import AnimaticError
from ..scene import Box
from ..training.toyworld import (
    BACKGROUNDS,
    CELL,
    COLOURABLE,
    COLOURS,
    LARGEST,
    NOUNS,
    SIZE,
    SMALLEST,
    backdrop,
    identify,
    sprite,
    tight,
)
from .detect import Found

HALF = 2  # the scan sees every second pixel, so places are right to 2 pixels
STEP = 4  # pixels between the sizes looked for: what a model paints need not keep to the world's cells
PAD = 8  # pixels a square may stand outside the frame: a cell, for a flat sprite has empty ones above and below
RIM = 3  # pixels around a silhouette that must look like the backdrop
UNKNOWN = 0.03  # squared colour distance above which a backdrop is none of the world's
PEAKS = 16  # places of the scan looked at closely
POWER = 5  # of the share in the rank: two alike side by side are not one large sprite
LOOKS = (*COLOURABLE, *(noun for noun in NOUNS if noun not in COLOURABLE))  # the nouns that have colours first
SHADES = ("", *COLOURS)


class Detection(NamedTuple):
    """A sprite that was found: `colour` "" is its natural look, `box` is tight in 0..1.

    `score` in 0..1: the share of the frame's difference from the bare backdrop that the sprite explains, or the cosine
    between its edges and the frame's where that is less. 1 is a perfect sprite.
    """

    noun: str
    colour: str
    box: Box
    score: float


class ToyDetector:
    """Finds toy-world sprites. `threshold` (0..1): the least score, see `Detection`.

    `visible` (0..1): the least part of its silhouette that no other find covers; `most`: finds per frame.
    """

    def __init__(self, threshold: float = 0.55, visible: float = 0.5, most: int = 8) -> None:
        if not (0 < threshold <= 1 and 0 < visible <= 1 and most >= 1):
            raise AnimaticError(f"threshold {threshold}, visible {visible}, most {most}; want 0..1, 0..1, at least 1")
        self.threshold, self.visible, self.most = threshold, visible, most

    @torch.no_grad()
    def __call__(self, frames: np.ndarray) -> list[list[Detection]]:
        """What stands in each frame of uint8 `[frame, 64, 64, 3]`, best first; frames are judged one by one."""
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1:] != (SIZE, SIZE, 3):
            shape = list(frames.shape)
            raise AnimaticError(f"frames are {frames.dtype} {shape}; want uint8 [frame, {SIZE}, {SIZE}, 3]")
        sights = [_Sight(frame) for frame in frames.astype(np.float32) / 255]
        busy = sights
        for _ in range(self.most):
            busy = [sight for sight in busy if sight.restless()]
            if not busy:
                break
            peaks = _scan(busy)
            busy = [sight for sight, places in zip(busy, peaks, strict=True) if self._take(sight, places)]
        return [sorted(sight.found, key=lambda d: -d.score) for sight in sights]

    def surest(self, frames: np.ndarray) -> list[Detection | None]:
        """The best find in each frame of uint8 `[frame, 64, 64, 3]`; None where there is none."""
        return [next(iter(finds), None) for finds in self(frames)]

    def find(self, frames: np.ndarray, queries: Sequence[str]) -> list[list[Found]]:
        """Finds that fit a query ("red car"): the first of those it fits, for "cat" and "red cat" may both be asked.

        Raises `AnimaticError` where a query names nothing of the toy world.
        """
        asked = [identify(query) for query in queries]
        fits = [
            [(next((i for i, query in enumerate(asked) if _fits(d, *query)), None), d) for d in finds]
            for finds in self(frames)
        ]
        return [[Found(i, d.box, d.score) for i, d in finds if i is not None] for finds in fits]

    def _take(self, sight: _Sight, places: Sequence[_Place]) -> bool:
        """Move the best of `places` that is sure enough to the finds; whether there is one.

        A score is the lesser of the explained share and the likeness of edges: a blur of the right colour is no sprite.
        """
        best, chosen = 0.0, None
        for place in places:
            seen, drawn, weight, visible = sight.beside(place)
            bare = float((_squared(seen) * weight).sum())
            gain = bare - float((_squared(seen - drawn) * weight).sum())
            if gain <= sight.least or visible < self.visible:
                continue
            share = gain / max(gain, bare - sight.noise * float(weight.sum()))
            if share < self.threshold or gain * share**POWER <= best:
                continue  # likeness can only make it worse
            score = min(share, _likeness(seen, drawn, weight, sight.noise))
            if score >= self.threshold and gain * score**POWER > best:
                best, chosen = gain * score**POWER, (place, score)
        if chosen is None:
            return False
        sight.take(*chosen)
        return True


def _fits(find: Detection, noun: str, colour: str) -> bool:
    """Whether a find is of a noun, and of its colour where one is asked for."""
    return noun == find.noun and (not colour or same_colour(noun, colour, find.colour))


@cache
def same_colour(noun: str, a: str, b: str) -> bool:
    """Whether two colours of a noun name one look; "" equals the named colour nearest to the natural one."""
    if noun not in COLOURABLE or a == b:
        return True
    if a and b:
        return False

    def mean(colour: str) -> np.ndarray:
        picture = sprite(noun, colour, CELL * LARGEST)
        return picture[..., :3].sum((0, 1)) / picture[..., 3].sum()

    return (a or b) == min(COLOURS, key=lambda colour: float(_squared(mean(colour) - mean(""))))


class _Place(NamedTuple):
    """A sprite's square in a frame, in pixels."""

    noun: str
    colour: str
    side: int
    x: int
    y: int


class _Sight:
    """One frame at work: pixels `[64 + border, 64 + border, 3]`, what is still unexplained in `weight`.

    `noise` is the squared colour distance per pixel that is white noise, `least` the gain (summed distance explained)
    that noise, and what the bare backdrop lacks in likeness, do not reach.
    """

    def __init__(self, frame: np.ndarray) -> None:
        """Set a frame `[64, 64, 3]` in 0..1 against its backdrop."""
        under = _backdrop(frame)
        off = frame - under
        grain = np.diff(np.diff(off, 2, 0), 2, 1) / 6  # white noise keeps its strength, smooth pictures vanish
        self.noise = 3 * min(float(np.median(np.abs(grain))) / 0.6745, 0.12) ** 2 + 1e-4
        self.least = max(0.2, 40 * max(self.noise, float(np.median(_squared(off))) * 3 / 2.366))
        border = ((PAD + RIM,) * 2, (PAD + RIM,) * 2)
        self.frame, self.under = (np.pad(picture, (*border, (0, 0))) for picture in (frame, under))
        self.weight = np.pad(np.ones((SIZE, SIZE), np.float32), border)
        self.found: list[Detection] = []

    def restless(self) -> bool:
        """Whether any square of the largest sprite holds enough unexplained difference for a find: spares scans."""
        excess = self.weight * (_squared(self.frame - self.under) - self.noise)
        total = np.pad(excess, ((1, 0), (1, 0))).cumsum(0, dtype=np.float64).cumsum(1)
        k = LARGEST * CELL + 2 * RIM
        return float((total[k:, k:] - total[:-k, k:] - total[k:, :-k] + total[:-k, :-k]).max()) > self.least

    def beside(self, place: _Place) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        """A place as it is seen and as it would be drawn, both off the backdrop, `[y, x, 3]`.

        With the weight of each pixel, and the part (0..1) of the silhouette that no find covers.
        """
        rgb, alpha, halo = _stamp(place.noun, place.colour, place.side)
        here = _window(place)
        under, weight = self.under[here], self.weight[here]
        visible = float((weight * alpha[..., 0]).sum() / alpha.sum())
        return self.frame[here] - under, rgb - under * alpha, halo * weight, visible

    def take(self, place: _Place, score: float) -> None:
        """Count out the pixels a find explains; what stands in front of it stays."""
        box = tight(place.noun, place.x / CELL, place.y / CELL, place.side / CELL)
        self.found.append(Detection(place.noun, place.colour, box, score))
        halo, here = _stamp(place.noun, place.colour, place.side)[2], _window(place)
        seen, drawn, *_ = self.beside(place)
        self.weight[here] *= 1 - halo * (_squared(seen - drawn) < 0.06 + 4 * self.noise)


def _squared(difference: np.ndarray) -> np.ndarray:
    """Squared length of colours: `[..., 3]` -> `[...]`."""
    return np.einsum("...c,...c->...", difference, difference)


@cache
def _backdrops() -> np.ndarray:
    return np.stack([backdrop(name) for name in BACKGROUNDS])


def _backdrop(frame: np.ndarray) -> np.ndarray:
    """The painted backdrop that fits most pixels, shifted to the frame's tone; else each row's median colour."""
    best = _backdrops()[np.minimum(_squared(_backdrops() - frame), 0.1).mean((1, 2)).argmin()]
    tone = np.zeros(3, np.float32)
    for _ in range(3):  # towards the mode: large things must not tint the backdrop
        apart = _squared(frame - best - tone)
        tone = np.clip((frame - best)[apart <= np.median(apart)].mean(0), -0.1, 0.1)
    if np.median(_squared(frame - best - tone)) < UNKNOWN:
        return best + tone
    return np.broadcast_to(np.median(frame, axis=1, keepdims=True), frame.shape)


def _window(place: _Place) -> tuple[slice, slice]:
    """The pixels of a place and its rim, in a frame with its border."""
    top, left, span = place.y + PAD, place.x + PAD, place.side + 2 * RIM
    return slice(top, top + span), slice(left, left + span)


@cache
def _stamp(noun: str, colour: str, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Premultiplied colour, alpha and halo (the silhouette and its rim), `RIM` pixels wider than `side` all round."""
    picture = np.pad(sprite(noun, colour, side), ((RIM, RIM), (RIM, RIM), (0, 0)))
    solid = torch.from_numpy(picture[..., 3] > 0.1).float()[None]
    halo = F.max_pool2d(solid, 2 * RIM + 1, 1, RIM)[0].numpy()
    return picture[..., :3], picture[..., 3:], halo


def _likeness(seen: np.ndarray, drawn: np.ndarray, weight: np.ndarray, noise: float) -> float:
    """Cosine, in 0..1, between differences of pixels two apart in two pictures `[y, x, 3]`, the first one noisy."""
    cross = power = own = 1e-6
    for axis in (0, 1):
        s, d, w = (a.swapaxes(0, axis) for a in (seen, drawn, weight))
        s, d, w = s[2:] - s[:-2], d[2:] - d[:-2], w[2:] * w[:-2]
        cross += float(((s * d).sum(-1) * w).sum())
        power += float(((_squared(s) - 2 * noise) * w).sum())
        own += float((_squared(d) * w).sum())
    return float(np.clip(cross / np.sqrt(max(power, 1e-6) * own), 0, 1))


@cache
def _bank(side: int) -> tuple[Tensor, Tensor, Tensor]:
    """The scan's filters for squares of `side` pixels, at half size, of each noun of LOOKS.

    A painted sprite is linear in its colour, base + colour * slope, so what it explains is a polynomial of the colour:
    six filters stand for all shades, see `_mix`. Filters of colour and its square `[6 * painted + plain, 4, s, s]`,
    alpha `[noun, 1, s, s]`, halo `[noun, 1, s + 2, s + 2]`.
    """

    def half(colour: str, nouns: Sequence[str]) -> Tensor:
        stamps = np.stack([sprite(noun, colour, side) for noun in nouns])
        return F.avg_pool2d(torch.from_numpy(stamps).movedim(-1, 1), HALF)

    every, painted = half("", LOOKS), len(COLOURABLE)
    alpha, natural = every[:, 3:], every[:, :3]
    black, white = (half(colour, COLOURABLE)[:, :3] for colour in ("black", "white"))
    low, high = (torch.tensor(COLOURS[colour])[:, None, None] / 255 for colour in ("black", "white"))
    slope = ((white - black) / (high - low)).mean(1, keepdim=True)
    base = black - low * slope
    by_colour = torch.eye(3)[:, :, None, None] * slope[:, None]  # [painted, 3, 3, s, s]
    rgb = torch.cat([natural[:painted, None], base[:, None], by_colour, torch.zeros_like(base)[:, None]], 1)
    squares = [(natural[:painted] ** 2).sum(1, True), (base**2).sum(1, True), 2 * base * slope, slope**2]
    both = torch.cat([rgb, torch.cat(squares, 1)[:, :, None] / alpha[:painted, None].clamp(min=1e-3)], 2)
    plain = torch.cat([natural, (natural**2).sum(1, True) / alpha.clamp(min=1e-3)], 1)[painted:]
    halo = F.max_pool2d(F.pad((alpha > 0.1).float(), (1,) * 4), 3, 1, 1)
    return torch.cat([both.flatten(0, 1), plain]), alpha, halo


@cache
def _mix() -> Tensor:
    """How the six filters of a painted noun make the gain of each shade: `[shade, 6]`."""
    colours = torch.tensor(list(COLOURS.values())) / 255
    one = torch.ones(len(colours), 1)
    named = torch.cat([0 * one, one, colours, (colours**2).sum(1, True)], 1)
    return torch.cat([torch.eye(6)[:1], named])


def _scan(sights: Sequence[_Sight]) -> list[list[_Place]]:
    """Where in each frame which sprites explain most: the `PEAKS` best places, seen at half size.

    Gain here is alpha * (|f - b|^2 - |f - c|^2), f the frame, b the backdrop, c the sprite's colour: five correlations.
    """
    half = np.stack([np.concatenate([s.frame, s.under, s.weight[..., None]], -1)[RIM:-RIM, RIM:-RIM] for s in sights])
    half = F.avg_pool2d(torch.from_numpy(half).movedim(-1, 1), HALF)
    f, b, w = half[:, :3], half[:, 3:6], half[:, 6:]
    noise = torch.tensor([s.noise for s in sights])[:, None, None, None] / HALF**2
    over = torch.cat([2 * w * f, -w], 1)
    under = w * (2 * f * b - b**2).sum(1, keepdim=True)
    apart = F.pad(w * (((f - b) ** 2).sum(1, keepdim=True) - noise), (1,) * 4)
    painted, row = len(COLOURABLE), torch.arange(len(sights))[:, None]
    ranks, places = [], []
    for side in range(SMALLEST * CELL, LARGEST * CELL + 1, STEP):
        filters, alpha, halo = _bank(side)
        parts, plain = F.conv2d(over, filters).split((6 * painted, len(LOOKS) - painted), 1)
        shades = (_mix() @ parts.unflatten(1, (painted, 6)).flatten(3)).unflatten(3, plain.shape[2:])
        gain = torch.cat([shades.amax(2), plain], 1) - F.conv2d(under, alpha)
        share = gain.clamp(min=0) / torch.maximum(F.conv2d(apart, halo), gain).clamp(min=1e-3)
        rank = gain * share**POWER
        near = F.max_pool2d(rank.contiguous(memory_format=torch.channels_last), 3, 1, 1)  # quicker than as it was
        rank, at = (rank * (rank == near)).flatten(1).topk(PEAKS)  # one of each noun and size at a place
        noun, y, x = torch.unravel_index(at, gain.shape[1:])
        shade = shades[row, noun.clamp(max=painted - 1), :, y, x].argmax(-1) * (noun < painted)
        ranks.append(rank)
        places.append(torch.stack([noun, shade, torch.full_like(x, side), x * HALF - PAD, y * HALF - PAD], -1))
    values, order = torch.cat(ranks, 1).topk(PEAKS)
    best = torch.cat(places, 1)[row, order]
    return [
        [_Place(LOOKS[n], SHADES[k], *where) for value, (n, k, *where) in zip(*found, strict=True) if value > 0]
        for found in zip(values.tolist(), best.tolist(), strict=True)
    ]
