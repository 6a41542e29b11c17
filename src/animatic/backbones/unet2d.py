"""Image models on diffusers' stock `UNet2DConditionModel`: Stable Diffusion 1.x and 2.x. A picture is one frame."""

from __future__ import annotations

from torch import Tensor

from ..sampling import Cond
from .base import Components
from .grounding import boxes_told


class UNet2D(Components):
    provides = frozenset({"text maps", "image"})

    def predict(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        rows, _, frames = x.shape[:3]
        images, text = x.movedim(2, 1).flatten(0, 1), cond.text.repeat_interleave(frames, 0)
        boxes = boxes_told(cond, frames)
        told = None if boxes is None else {"gligen": boxes}
        answer = self.unet(
            images, t.repeat_interleave(frames), encoder_hidden_states=text, cross_attention_kwargs=told
        ).sample
        return answer.unflatten(0, (rows, frames)).movedim(1, 2)
