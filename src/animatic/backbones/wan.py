"""Video transformers on diffusers' stock `WanTransformer3DModel`: Wan 2.1 and 2.2, text to video."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import WanTransformer3DModel
from torch import Tensor

from ..core.types import Conditioning, Step
from ..errors import AnimaticError
from .attention_hooks import AttentionHooks, WanProcessor, split_kind
from .cogvideox import Transformer
from .folder import class_in


class Wan(Transformer):
    """Flow matching; text in cross-attention, all frames in self-attention.

    Wan 2.2 adds a second network `late` for times below `boundary`, or times told token by token (`each_token`).
    """

    network = WanTransformer3DModel
    full_codec = True
    late: AttentionHooks | None = None
    boundary: float = 0.0
    each_token: bool = False

    def hook_attention(self, network: Any) -> AttentionHooks:
        return AttentionHooks(network, split_kind, WanProcessor)

    def complete(self, folder: Path, index: Mapping[str, Any], dtype: torch.dtype) -> None:
        """Raises `AnimaticError` where there are two networks, and nothing says when the second takes over."""
        ratio = index.get("boundary_ratio")
        if class_in(index, "transformer_2"):
            if ratio is None:
                raise AnimaticError(f"{folder}: has transformer_2, but model_index.json no boundary_ratio; want 0 to 1")
            self.late = self.hook_attention(self.read(folder / "transformer_2", dtype))
            self.boundary = ratio * self.scheduler.config.num_train_timesteps
        self.each_token = bool(index.get("expand_timesteps"))

    @property
    def networks(self) -> list[Any]:
        return [self.unet] if self.late is None else [self.unet, self.late.network]

    def expert(self, step: Step) -> AttentionHooks:
        return self._at(torch.as_tensor(step.t))

    def _at(self, t: Tensor) -> AttentionHooks:
        return self.hooks if self.late is None or float(t.max()) >= self.boundary else self.late

    def predict(self, x: Tensor, t: Tensor, cond: Conditioning) -> Tensor:
        network: Any = self._at(t).network
        seen = x.to(network.dtype)
        if self.each_token:
            frames, height, width = (n // p for n, p in zip(x.shape[2:], network.config.patch_size, strict=True))
            t = t[:, None].expand(-1, frames * height * width)
        return network(seen, t, cond.text.to(seen)).sample.to(x.dtype)
