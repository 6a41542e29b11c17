"""More pixels: by a model that sees the small video beside the noise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ..backbones import beside_of_model
from ..backbones.components import Components
from ..controls.tiles import Tiles
from ..errors import AnimaticError
from ..video import Video
from .stage import PIECE, Call, Networked, Say, Shape, as_rows, in_pieces, needed, padded, shared, unit_noise

DEFAULT = 2  # where it is not said which model will be used
OVERLAP = 2  # frames


@dataclass(frozen=True)
class Upscale(Networked):
    """`factor` times the height and width, 0: the model's own; a model of factor 2 works twice for 4, and so on.

    Every frame starts from the same noise (`still`), so that still things stay still; else each has its own. `level` is
    how much noise is on what the model sees, where it knows of it (None: its own). Tiles of `window` frames share
    `overlap`, 2 if not given.
    """

    factor: int = 0
    level: int | None = None
    overlap: int | None = None
    still: bool = True

    role = "upscale"
    least = (("factor", 0), ("level", 0), ("overlap", 0))
    partners = {"mini": "mini-upscale", "lavie": "lavie-vsr"}  # noqa: RUF012

    def after(self, shape: Shape) -> Shape:
        factor = self.factor or self._model_factor()
        if factor < 2:
            raise AnimaticError(f"factor is {factor}; want 2 or more")
        return replace(shape, height=factor * shape.height, width=factor * shape.width)

    def resolved(self, maker: str) -> Networked:
        stage = super().resolved(maker)
        return replace(stage, factor=self.factor or stage.after(Shape(1, 1, 1, 1.0)).height)

    def _model_factor(self) -> int:
        """What the model was made for, by its card."""
        if not self.model:
            return DEFAULT
        beside = beside_of_model(self.model)
        return beside.factor if beside is not None else DEFAULT

    def suits(self, backbone: Components) -> None:
        if backbone.concat_conditioning is None or not backbone.concat_conditioning.pixels:
            raise AnimaticError(f"{backbone.name} does not upscale; want {', '.join(self.partners.values())} or sd-x4")
        if self.level is not None and backbone.concat_conditioning.level is None:
            raise AnimaticError(f"level is {self.level}, but {backbone.name} knows no levels of noise; leave it out")

    def memory(self, shape: Shape, say: Say) -> int:
        backbone, out = self.backbone(say), self.after(shape)
        frames = min(shape.frames, self._windows(backbone).frames)
        return super().memory(shape, say) + needed(backbone, frames, self.side(backbone), out, PIECE * frames)

    def _windows(self, backbone: Components) -> Tiles:
        frames = self.window or backbone.geometry.frames
        return Tiles(frames, shared(self.overlap, OVERLAP, frames), self.side(backbone))

    def __call__(self, video: Video, say: Say) -> Video:
        backbone = self.backbone(say)
        beside: Any = backbone.concat_conditioning
        if self.level is not None:
            beside = replace(beside, level=self.level)
        if self.tile:
            backbone.tile_codec()
        factor = left = self.factor or beside.factor
        while left > 1:
            if left % beside.factor:
                raise AnimaticError(f"factor is {factor}; {backbone.name} takes powers of {beside.factor}")
            video, left = self._once(video, say, backbone, beside), left // beside.factor
        return video

    def _once(self, video: Video, say: Say, backbone: Components, beside: Any) -> Video:
        windows = self._windows(backbone)
        source = self.noise_source(say)

        def make(frames: np.ndarray, say: Say) -> np.ndarray:
            noise = self.noise_source(say) if self.still else source
            return self._piece(frames, say, backbone, beside, windows, noise)

        # windows that share nothing are done one by one, as LaVie does, whose draws follow each other
        size = PIECE * windows.frames if windows.overlap else windows.frames
        frames = in_pieces(video.frames, size, windows.overlap, make, say)
        return Video(frames, video.fps, video.info)

    def _piece(
        self, frames: np.ndarray, say: Say, backbone: Components, beside: Any, windows: Tiles, source: torch.Generator
    ) -> np.ndarray:
        height, width = (beside.factor * side for side in frames.shape[1:3])
        small = as_rows(padded(frames, max(1, backbone.multiple // beside.factor)))
        given = (small.movedim(-1, 1).to(backbone.device, backbone.unet.dtype)) / 127.5 - 1
        guess, told = beside.condition(given, source, self.still)
        noise = unit_noise(source, guess, 1 if self.still else None)
        latents = guess + beside.residual_std * Call(backbone, self, say, windows)(noise, told, beside.level)
        return backbone.decode(latents)[0, :, :height, :width].cpu().numpy()
