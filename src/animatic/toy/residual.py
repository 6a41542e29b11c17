"""What of a frame is unexplained: its difference from the backdrop, without the sprites that are detected so far."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from ..scene import Box
from . import world
from .backdrop import BACKGROUNDS, SIZE, backdrop
from .scan import PAD, SpritePlacement

RIM = 3  # pixels around a silhouette that must match the backdrop
UNKNOWN = 0.03  # median squared colour distance above which a backdrop is not one of the world's


class Detection(NamedTuple):
    """A detected sprite: `colour` "" is the natural one, `box` is tight, in 0..1.

    `score` in 0..1 is the lesser of the explained fraction of the difference from the bare backdrop, and the cosine
    between the edges of the sprite and of the frame. 1 is a perfect sprite.
    """

    noun: str
    colour: str
    box: Box
    score: float


class Residual:
    """What is still unexplained in one frame.

    `weight` is 0 at pixels of sprites that were detected. `noise` is the squared colour distance per pixel that is due
    to white noise; `least_gain` is a summed squared distance that noise and a wrong backdrop do not reach.
    """

    def __init__(self, frame: np.ndarray) -> None:
        """Compare a frame `[64, 64, 3]` in 0..1 with its backdrop."""
        under = behind(frame)
        off = frame - under

        # The noise, by the median of fourth differences: they vanish where a picture is smooth. The median magnitude of
        # a normal variable is 0.6745 deviations, and 6 is the norm of the filter (1, -2, 1) in both directions.
        curvature = np.diff(np.diff(off, 2, 0), 2, 1)
        grain = np.abs(curvature / 6)
        deviation = float(np.median(grain)) / 0.6745
        self.noise = 3 * min(deviation, 0.12) ** 2 + 1e-4

        # The least gain grows with the noise; 2.366 is the median of chi-squared with 3 degrees of freedom.
        median = float(np.median(squared_distance(off)))
        typical = median * 3 / 2.366
        self.least_gain = max(0.2, 40 * max(self.noise, typical))

        # Sprites may exceed the frame, so that it gets a border of weight 0.
        border = ((PAD + RIM,) * 2, (PAD + RIM,) * 2)
        self.frame = np.pad(frame, (*border, (0, 0)))
        self.under = np.pad(under, (*border, (0, 0)))
        self.weight = np.pad(np.ones((SIZE, SIZE), np.float32), border)
        self.found: list[Detection] = []

    def picture(self) -> np.ndarray:
        """Frame, backdrop and weight `[64 + 2 PAD, 64 + 2 PAD, 7]`, the input of `scan`."""
        # Without the rim, which only comparisons need.
        channels = [self.frame, self.under, self.weight[..., None]]
        whole = np.concatenate(channels, -1)
        return whole[RIM:-RIM, RIM:-RIM]

    def may_hold_a_sprite(self) -> bool:
        """Whether the unexplained difference in any square of the largest sprite suffices for a detection.

        It is computed with a summed-area table, and saves most scans.
        """
        unexplained = squared_distance(self.frame - self.under)
        excess = self.weight * (unexplained - self.noise)

        # total[y, x] is the sum of all pixels above and to the left.
        padded = np.pad(excess, ((1, 0), (1, 0)))
        rows = padded.cumsum(0, dtype=np.float64)
        total = rows.cumsum(1)

        # The sum in every square, from its four corners.
        k = world.LARGEST + 2 * RIM
        upper_left = total[:-k, :-k]
        upper_right = total[:-k, k:]
        lower_left = total[k:, :-k]
        lower_right = total[k:, k:]
        squares = lower_right - upper_right - lower_left + upper_left
        return float(squares.max()) > self.least_gain

    def compare(self, place: SpritePlacement) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        """The frame at a placement, and the sprite there, both as differences from the backdrop, `[y, x, 3]`.

        Also the weight of each pixel, and the fraction (0..1) of the silhouette that no detection covers.
        """
        # Differences from the backdrop, of the frame and of the sprite, as far as no detection covers them.
        rgb, alpha, halo = _stamp(place.noun, place.colour, place.side, place.mirrored)
        here = _window(place)
        under = self.under[here]
        weight = self.weight[here]

        seen = self.frame[here] - under
        drawn = rgb - under * alpha
        covered = (weight * alpha[..., 0]).sum()
        visible = float(covered / alpha.sum())
        return seen, drawn, halo * weight, visible

    def gain(self, place: SpritePlacement) -> tuple[float, float, float]:
        """The gain of a sprite, the fraction (0..1) of the local difference that it is, and its visible fraction."""
        seen, drawn, weight, visible = self.compare(place)
        bare = float((squared_distance(seen) * weight).sum())
        left = float((squared_distance(seen - drawn) * weight).sum())
        gain = bare - left

        # Noise cannot be explained: it does not count against a sprite.
        of_noise = self.noise * float(weight.sum())
        fraction = gain / max(gain, bare - of_noise, 1e-9)
        return gain, fraction, visible

    def edge_similarity(self, place: SpritePlacement) -> float:
        seen, drawn, weight, _ = self.compare(place)
        return _edge_similarity(seen, drawn, weight, self.noise)

    def exclude(self, place: SpritePlacement, score: float) -> None:
        """Add a detection and exclude the pixels that it explains; what is in front of it stays."""
        box = world.tight(place.noun, place.x, place.y, place.side)
        self.found.append(Detection(place.noun, place.colour, box, score))

        # Where the sprite explains the frame, up to noise, the pixels are used up.
        seen, drawn, *_ = self.compare(place)
        limit = 0.06 + 4 * self.noise
        is_explained = squared_distance(seen - drawn) < limit
        _, _, halo = _stamp(place.noun, place.colour, place.side, place.mirrored)
        here = _window(place)
        self.weight[here] *= 1 - halo * is_explained


def squared_distance(difference: np.ndarray) -> np.ndarray:
    """Squared length of colours: `[..., 3]` -> `[...]`."""
    return np.einsum("...c,...c->...", difference, difference)


@cache
def _backdrops() -> np.ndarray:
    return np.stack([backdrop(name) for name in BACKGROUNDS])


def behind(frame: np.ndarray) -> np.ndarray:
    """The painted backdrop that fits best, in the tone of the frame; if none fits, the median colour of each row."""
    # Pixels of objects differ from every backdrop: the bound keeps them from deciding.
    errors = np.minimum(squared_distance(_backdrops() - frame), 0.1)
    nearest = errors.mean((1, 2)).argmin()
    best = _backdrops()[nearest]

    # The tone, towards the mode, so that large objects do not tint the backdrop.
    tone = np.zeros(3, np.float32)
    for _ in range(3):
        apart = squared_distance(frame - best - tone)
        is_near = apart <= np.median(apart)
        near = (frame - best)[is_near]
        tone = np.clip(near.mean(0), -0.1, 0.1)

    if np.median(squared_distance(frame - best - tone)) < UNKNOWN:
        return best + tone
    rows = np.median(frame, axis=1, keepdims=True)
    return np.broadcast_to(rows, frame.shape)


def _window(place: SpritePlacement) -> tuple[slice, slice]:
    """The pixels of a place and its rim, in a frame with its border."""
    span = place.side + 2 * RIM
    top = place.y + PAD
    left = place.x + PAD
    return slice(top, top + span), slice(left, left + span)


@cache
def _stamp(noun: str, colour: str, side: int, mirrored: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Premultiplied colour, alpha and halo (the silhouette and its rim), `RIM` pixels wider than `side` all round."""
    # A rim of RIM pixels all round, in which the frame must show the backdrop.
    sprite = world.sprite(noun, colour, side, mirrored)
    picture = np.pad(sprite, ((RIM, RIM), (RIM, RIM), (0, 0)))
    rgb = picture[..., :3]
    alpha = picture[..., 3:]

    # The largest value in a square of 2 RIM + 1 pixels grows the silhouette by RIM all round.
    solid = torch.from_numpy(picture[..., 3] > 0.1).float()
    width = 2 * RIM + 1
    halo = F.max_pool2d(solid[None], width, 1, RIM)[0]
    return rgb, alpha, halo.numpy()


def _edge_similarity(seen: np.ndarray, drawn: np.ndarray, weight: np.ndarray, noise: float) -> float:
    """Cosine, in 0..1, between differences of pixels two apart in two pictures `[y, x, 3]`, the first one noisy."""
    cross = power = own = 1e-6
    for axis in (0, 1):
        # Differences of pixels two apart, along one axis after the other.
        s = seen.swapaxes(0, axis)
        d = drawn.swapaxes(0, axis)
        w = weight.swapaxes(0, axis)

        s = s[2:] - s[:-2]
        d = d[2:] - d[:-2]
        w = w[2:] * w[:-2]
        product = (s * d).sum(-1)
        cross += float((product * w).sum())
        own += float((squared_distance(d) * w).sum())

        # The noise adds its power to both pixels of a difference.
        denoised = squared_distance(s) - 2 * noise
        power += float((denoised * w).sum())
    norm = np.sqrt(max(power, 1e-6) * own)
    return float(np.clip(cross / norm, 0, 1))
