"""Video models on diffusers' stock `UNet3DConditionModel`: ModelScope, Zeroscope, and our own `mini`.

ModelScope: Wang et al. 2023, https://arxiv.org/abs/2308.06571; Zeroscope: https://huggingface.co/cerspense.
With `coordinates` (as `mini` has them) the network reads three further channels, the x, y and time of each cell in
-1..1 (CoordConv, Liu et al. 2018, https://arxiv.org/abs/1807.03247), so that text can refer to places and directions.
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
    """A UNet with attention and convolutions over time, with IGLIGEN's grounding where the folder has it."""

    provides = frozenset({"text maps", "video"})
    network = UNet3DConditionModel

    @classmethod
    def read(cls, folder: Path, dtype: torch.dtype) -> Any:
        """The network, with grounding from its own folder (IGLIGEN's) or from the folder `grounding` next to it."""
        # The stock class has no grounding layers: they are added to the loaded network.
        unet = read_network(cls.network, folder, dtype)
        separate = folder.parent / "grounding"
        if separate.is_dir() or is_gated(folder):
            load_grounding(unet, separate if separate.is_dir() else folder)
            unet.to(dtype)
        return unet

    def predict(self, x: Tensor, t: Tensor, cond: Conditioning) -> Tensor:
        inputs = x
        if self.coordinates:
            inputs = torch.cat([x, coordinates(x)], 1)

        # Its forward does not call position_net: the fusers get the objects' tokens themselves.
        boxes = position_net_inputs(cond, x.shape[2])
        attention = None
        if boxes is not None:
            objects = self.unet.position_net(**boxes)
            attention = {"gligen": {"objs": objects}}
        output = self.unet(inputs, t, encoder_hidden_states=cond.text, cross_attention_kwargs=attention)
        return output.sample


def coordinates(x: Tensor) -> Tensor:
    """`[branch, 3, frame, height, width]`: x, y and time of each cell of `x`, in -1..1; a single frame is at time 0."""
    frames, height, width = x.shape[2:]

    def ramp(count: int) -> Tensor:
        if count == 1:
            return x.new_zeros(1)
        return torch.linspace(-1, 1, count, device=x.device, dtype=x.dtype)

    time, y, x_axis = torch.meshgrid(ramp(frames), ramp(height), ramp(width), indexing="ij")
    stacked = torch.stack([x_axis, y, time])
    return stacked.expand(len(x), -1, -1, -1, -1)
