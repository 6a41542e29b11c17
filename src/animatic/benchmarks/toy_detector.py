"""Which sprite of the toy world stands where: what scores frames, filmed or generated, without knowing what was asked.

Matching pursuit. A sprite drawn over the backdrop explains part of the frame's difference from the bare backdrop; the
one that explains most is found, its pixels are set aside, and the search goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
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
    aspect,
    backdrop,
    identify,
    sprite,
)
from .detect import Found

HALF = 2  # the scan sees every second pixel, so places are right to 2 pixels
STEP = 4  # pixels between the sizes looked for: what a model paints need not keep to the world's cells
PAD = 8  # pixels a square may stand outside the frame: a cell, for a flat sprite has empty ones above and below
RIM = 3  # pixels around a silhouette that must look like the backdrop
UNKNOWN = 0.03  # squared colour distance above which a backdrop is none of the world's
PEAKS = 16  # places of the scan looked at closely
POWER = 5  # of the share in the rank: two alike side by side are not one large sprite


@dataclass(frozen=True)
class Detection:
    """A sprite that was found: `colour` "" is its natural look, `box` is tight in 0..1.

    `score` in 0..1: the share of the frame's difference from the bare backdrop that the sprite explains, or the cosine
    between its edges and the frame's where that is less. 1 is a perfect sprite.
    """

    noun: str
    colour: str
    box: Box
    score: float


class _Place(NamedTuple):
    noun: str
    colour: str
    side: int  # pixels
    x: int
    y: int


@dataclass
class _Sight:
    """One frame at work: pixels `[64 + border, 64 + border, 3]`, what is still unexplained in `weight`."""

    frame: np.ndarray
    under: np.ndarray
    weight: np.ndarray
    noise: float  # squared colour distance per pixel that is white noise
    level: float  # the same of the bare backdrop, what it lacks in likeness included
    found: list[Detection] = field(default_factory=list)


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
        sights = [_look(frame) for frame in frames.astype(np.float32) / 255]
        busy = sights
        for _ in range(self.most):
            busy = [sight for sight in busy if _restless(sight)]
            if not busy:
                break
            peaks = _scan(busy)
            busy = [sight for sight, places in zip(busy, peaks, strict=True) if self._take(sight, places)]
        return [sorted(sight.found, key=lambda d: -d.score) for sight in sights]

    def find(self, frames: np.ndarray, queries: Sequence[str]) -> list[list[Found]]:
        """Finds that fit a query ("red car"): the first of those it fits, for "cat" and "red cat" may both be asked.

        Raises `AnimaticError` where a query names nothing of the toy world.
        """
        asked = [identify(query) for query in queries]
        return [
            [Found(i, d.box, d.score) for d in finds if (i := _fits(d, asked)) is not None] for finds in self(frames)
        ]

    def _take(self, sight: _Sight, places: list[_Place]) -> bool:
        """Move the best of `places` that is sure enough to the finds."""
        best, chosen = 0.0, None
        for place in places:
            gain, score, seen = _explain(sight, place)
            sure = score >= self.threshold and seen >= self.visible and gain > _least(sight)
            if sure and gain * score**POWER > best:
                best, chosen = gain * score**POWER, (place, score)
        if chosen is None:
            return False
        place, score = chosen
        sight.found.append(Detection(place.noun, place.colour, _box(place), score))
        _set_aside(sight, place)
        return True


def _fits(find: Detection, asked: Sequence[tuple[str, str]]) -> int | None:
    """The first query of `find`'s noun, and of its colour where one is asked for."""
    fits = (
        i
        for i, (noun, colour) in enumerate(asked)
        if noun == find.noun and (not colour or same_colour(noun, colour, find.colour))
    )
    return next(fits, None)


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

    return (a or b) == min(COLOURS, key=lambda colour: float(((mean(colour) - mean("")) ** 2).sum()))


def _look(frame: np.ndarray) -> _Sight:
    """Set a frame `[64, 64, 3]` in 0..1 against its backdrop."""
    under = _backdrop(frame)
    off = frame - under
    grain = np.diff(np.diff(off, 2, 0), 2, 1) / 6  # white noise keeps its strength, smooth pictures vanish
    noise = 3 * min(float(np.median(np.abs(grain))) / 0.6745, 0.12) ** 2 + 1e-4
    level = max(noise, float(np.median((off**2).sum(-1))) * 3 / 2.366)
    border = ((PAD + RIM,) * 2, (PAD + RIM,) * 2)
    weight = np.pad(np.ones((SIZE, SIZE), np.float32), border)
    return _Sight(np.pad(frame, (*border, (0, 0))), np.pad(under, (*border, (0, 0))), weight, noise, level)


def _backdrop(frame: np.ndarray) -> np.ndarray:
    """The painted backdrop that fits most pixels, shifted to the frame's tone; else each row's median colour."""
    known = np.stack([backdrop(name) for name in BACKGROUNDS])
    apart = np.minimum(((known - frame) ** 2).sum(-1), 0.1).reshape(len(known), -1)
    best = known[apart.mean(1).argmin()]
    tone = np.zeros(3, np.float32)
    for _ in range(3):  # towards the mode: large things must not tint the backdrop
        apart = ((frame - best - tone) ** 2).sum(-1)
        tone = np.clip((frame - best)[apart <= np.median(apart)].mean(0), -0.1, 0.1)
    if np.median(((frame - best - tone) ** 2).sum(-1)) < UNKNOWN:
        return best + tone
    return np.broadcast_to(np.median(frame, axis=1, keepdims=True), frame.shape)


def _least(sight: _Sight) -> float:
    """The gain (squared colour distance) that noise does not reach."""
    return max(0.2, 40 * sight.level)


def _restless(sight: _Sight) -> bool:
    """Whether any square of the largest sprite holds enough unexplained difference for a find: spares scans."""
    excess = sight.weight * (((sight.frame - sight.under) ** 2).sum(-1) - sight.noise)
    total = np.pad(excess, ((1, 0), (1, 0))).cumsum(0, dtype=np.float64).cumsum(1)
    k = LARGEST * CELL + 2 * RIM
    return float((total[k:, k:] - total[:-k, k:] - total[k:, :-k] + total[:-k, :-k]).max()) > _least(sight)


@cache
def _looks() -> tuple[tuple[str, str], ...]:
    """Every (noun, colour): first the nouns that have colours, a noun's looks in a row, then those that have none."""
    plain = tuple((noun, "") for noun in NOUNS if noun not in COLOURABLE)
    return (*((noun, colour) for noun in COLOURABLE for colour in ("", *COLOURS)), *plain)


@cache
def _stamp(noun: str, colour: str, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Premultiplied colour, alpha and halo (the silhouette and its rim), `RIM` pixels wider than `side` all round."""
    picture = np.pad(sprite(noun, colour, side), ((RIM, RIM), (RIM, RIM), (0, 0)))
    solid = torch.from_numpy(picture[..., 3] > 0.1).float()[None]
    halo = F.max_pool2d(solid, 2 * RIM + 1, 1, RIM)[0].numpy()
    return picture[..., :3], picture[..., 3:], halo


@cache
def _bank(side: int) -> tuple[Tensor, Tensor, Tensor]:
    """The scan's filters for squares of `side` pixels, at half size.

    Colour and its square `[look, 4, s, s]`, alpha `[noun, 1, s, s]`, halo `[noun, 1, s + 2, s + 2]`.
    """
    stamps = np.stack([sprite(*look, side) for look in _looks()])
    half = F.avg_pool2d(torch.from_numpy(stamps).movedim(-1, 1), HALF)
    rgb, alpha = half[:, :3], half[:, 3:]
    power = (rgb**2).sum(1, keepdim=True) / alpha.clamp(min=1e-3)
    alpha = alpha[[i for i, (_, colour) in enumerate(_looks()) if not colour]]
    halo = F.max_pool2d(F.pad((alpha > 0.1).float(), (1,) * 4), 3, 1, 1)
    return torch.cat([rgb, power], 1), alpha, halo


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
    looks, painted, shades = _looks(), len(COLOURABLE), len(COLOURS) + 1
    first = torch.tensor([i for i, (_, colour) in enumerate(looks) if not colour])
    ranks, places = [], []
    for side in range(SMALLEST * CELL, LARGEST * CELL + 1, STEP):
        stamps, alpha, halo = _bank(side)
        gains = F.conv2d(over, stamps)
        gain, shade = gains[:, : painted * shades].unflatten(1, (painted, shades)).max(2)
        gain = torch.cat([gain, gains[:, painted * shades :]], 1) - F.conv2d(under, alpha)
        share = gain.clamp(min=0) / torch.maximum(F.conv2d(apart, halo), gain).clamp(min=1e-3)
        rank = gain * share**POWER
        rank = rank * (rank == F.max_pool2d(rank, 3, 1, 1))  # one of each noun and size at a place
        rank, at = rank.flatten(1).topk(PEAKS)
        noun, y, x = torch.unravel_index(at, gain.shape[1:])
        shade = F.pad(shade.flatten(1), (0, gain[0].numel() - shade[0].numel())).gather(1, at)
        ranks.append(rank)
        places.append(torch.stack([first[noun] + shade, torch.full_like(x, side), x * HALF - PAD, y * HALF - PAD], -1))
    values, order = torch.cat(ranks, 1).topk(PEAKS)
    best = torch.cat(places, 1)[torch.arange(len(sights))[:, None], order]
    return [
        [_Place(looks[k][0], looks[k][1], side, x, y) for value, (k, side, x, y) in zip(*row, strict=True) if value > 0]
        for row in zip(values.tolist(), best.tolist(), strict=True)
    ]


def _window(place: _Place) -> tuple[slice, slice]:
    """The pixels of a place and its rim, in a frame with its border."""
    top, left, span = place.y + PAD, place.x + PAD, place.side + 2 * RIM
    return slice(top, top + span), slice(left, left + span)


def _explain(sight: _Sight, place: _Place) -> tuple[float, float, float]:
    """A place's gain (squared colour distance explained), score and visible part (both 0..1), at full size.

    The score is the lesser of the explained share and the likeness of edges: a blur of the right colour is no sprite.
    """
    rgb, alpha, halo = _stamp(place.noun, place.colour, place.side)
    here = _window(place)
    b, w = sight.under[here], sight.weight[here]
    seen, drawn, count = sight.frame[here] - b, rgb - b * alpha, halo * w
    bare = float(((seen**2).sum(-1) * count).sum())
    gain = bare - float((((seen - drawn) ** 2).sum(-1) * count).sum())
    if gain <= 0:
        return 0.0, 0.0, 0.0
    share = gain / max(gain, bare - sight.noise * float(count.sum()))
    score = min(share, _likeness(seen, drawn, count, sight.noise))
    return gain, score, float((w * alpha[..., 0]).sum() / alpha.sum())


def _likeness(seen: np.ndarray, drawn: np.ndarray, weight: np.ndarray, noise: float) -> float:
    """Cosine, in 0..1, between differences of pixels two apart in two pictures `[y, x, 3]`, the first one noisy."""
    cross = power = own = 1e-6
    for axis in (0, 1):
        s, d, w = (a.swapaxes(0, axis) for a in (seen, drawn, weight))
        s, d, w = s[2:] - s[:-2], d[2:] - d[:-2], w[2:] * w[:-2]
        cross += float(((s * d).sum(-1) * w).sum())
        power += float((((s**2).sum(-1) - 2 * noise) * w).sum())
        own += float(((d**2).sum(-1) * w).sum())
    return float(np.clip(cross / np.sqrt(max(power, 1e-6) * own), 0, 1))


def _set_aside(sight: _Sight, place: _Place) -> None:
    """Count out the pixels a find explains; what stands in front of it stays."""
    rgb, alpha, halo = _stamp(place.noun, place.colour, place.side)
    here = _window(place)
    f, b = sight.frame[here], sight.under[here]
    explained = ((f - b * (1 - alpha) - rgb) ** 2).sum(-1) < 0.06 + 4 * sight.noise
    sight.weight[here] *= 1 - halo * explained


def _box(place: _Place) -> Box:
    """The tight box, cut to the frame."""
    w, h = (v * place.side / 2 / SIZE for v in aspect(place.noun))
    x, y = ((v + place.side / 2) / SIZE for v in (place.x, place.y))
    return max(0.0, x - w), max(0.0, y - h), min(1.0, x + w), min(1.0, y + h)
