"""What a finishing model sees beside the noise: key frames, or a small version; and the first guess it corrects.

Both ways round: `reduce` makes from a clean clip what will be given (training), `tell` what the network is told of it.
Our own networks learn what the first guess lacks; networks of others learn the clip itself, their guess is zero.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import AnimaticError
from .motion import between


class Beside(ABC):
    """`factor` times as many frames, or as many pixels a side. Clips are latents `[row, channel, frame, h, w]`."""

    factor: int

    @abstractmethod
    def reduce(self, clip: Tensor) -> Tensor:
        """What is given of a clean clip."""

    @abstractmethod
    def tell(self, given: Tensor) -> tuple[Tensor, Tensor]:
        """(first guess at the clip, channels beside the noise), of the same frames, height and width."""


@dataclass(frozen=True)
class Around(Beside):
    """Every frame sees the keys around it, how far it is between them, and the guess: their blend along the motion.

    Any factor does. A latent cell is `patch` x `patch` pixels.
    """

    factor: int = 4
    patch: int = 2

    def reduce(self, clip: Tensor) -> Tensor:
        if clip.shape[2] % self.factor != 1:
            frames = f"{clip.shape[2]} frames"
            raise AnimaticError(f"{frames} have no key at both ends; want a multiple of {self.factor}, and 1")
        return clip[:, :, :: self.factor]

    def tell(self, given: Tensor) -> tuple[Tensor, Tensor]:
        rows, _, keys = given.shape[:3]
        at = torch.arange((keys - 1) * self.factor + 1, device=given.device)
        part = (at % self.factor / self.factor).to(given).view(1, 1, -1, 1, 1)
        a, b = given[:, :, at // self.factor], given[:, :, (at // self.factor + 1).clamp(max=keys - 1)]
        guess = a.clone()
        pixels = _framewise(given, lambda x: F.pixel_shuffle(x, self.patch)).movedim(2, 1)
        before, after = pixels[:, :-1].flatten(0, 1), pixels[:, 1:].flatten(0, 1)
        for i in range(1, self.factor):
            made = F.pixel_unshuffle(between(before, after, i, self.factor), self.patch)
            guess[:, :, i :: self.factor] = made.unflatten(0, (rows, keys - 1)).movedim(1, 2)
        return guess, torch.cat([a, b, guess, part.expand_as(a[:, :1])], 1)


@dataclass(frozen=True)
class Copied(Beside):
    """LaVie's interpolation: frame i sees key (i + 1) // factor; all is made anew, the keys too (g02)."""

    factor: int = 4

    def reduce(self, clip: Tensor) -> Tensor:
        return clip[:, :, :: self.factor]

    def tell(self, given: Tensor) -> tuple[Tensor, Tensor]:
        at = torch.arange((given.shape[2] - 1) * self.factor + 1, device=given.device)
        told = given[:, :, ((at + 1) // self.factor).clamp(max=given.shape[2] - 1)]
        return torch.zeros_like(told), told


@dataclass(frozen=True)
class Smaller(Beside):
    """Every frame sees its small version; the guess is the bicubic enlargement. Both as blocks of pixels.

    Given are pixels `[row, 3, frame, height, width]` in -1..1; a latent cell is `patch` x `patch` pixels of the large.
    """

    factor: int = 2
    patch: int = 4

    def reduce(self, clip: Tensor) -> Tensor:
        return _framewise(clip, lambda x: F.avg_pool2d(F.pixel_shuffle(x, self.patch), self.factor))

    def tell(self, given: Tensor) -> tuple[Tensor, Tensor]:
        def larger(x: Tensor) -> Tensor:
            x = F.interpolate(x, scale_factor=self.factor, mode="bicubic", antialias=True)
            return F.pixel_unshuffle(x, self.patch)

        told = _framewise(given, lambda x: F.pixel_unshuffle(x, self.patch // self.factor))
        return _framewise(given, larger), told


def beside_named(told: str) -> Beside | None:
    """ "clips" is None; "interpolate:4" and "upscale:2" are what our own networks see."""
    kind, _, factor = told.partition(":")
    if kind == "clips" and not factor:
        return None
    if kind not in ("interpolate", "upscale") or not factor.isdigit() or int(factor) < 2:
        raise AnimaticError(f"learn is {told!r}; want clips, interpolate:FACTOR or upscale:FACTOR, such as upscale:2")
    return Around(int(factor)) if kind == "interpolate" else Smaller(int(factor), 2 * int(factor))


def _framewise(clip: Tensor, act: Callable[[Tensor], Tensor]) -> Tensor:
    return act(clip.movedim(2, 1).flatten(0, 1)).unflatten(0, (len(clip), -1)).movedim(1, 2)
