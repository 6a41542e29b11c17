"""Image models on diffusers' stock `UNet2DConditionModel`: Stable Diffusion 1.x and 2.x, x4 upscaler, XL refiner.

An image is a video of one frame; of several frames each is predicted on its own. Rombach et al. 2022,
https://arxiv.org/abs/2112.10752; SDXL: Podell et al. 2023, https://arxiv.org/abs/2307.01952.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from ..core.text import ClipText
from ..core.types import Conditioning
from ..errors import AnimaticError
from .components import Components
from .concat_conditioning import LEVEL, with_concatenated
from .folder import read_json, read_network
from .grounding import is_gated, position_net_inputs

SIZE_CONDITIONS = 5  # of the refiner: height, width, top, left, aesthetic score; the base model has 6
NEGATIVE_AESTHETIC, POSITIVE_AESTHETIC = 2.5, 6.0  # scores of the two branches (Podell et al. 2023)


class UNet2D(Components):
    """Frames folded into the batch of an image model, with GLIGEN's grounding where the folder has it."""

    provides = frozenset({"text maps", "image"})
    network = UNet2DConditionModel

    @classmethod
    def read(cls, folder: Path, dtype: torch.dtype) -> Any:
        """With grounding in GLIGEN's folders, the older ones too ("use_gated_attention").

        Raises `AnimaticError` where the network needs inputs that are not supported here: a mask, or the size
        conditions of SDXL's base model.
        """
        # Inpainting models read a mask and a masked image in addition to the latents.
        config = read_json(folder / "config.json")
        inputs = config.get("in_channels", 4)
        outputs = config.get("out_channels", 4)
        is_upscaler = bool(config.get("num_class_embeds"))  # the x4 upscaler also reads the small image
        if inputs != outputs and not is_upscaler:
            raise AnimaticError(f"{folder}: reads {inputs} channels and answers {outputs}; want a text-to-image model")

        if config.get("addition_embed_type") == "text_time":
            count = _size_conditions(folder, config)
            if count != SIZE_CONDITIONS:
                reason = f"reads {count:g} numbers of size and place where SDXL's refiner reads {SIZE_CONDITIONS}"
                raise AnimaticError(f"{folder}: {reason}; want Stable Diffusion 1.x or 2.x, or the refiner of XL")

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


def _size_conditions(folder: Path, config: Mapping[str, Any]) -> float:
    """How many numbers of size and place a network of the XL kind reads with the pooled text embedding."""
    pooled = read_json(folder.parent / "text_encoder_2" / "config.json").get("projection_dim", 512)
    return (config["projection_class_embeddings_input_dim"] - pooled) / config["addition_time_embed_dim"]


class Refiner(UNet2D):
    """Stable Diffusion XL's refiner: also conditioned on the pooled text, the size and an aesthetic score."""

    @torch.no_grad()
    def encode(self, prompts: Sequence[str], negatives: Sequence[str]) -> Conditioning:
        cond = super().encode(prompts, negatives)
        summary = self.text.pooled([*negatives, *prompts])
        return replace(cond, extra={"summary": summary})

    def added_conditioning(self, x: Tensor, cond: Conditioning) -> dict[str, Tensor]:
        frames, height, width = x.shape[2:]
        ratio = self.geometry.vae_spatial_ratio

        # Original size, crop and aesthetic score, as in diffusers' pipeline of the refiner.
        sizes = []
        for branch in cond.branches:
            score = NEGATIVE_AESTHETIC if branch.negative else POSITIVE_AESTHETIC
            sizes.append((ratio * height, ratio * width, 0, 0, score))
        time_ids = torch.tensor(sizes, device=x.device).to(x)
        summary = cond.extra["summary"].to(x)
        return {
            "text_embeds": summary.repeat_interleave(frames, 0),
            "time_ids": time_ids.repeat_interleave(frames, 0),
        }


class RefinerText(ClipText):
    """OpenCLIP bigG as SDXL reads it: the last hidden state but one, and the pooled, projected embedding."""

    def states(self, ids: Tensor) -> Tensor:
        return self.encoder(input_ids=ids.to(self._device), output_hidden_states=True).hidden_states[-2]

    def pooled(self, phrases: Sequence[str]) -> Tensor:
        return self.encoder(input_ids=self._first(phrases).to(self._device)).text_embeds
