"""Video transformers on diffusers' stock `WanTransformer3DModel`: Wan 2.1 and 2.2, text to video.

Wan team 2025, https://arxiv.org/abs/2503.20314, https://github.com/Wan-Video.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import WanTransformer3DModel
from torch import Tensor

from ..core.types import Conditioning, Step
from ..errors import AnimaticError
from .attention_hooks import AttentionHooks, separate_kind
from .attention_processors import WanProcessor
from .cogvideox import Transformer
from .folder import class_in
from .replaceable import check_replaceable


class Wan(Transformer):
    """Flow matching; text in cross-attention, all frames in self-attention.

    Wan 2.2 A14B has a second network, `low_noise`, for timesteps below `boundary`. Wan 2.2 5B reads a timestep for
    every token (`timestep_per_token`).
    """

    network = WanTransformer3DModel
    full_precision_vae = True
    low_noise: AttentionHooks | None = None
    boundary: float = 0.0
    timestep_per_token: bool = False

    def hook_attention(self, network: Any) -> AttentionHooks:
        return AttentionHooks(network, separate_kind, WanProcessor)

    def read_extras(self, folder: Path, index: Mapping[str, Any], dtype: torch.dtype) -> None:
        """The second network. Raises `AnimaticError` where there is one, and no boundary between the two."""
        # Above the boundary the first network is called, below it the second.
        ratio = index.get("boundary_ratio")
        if class_in(index, "transformer_2"):
            if ratio is None:
                raise AnimaticError(f"{folder}: has transformer_2, but model_index.json no boundary_ratio; want 0 to 1")
            self.low_noise = self.hook_attention(self.read(folder / "transformer_2", dtype))
            self.boundary = ratio * self.scheduler.config.num_train_timesteps
        self.timestep_per_token = bool(index.get("expand_timesteps"))

    def borrow_extras(self, pipe: Any) -> None:
        """The second network of a pipeline. Raises `AnimaticError` where it has no boundary between the two."""
        ratio = pipe.config.boundary_ratio
        if pipe.transformer_2 is not None:
            if ratio is None:
                raise AnimaticError(f"{self.name}: has transformer_2, but no boundary_ratio; want 0 to 1")
            check_replaceable(pipe.transformer_2.attn_processors)
            self.low_noise = self.hook_attention(pipe.transformer_2)
            self.boundary = ratio * self.scheduler.config.num_train_timesteps
        self.timestep_per_token = bool(pipe.config.expand_timesteps)

    @property
    def all_hooks(self) -> list[AttentionHooks]:
        return [self.hooks] if self.low_noise is None else [self.hooks, self.low_noise]

    @property
    def networks(self) -> list[Any]:
        return [self.unet] if self.low_noise is None else [self.unet, self.low_noise.network]

    def hooks_at(self, step: Step) -> AttentionHooks:
        return self._hooks_at_timestep(torch.as_tensor(step.t))

    def _hooks_at_timestep(self, t: Tensor) -> AttentionHooks:
        if self.low_noise is None:
            return self.hooks
        is_high = float(t.max()) >= self.boundary
        return self.hooks if is_high else self.low_noise

    def predict(self, x: Tensor, t: Tensor, cond: Conditioning) -> Tensor:
        network: Any = self._hooks_at_timestep(t).network

        # One timestep for each token, the same for all: 5B's way to keep given frames clean.
        latents = x.to(network.dtype)
        if self.timestep_per_token:
            sizes = zip(x.shape[2:], network.config.patch_size, strict=True)
            frames, height, width = (size // patch for size, patch in sizes)
            tokens = frames * height * width
            t = t[:, None].expand(-1, tokens)
        output = network(latents, t, cond.text.to(latents))
        return output.sample.to(x.dtype)
