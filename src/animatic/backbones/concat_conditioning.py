"""What a finishing model sees beside the noise: key frames, or a small version; and the first guess it corrects.

Both ways round: `reduce` makes from a clean clip what will be given (training), `tell` what the network is told of it.
Our own networks learn what the first guess lacks; networks of others learn the clip itself, their guess is zero.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.backbone import ConcatConditioning
from ..core.types import Conditioning
from ..errors import AnimaticError
from .motion import between

QUIET = 0.1  # what noise counts in the eyes of our own finishers: next to what stands beside it, it says little
BACK = 2  # back projections; more gain nothing (docs/LOG.md)
RESIDUAL_STD = 0.05  # how far off both guesses are on toy scenes; answers of unit size are learnt best (docs/LOG.md)
CONCAT, LEVEL = (
    "concat",
    "level",
)  # in Conditioning.extra: channels to see, and how noisy they are (a class of the network)


class LearnedConditioning(ConcatConditioning):
    """One that our own networks learn with."""

    kind: ClassVar[str]
    side = 96
    patch: int  # pixels a side of a latent cell

    @abstractmethod
    def degrade(self, clip: Tensor) -> Tensor:
        """What is given of a clean clip."""

    def fields(self) -> dict[str, float]:
        """For `animatic.json`, see `beside_of`."""
        return {"factor": self.factor, "patch": self.patch, "residual_std": self.residual_std}


@dataclass(frozen=True)
class KeyframeConditioning(LearnedConditioning):
    """Every frame sees the keys around it, how far it is between them, and the guess: their blend along the motion.

    Any factor does. A latent cell is `patch` x `patch` pixels.
    """

    kind = "around"
    factor: int = 4
    patch: int = 2
    residual_std: float = RESIDUAL_STD

    def degrade(self, clip: Tensor) -> Tensor:
        if clip.shape[2] % self.factor != 1:
            frames = f"{clip.shape[2]} frames"
            raise AnimaticError(f"{frames} have no key at both ends; want a multiple of {self.factor}, and 1")
        return clip[:, :, :: self.factor]

    def condition(
        self, given: Tensor, source: torch.Generator | None = None, still: bool = True
    ) -> tuple[Tensor, Tensor]:
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
class NearestKeyframeConditioning(ConcatConditioning):
    """LaVie's interpolation: frame i sees key (i + 1) // factor; all is made anew, the keys too (g02)."""

    factor: int = 4

    def condition(
        self, given: Tensor, source: torch.Generator | None = None, still: bool = True
    ) -> tuple[Tensor, Tensor]:
        at = torch.arange((given.shape[2] - 1) * self.factor + 1, device=given.device)
        told = given[:, :, ((at + 1) // self.factor).clamp(max=given.shape[2] - 1)]
        return torch.zeros_like(told), told


@dataclass(frozen=True)
class LowResolutionConditioning(LearnedConditioning):
    """Every frame sees its small version; the guess is its bicubic enlargement, projected back (Irani & Peleg 1991).

    That is, corrected until it would shrink to what was given. A latent cell is `patch` x `patch` pixels of the large.
    """

    kind = "smaller"
    pixels = True
    factor: int = 2
    patch: int = 2
    residual_std: float = RESIDUAL_STD

    def degrade(self, clip: Tensor) -> Tensor:
        return _framewise(clip, lambda x: F.avg_pool2d(F.pixel_shuffle(x, self.patch), self.factor))

    def condition(
        self, given: Tensor, source: torch.Generator | None = None, still: bool = True
    ) -> tuple[Tensor, Tensor]:
        def larger(x: Tensor) -> Tensor:
            made = self._enlarged(x)
            for _ in range(BACK):
                made = made + self._enlarged(x - F.avg_pool2d(made, self.factor))
            return F.pixel_unshuffle(made, self.patch)

        told = _framewise(given, lambda x: F.pixel_unshuffle(x, self.patch // self.factor))
        return _framewise(given, larger), told

    def _enlarged(self, images: Tensor) -> Tensor:
        return F.interpolate(images, scale_factor=self.factor, mode="bicubic", antialias=True)


@dataclass(frozen=True)
class NoisyLowResolutionConditioning(ConcatConditioning):
    """The x4 upscaler's, and LaVie's VSR: the small clip, noised to `level` of its own schedule; the guess is zero.

    Latents have the height and width of the small clip. One noise for all frames, where still things are to stay still.
    """

    pixels = True
    factor: int = 4
    level: int | None = 20
    channels: int = 4

    def __post_init__(self) -> None:
        if self.level is None or not 0 <= self.level <= MOST_NOISE:
            raise AnimaticError(f"level is {self.level}; the upscaler knows noise levels 0 to {MOST_NOISE}")

    def condition(
        self, given: Tensor, source: torch.Generator | None = None, still: bool = True
    ) -> tuple[Tensor, Tensor]:
        shape = (*given.shape[:2], 1 if still else given.shape[2], *given.shape[3:])
        noise = torch.randn(shape, generator=source or torch.Generator()).to(given)
        guess = given.new_zeros(len(given), self.channels, *given.shape[2:])
        return guess, self.noised(given, noise)

    def noised(self, given: Tensor, noise: Tensor) -> Tensor:
        betas = torch.linspace(1e-4**0.5, 0.02**0.5, 1000, dtype=torch.float64).square()
        signal = float((1 - betas).cumprod(0)[self.level])
        return signal**0.5 * given + (1 - signal) ** 0.5 * noise


KINDS: dict[str, type[ConcatConditioning]] = {
    "around": KeyframeConditioning,
    "smaller": LowResolutionConditioning,
    "copied": NearestKeyframeConditioning,
    "noised": NoisyLowResolutionConditioning,
}
MOST_NOISE = 350


def conditioning_of_card(card: Mapping[str, Any]) -> ConcatConditioning | None:
    """What a model folder's `animatic.json` says of it: "kind" and the fields."""
    told = dict(card.get("concat_conditioning") or {})
    return KINDS[told.pop("kind")](**told) if told else None


def with_concatenated(x: Tensor, cond: Conditioning) -> Tensor:
    """`x` with what is to be seen beside it."""
    return torch.cat([x, cond.extra[CONCAT].to(x)], 1) if CONCAT in cond.extra else x


def conditioning_named(told: str) -> LearnedConditioning | None:
    """ "clips" is None; "interpolate:4" and "upscale:2" are what our own networks see."""
    kind, _, factor = told.partition(":")
    if kind == "clips" and not factor:
        return None
    if kind not in ("interpolate", "upscale") or not factor.isdigit() or int(factor) < 2:
        raise AnimaticError(f"learn is {told!r}; want clips, interpolate:FACTOR or upscale:FACTOR, such as upscale:2")
    return (
        KeyframeConditioning(int(factor))
        if kind == "interpolate"
        else LowResolutionConditioning(int(factor), int(factor))
    )


def _framewise(clip: Tensor, act: Callable[[Tensor], Tensor]) -> Tensor:
    return act(clip.movedim(2, 1).flatten(0, 1)).unflatten(0, (len(clip), -1)).movedim(1, 2)
