"""Stable Diffusion XL on diffusers' stock `UNet2DConditionModel`: the base model and the refiner.

Podell et al. 2023, https://arxiv.org/abs/2307.01952.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.types import Branch, Conditioning
from ..errors import AnimaticError
from .unet2d import UNet2D

POOLED = "pooled"  # in Conditioning.extra: the pooled text embedding, `[branch, channel]`
NEGATIVE_AESTHETIC, POSITIVE_AESTHETIC = 2.5, 6.0  # the refiner's scores of the two branches (Podell et al. 2023)


class StableDiffusionXL(UNet2D):
    """The base model: conditioned on the states of two text encoders, the pooled text, and the size of the picture.

    An empty negative prompt is no negative prompt: where the folder says `force_zeros_for_empty_prompt`, its states and
    pooled embedding are zeros, as in diffusers' pipeline for `negative_prompt=None`.
    """

    zeros_for_no_negative: bool = False

    def read_extras(self, folder: Path, index: Mapping[str, Any], dtype: torch.dtype) -> None:
        self.zeros_for_no_negative = bool(index.get("force_zeros_for_empty_prompt", True))  # diffusers' default

    def borrow_extras(self, pipe: Any) -> None:
        self.zeros_for_no_negative = bool(pipe.config.force_zeros_for_empty_prompt)

    @torch.no_grad()
    def encode(self, prompts: Sequence[str], negatives: Sequence[str]) -> Conditioning:
        cond = super().encode(prompts, negatives)
        texts = [*negatives, *prompts]
        pooled = self.text.pooled(texts)
        if not self.zeros_for_no_negative:
            return replace(cond, extra={POOLED: pooled})

        # An empty prompt keeps its encoding; an empty negative prompt has none.
        has_none = [branch.negative and not text for branch, text in zip(cond.branches, texts, strict=True)]
        zeroed = torch.tensor(has_none, device=pooled.device)
        states = cond.text.masked_fill(zeroed[:, None, None], 0.0)
        pooled = pooled.masked_fill(zeroed[:, None], 0.0)
        return replace(cond, text=states, extra={POOLED: pooled})

    def added_conditioning(self, x: Tensor, cond: Conditioning) -> dict[str, Tensor]:
        frames, height, width = x.shape[2:]
        ratio = self.geometry.vae_spatial_ratio

        # A row of numbers for each branch; the network embeds each like a timestep.
        rows = [self.size_numbers(ratio * height, ratio * width, branch) for branch in cond.branches]
        time_ids = torch.tensor(rows, device=x.device).to(x)
        pooled = cond.extra[POOLED].to(x)
        return {
            "text_embeds": pooled.repeat_interleave(frames, 0),
            "time_ids": time_ids.repeat_interleave(frames, 0),
        }

    def size_numbers(self, height: int, width: int, branch: Branch) -> tuple[float, ...]:
        """What the network reads besides text, of a picture of this size in pixels, in one branch.

        Here original height and width, top and left of the crop, and target height and width: a picture that was
        neither scaled nor cropped, as in diffusers' pipeline.
        """
        return height, width, 0, 0, height, width


class Refiner(StableDiffusionXL):
    """The refiner: reads the second text encoder alone, and an aesthetic score in place of the target size."""

    def read_extras(self, folder: Path, index: Mapping[str, Any], dtype: torch.dtype) -> None:
        """Nothing further: an empty negative prompt is encoded, as the refiner's folder says."""

    def size_numbers(self, height: int, width: int, branch: Branch) -> tuple[float, ...]:
        score = NEGATIVE_AESTHETIC if branch.negative else POSITIVE_AESTHETIC
        return height, width, 0, 0, score


def class_of_xl(source: str, pooled: int, config: Mapping[str, Any]) -> type[StableDiffusionXL]:
    """The class for a network of the XL kind, by how many numbers it reads besides the pooled text embedding.

    `source` names the model in errors, `pooled` is the width of its pooled text embedding, `config` that of its
    network. Raises `AnimaticError` where the numbers are those of neither.
    """
    count = (config["projection_class_embeddings_input_dim"] - pooled) / config["addition_time_embed_dim"]
    if count == 6:
        return StableDiffusionXL
    if count == 5:
        return Refiner
    raise AnimaticError(
        f"{source}: its unet reads {count:g} numbers of size and place; want SDXL, which reads 6, or its refiner, 5"
    )
