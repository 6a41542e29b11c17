"""More detail: a video noised part of the way and denoised again (SDEdit), by an image or a video model.

Meng et al. 2022, https://arxiv.org/abs/2108.01073.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from ..backbones.components import Components
from ..completing import answer_for
from ..controls.tiles import Tiles
from ..core.arithmetic import ceil_div
from ..core.control import Control, Run
from ..core.types import Conditioning, Denoise, Step
from ..errors import AnimaticError
from ..video import Video
from .classical import resized
from .model_kind import ModelKind
from .pieces import as_batch, overlap_within, padded, unit_noise
from .stage import NetworkStage, SamplingRun, Shape, StageContext, estimated_memory

OVERLAP = 4  # frames


@dataclass(frozen=True)
class StartFromNoised(Control):
    """Start sampling from `latents`, noised to the level that is the fraction `strength` of all levels from the end.

    At the levels before it the network is not called: they are answered by the prediction whose clean estimate is
    `latents`, so that a multistep solver has the right history. `strength` is in 0..1.
    """

    latents: Tensor
    strength: float
    run: Run | None = field(default=None, repr=False)

    def begin(self, run: Run) -> Control:
        return StartFromNoised(self.latents.to(run.x), self.strength, run)

    def first_step(self, step: Step) -> int:
        """The first step at which the network is called."""
        return step.count - int(self.strength * step.count)

    def steer(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        assert self.run is not None
        first = self.first_step(step)
        if step.clean and first == step.count:  # no level is sampled: the result is the input
            return self.latents.to(x)
        if step.clean or step.index != first:
            return x

        # At the first level: the given clip with this run's noise.
        noise = self.run.schedule.unit(self.run.x)
        return self.run.schedule.noised(self.latents, noise, step).to(x)

    def denoise(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        assert self.run is not None
        if step.index >= self.first_step(step):
            return inner(x, step, cond)

        # Before the first level: the prediction whose clean estimate is the given clip.
        sample = x.float()
        nothing = torch.zeros_like(sample)
        prediction = answer_for(self.run, sample, nothing, step, self.latents.float())
        return prediction.to(x.dtype)


@dataclass(frozen=True)
class Refine(NetworkStage):
    """The same clip with its details sampled anew, as far as `strength` (0 to 1) says; resized to `width` x `height`.

    LVD's finish is `refine:model=zeroscope-xl:strength=0.35:width=1024:height=576`; an image model refines frame by
    frame, all from the same noise (`sdxl-refiner`, 0.1 weak to 0.5 strong). Windows share `overlap`
    frames, by default 4.

    Raises `AnimaticError` where the strength is not above 0 and at most 1, or the model is one of finishing itself.
    """

    strength: float = 0.3
    width: int = 0
    height: int = 0
    overlap: int | None = None

    role = "refine"
    minimums = (("width", 0), ("height", 0), ("overlap", 0))
    default_models = {"zeroscope": "zeroscope-xl", "modelscope": "zeroscope-xl", "sd15": "sdxl-refiner"}  # noqa: RUF012

    def output_shape(self, shape: Shape) -> Shape:
        if not 0 < self.strength <= 1:
            raise AnimaticError(f"strength is {self.strength}; want more than 0, 1 at most")
        return replace(shape, width=self.width or shape.width, height=self.height or shape.height)

    def check_model(self, model: ModelKind) -> None:
        if model.concat_conditioning is not None:
            raise AnimaticError(f"{model.name} cannot refine; want a model of video or of pictures")

    def memory(self, shape: Shape, context: StageContext) -> int:
        backbone = self.backbone(context)
        frames = min(shape.frames, self.window or backbone.geometry.frames)
        needed = estimated_memory(backbone, frames, self.tile, self.output_shape(shape))
        return super().memory(shape, context) + needed

    def __call__(self, video: Video, context: StageContext) -> Video:
        backbone = self.backbone(context)
        out = self.output_shape(Shape.of(video))
        if self.tile:
            backbone.tile_codec()

        # Resized in pixels, then encoded: whole cells, and whole latent frames.
        larger = resized(video.frames, out.width, out.height)
        whole_cells: np.ndarray = padded(larger, backbone.size_multiple)
        geometry = backbone.geometry
        whole = geometry.pixel_frames(_latent_frames(backbone, out.frames))
        missing = whole - out.frames
        whole_clip = np.pad(whole_cells, ((0, missing), (0, 0), (0, 0), (0, 0)), mode="edge")
        latents = backbone.to_latents(as_batch(whole_clip))

        # An image model gives every frame the same noise: else its details would flicker.
        noise_frames = 1 if "image" in backbone.provides else None
        noise = unit_noise(self.noise_source(context), latents, noise_frames)

        # Windows over time, tiles in space, as many as fit into memory.
        window = self.window or geometry.frames
        overlap = overlap_within(self.overlap, OVERLAP, window)
        in_latents = _latent_frames(backbone, window)
        frames_per_token = geometry.vae_temporal_ratio * geometry.patch[0]
        shared = ceil_div(overlap, frames_per_token) * geometry.patch[0]
        windows = Tiles(in_latents, shared, self.tile)
        start = StartFromNoised(latents, self.strength)
        run = SamplingRun(backbone, self, context, windows, [start])
        pixels = backbone.decode(run(noise))
        cropped = pixels[0, : out.frames, : out.height, : out.width]
        return Video(cropped.cpu().numpy(), video.fps, video.info)


def _latent_frames(backbone: Components, frames: int) -> int:
    """Latent frames of a clip of so many frames, of any size in pixels."""
    geometry = backbone.geometry
    _, latent_frames, *_ = geometry.latent(frames, geometry.height, geometry.width, windowed=True)
    return latent_frames
