"""Image models on diffusers' stock `UNet2DConditionModel`: Stable Diffusion 1.x and 2.x. A picture is one frame."""

from __future__ import annotations

import torch
from torch import Tensor

from ..sampling import Attend, Cond, Step
from .base import Components
from .taps import Call


class UNet2D(Components):
    provides = frozenset({"text maps", "image"})

    def __call__(self, x: Tensor, step: Step, cond: Cond, attend: Attend) -> Tensor:
        rows, _, frames, height, width = x.shape
        self.check_rows(x, cond)
        t = torch.as_tensor(step.t, device=x.device).expand(rows).repeat_interleave(frames)
        text = cond.text.to(x.dtype).repeat_interleave(frames, 0)
        with self.taps.serving(Call(step, cond, attend, (frames, height, width))):
            images = x.movedim(2, 1).flatten(0, 1)
            out = self.unet(images, t, encoder_hidden_states=text).sample
        return out.unflatten(0, (rows, frames)).movedim(1, 2)
