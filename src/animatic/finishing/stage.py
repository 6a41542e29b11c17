"""What a stage is: a frozen recipe that turns a video into another, and says beforehand what it will need."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..backbones import load
from ..backbones.components import Components
from ..backbones.concat_conditioning import CONCAT, LEVEL
from ..controls.finite import Finite
from ..controls.guidance import Guidance
from ..controls.tiles import Tiles, spans
from ..controls.watching import Progress
from ..core.control import Control
from ..core.loop import check_needs, sample
from ..core.seeds import check_seed
from ..errors import AnimaticError
from ..video import Video


@dataclass(frozen=True)
class Shape:
    """Frames, height, width in pixels, frames per second."""

    frames: int
    height: int
    width: int
    fps: float

    @staticmethod
    def of(video: Video) -> Shape:
        height, width = video.frames.shape[1:3]
        return Shape(len(video), height, width, video.fps)

    @property
    def bytes(self) -> int:
        return 3 * self.frames * self.height * self.width


PIECE = 4  # windows of which latents are held at once


@dataclass(frozen=True)
class Say:
    """What a stage is told: the words, the seed, the model that made the video, whom to tell how far it is.

    `negative` is what the scene does not want, told before the model's own negative prompt; `instead`, if not None,
    stands in place of that.
    """

    prompt: str = ""
    negative: str = ""
    instead: str | None = None
    seed: int = 0
    maker: str = ""
    tick: Callable[[int, int], None] = lambda done, count: None
    device: str = ""
    loaded: dict[str, Components] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_seed(self.seed)

    def model(self, name: str) -> Components:
        """The model of that name; one at a time is kept."""
        if name not in self.loaded:
            self.loaded.clear()
            self.loaded[name] = load(name, self.device)
        return self.loaded[name]


@dataclass(frozen=True)
class Stage(ABC):
    """Fields are the options that `--then NAME:FACTOR:option=value` takes."""

    @abstractmethod
    def after(self, shape: Shape) -> Shape:
        """What comes out. Raises `AnimaticError` where nothing could."""

    @abstractmethod
    def __call__(self, video: Video, say: Say) -> Video: ...

    def resolved(self, maker: str) -> Stage:
        """The same with what it leaves to its model, or to the model `maker` that made the video, written in."""
        return self

    def keeps_time(self, shape: Shape) -> bool:
        """Whether every frame stays at its time, so that the sound still fits."""
        return True

    def memory(self, shape: Shape, say: Say) -> int:
        """Bytes needed at once, roughly: what goes in, what comes out, and for stages of networks their calls."""
        return shape.bytes + self.after(shape).bytes

    def smaller(self) -> Stage | None:
        """The same with settings that need less memory; None where there are none."""
        return None


@dataclass(frozen=True)
class Networked(Stage):
    """A stage that calls a network. What is None, 0 or "" is the model's own; `guidance` 0 is a wish, 1 is off.

    `window` frames are seen at once, `tile` latent cells a side. `seed` is of its noise; None: that of the run. Raises
    `AnimaticError` where a number is too small.
    """

    model: str = ""
    steps: int | None = None
    guidance: float | None = None
    window: int = 0
    tile: int = 0
    seed: int | None = None

    role = ""
    least = ()  # further options and their least values
    partners = {}  # noqa: RUF012 - a class attribute, never written

    def __post_init__(self) -> None:
        window = self.least_window if self.window > 0 else 0
        for name, least in (("steps", 1), ("window", window), ("tile", 0), *self.least):
            value = getattr(self, name)
            if value is not None and value < least:
                raise AnimaticError(f"{name} is {value}; want {least} or more")
        if self.seed is not None:
            check_seed(self.seed)

    def noise_seed(self, say: Say) -> int:
        return say.seed if self.seed is None else self.seed

    def noise_source(self, say: Say) -> torch.Generator:
        """A fresh generator of the noise of this stage, on the CPU."""
        return torch.Generator().manual_seed(self.noise_seed(say))

    @property
    def least_window(self) -> int:
        """Frames that the network must see at once."""
        return 1

    def resolved(self, maker: str) -> Networked:
        """With the model to use: the one that is said, else the partner of the one that made the video."""
        family = maker.partition(" ")[0].partition("-")[0]
        name = self.model or self.partners.get(family, "")
        if not name:
            made = f"made by {maker!r}" if maker else "whose maker is unknown"
            known = ", ".join(sorted(set(self.partners.values())))
            raise AnimaticError(f"no model of its own for a video {made}; want {self.role}:model=NAME, such as {known}")
        return replace(self, model=name)

    def backbone(self, say: Say) -> Components:
        """The model to use. Raises `AnimaticError` where it cannot do what the stage does."""
        backbone = say.model(self.resolved(say.maker).model)
        if backbone.network_folder == "transformer":
            raise AnimaticError(f"{backbone.name} is a video transformer, which cannot {self.role} yet; want a UNet")
        self.suits(backbone)
        return backbone

    def suits(self, backbone: Components) -> None:
        """Raise `AnimaticError` where this model cannot do what the stage does."""

    def side(self, backbone: Components) -> int:
        """Latent cells a side that are seen at once; 0: all."""
        return self.tile or (backbone.concat_conditioning.side if backbone.concat_conditioning else 0)

    def smaller(self) -> Stage | None:
        if self.window != self.least_window:
            return replace(self, window=max(self.least_window, (self.window or 16) // 2))
        if self.tile > 32 or not self.tile:
            return replace(self, tile=(self.tile or 256) // 2)
        return None


@dataclass(frozen=True)
class Call:
    """One run of `sample()` by a stage, everything bound but the clip."""

    backbone: Components
    stage: Networked
    say: Say
    windows: Tiles
    controls: Sequence[Control] = ()
    started: list[int] = field(default_factory=lambda: [0])

    @cached_property
    def guidance(self) -> float:
        said = self.stage.guidance
        return self.backbone.defaults.guidance if said is None else said

    def __call__(self, noise: Tensor, beside: Tensor | None = None, level: int | None = None) -> Tensor:
        """Clean latents from unit noise of the clip's shape, what is beside it being seen."""
        backbone, habits, say = self.backbone, self.backbone.defaults, self.say
        if say.instead is not None:
            habits = replace(habits, negative=say.instead)
        negative = habits.negative_text(say.negative)
        cond = backbone.encode([say.prompt + habits.prompt_suffix], [negative])
        extra: dict[str, Any] = dict(cond.extra)
        if beside is not None:
            extra[CONCAT] = beside.to(noise).expand(len(cond.branches), -1, -1, -1, -1)
        if level is not None:
            extra[LEVEL] = torch.full((len(cond.branches),), level, device=noise.device)
        finite = Finite(self.guidance)
        controls = [finite, Progress(say.tick), *self.controls, Guidance(self.guidance), self.windows]
        check_needs(backbone, controls)
        steps = habits.steps if self.stage.steps is None else self.stage.steps
        schedule = backbone.schedule(steps, habits.scheduler)
        return sample(backbone, schedule, noise, replace(cond, extra=extra), controls)


def in_pieces(
    frames: np.ndarray, size: int, shared: int, make: Callable[[np.ndarray, Say], np.ndarray], say: Say, factor: int = 1
) -> np.ndarray:
    """What `make` makes of `frames`, `size` of them at a time, faded where pieces share `shared` of them.

    So memory does not grow with the clip. Frames are uint8 `[frame, height, width, 3]`; `make` answers with `factor`
    frames for each but the last.
    """
    ways, done, out = list(spans(len(frames), size, shared)), 0, None
    for i, (first, stop) in enumerate(ways):
        part = replace(say, tick=lambda step, count, i=i: say.tick(i * count + step, len(ways) * count))
        made, at = make(frames[first:stop], part), first * factor
        if out is None:
            out = np.empty(((len(frames) - 1) * factor + 1, *made.shape[1:]), np.uint8)
        both = done - at
        rise = (np.arange(1, both + 1) / (both + 1))[:, None, None, None]
        out[at:done] = (out[at:done] * (1 - rise) + made[:both] * rise + 0.5).astype(np.uint8)
        out[done : at + len(made)] = made[both:]
        done = at + len(made)
    assert out is not None
    return out


def shared(said: int | None, usual: int, window: int) -> int:
    """Frames that windows share: as said (`Tiles` raises where it is too many), else the usual, where there is room."""
    return min(usual, window - 1) if said is None else said


def unit_noise(source: torch.Generator, like: Tensor, frames: int | None = None) -> Tensor:
    """Noise of the shape of `like`, made on the CPU; `frames` 1: the same for every frame."""
    shape = list(like.shape)
    shape[2] = frames or shape[2]
    return torch.randn(shape, generator=source).to(like).expand_as(like)


def padded(frames: np.ndarray, multiple: int) -> np.ndarray:
    """Frames whose sizes are multiples, the last rows and columns repeated: to be cut off again."""
    room = [(0, 0), *((0, -side % multiple) for side in frames.shape[1:3]), (0, 0)]
    return np.pad(frames, room, mode="edge") if any(after for _, after in room) else frames


def as_rows(frames: np.ndarray) -> Tensor:
    """uint8 `[1, frame, height, width, 3]`."""
    return torch.from_numpy(np.ascontiguousarray(frames))[None]


def needed(backbone: Components, frames: int, tile: int, out: Shape, piece: int = 0) -> int:
    """Bytes of the weights, of `piece` frames of latents, and of the larger of two: one guided call on `frames` of
    `tile` latent cells, or decoding.

    A rule of thumb: some 12 activations of the first level live at once, and 10 sets of latents; decoding holds three
    of 8 frames (of a tile, where tiles are wanted); attention is taken to be fused.
    """
    stride = backbone.geometry.vae_spatial_ratio
    cells = [min(-(-side // stride), tile or side) for side in (out.height, out.width)]
    size = next(backbone.unet.parameters()).element_size()
    config = backbone.unet.config
    width = config.get("dim") or config["block_out_channels"][0]
    rows = 1 if backbone.defaults.guidance == 1 else 2
    call = 12 * rows * frames * cells[0] * cells[1] * width * size
    deep = backbone.vae.config.get("block_out_channels", (3,))[0]
    decode = 3 * min(8, out.frames) * cells[0] * cells[1] * stride**2 * deep * 4
    weights = sum(p.numel() * p.element_size() for part in (backbone.unet, backbone.vae) for p in part.parameters())
    whole = -(-out.height // stride) * -(-out.width // stride)
    latents = 10 * min(piece, out.frames) * backbone.geometry.channels * whole * size
    return weights + latents + max(call, decode)
