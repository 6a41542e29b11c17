"""What a finishing stage is: frozen settings that turn a video into another, and foretell its shape and memory."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..backbones import load
from ..backbones.components import Components
from ..backbones.concat_conditioning import CONCAT, LEVEL
from ..controls.finite import Finite
from ..controls.guidance import Guidance
from ..controls.tiles import Tiles
from ..controls.watching import Progress
from ..core.arithmetic import ceil_div
from ..core.control import Control
from ..core.loop import check_needs, sample
from ..core.seeds import check_seed
from ..errors import AnimaticError
from ..video import Video
from .model_kind import ModelKind

WINDOWS_PER_PIECE = 4  # windows whose latents are held in memory at once


@dataclass(frozen=True)
class Shape:
    """Size of a video: frames, height and width in pixels, frames per second."""

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
        """Memory of its frames, three bytes a pixel."""
        return 3 * self.frames * self.height * self.width


@dataclass(frozen=True)
class StageContext:
    """What a stage needs to know of one run besides its own settings.

    `prompt` describes the video. `negative` is the negative prompt of its scene, put before the one of the stage's
    model; `negative_override`, if not None, replaces the latter. `source_model` is the family or name of the model that
    made the video ("": unknown), from which a stage chooses its own. `progress` is called with (steps done, steps in
    all). `device` "" is a GPU if there is one. `loaded` caches one model.

    Raises `AnimaticError` where `seed` is not in 0..2**63 - 1.
    """

    prompt: str = ""
    negative: str = ""
    negative_override: str | None = None
    seed: int = 0
    source_model: str = ""
    progress: Callable[[int, int], None] = lambda done, count: None
    device: str = ""
    loaded: dict[str, Components] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_seed(self.seed)

    def model(self, name: str) -> Components:
        """The model of that name; only the last one is kept in memory."""
        if name not in self.loaded:
            self.loaded.clear()
            self.loaded[name] = load(name, self.device)
        return self.loaded[name]


@dataclass(frozen=True)
class Stage(ABC):
    """A step of finishing. Its fields are the options of `--then NAME:FACTOR:option=value`.

    To add one: subclass, implement `output_shape` and `__call__`, and enter it in `stages.STAGES`.
    """

    @abstractmethod
    def output_shape(self, shape: Shape) -> Shape:
        """The shape of the result for an input of `shape`. Raises `AnimaticError` where there can be no result."""

    @abstractmethod
    def __call__(self, video: Video, context: StageContext) -> Video:
        """The result, of the shape that `output_shape` says."""

    def resolved(self, source_model: str) -> Stage:
        """The same stage with its open settings filled in, for a video made by `source_model`."""
        return self

    def preserves_timing(self, shape: Shape) -> bool:
        """Whether every frame stays at its time, so that the sound still fits."""
        return True

    def memory(self, shape: Shape, context: StageContext) -> int:
        """Estimated peak memory in bytes: input and output, and for network stages one call of the network."""
        return shape.bytes + self.output_shape(shape).bytes

    def with_less_memory(self) -> Stage | None:
        """The same stage with settings that need less memory; None where there are none."""
        return None


@dataclass(frozen=True)
class NetworkStage(Stage):
    """A stage that calls a network.

    `model` "" is chosen by the model that made the video. `steps` and `guidance` None are the model's own; guidance 0
    is the unconditional prediction, 1 switches guidance off. `window` is the number of frames in one call, `tile` the
    latent cells a side (0: the model's own). `seed` is that of the noise; None: that of the run.

    Raises `AnimaticError` where a number is below its minimum.
    """

    model: str = ""
    steps: int | None = None
    guidance: float | None = None
    window: int = 0
    tile: int = 0
    seed: int | None = None

    role = ""  # the name of the stage, for messages
    minimums = ()  # (name, least value) of further options
    default_models = {}  # noqa: RUF012 - by family of the source model; a class attribute, never written

    def __post_init__(self) -> None:
        window = self.minimum_window if self.window > 0 else 0
        for name, minimum in (("steps", 1), ("window", window), ("tile", 0), *self.minimums):
            value = getattr(self, name)
            if value is not None and value < minimum:
                raise AnimaticError(f"{name} is {value}; want {minimum} or more")
        if self.seed is not None:
            check_seed(self.seed)

    def noise_seed(self, context: StageContext) -> int:
        return context.seed if self.seed is None else self.seed

    def noise_source(self, context: StageContext) -> torch.Generator:
        """A fresh generator for the noise of this stage, on the CPU."""
        return torch.Generator().manual_seed(self.noise_seed(context))

    @property
    def minimum_window(self) -> int:
        """The fewest frames that the network can process in one call."""
        return 1

    def resolved(self, source_model: str) -> NetworkStage:
        """With its model filled in: the one requested, else the default for the model that made the video."""
        # "lavie-vsr + x.safetensors" is of the family lavie.
        family = source_model.partition(" ")[0].partition("-")[0]
        name = self.model or self.default_models.get(family, "")
        if not name:
            made = f"made by {source_model!r}" if source_model else "whose maker is unknown"
            raise AnimaticError(f"no model of its own for a video {made}; want {self.alternatives}")
        return replace(self, model=name)

    @property
    def alternatives(self) -> str:
        """What would be right where there is no default model, for messages."""
        known = ", ".join(sorted(set(self.default_models.values())))
        return f"{self.role}:model=NAME, such as {known}"

    def backbone(self, context: StageContext) -> Components:
        """The loaded model. Raises `AnimaticError` where it cannot do what the stage does."""
        backbone = context.model(self.resolved(context.source_model).model)
        self.check_model(ModelKind.of(backbone))
        return backbone

    def check_model(self, model: ModelKind) -> None:
        """Raise `AnimaticError` where this model cannot do what the stage does."""

    def tile_side(self, backbone: Components) -> int:
        """Latent cells a side in one call; 0: all."""
        return self.tile or (backbone.concat_conditioning.side if backbone.concat_conditioning else 0)

    def with_less_memory(self) -> Stage | None:
        if self.window != self.minimum_window:
            return replace(self, window=max(self.minimum_window, (self.window or 16) // 2))
        if self.tile > 32 or not self.tile:
            return replace(self, tile=(self.tile or 256) // 2)
        return None


@dataclass(frozen=True)
class SamplingRun:
    """A call of the sampling loop by a stage, with everything given but the noise."""

    backbone: Components
    stage: NetworkStage
    context: StageContext
    windows: Tiles
    controls: Sequence[Control] = ()

    @cached_property
    def guidance(self) -> float:
        requested = self.stage.guidance
        return self.backbone.defaults.guidance if requested is None else requested

    def __call__(self, noise: Tensor, concat: Tensor | None = None, level: int | None = None) -> Tensor:
        """Clean latents from unit noise `[1, channel, frame, height, width]`.

        `concat` are channels that the network reads with the noisy latents, `level` is how much noise is on them, as
        the index of a noise level.
        """
        backbone = self.backbone
        context = self.context
        defaults = backbone.defaults
        if context.negative_override is not None:
            defaults = replace(defaults, negative=context.negative_override)

        # Conditioning: the prompts, and what the network sees of the given video.
        prompt = context.prompt + defaults.prompt_suffix
        negative = defaults.negative_text(context.negative)
        conditioning = backbone.encode([prompt], [negative])
        branches = len(conditioning.branches)
        extra: dict[str, Any] = dict(conditioning.extra)
        if concat is not None:
            channels = concat.to(noise)
            extra[CONCAT] = channels.expand(branches, -1, -1, -1, -1)
        if level is not None:
            extra[LEVEL] = torch.full((branches,), level, device=noise.device)

        # The loop of rendering, with the stage's own controls.
        progress = Progress(context.progress)
        controls = [Finite(), progress, *self.controls, Guidance(), self.windows]
        check_needs(backbone, controls)
        steps = defaults.steps if self.stage.steps is None else self.stage.steps
        schedule = backbone.schedule(steps, defaults.scheduler)
        cond = replace(conditioning, extra=extra)
        return sample(backbone, schedule, noise, cond, controls, guidance=self.guidance)


def estimated_memory(backbone: Components, frames: int, tile: int, out: Shape, piece_frames: int = 0) -> int:
    """Bytes of the weights, of the latents of `piece_frames` frames, and of one guided call or of decoding.

    Of the last two the larger counts; a call has `frames` frames of `tile` latent cells a side (0: all). A rule of
    thumb: some 12 activations of the first level live at once, and 10 sets of latents; decoding holds three activations
    of 8 frames (of a tile, where there are tiles); attention is taken to be fused.
    """
    ratio = backbone.geometry.vae_spatial_ratio
    rows = ceil_div(out.height, ratio)
    columns = ceil_div(out.width, ratio)
    tile_rows = min(rows, tile or rows)
    tile_columns = min(columns, tile or columns)
    cells = tile_rows * tile_columns

    # One call of the network, for the conditional and the unconditional branch.
    config = backbone.unet.config
    bytes_per_number = next(backbone.unet.parameters()).element_size()
    if backbone.architecture == "transformer":
        channels = config["num_attention_heads"] * config["attention_head_dim"]
        frames = ceil_div(frames, backbone.geometry.vae_temporal_ratio)
        cells = ceil_div(cells, math.prod(backbone.geometry.patch))
    else:
        channels = config.get("dim") or config["block_out_channels"][0]
    branches = 1 if backbone.defaults.guidance == 1 else 2
    call = 12 * branches * frames * cells * channels * bytes_per_number

    # Decoding, in float32 at the full resolution.
    cells = tile_rows * tile_columns
    vae_channels = backbone.vae.config.get("block_out_channels") or (backbone.vae.config.get("base_dim", 3),)
    pixels = cells * ratio**2
    decoded = min(8, out.frames)
    decoding = 3 * decoded * pixels * vae_channels[0] * 4

    # Weights of network and autoencoder, and ten sets of latents.
    weights = 0
    for parameter in [*backbone.unet.parameters(), *backbone.vae.parameters()]:
        weights += parameter.numel() * parameter.element_size()
    held = min(piece_frames, out.frames)
    numbers = held * backbone.geometry.channels * rows * columns
    latents = 10 * numbers * bytes_per_number
    return weights + latents + max(call, decoding)
