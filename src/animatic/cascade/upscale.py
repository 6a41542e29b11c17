"""More pixels: by a model that sees the small video beside the noise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..backbones import beside_of_model
from ..backbones.base import Components
from ..controls.tiles import Tiles
from ..errors import AnimaticError
from ..video import Video
from .stage import PIECE, Call, Networked, Say, Shape, as_rows, in_pieces, needed, padded, unit_noise

DEFAULT = 2  # where it is not said which model will be used


@dataclass(frozen=True)
class Upscale(Networked):
    """`factor` times the height and width, 0: the model's own; a model of factor 2 works twice for 4, and so on.

    Every frame starts from the same noise (`still`), so that still things stay still; `level` is how much noise is on
    what the model sees, where it knows of it. Tiles of `window` frames share `overlap`.
    """

    factor: int = 0
    level: int = -1
    overlap: int = 2
    still: bool = True

    role = "upscale"
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
        if backbone.beside is None or not backbone.beside.pixels:
            raise AnimaticError(f"{backbone.name} does not upscale; want {', '.join(self.partners.values())} or sd-x4")

    def memory(self, shape: Shape, say: Say) -> int:
        backbone, out = self.backbone(say), self.after(shape)
        frames = min(shape.frames, self._windows(backbone).frames)
        return super().memory(shape, say) + needed(backbone, frames, self.side(backbone), out, PIECE * frames)

    def _windows(self, backbone: Components) -> Tiles:
        frames = self.window or backbone.geometry.frames
        return Tiles(frames, min(self.overlap, frames - 1), self.side(backbone))

    def __call__(self, video: Video, say: Say) -> Video:
        backbone = self.backbone(say)
        beside: Any = backbone.beside
        if self.level >= 0:
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

        def make(frames: np.ndarray, say: Say) -> np.ndarray:
            return self._piece(frames, say, backbone, beside, windows)

        frames = in_pieces(video.frames, PIECE * windows.frames, windows.overlap, make, say)
        return Video(frames, video.fps, video.info)

    def _piece(self, frames: np.ndarray, say: Say, backbone: Components, beside: Any, windows: Tiles) -> np.ndarray:
        height, width = (beside.factor * side for side in frames.shape[1:3])
        small = as_rows(padded(frames, max(1, backbone.multiple // beside.factor)))
        given = (small.movedim(-1, 1).to(backbone.device, backbone.unet.dtype)) / 127.5 - 1
        guess, told = beside.tell(given, say.seed)
        noise = unit_noise(say.seed, guess, 1 if self.still else None)
        latents = guess + beside.lack * Call(backbone, self, say, windows)(noise, told, beside.level)
        return backbone.decode(latents)[0, :, :height, :width].cpu().numpy()
