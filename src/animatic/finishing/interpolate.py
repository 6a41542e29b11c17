"""More frames: key frames, and between them what a model makes of them, window by window."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..controls.tiles import Tiles
from ..errors import AnimaticError
from ..video import FPS_LIMIT, Video
from .model_kind import ModelKind
from .pieces import Progress, as_batch, padded, process_in_pieces, unit_noise
from .stage import WINDOWS_PER_PIECE, NetworkStage, SamplingRun, Shape, StageContext, estimated_memory


@dataclass(frozen=True)
class Interpolate(NetworkStage):
    """`factor` - 1 frames between every two, by a model that sees key frames, at `factor` times the frame rate.

    So every given frame stays at its time, and the sound fits. Neighbouring windows share one key frame. `keep` puts
    the given key frames back (LaVie regenerates them). `fps` other than 0 sets another frame rate, as LaVie's 24 does
    for 16 frames of 8 made 61: 1.33 times slower. A `window` holds as many keys as fit into so many frames.

    Raises `AnimaticError` where the factor is below 2, the clip has one frame, or the model does not interpolate.
    """

    factor: int = 4
    keep: bool = True
    fps: float = 0.0

    role = "interpolate"
    default_models = {"lavie": "lavie-interpolation"}  # noqa: RUF012

    def output_shape(self, shape: Shape) -> Shape:
        return interpolated_shape(shape, self.factor, self.fps)

    def preserves_timing(self, shape: Shape) -> bool:
        return self.output_shape(shape).fps == self.factor * shape.fps

    @property
    def minimum_window(self) -> int:
        return self.factor + 1  # two key frames and the frames between them

    @property
    def alternatives(self) -> str:
        own = f"{self.role}:model=FOLDER of animatic train --learn interpolate:{self.factor}"
        return f"motion:{self.factor} without a network, {self.role}:model=lavie-interpolation, or {own}"

    def check_model(self, model: ModelKind) -> None:
        if model.concat_conditioning is None or model.concat_conditioning.pixels:
            raise AnimaticError(f"{model.name} does not interpolate; want {self.alternatives}")

    def memory(self, shape: Shape, context: StageContext) -> int:
        backbone = self.backbone(context)
        out = self.output_shape(shape)
        frames = min(out.frames, self._windows(backbone).frames)

        # A long clip is made piece by piece: so many frames are held as latents.
        piece_frames = WINDOWS_PER_PIECE * frames
        side = self.tile_side(backbone)
        return super().memory(shape, context) + estimated_memory(backbone, frames, side, out, piece_frames)

    def _windows(self, backbone: Any) -> Tiles:
        """As many key frames at once as the model was made for, or as fit into `window` frames; one is shared."""
        if self.window:
            keys = (self.window - 1) // self.factor + 1
        else:
            keys = backbone.geometry.frames // backbone.concat_conditioning.factor + 1

        # Neighbouring windows share a key frame.
        frames = (keys - 1) * self.factor + 1
        return Tiles(frames, 1, self.tile_side(backbone))

    def __call__(self, video: Video, context: StageContext) -> Video:
        backbone = self.backbone(context)
        shape = self.output_shape(Shape.of(video))
        conditioning: Any = replace(backbone.concat_conditioning, factor=self.factor)  # type: ignore[type-var]

        # The conditioning of the model with this number of frames a key frame.
        windows = self._windows(backbone)

        def interpolate(frames: np.ndarray, progress: Progress) -> np.ndarray:
            whole_cells = padded(frames, backbone.size_multiple)
            key_frames = backbone.to_latents(as_batch(whole_cells))
            prior, concat = conditioning.condition(key_frames)
            noise = unit_noise(self.noise_source(context), prior)

            # The network predicts the difference to the prior, in units of its standard deviation.
            run = SamplingRun(backbone, self, replace(context, progress=progress), windows)
            residual = run(noise, concat)
            pixels = backbone.decode(prior + conditioning.residual_std * residual)
            cropped = pixels[0, :, : shape.height, : shape.width]
            return cropped.cpu().numpy()

        # Neighbouring pieces share a key frame.
        keys_per_piece = WINDOWS_PER_PIECE * (windows.frames // self.factor) + 1
        frames = process_in_pieces(video.frames, keys_per_piece, 1, interpolate, context.progress, self.factor)

        # The model makes key frames, too; the given ones are exact.
        if self.keep:
            frames[:: self.factor] = video.frames
        return Video(frames, shape.fps, video.info)


def interpolated_shape(shape: Shape, factor: int, fps: float = 0.0) -> Shape:
    """The shape with `factor` - 1 frames between every two, at `factor` times its rate or at `fps` frames per second.

    The last frame has none after it and is shown for one new frame: the clip ends less than one old frame earlier.
    """
    if factor < 2:
        raise AnimaticError(f"factor is {factor}; want 2 or more frames for each one")
    if shape.frames < 2:
        raise AnimaticError("1 frame has nothing between; want a video of 2 frames or more")

    # The frames between are shown in the time that one frame had.
    rate = fps or factor * shape.fps
    if not 0 < rate < FPS_LIMIT:
        raise AnimaticError(f"that makes {rate:g} frames a second; want more than 0, less than {FPS_LIMIT}")
    return replace(shape, frames=(shape.frames - 1) * factor + 1, fps=rate)
