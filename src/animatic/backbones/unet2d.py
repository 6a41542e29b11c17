"""Image models on diffusers' stock `UNet2DConditionModel`: Stable Diffusion 1.x and 2.x, x4 upscaler (XL: see `sdxl`).

An image is a video of one frame; of several frames each is predicted on its own. Rombach et al. 2022,
https://arxiv.org/abs/2112.10752.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from ..core.types import Conditioning
from ..errors import AnimaticError
from .components import Components
from .concat_conditioning import LEVEL, with_concatenated
from .folder import read_json, read_network
from .grounding import is_gated, position_net_inputs


class UNet2D(Components):
    """Frames folded into the batch of an image model, with GLIGEN's grounding where the folder has it."""

    provides = frozenset({"text maps", "image"})
    network = UNet2DConditionModel

    @classmethod
    def read(cls, folder: Path, dtype: torch.dtype) -> Any:
        """With grounding in GLIGEN's folders, the older ones too ("use_gated_attention").

        Raises `AnimaticError` where the network needs inputs that are not supported here, such as a mask.
        """
        # Inpainting models read a mask and a masked image in addition to the latents.
        config = read_json(folder / "config.json")
        inputs = config.get("in_channels", 4)
        outputs = config.get("out_channels", 4)
        is_upscaler = bool(config.get("num_class_embeds"))  # the x4 upscaler also reads the small image
        if inputs != outputs and not is_upscaler:
            raise AnimaticError(f"{folder}: reads {inputs} channels and answers {outputs}; want a text-to-image model")

        # diffusers builds the grounding layers where its config says so; older folders do not.
        options = {"attention_type": "gated"} if is_gated(folder) else {}
        return read_network(cls.network, folder, dtype, **options)

    def predict(self, x: Tensor, t: Tensor, cond: Conditioning) -> Tensor:
        # Frames are images of the network; what belongs to a branch is repeated for each of its frames.
        branches, _, frames = x.shape[:3]
        images = with_concatenated(x, cond).movedim(2, 1).flatten(0, 1)
        text = cond.text.repeat_interleave(frames, 0)
        level = cond.extra.get(LEVEL)
        if level is not None:
            level = level.repeat_interleave(frames)
        boxes = position_net_inputs(cond, frames)
        attention = None if boxes is None else {"gligen": boxes}
        added = self.added_conditioning(x, cond)

        output = self.unet(
            images,
            t.repeat_interleave(frames),
            encoder_hidden_states=text,
            class_labels=level,
            added_cond_kwargs=added,
            cross_attention_kwargs=attention,
        )
        by_branch = output.sample.unflatten(0, (branches, frames))
        return by_branch.movedim(1, 2)

    def added_conditioning(self, x: Tensor, cond: Conditioning) -> dict[str, Tensor] | None:
        """Conditioning of some networks besides text and timestep: here none."""
        return None
