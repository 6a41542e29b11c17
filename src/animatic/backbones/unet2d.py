"""Image models on diffusers' stock `UNet2DConditionModel`: Stable Diffusion 1.x and 2.x,
its x4 upscaler, the refiner of XL. A picture is one frame."""

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

SIZE_CONDITIONS = (
    5  # that XL's refiner is told of a picture: height, width, top, left, aesthetic score; the base is told 6
)
NEGATIVE_AESTHETIC, POSITIVE_AESTHETIC = (
    2.5,
    6.0,
)  # aesthetic scores of the negative and the positive pass (Podell et al. 2023)


class UNet2D(Components):
    provides = frozenset({"text maps", "image"})
    network = UNet2DConditionModel

    @classmethod
    def read(cls, folder: Path, dtype: torch.dtype) -> Any:
        """With grounding in GLIGEN's folders, the older ones too ("use_gated_attention").

        Raises `AnimaticError` where it reads what only other programs tell: a mask, or the size of SDXL's base model.
        """
        config = read_json(folder / "config.json")
        seen, told = config.get("in_channels", 4), config.get("out_channels", 4)
        if seen != told and not config.get("num_class_embeds"):  # the x4 upscaler reads the small picture
            raise AnimaticError(f"{folder}: reads {seen} channels and answers {told}; want a text-to-image model")
        if (
            config.get("addition_embed_type") == "text_time"
            and (count := _size_conditions(folder, config)) != SIZE_CONDITIONS
        ):
            reason = f"is told {count:g} numbers of size and place where SDXL's refiner is told {SIZE_CONDITIONS}"
            raise AnimaticError(f"{folder}: {reason}; want Stable Diffusion 1.x or 2.x, or the refiner of XL")
        return read_network(cls.network, folder, dtype, **({"attention_type": "gated"} if is_gated(folder) else {}))

    def predict(self, x: Tensor, t: Tensor, cond: Conditioning) -> Tensor:
        rows, _, frames = x.shape[:3]
        images, text = with_concatenated(x, cond).movedim(2, 1).flatten(0, 1), cond.text.repeat_interleave(frames, 0)
        boxes = position_net_inputs(cond, frames)
        told = None if boxes is None else {"gligen": boxes}
        level = cond.extra.get(LEVEL)
        answer = self.unet(
            images,
            t.repeat_interleave(frames),
            encoder_hidden_states=text,
            class_labels=None if level is None else level.repeat_interleave(frames),
            added_cond_kwargs=self.added_conditioning(x, cond),
            cross_attention_kwargs=told,
        ).sample
        return answer.unflatten(0, (rows, frames)).movedim(1, 2)

    def added_conditioning(self, x: Tensor, cond: Conditioning) -> dict[str, Tensor] | None:
        """What some networks are told besides: nothing, here."""
        return None


def _size_conditions(folder: Path, config: Mapping[str, Any]) -> float:
    """How many numbers a network of the XL kind is told beside the summary of the prompt."""
    summary = read_json(folder.parent / "text_encoder_2" / "config.json").get("projection_dim", 512)
    return (config["projection_class_embeddings_input_dim"] - summary) / config["addition_time_embed_dim"]


class Refiner(UNet2D):
    """Stable Diffusion XL's refiner: a summary of the prompt, the size of the picture and how beautiful it is to be."""

    @torch.no_grad()
    def encode(self, prompts: Sequence[str], negatives: Sequence[str]) -> Conditioning:
        cond = super().encode(prompts, negatives)
        return replace(cond, extra={"summary": self.text.pooled([*negatives, *prompts])})

    def added_conditioning(self, x: Tensor, cond: Conditioning) -> dict[str, Tensor]:
        height, width = (self.geometry.vae_spatial_ratio * side for side in x.shape[3:])
        sizes = [
            (height, width, 0, 0, NEGATIVE_AESTHETIC if row.negative else POSITIVE_AESTHETIC) for row in cond.branches
        ]
        told = {"text_embeds": cond.extra["summary"].to(x), "time_ids": torch.tensor(sizes, device=x.device).to(x)}
        return {name: value.repeat_interleave(x.shape[2], 0) for name, value in told.items()}


class RefinerText(ClipText):
    """OpenCLIP bigG as SDXL reads it: the last state but one, and the projected summary."""

    def states(self, ids: Tensor) -> Tensor:
        return self.encoder(input_ids=ids.to(self._device), output_hidden_states=True).hidden_states[-2]

    def pooled(self, phrases: Sequence[str]) -> Tensor:
        return self.encoder(input_ids=self._first(phrases).to(self._device)).text_embeds
