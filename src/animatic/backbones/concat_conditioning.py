"""Concatenated conditioning of models that finish videos: channels that the network reads with the noisy latents.

These are key frames (interpolation) or a low-resolution version (upscaling). A conditioning works in two directions:
`degrade` makes the given frames from a clean clip, for training, and `condition` makes the channels from given frames.
It also returns a prior, a classical estimate of the clip. Networks trained here predict the difference between clip and
prior, divided by `residual_std`; networks of others predict the clip itself, so their prior is zero.
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
from .motion import frame_between

NOISE_INPUT_SCALE = 0.1  # factor on the noisy latents that networks trained here read with the conditioning
BACK_PROJECTIONS = 2  # more of them do not lower the error (docs/LOG.md)
RESIDUAL_STD = 0.05  # root mean square error of both priors on toy scenes; residuals of unit size are learnt best
CONCAT = "concat"  # in Conditioning.extra: the channels, `[branch, channel, frame, height, width]`
LEVEL = "level"  # in Conditioning.extra: the index of their noise level, `[branch]`, a class label of the network
MAX_NOISE_LEVEL = 350  # of the x4 upscaler and LaVie's VSR


class LearnedConditioning(ConcatConditioning):
    """A conditioning that networks can be trained with here."""

    kind: ClassVar[str]
    side = 96
    patch: int  # pixels of a latent cell, a side

    @abstractmethod
    def degrade(self, clip: Tensor) -> Tensor:
        """The frames that would be given of a clean clip, latents `[sample, channel, frame, height, width]`."""

    def fields(self) -> dict[str, float]:
        """The fields that a card stores, see `conditioning_of_card`."""
        return {"factor": self.factor, "patch": self.patch, "residual_std": self.residual_std}


@dataclass(frozen=True)
class KeyframeConditioning(LearnedConditioning):
    """Interpolation: every frame sees the key frames before and after it, its place between them, and the prior.

    The prior is interpolated along the motion between the key frames (see `motion`). The channels are those of the two
    key frames, of the prior, and one more, 0 at a key frame and (factor - 1) / factor before the next. `factor` frames
    a key frame, at least 2. A latent cell is `patch` x `patch` pixels.
    """

    kind = "around"
    factor: int = 4
    patch: int = 2
    residual_std: float = RESIDUAL_STD

    def degrade(self, clip: Tensor) -> Tensor:
        # The last frame must be a key frame, too.
        if clip.shape[2] % self.factor != 1:
            frames = f"{clip.shape[2]} frames"
            raise AnimaticError(f"{frames} have no key at both ends; want a multiple of {self.factor}, and 1")
        return clip[:, :, :: self.factor]

    def condition(
        self, given: Tensor, source: torch.Generator | None = None, still: bool = True
    ) -> tuple[Tensor, Tensor]:
        # The last key frame ends the clip: there are factor - 1 frames between two, none after it.
        samples, _, keys = given.shape[:3]
        count = (keys - 1) * self.factor + 1
        frames = torch.arange(count, device=given.device)

        # For each frame the key frames around it, and how far it is on the way between them, in 0..1.
        key = frames // self.factor
        key_before = given[:, :, key]
        next_key = (key + 1).clamp(max=keys - 1)
        key_after = given[:, :, next_key]
        fraction = frames % self.factor / self.factor
        fraction = fraction.to(given).view(1, 1, -1, 1, 1)

        # The prior, computed in pixels: the key frames themselves, and frames between them along the motion.
        prior = key_before.clone()
        shuffled = _framewise(given, lambda x: F.pixel_shuffle(x, self.patch))
        pixels = shuffled.movedim(2, 1)
        before = pixels[:, :-1].flatten(0, 1)
        after = pixels[:, 1:].flatten(0, 1)
        for i in range(1, self.factor):
            between = frame_between(before, after, i, self.factor)
            latents = F.pixel_unshuffle(between, self.patch)
            by_sample = latents.unflatten(0, (samples, keys - 1))
            prior[:, :, i :: self.factor] = by_sample.movedim(1, 2)

        # The place between the key frames is a channel of its own.
        time = fraction.expand_as(prior[:, :1])
        return prior, torch.cat([key_before, key_after, prior, time], 1)


@dataclass(frozen=True)
class NearestKeyframeConditioning(ConcatConditioning):
    """LaVie's interpolation: frame i sees key frame (i + 1) // factor. All frames are generated, key frames too.

    Wang et al. 2023, https://arxiv.org/abs/2309.15103. The prior is zero.
    """

    factor: int = 4

    def condition(
        self, given: Tensor, source: torch.Generator | None = None, still: bool = True
    ) -> tuple[Tensor, Tensor]:
        # The key frame of each frame; the first has one frame less than the others.
        keys = given.shape[2]
        count = (keys - 1) * self.factor + 1
        frames = torch.arange(count, device=given.device)
        key = (frames + 1) // self.factor
        nearest = given[:, :, key.clamp(max=keys - 1)]
        return torch.zeros_like(nearest), nearest


@dataclass(frozen=True)
class LowResolutionConditioning(LearnedConditioning):
    """Upscaling: every frame sees its low-resolution version, `[sample, 3, frame, height, width]` in -1..1.

    The prior is its bicubic enlargement, corrected by iterative back-projection (Irani & Peleg 1991,
    https://doi.org/10.1016/1049-9652(91)90045-L), so that its average over `factor` x `factor` pixels is what was
    given. A latent cell is `patch` x `patch` pixels of the result.
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
        # Iterative back-projection: what averages to something else than was given is enlarged and added.
        def enlarged(x: Tensor) -> Tensor:
            estimate = self._bicubic(x)
            for _ in range(BACK_PROJECTIONS):
                averaged = F.avg_pool2d(estimate, self.factor)
                estimate = estimate + self._bicubic(x - averaged)
            return F.pixel_unshuffle(estimate, self.patch)

        # The given pixels, at the resolution of the latents.
        block = self.patch // self.factor
        concat = _framewise(given, lambda x: F.pixel_unshuffle(x, block))
        return _framewise(given, enlarged), concat

    def _bicubic(self, images: Tensor) -> Tensor:
        return F.interpolate(images, scale_factor=self.factor, mode="bicubic", antialias=True)


@dataclass(frozen=True)
class NoisyLowResolutionConditioning(ConcatConditioning):
    """Noise conditioning augmentation, of Stable Diffusion's x4 upscaler and of LaVie's VSR; the prior is zero.

    The network sees the low-resolution clip, noised to `level`, an index 0..350 into the schedule of the upscaler
    (Ho et al. 2022, https://arxiv.org/abs/2106.15282). Latents have its height and width. With `still` all frames have
    the same noise, so that what is at rest stays at rest. Raises `AnimaticError` where the level is out of range.
    """

    pixels = True
    factor: int = 4
    level: int | None = 20
    channels: int = 4

    def __post_init__(self) -> None:
        if self.level is None or not 0 <= self.level <= MAX_NOISE_LEVEL:
            raise AnimaticError(f"level is {self.level}; the upscaler knows noise levels 0 to {MAX_NOISE_LEVEL}")

    def condition(
        self, given: Tensor, source: torch.Generator | None = None, still: bool = True
    ) -> tuple[Tensor, Tensor]:
        samples, channels, frames, height, width = given.shape

        # With `still` one frame of noise serves for all.
        shape = (samples, channels, 1 if still else frames, height, width)
        noise = torch.randn(shape, generator=source or torch.Generator()).to(given)
        prior = given.new_zeros(samples, self.channels, frames, height, width)
        return prior, self.noised(given, noise)

    def noised(self, given: Tensor, noise: Tensor) -> Tensor:
        """`given` at noise level `level`: sqrt(alpha_bar) given + sqrt(1 - alpha_bar) noise."""
        # The betas of the upscaler of Stable Diffusion, whose square roots are evenly spaced.
        roots = torch.linspace(1e-4**0.5, 0.02**0.5, 1000, dtype=torch.float64)
        alpha_bars = (1 - roots.square()).cumprod(0)
        alpha_bar = float(alpha_bars[self.level])
        return alpha_bar**0.5 * given + (1 - alpha_bar) ** 0.5 * noise


# By the `kind` of a card; these names stand in model folders and must stay.
KINDS: dict[str, type[ConcatConditioning]] = {
    "around": KeyframeConditioning,
    "smaller": LowResolutionConditioning,
    "copied": NearestKeyframeConditioning,
    "noised": NoisyLowResolutionConditioning,
}


def conditioning_of_card(card: Mapping[str, Any]) -> ConcatConditioning | None:
    """The conditioning that a model folder's `animatic.json` describes by "kind" and its fields; None without one."""
    fields = dict(card.get("concat_conditioning") or {})
    return KINDS[fields.pop("kind")](**fields) if fields else None


def with_concatenated(x: Tensor, cond: Conditioning) -> Tensor:
    """Latents `x` with the channels of the conditioning after their own, if it has any."""
    if CONCAT not in cond.extra:
        return x
    return torch.cat([x, cond.extra[CONCAT].to(x)], 1)


def conditioning_named(name: str) -> LearnedConditioning | None:
    """The conditioning for training of "interpolate:FACTOR" or "upscale:FACTOR"; None for "clips".

    Raises `AnimaticError` where the name is another, or the factor below 2.
    """
    kind, _, factor = name.partition(":")
    if kind == "clips" and not factor:
        return None

    # KeyframeConditioning and LowResolutionConditioning need a factor of 2 or more.
    if kind not in ("interpolate", "upscale") or not factor.isdigit() or int(factor) < 2:
        raise AnimaticError(f"learn is {name!r}; want clips, interpolate:FACTOR or upscale:FACTOR, such as upscale:2")
    if kind == "interpolate":
        return KeyframeConditioning(int(factor))
    return LowResolutionConditioning(int(factor), int(factor))


def _framewise(clip: Tensor, act: Callable[[Tensor], Tensor]) -> Tensor:
    """`act`, a function of images `[n, channel, height, width]`, on every frame of a clip."""
    images = clip.movedim(2, 1).flatten(0, 1)
    by_sample = act(images).unflatten(0, (len(clip), -1))
    return by_sample.movedim(1, 2)
