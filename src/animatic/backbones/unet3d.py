"""Video models on diffusers' stock `UNet3DConditionModel`: ModelScope, Zeroscope, and our own `mini`.

Any VAE of the diffusers form decodes; text is CLIP. With `coordinates` (as `mini` has them) the network also sees three
constant channels, its x, y and time in -1..1 (CoordConv, Liu et al. 2018), so that words can mean places and ways.
"""

from __future__ import annotations

import torch
from diffusers import UNet3DConditionModel
from diffusers.models.modeling_utils import ModelMixin
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor

from ..sampling import Attend, Cond, Step
from ..schedule import Schedule, scheduler_named
from ..text import ClipText
from .base import Backbone, Geometry
from .taps import Call, Taps, unet_kind


class UNet3D(Backbone):
    provides = frozenset({"text maps", "video"})

    def __init__(
        self,
        name: str,
        unet: UNet3DConditionModel,
        vae: ModelMixin,
        text: ClipText,
        scheduler: SchedulerMixin,
        geometry: Geometry,
        coordinates: bool = False,
        words: tuple[str, ...] = (),
    ) -> None:
        self.name, self.unet, self.vae, self.text = name, unet, vae, text
        self.scheduler, self.geometry, self.coordinates, self.words = scheduler, geometry, coordinates, words
        self.taps = Taps(unet, unet_kind)

    def __call__(self, x: Tensor, step: Step, cond: Cond, attend: Attend) -> Tensor:
        t = torch.as_tensor(step.t, device=x.device).expand(len(x))
        with self.taps.serving(Call(step, cond, attend, (x.shape[2], x.shape[3], x.shape[4]))):
            seen = torch.cat([x, coordinates(x)], 1) if self.coordinates else x
            return self.unet(seen, t, encoder_hidden_states=cond.text).sample

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        images = latents.movedim(2, 1).flatten(0, 1) / self.vae.config.scaling_factor
        pixels = torch.cat([self.vae.decode(part).sample for part in images.split(8)])
        pixels = ((pixels.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return pixels.unflatten(0, (len(latents), -1)).movedim(2, -1)

    def schedule(self, steps: int, name: str = "") -> Schedule:
        return Schedule(scheduler_named(name, self.scheduler) if name else self.scheduler, steps)


def coordinates(x: Tensor) -> Tensor:
    """`[row, 3, frame, height, width]`: x, y and time of each cell of `x`, in -1..1; a single frame is at time 0."""
    frames, height, width = x.shape[2:]

    def ramp(count: int) -> Tensor:
        return torch.linspace(-1, 1, count, device=x.device, dtype=x.dtype) if count > 1 else x.new_zeros(1)

    time, y, across = torch.meshgrid(ramp(frames), ramp(height), ramp(width), indexing="ij")
    return torch.stack([across, y, time]).expand(len(x), -1, -1, -1, -1)
