"""What every generator looks like from outside: a frozen denoiser with its own text, latents and pixels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import AnimaticError
from ..sampling import Attend, Cond, Row, Step
from ..schedule import Schedule
from ..text import ClipText


@dataclass(frozen=True)
class Geometry:
    """Native size of a model in pixels and frames, and how its latents relate to them."""

    frames: int
    height: int
    width: int
    channels: int
    stride: int  # pixels per latent cell
    fps: float = 8.0
    max_frames: int = 1024

    def latent(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """(channel, frame, height, width) of the latents of a video of this size. Raises where it cannot be made."""
        if not 1 <= frames <= self.max_frames:
            raise AnimaticError(f"frames is {frames}; this model takes 1 to {self.max_frames}")
        for name, value in (("height", height), ("width", width)):
            if value < self.stride or value % self.stride:
                raise AnimaticError(f"{name} is {value}; this model takes multiples of {self.stride} pixels")
        return self.channels, frames, height // self.stride, width // self.stride


class Backbone(ABC):
    """A frozen image or video model. `provides` are the words that controls may need."""

    name: str
    geometry: Geometry
    provides: frozenset[str]
    text: ClipText
    words: tuple[str, ...] = ()  # the only things it can show; empty: no such limit

    @abstractmethod
    def __call__(self, x: Tensor, step: Step, cond: Cond, attend: Attend) -> Tensor:
        """The network's prediction for `x` `[row, channel, frame, height, width]`, as its scheduler defines it."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Clean latents to pixels: uint8 `[row, frame, height, width, 3]`."""

    @abstractmethod
    def schedule(self, steps: int, name: str = "") -> Schedule:
        """The model's own scheduler, or another of diffusers' by class name, as `steps` noise levels."""

    @torch.no_grad()
    def encode(self, prompts: Sequence[str], negatives: Sequence[str]) -> Cond:
        """Two rows a prompt: all negatives first, then all prompts; stream i is prompt i."""
        rows = [Row(negative, i) for negative in (True, False) for i in range(len(prompts))]
        return Cond(self.text([*negatives, *prompts]), tuple(rows))

    def noise(self, seeds: Sequence[int], frames: int, height: int, width: int) -> Tensor:
        """Unit noise, one row a seed, the same on every device: made on the CPU."""
        shape = self.geometry.latent(frames, height, width)
        return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(s)) for s in seeds])
