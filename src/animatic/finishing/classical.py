"""Stages without a network: the baselines for those with one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image

from ..backbones.motion import frame_between
from ..errors import AnimaticError
from ..video import Video
from .interpolate import interpolated_shape
from .stage import Shape, Stage, StageContext


@dataclass(frozen=True)
class Lanczos(Stage):
    """`factor` times the size, by Lanczos resampling."""

    factor: float = 2.0

    def output_shape(self, shape: Shape) -> Shape:
        # Rounded to whole pixels.
        height = int(shape.height * self.factor + 0.5)
        width = int(shape.width * self.factor + 0.5)
        if min(height, width) < 1 or self.factor <= 0:
            raise AnimaticError(f"factor is {self.factor:g}; nothing would be left of {shape.width} x {shape.height}")
        return replace(shape, height=height, width=width)

    def __call__(self, video: Video, context: StageContext) -> Video:
        out = self.output_shape(Shape.of(video))
        frames = resized(video.frames, out.width, out.height)
        return Video(frames, video.fps, video.info)


@dataclass(frozen=True)
class Blend(Stage):
    """`factor` - 1 frames between every two: the two cross-faded.

    `fps` other than 0 sets another frame rate than `factor` times that of the video.
    """

    factor: int = 4
    fps: float = 0.0

    def output_shape(self, shape: Shape) -> Shape:
        return interpolated_shape(shape, self.factor, self.fps)

    def preserves_timing(self, shape: Shape) -> bool:
        return self.output_shape(shape).fps == self.factor * shape.fps

    def __call__(self, video: Video, context: StageContext) -> Video:
        # Key frames keep their pixels; those between them are made in -1..1, `[1, 3, height, width]` each.
        out = self.output_shape(Shape.of(video))
        frames = np.empty((out.frames, out.height, out.width, 3), np.uint8)
        frames[:: self.factor] = video.frames

        keys = torch.from_numpy(video.frames).movedim(-1, 1)
        for i in range(len(keys) - 1):
            context.progress(i, len(keys) - 1)
            before = keys[i : i + 1] / 127.5 - 1
            after = keys[i + 1 : i + 2] / 127.5 - 1
            between = [self.between(before, after, k) for k in range(1, self.factor)]
            made = torch.cat(between)

            # Half a level rounds up, as in decoding.
            levels = (made + 1) * 127.5
            levels = (levels + 0.5).floor().clamp(0, 255)
            first = i * self.factor + 1
            pixels = levels.to(torch.uint8).movedim(1, -1)
            frames[first : first + self.factor - 1] = pixels.numpy()
        return Video(frames, out.fps, video.info)

    def between(self, before: torch.Tensor, after: torch.Tensor, index: int) -> torch.Tensor:
        """The frame `index` of `factor` on the way: images `[1, 3, height, width]` in -1..1."""
        return torch.lerp(before, after, index / self.factor)


@dataclass(frozen=True)
class Motion(Blend):
    """Like `Blend`, but along the motion found by bilateral block matching (Choi et al. 2007), see `backbones.motion`.

    Motions of up to 4 x `factor` pixels a frame are found.
    """

    def between(self, before: torch.Tensor, after: torch.Tensor, index: int) -> torch.Tensor:
        return frame_between(before, after, index, self.factor)


def resized(frames: np.ndarray, width: int, height: int) -> np.ndarray:
    """Frames uint8 `[frame, height, width, 3]` of another size, by Lanczos resampling."""
    if frames.shape[1:3] == (height, width):
        return frames
    out = np.empty((len(frames), height, width, 3), np.uint8)
    for number, pixels in enumerate(frames):
        picture = Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS)
        out[number] = np.asarray(picture)
    return out
