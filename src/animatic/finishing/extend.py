"""Long video by recursion: the last frames of a clip are the first of the next.

LaVie, Wang et al. 2023, section 4.4, https://arxiv.org/abs/2309.15103.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..completing import complete
from ..controls.guidance import Guidance
from ..errors import AnimaticError, warn
from ..scene import Scene
from ..video import Video
from .model_kind import ModelKind
from .stage import NetworkStage, Shape, StageContext

DEFAULT_PROMPT = "a video"  # of a video without a known prompt


@dataclass(frozen=True)
class Extend(NetworkStage):
    """`clips` more clips by the model that made the video, each continuing from the `known` last frames.

    LaVie's authors fine-tuned a network for it and did not release it; here the known frames are imputed at every noise
    level, and the estimate of the others is guided by how well the known ones are reconstructed, with `weight` (see
    `completing`). So any model serves that makes video from text.

    Raises `AnimaticError` where `clips` is below 1, or the clip has fewer than `known` frames.
    """

    clips: int = 1
    known: int = 1
    weight: float = 2.0

    minimums = (("weight", 0),)
    role = "extend"
    default_models = {  # noqa: RUF012
        "mini": "mini",
        "lavie": "lavie",
        "modelscope": "modelscope",
        "zeroscope": "zeroscope",
    }

    def output_shape(self, shape: Shape) -> Shape:
        if self.clips < 1 or not 1 <= self.known <= shape.frames:
            options = f"clips is {self.clips}, known is {self.known}"
            raise AnimaticError(f"{options}; want 1 clip or more from 1 to {shape.frames} known frames")
        new = self._window(shape) - self.known  # frames that a clip adds
        return replace(shape, frames=shape.frames + self.clips * new)

    def check_model(self, model: ModelKind) -> None:
        if model.concat_conditioning is not None:
            raise AnimaticError(f"{model.name} cannot extend; want a model that makes video from words")
        if "video" not in model.provides:
            raise AnimaticError(f"{model.name} makes pictures and cannot extend a video; want a model of videos")

    def _window(self, shape: Shape) -> int:
        """Frames of each new clip, the known ones among them."""
        # At least one new frame.
        return self.window or max(shape.frames, self.known + 1)

    def __call__(self, video: Video, context: StageContext) -> Video:
        backbone = self.backbone(context)
        if not context.prompt:
            used = f"{backbone.name} is given the prompt {DEFAULT_PROMPT!r}"
            warn(f"extend: the video has no prompt, so {used}; see --prompt")

        # Guidance of the model's own scale, unless another is set.
        scene = Scene(context.prompt or DEFAULT_PROMPT, negative=context.negative)
        scale = backbone.defaults.guidance if self.guidance is None else self.guidance
        guidance = (Guidance(scale),)

        # Each clip begins with the last frames of the one before, which are given.
        count = self._window(Shape.of(video))
        unknown = count - self.known
        known = [True] * self.known + [False] * unknown
        frames = video.frames
        for clip in range(self.clips):
            context.progress(clip, self.clips)
            last = Video(frames[-self.known :], video.fps)
            seed = self.noise_seed(context) + clip
            more = complete(scene, backbone, last, known, guidance, seed, self.steps, self.weight)

            # Of the new clip the frames that were not known.
            frames = np.concatenate([frames, more.frames[self.known :]])
        return Video(frames, video.fps, video.info)
