"""Stages without a network, named as what they are."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image

from ..backbones.motion import between
from ..errors import AnimaticError
from ..video import Video
from .interpolate import more_frames
from .stage import Say, Shape, Stage


@dataclass(frozen=True)
class Lanczos(Stage):
    """`factor` times the size, by Lanczos resampling."""

    factor: float = 2.0

    def after(self, shape: Shape) -> Shape:
        height, width = (int(side * self.factor + 0.5) for side in (shape.height, shape.width))
        if min(height, width) < 1 or self.factor <= 0:
            raise AnimaticError(f"factor is {self.factor:g}; nothing would be left of {shape.width} x {shape.height}")
        return replace(shape, height=height, width=width)

    def __call__(self, video: Video, say: Say) -> Video:
        out = self.after(Shape.of(video))
        return Video(resized(video.frames, out.width, out.height), video.fps, video.info)


@dataclass(frozen=True)
class Blend(Stage):
    """`factor` - 1 frames between every two: the two crossfaded."""

    factor: int = 4
    fps: float = 0.0

    def after(self, shape: Shape) -> Shape:
        return more_frames(shape, self.factor, self.fps)

    def keeps_time(self, shape: Shape) -> bool:
        return self.after(shape).fps == self.factor * shape.fps

    def __call__(self, video: Video, say: Say) -> Video:
        keys, out = torch.from_numpy(video.frames).movedim(-1, 1), self.after(Shape.of(video))
        made = np.empty((out.frames, out.height, out.width, 3), np.uint8)
        made[:: self.factor] = video.frames
        for i, (a, b) in enumerate(zip(keys[:-1, None], keys[1:, None], strict=True)):
            say.tick(i, len(keys) - 1)
            pair = [self.between(a / 127.5 - 1, b / 127.5 - 1, k) for k in range(1, self.factor)]
            levels = ((torch.cat(pair) + 1) * 127.5 + 0.5).floor().clamp(0, 255).to(torch.uint8)
            made[i * self.factor + 1 : (i + 1) * self.factor] = levels.movedim(1, -1).numpy()
        return Video(made, out.fps, video.info)

    def between(self, before: torch.Tensor, after: torch.Tensor, index: int) -> torch.Tensor:
        return torch.lerp(before, after, index / self.factor)


@dataclass(frozen=True)
class Motion(Blend):
    """The same along the motion found by bilateral block matching, up to 4 x `factor` pixels a frame."""

    def between(self, before: torch.Tensor, after: torch.Tensor, index: int) -> torch.Tensor:
        return between(before, after, index, self.factor)


def resized(frames: np.ndarray, width: int, height: int) -> np.ndarray:
    if frames.shape[1:3] == (height, width):
        return frames
    made = np.empty((len(frames), height, width, 3), np.uint8)
    for number, pixels in enumerate(frames):
        made[number] = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))
    return made
