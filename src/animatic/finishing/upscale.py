"""More pixels: by a model whose network reads the small video as further channels with the noisy latents."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ..backbones import concat_conditioning_of
from ..backbones.components import Components
from ..controls.tiles import Tiles
from ..errors import AnimaticError
from ..video import Video
from .model_kind import ModelKind
from .pieces import Progress, as_batch, overlap_within, padded, process_in_pieces, unit_noise
from .stage import WINDOWS_PER_PIECE, NetworkStage, SamplingRun, Shape, StageContext, estimated_memory

DEFAULT = 2  # the factor where the model is not known yet
OVERLAP = 2  # frames


@dataclass(frozen=True)
class Upscale(NetworkStage):
    """`factor` times the height and width, 0: the model's own. A model of factor 2 is applied twice for 4, and so on.

    With `still` every frame starts from the same noise, so that what is at rest stays at rest; else each has its own.
    `level` is the noise level (an index) of the video that the network sees, for networks trained with one; None: the
    model's own. Windows of `window` frames share `overlap`, by default 2.

    Raises `AnimaticError` where the factor is below 2 or no power of the model's, or the model does not upscale.
    """

    factor: int = 0
    level: int | None = None
    overlap: int | None = None
    still: bool = True

    role = "upscale"
    minimums = (("factor", 0), ("level", 0), ("overlap", 0))
    default_models = {"mini": "mini-upscale", "lavie": "lavie-vsr"}  # noqa: RUF012

    def output_shape(self, shape: Shape) -> Shape:
        factor = self.factor or self._model_factor()
        if factor < 2:
            raise AnimaticError(f"factor is {factor}; want 2 or more")
        return replace(shape, height=factor * shape.height, width=factor * shape.width)

    def resolved(self, source_model: str) -> NetworkStage:
        stage = super().resolved(source_model)
        return replace(stage, factor=self.factor or stage.output_shape(Shape(1, 1, 1, 1.0)).height)

    def _model_factor(self) -> int:
        """The factor of the model, by its card."""
        if not self.model:
            return DEFAULT
        conditioning = concat_conditioning_of(self.model)
        return conditioning.factor if conditioning is not None else DEFAULT

    def check_model(self, model: ModelKind) -> None:
        conditioning = model.concat_conditioning
        if conditioning is None or not conditioning.pixels:
            models = ", ".join(self.default_models.values())
            raise AnimaticError(f"{model.name} does not upscale; want {models} or sd-x4")
        if self.level is not None and conditioning.level is None:
            raise AnimaticError(f"level is {self.level}, but {model.name} knows no levels of noise; leave it out")

    def memory(self, shape: Shape, context: StageContext) -> int:
        backbone = self.backbone(context)
        out = self.output_shape(shape)

        # As many frames as a piece of the clip has.
        frames = min(shape.frames, self._windows(backbone).frames)
        piece_frames = WINDOWS_PER_PIECE * frames
        side = self.tile_side(backbone)
        return super().memory(shape, context) + estimated_memory(backbone, frames, side, out, piece_frames)

    def _windows(self, backbone: Components) -> Tiles:
        frames = self.window or backbone.geometry.frames
        return Tiles(frames, overlap_within(self.overlap, OVERLAP, frames), self.tile_side(backbone))

    def __call__(self, video: Video, context: StageContext) -> Video:
        backbone = self.backbone(context)
        conditioning: Any = backbone.concat_conditioning
        if self.level is not None:
            conditioning = replace(conditioning, level=self.level)
        if self.tile:
            backbone.tile_codec()

        factor = self.factor or conditioning.factor
        remaining = factor
        while remaining > 1:
            if remaining % conditioning.factor:
                raise AnimaticError(f"factor is {factor}; {backbone.name} takes powers of {conditioning.factor}")
            video = self._once(video, context, backbone, conditioning)
            remaining //= conditioning.factor
        return video

    def _once(self, video: Video, context: StageContext, backbone: Components, conditioning: Any) -> Video:
        """The video upscaled by the model's own factor."""
        windows = self._windows(backbone)
        source = self.noise_source(context)

        def upscale(frames: np.ndarray, progress: Progress) -> np.ndarray:
            noise_source = self.noise_source(context) if self.still else source
            run = SamplingRun(backbone, self, replace(context, progress=progress), windows)
            return self._piece(frames, run, conditioning, noise_source)

        # Windows that share no frames are processed one by one, as LaVie does, whose draws of noise follow each other.
        size = WINDOWS_PER_PIECE * windows.frames if windows.overlap else windows.frames
        frames = process_in_pieces(video.frames, size, windows.overlap, upscale, context.progress)
        return Video(frames, video.fps, video.info)

    def _piece(self, frames: np.ndarray, run: SamplingRun, conditioning: Any, source: torch.Generator) -> np.ndarray:
        """Some frames of the clip, uint8 `[frame, height, width, 3]`, upscaled by the model's own factor."""
        # The model enlarges by its own factor; padding makes whole cells of it.
        backbone = run.backbone
        factor = conditioning.factor
        height, width = (factor * side for side in frames.shape[1:3])

        # The low resolution in -1..1, `[1, 3, frame, height, width]`.
        multiple = max(1, backbone.size_multiple // factor)
        small = as_batch(padded(frames, multiple)).movedim(-1, 1)
        given = small.to(backbone.device, backbone.unet.dtype) / 127.5 - 1

        # The network predicts the difference to the prior, in units of its standard deviation.
        prior, concat = conditioning.condition(given, source, self.still)
        noise = unit_noise(source, prior, 1 if self.still else None)
        residual = run(noise, concat, conditioning.level)
        pixels = backbone.decode(prior + conditioning.residual_std * residual)
        return pixels[0, :, :height, :width].cpu().numpy()
