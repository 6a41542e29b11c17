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

from ..benchmarks.detect import DetectedBox
from ..errors import AnimaticError
from ..scene import Box
from .grid_world import BACKGROUNDS, COLOURS, SIZE, backdrop
from .scan import HALF, ON_GRID, PAD, POWER, STEP, SpritePlacement, World, scan

RIM = 3  # pixels around a silhouette that must look like the backdrop
UNKNOWN = 0.03  # squared colour distance above which a backdrop is none of the world's


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

    `visible` (0..1): the least part of its silhouette that no other find covers; `most`: finds per frame; `world`:
    whose sprites; `exact`: places and sizes to a pixel, else to the 2 and 4 pixels of the scan.
    """

    def __init__(
        self,
        threshold: float = 0.55,
        visible: float = 0.5,
        most: int = 8,
        world: World = ON_GRID,
        exact: bool = False,
    ) -> None:
        if not (0 < threshold <= 1 and 0 < visible <= 1 and most >= 1):
            raise AnimaticError(f"threshold {threshold}, visible {visible}, most {most}; want 0..1, 0..1, at least 1")
        self.threshold, self.visible, self.most = threshold, visible, most
        self.world, self.exact = world, exact

    @torch.no_grad()
    def __call__(self, frames: np.ndarray) -> list[list[Detection]]:
        """What stands in each frame of uint8 `[frame, 64, 64, 3]`, best first; frames are judged one by one."""
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1:] != (SIZE, SIZE, 3):
            shape = list(frames.shape)
            raise AnimaticError(f"frames are {frames.dtype} {shape}; want uint8 [frame, {SIZE}, {SIZE}, 3]")
        sights = [_Sight(frame, self.world) for frame in frames.astype(np.float32) / 255]
        busy = sights
        for _ in range(self.most):
            busy = [sight for sight in busy if sight.restless()]
            if not busy:
                break
            peaks = scan([sight.picture() for sight in busy], [sight.noise for sight in busy], self.world)
            busy = [sight for sight, places in zip(busy, peaks, strict=True) if self._take(sight, places)]
        return [sorted(sight.found, key=lambda d: -d.score) for sight in sights]

    def surest(self, frames: np.ndarray) -> list[Detection | None]:
        """The best find in each frame of uint8 `[frame, 64, 64, 3]`; None where there is none."""
        return [next(iter(finds), None) for finds in self(frames)]

    def find(self, frames: np.ndarray, queries: Sequence[str]) -> list[list[DetectedBox]]:
        """Finds that fit a query ("red car"): the first of those it fits, for "cat" and "red cat" may both be asked.

        Raises `AnimaticError` where a query names nothing of the toy world.
        """
        asked = [self.world.identify(query) for query in queries]
        return [
            [DetectedBox(i, d.box, d.score) for d in finds for i in _fits(d, asked, self.world)[:1]]
            for finds in self(frames)
        ]

    def _take(self, sight: _Sight, places: Sequence[SpritePlacement]) -> bool:
        """Move the best of `places` that is sure enough to the finds; whether there is one.

        A score is the lesser of the explained share and the likeness of edges: a blur of the right colour is no sprite.
        """
        best, chosen = 0.0, None
        for place in places:
            if self.exact:
                place = _nudged(sight, place)
            gain, share, visible = sight.gain(place)
            if gain <= sight.least or visible < self.visible:
                continue
            if share < self.threshold or gain * share**POWER <= best:
                continue  # likeness can only make it worse
            score = min(share, sight.likeness(place))
            if score >= self.threshold and gain * score**POWER > best:
                best, chosen = gain * score**POWER, (place, score)
        if chosen is None:
            return False
        sight.take(*chosen)
        return True


def _nudged(sight: _Sight, place: SpritePlacement) -> SpritePlacement:
    """The place near `place` that explains most: by steps of a pixel, no farther than the scan is coarse."""

    def rank(near: SpritePlacement) -> float:
        gain, share, _ = sight.gain(near)
        return max(gain, 0.0) * share**POWER

    world, best, at = sight.world, rank(place), place
    for _ in range(HALF + STEP):
        steps = [(dx, dy, d) for dx, dy, d in _STEPS if world.smallest <= at.side + d <= world.largest]
        around = [at._replace(x=at.x + dx, y=at.y + dy, side=at.side + d) for dx, dy, d in steps]
        around = [p for p in around if min(p.x, p.y) >= -PAD and max(p.x, p.y) + p.side <= SIZE + PAD]
        higher, found = max((rank(near), near) for near in around)
        if higher <= best:
            break
        best, at = higher, found
    return at


_STEPS = (
    (1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0),  # to a side
    (0, 0, 1), (-1, -1, 1), (-1, 0, 1), (0, -1, 1),  # larger: which corner stays
    (0, 0, -1), (1, 1, -1), (1, 0, -1), (0, 1, -1),
)  # fmt: skip


def _fits(find: Detection, asked: Sequence[tuple[str, str]], world: World) -> list[int]:
    """Which queries are of a find's noun, and of its colour where one is asked for."""
    nouns = [(i, colour) for i, (noun, colour) in enumerate(asked) if noun == find.noun]
    return [i for i, colour in nouns if not colour or same_colour(find.noun, colour, find.colour, world)]


@cache
def same_colour(noun: str, a: str, b: str, world: World = ON_GRID) -> bool:
    """Whether two colours of a noun name one look; "" equals the named colour nearest to the natural one."""
    if noun not in world.colourable or a == b:
        return True
    if a and b:
        return False

    def mean(colour: str) -> np.ndarray:
        picture = world.sprite(noun, colour, world.largest, False)
        return picture[..., :3].sum((0, 1)) / picture[..., 3].sum()

    return (a or b) == min(COLOURS, key=lambda colour: float(_squared(mean(colour) - mean(""))))


class _Sight:
    """One frame at work: pixels `[64 + border, 64 + border, 3]`, what is still unexplained in `weight`.

    `noise` is the squared colour distance per pixel that is white noise, `least` the gain (summed distance explained)
    that noise, and what the bare backdrop lacks in likeness, do not reach.
    """

    def __init__(self, frame: np.ndarray, world: World) -> None:
        """Set a frame `[64, 64, 3]` in 0..1 against its backdrop."""
        self.world = world
        under = behind(frame)
        off = frame - under
        grain = np.diff(np.diff(off, 2, 0), 2, 1) / 6  # white noise keeps its strength, smooth pictures vanish
        self.noise = 3 * min(float(np.median(np.abs(grain))) / 0.6745, 0.12) ** 2 + 1e-4
        self.least = max(0.2, 40 * max(self.noise, float(np.median(_squared(off))) * 3 / 2.366))
        border = ((PAD + RIM,) * 2, (PAD + RIM,) * 2)
        self.frame, self.under = (np.pad(picture, (*border, (0, 0))) for picture in (frame, under))
        self.weight = np.pad(np.ones((SIZE, SIZE), np.float32), border)
        self.found: list[Detection] = []

    def picture(self) -> np.ndarray:
        """Frame, backdrop and weight `[64 + 2 PAD, 64 + 2 PAD, 7]`, as the scan wants them."""
        return np.concatenate([self.frame, self.under, self.weight[..., None]], -1)[RIM:-RIM, RIM:-RIM]

    def restless(self) -> bool:
        """Whether any square of the largest sprite holds enough unexplained difference for a find: spares scans."""
        excess = self.weight * (_squared(self.frame - self.under) - self.noise)
        total = np.pad(excess, ((1, 0), (1, 0))).cumsum(0, dtype=np.float64).cumsum(1)
        k = self.world.largest + 2 * RIM
        return float((total[k:, k:] - total[:-k, k:] - total[k:, :-k] + total[:-k, :-k]).max()) > self.least

    def beside(self, place: SpritePlacement) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        """A place as it is seen and as it would be drawn, both off the backdrop, `[y, x, 3]`.

        With the weight of each pixel, and the part (0..1) of the silhouette that no find covers.
        """
        rgb, alpha, halo = _stamp(self.world, place.noun, place.colour, place.side, place.mirrored)
        here = _window(place)
        under, weight = self.under[here], self.weight[here]
        visible = float((weight * alpha[..., 0]).sum() / alpha.sum())
        return self.frame[here] - under, rgb - under * alpha, halo * weight, visible

    def gain(self, place: SpritePlacement) -> tuple[float, float, float]:
        """How much difference a sprite there explains, the share (0..1) that is of all, and its visible part."""
        seen, drawn, weight, visible = self.beside(place)
        bare = float((_squared(seen) * weight).sum())
        gain = bare - float((_squared(seen - drawn) * weight).sum())
        share = gain / max(gain, bare - self.noise * float(weight.sum()), 1e-9)
        return gain, share, visible

    def likeness(self, place: SpritePlacement) -> float:
        seen, drawn, weight, _ = self.beside(place)
        return _likeness(seen, drawn, weight, self.noise)

    def take(self, place: SpritePlacement, score: float) -> None:
        """Count out the pixels a find explains; what stands in front of it stays."""
        box = self.world.tight(place.noun, place.x, place.y, place.side)
        self.found.append(Detection(place.noun, place.colour, box, score))
        halo = _stamp(self.world, place.noun, place.colour, place.side, place.mirrored)[2]
        here = _window(place)
        seen, drawn, *_ = self.beside(place)
        self.weight[here] *= 1 - halo * (_squared(seen - drawn) < 0.06 + 4 * self.noise)


def _squared(difference: np.ndarray) -> np.ndarray:
    """Squared length of colours: `[..., 3]` -> `[...]`."""
    return np.einsum("...c,...c->...", difference, difference)


@cache
def _backdrops() -> np.ndarray:
    return np.stack([backdrop(name) for name in BACKGROUNDS])


def behind(frame: np.ndarray) -> np.ndarray:
    """The painted backdrop that fits most pixels, shifted to the frame's tone; else each row's median colour."""
    best = _backdrops()[np.minimum(_squared(_backdrops() - frame), 0.1).mean((1, 2)).argmin()]
    tone = np.zeros(3, np.float32)
    for _ in range(3):  # towards the mode: large things must not tint the backdrop
        apart = _squared(frame - best - tone)
        tone = np.clip((frame - best)[apart <= np.median(apart)].mean(0), -0.1, 0.1)
    if np.median(_squared(frame - best - tone)) < UNKNOWN:
        return best + tone
    return np.broadcast_to(np.median(frame, axis=1, keepdims=True), frame.shape)


def _window(place: SpritePlacement) -> tuple[slice, slice]:
    """The pixels of a place and its rim, in a frame with its border."""
    top, left, span = place.y + PAD, place.x + PAD, place.side + 2 * RIM
    return slice(top, top + span), slice(left, left + span)


@cache
def _stamp(
    world: World, noun: str, colour: str, side: int, mirrored: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Premultiplied colour, alpha and halo (the silhouette and its rim), `RIM` pixels wider than `side` all round."""
    picture = np.pad(world.sprite(noun, colour, side, mirrored), ((RIM, RIM), (RIM, RIM), (0, 0)))
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
