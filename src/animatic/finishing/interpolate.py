"""More frames: key frames and what a model makes of them, window by window."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..backbones.components import Components
from ..controls.tiles import Tiles
from ..errors import AnimaticError
from ..video import FPS_LIMIT, Video
from .stage import PIECE, Call, Networked, Say, Shape, as_rows, in_pieces, needed, padded, unit_noise


@dataclass(frozen=True)
class Interpolate(Networked):
    """`factor` - 1 frames between every two, by a model that sees key frames, at `factor` times the frame rate.

    So every given frame stays at its time, and the sound fits. Tiles share the key frame at their ends. `keep` puts the
    given key frames back (LaVie regenerates them). `fps` other than 0 sets another frame rate, as LaVie's 24 does for
    16 frames of 8 made 61: 1.33 times slower. A `window` holds as many keys as fit into so many frames.
    """

    factor: int = 4
    keep: bool = True
    fps: float = 0.0

    role = "interpolate"
    partners = {"mini": "mini-interpolate", "lavie": "lavie-interpolation"}  # noqa: RUF012

    def after(self, shape: Shape) -> Shape:
        return more_frames(shape, self.factor, self.fps)

    def keeps_time(self, shape: Shape) -> bool:
        return self.after(shape).fps == self.factor * shape.fps

    @property
    def least_window(self) -> int:
        return self.factor + 1  # two keys and what is between

    def suits(self, backbone: Components) -> None:
        if backbone.concat_conditioning is None or backbone.concat_conditioning.pixels:
            raise AnimaticError(f"{backbone.name} does not interpolate; want {', '.join(self.partners.values())}")

    def memory(self, shape: Shape, say: Say) -> int:
        backbone, out = self.backbone(say), self.after(shape)
        frames = min(out.frames, self._windows(backbone).frames)
        return super().memory(shape, say) + needed(backbone, frames, self.side(backbone), out, PIECE * frames)

    def _windows(self, backbone: Any) -> Tiles:
        """As many key frames at once as the model was made for, or `window` frames; one key is shared."""
        keys = backbone.geometry.frames // backbone.concat_conditioning.factor + 1
        if self.window:
            keys = (self.window - 1) // self.factor + 1
        return Tiles((keys - 1) * self.factor + 1, 1, self.side(backbone))

    def __call__(self, video: Video, say: Say) -> Video:
        backbone, shape = self.backbone(say), self.after(Shape.of(video))
        beside: Any = replace(backbone.concat_conditioning, factor=self.factor)  # pyright: ignore[reportArgumentType]
        windows = self._windows(backbone)

        def make(frames: np.ndarray, say: Say) -> np.ndarray:
            keys = backbone.to_latents(as_rows(padded(frames, backbone.multiple)))
            guess, told = beside.condition(keys)
            noise = unit_noise(self.noise_source(say), guess)
            latents = guess + beside.residual_std * Call(backbone, self, say, windows)(noise, told)
            return backbone.decode(latents)[0, :, : shape.height, : shape.width].cpu().numpy()

        keys = PIECE * (windows.frames // self.factor) + 1
        frames = in_pieces(video.frames, keys, 1, make, say, self.factor)
        if self.keep:
            frames[:: self.factor] = video.frames
        return Video(frames, shape.fps, video.info)


def more_frames(shape: Shape, factor: int, fps: float = 0.0) -> Shape:
    """The shape with `factor` - 1 frames between every two, at `factor` times its rate or at `fps` frames per second.

    The last frame has none after it and is shown for one new frame: the clip ends less than one old frame earlier.
    """
    if factor < 2:
        raise AnimaticError(f"factor is {factor}; want 2 or more frames for each one")
    if shape.frames < 2:
        raise AnimaticError("1 frame has nothing between; want a video of 2 frames or more")
    rate = fps or factor * shape.fps
    if not 0 < rate < FPS_LIMIT:
        raise AnimaticError(f"that makes {rate:g} frames a second; want more than 0, less than {FPS_LIMIT}")
    return replace(shape, frames=(shape.frames - 1) * factor + 1, fps=rate)
