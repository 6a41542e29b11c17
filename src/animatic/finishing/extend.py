"""Long video by recursion (LaVie, section 4.4): the last frames of a clip are the first of the next."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..backbones.components import Components
from ..completing import complete
from ..controls.guidance import Guidance
from ..errors import AnimaticError, warn
from ..scene import Scene
from ..video import Video
from .stage import Networked, Say, Shape

UNKNOWN = "a video"  # what is told of one of which nobody says what it shows


@dataclass(frozen=True)
class Extend(Networked):
    """`clips` more clips by the model that made the video, each going on from the `known` last frames.

    LaVie's authors fine-tuned a network for it and did not release it; here the known frames are imputed at every noise
    level and explained by the gradient of `weight` (see `completing`), on any model that was not made for it.
    """

    clips: int = 1
    known: int = 1
    weight: float = 2.0

    least = (("weight", 0),)
    role = "extend"
    partners = {"mini": "mini", "lavie": "lavie", "modelscope": "modelscope", "zeroscope": "zeroscope"}  # noqa: RUF012

    def after(self, shape: Shape) -> Shape:
        if self.clips < 1 or not 1 <= self.known <= shape.frames:
            told = f"clips is {self.clips}, known is {self.known}"
            raise AnimaticError(f"{told}; want 1 clip or more from 1 to {shape.frames} known frames")
        return replace(shape, frames=shape.frames + self.clips * (self._window(shape) - self.known))

    def suits(self, backbone: Components) -> None:
        if backbone.concat_conditioning is not None:
            raise AnimaticError(f"{backbone.name} cannot extend; want a model that makes video from words")

    def _window(self, shape: Shape) -> int:
        return self.window or max(shape.frames, self.known + 1)

    def __call__(self, video: Video, say: Say) -> Video:
        backbone = self.backbone(say)
        if not say.prompt:
            warn(f"extend: nothing says what the video shows, so {backbone.name} is told {UNKNOWN!r}; see --prompt")
        count, scene = self._window(Shape.of(video)), Scene(say.prompt or UNKNOWN, negative=say.negative)
        where = [True] * self.known + [False] * (count - self.known)
        guidance = (Guidance(backbone.defaults.guidance if self.guidance is None else self.guidance),)
        frames = video.frames
        for clip in range(self.clips):
            say.tick(clip, self.clips)
            last = Video(frames[-self.known :], video.fps)
            more = complete(
                scene, backbone, last, where, guidance, self.noise_seed(say) + clip, self.steps, self.weight
            )
            frames = np.concatenate([frames, more.frames[self.known :]])
        return Video(frames, video.fps, video.info)
