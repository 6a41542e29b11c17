"""Video models on diffusers' stock `UNet3DConditionModel`: ModelScope, Zeroscope, and our own `mini`.

With `coordinates` (as `mini` has them) the network also sees three constant channels, its x, y and time in -1..1
(CoordConv, Liu et al. 2018), so that words can mean places and ways.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import UNet3DConditionModel
from torch import Tensor

from ..core.types import Conditioning
from .components import Components
from .folder import read_network
from .grounding import is_gated, load_grounding, position_net_inputs


class UNet3D(Components):
    provides = frozenset({"text maps", "video"})
    network = UNet3DConditionModel

    @classmethod
    def read(cls, folder: Path, dtype: torch.dtype) -> Any:
        """With grounding: IGLIGEN's folders, whose unet holds all, or a folder `grounding` with what it adds."""
        unet = read_network(cls.network, folder, dtype)
        beside = folder.parent / "grounding"
        if beside.is_dir() or is_gated(folder):
            load_grounding(unet, beside if beside.is_dir() else folder)
            unet.to(dtype)
        return unet

    def predict(self, x: Tensor, t: Tensor, cond: Conditioning) -> Tensor:
        seen = torch.cat([x, coordinates(x)], 1) if self.coordinates else x
        boxes = position_net_inputs(cond, x.shape[2])
        told = None if boxes is None else {"gligen": {"objs": self.unet.position_net(**boxes)}}
        return self.unet(seen, t, encoder_hidden_states=cond.text, cross_attention_kwargs=told).sample


def coordinates(x: Tensor) -> Tensor:
    """`[row, 3, frame, height, width]`: x, y and time of each cell of `x`, in -1..1; a single frame is at time 0."""
    frames, height, width = x.shape[2:]

    def ramp(count: int) -> Tensor:
        return torch.linspace(-1, 1, count, device=x.device, dtype=x.dtype) if count > 1 else x.new_zeros(1)

    time, y, across = torch.meshgrid(ramp(frames), ramp(height), ramp(width), indexing="ij")
    return torch.stack([across, y, time]).expand(len(x), -1, -1, -1, -1)
