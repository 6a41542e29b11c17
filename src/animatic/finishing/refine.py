"""More detail: noised part of the way and denoised again (SDEdit, Meng et al. 2022), by an image or a video model."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from ..backbones.components import Components
from ..completing import answer_for
from ..controls.tiles import Tiles
from ..core.control import Control, Run
from ..core.types import Conditioning, Denoise, Step
from ..errors import AnimaticError
from ..video import Video
from .classical import resized
from .stage import Call, Networked, Say, Shape, as_rows, needed, padded, shared, unit_noise

OVERLAP = 4  # frames


@dataclass(frozen=True)
class Begin(Control):
    """The first levels answer what is known already, so that the run begins at noise `strength`, of all levels.

    The network is not asked there, but a solver that remembers its last steps does so rightly.
    """

    latents: Tensor
    strength: float
    run: Run | None = field(default=None, repr=False)

    def begin(self, run: Run) -> Control:
        return Begin(self.latents.to(run.x), self.strength, run)

    def first(self, step: Step) -> int:
        return step.count - int(self.strength * step.count)

    def steer(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        assert self.run is not None
        if step.index != self.first(step) or step.clean:
            return self.latents.to(x) if step.clean and self.first(step) == step.count else x
        start = self.run.schedule.unit(self.run.x)
        return self.run.schedule.noised(self.latents, start, step).to(x)

    def denoise(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        assert self.run is not None
        if step.index >= self.first(step):
            return inner(x, step, cond)
        wide = x.float()
        return answer_for(self.run, wide, torch.zeros_like(wide), step, self.latents.float()).to(x.dtype)


@dataclass(frozen=True)
class Refine(Networked):
    """The same clip with detail made anew where `strength` (0 to 1) lets it; `width` and `height` resize it before.

    LVD's finish is `refine:model=zeroscope-xl:strength=0.35:width=1024:height=576`; an image model refines frame by
    frame, all from one noise (`sdxl-refiner`, 0.1 weak to 0.5 strong). Windows share `overlap` frames, 4 if not given.
    """

    strength: float = 0.3
    width: int = 0
    height: int = 0
    overlap: int | None = None

    role = "refine"
    least = (("width", 0), ("height", 0), ("overlap", 0))
    partners = {"zeroscope": "zeroscope-xl", "modelscope": "zeroscope-xl", "sd15": "sdxl-refiner"}  # noqa: RUF012

    def after(self, shape: Shape) -> Shape:
        if not 0 < self.strength <= 1:
            raise AnimaticError(f"strength is {self.strength}; want more than 0, 1 at most")
        return replace(shape, width=self.width or shape.width, height=self.height or shape.height)

    def suits(self, backbone: Components) -> None:
        if backbone.concat_conditioning is not None:
            raise AnimaticError(f"{backbone.name} cannot refine; want a model of video or of pictures")

    def memory(self, shape: Shape, say: Say) -> int:
        backbone, out = self.backbone(say), self.after(shape)
        frames = min(shape.frames, self.window or backbone.geometry.frames)
        return super().memory(shape, say) + needed(backbone, frames, self.tile, out)

    def __call__(self, video: Video, say: Say) -> Video:
        backbone, out = self.backbone(say), self.after(Shape.of(video))
        if self.tile:
            backbone.tile_codec()
        frames: np.ndarray = padded(resized(video.frames, out.width, out.height), backbone.multiple)
        latents = backbone.to_latents(as_rows(frames))
        noise = unit_noise(self.noise_source(say), latents, 1 if "image" in backbone.provides else None)
        window = self.window or backbone.geometry.frames
        windows = Tiles(window, shared(self.overlap, OVERLAP, window), self.tile)
        made = Call(backbone, self, say, windows, [Begin(latents, self.strength)])(noise)
        return Video(backbone.decode(made)[0, :, : out.height, : out.width].cpu().numpy(), video.fps, video.info)
