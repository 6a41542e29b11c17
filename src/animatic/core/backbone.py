"""What every generator looks like from outside: a frozen denoiser with its own text, latents and pixels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..errors import AnimaticError
from ..scene import Scene
from .schedule import Schedule
from .seeds import check_seed
from .text import ClipText, find
from .types import Attend, Branch, Conditioning, Step

DTYPES = ("float32", "bfloat16", "float16")
QUANTIZED = ("int8", "fp8")


@dataclass(frozen=True)
class Geometry:
    """Native size of a model in pixels and frames, and how its latents relate to them."""

    frames: int
    height: int
    width: int
    channels: int = 4
    vae_spatial_ratio: int = 8  # pixels per latent cell
    fps: float = 8.0
    max_frames: int = 1024
    vae_temporal_ratio: int = 1  # frames per latent frame; the first latent frame is one frame alone
    patch: tuple[int, int, int] = (1, 1, 1)  # latent frames, rows and columns of cells per token

    def latent(self, frames: int, height: int, width: int, windowed: bool = False) -> tuple[int, int, int, int]:
        """(channel, frame, height, width) of the latents of a video of this size. Raises where it cannot be made.

        `windowed`: the model will see it in windows, so that it may be of any length.
        """
        if frames < 1 or (frames > self.max_frames and not windowed):
            raise AnimaticError(f"frames is {frames}; this model takes 1 to {self.max_frames}")
        for name, value, cells in (("height", height, self.patch[1]), ("width", width, self.patch[2])):
            if value < self.vae_spatial_ratio * cells or value % (self.vae_spatial_ratio * cells):
                raise AnimaticError(
                    f"{name} is {value}; this model takes multiples of {self.vae_spatial_ratio * cells} pixels"
                )
        times = -(-(frames - 1) // self.vae_temporal_ratio) + self.patch[0]  # with one to spare where tokens hold two
        return (
            self.channels,
            times + -times % self.patch[0],
            height // self.vae_spatial_ratio,
            width // self.vae_spatial_ratio,
        )

    def pixel_frames(self, latent_frames: int) -> int:
        """Frames of a video with so many latent frames: the first is one frame, one is spare where tokens hold two."""
        return (latent_frames - self.patch[0]) * self.vae_temporal_ratio + 1


@dataclass(frozen=True)
class ModelDefaults:
    """How a model is used unless the user says otherwise."""

    steps: int = 25
    guidance: float = 7.5
    negative: str = ""
    scheduler: str = ""  # "": the one it comes with
    prompt_suffix: str = ""  # put after every prompt of a finisher

    def negative_text(self, scene: str, run: str = "") -> str:
        """What a model is told not to show: a scene's words, its own, and those of a kind of run.

        The last go with the model's own: where it has none, or they were emptied, none are told.
        """
        return ", ".join(words for words in (scene, self.negative, run if self.negative else "") if words)


@dataclass(frozen=True)
class MemoryOptions:
    """How to save memory; the default saves none.

    `dtype`: of the weights, one of DTYPES, "": float32 on a CPU, the model's own on a GPU. `quantize`: linear layers of
    networks and text encoder hold int8 or fp8 weights and compute as before (torchao). `offload`: weights wait in main
    memory and come to the device block by block. `less`: guided passes compute layers twice instead of keeping them,
    and video autoencoders decode tile by tile, which moves pixels a little at the seams.
    """

    dtype: str = ""
    quantize: str = ""
    offload: bool = False
    save_memory: bool = False

    def __post_init__(self) -> None:
        for name, known in (("dtype", DTYPES), ("quantize", QUANTIZED)):
            if (value := getattr(self, name)) and value not in known:
                raise AnimaticError(f"{name} is {value!r}; want one of {', '.join(known)}")
        if self.quantize and self.offload:
            raise AnimaticError("quantize and offload were both asked for; quantised weights cannot be moved: want one")
        if self.quantize and not find_spec("torchao"):
            raise AnimaticError(f"quantize is {self.quantize!r}, which needs torchao; pip install 'animatic[quantize]'")


class ConcatConditioning(ABC):
    """`factor` times as many frames, or as many pixels a side. Clips are latents `[row, channel, frame, h, w]`.

    Given are latents of key frames, or where `pixels` say so a small clip `[row, 3, frame, height, width]` in -1..1.
    """

    factor: int
    pixels: ClassVar[bool] = False
    level: int | None = None  # of the noise on what is given
    side: ClassVar[int] = 0  # latent cells a side to be seen at once, for attention grows with their square; 0: all
    residual_std: float = 1.0  # how far the guess is from the clip, root mean square: the unit of what the network says

    @abstractmethod
    def condition(
        self, given: Tensor, source: torch.Generator | None = None, still: bool = True
    ) -> tuple[Tensor, Tensor]:
        """(first guess at the clip, channels beside the noise), of the same frames, height and width.

        `source` is where noise on what is given is drawn from, `still`: the same for every frame.
        """


class Backbone(ABC):
    """A frozen image or video model. `provides` are the words that controls may need.

    `words` are the only things it can show; empty where there is no such limit. `family` is whose settings the methods
    use, "modelscope", "zeroscope", "mini", ..., or "" for those of any model; it has nothing to do with `name`.
    `reference` is the name or folder by which `load` finds it again ("" where it was put together by hand), `loras`
    are the files added to it, their scales and networks ("": all), `economy` is how it was told to save memory.
    """

    name: str
    family: str = ""
    provides: frozenset[str]
    geometry: Geometry
    defaults: ModelDefaults
    text: ClipText
    words: tuple[str, ...] = ()
    concat_conditioning: ConcatConditioning | None = None  # what it sees beside the noise, if it finishes videos
    reference: str = ""
    loras: tuple[tuple[str, float, str], ...] = ()
    memory: MemoryOptions | None = None

    @abstractmethod
    def __call__(self, x: Tensor, step: Step, cond: Conditioning, attend: Attend) -> Tensor:
        """The network's prediction for `x` `[row, channel, frame, height, width]`, as its scheduler defines it."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Clean latents to pixels: uint8 `[row, frame, height, width, 3]`."""

    @abstractmethod
    def to_latents(self, pixels: Tensor, draw: torch.Generator | None = None) -> Tensor:
        """Pixels, 0..255 `[row, frame, height, width, 3]`, to clean latents; with `draw` samples of the posterior."""

    @abstractmethod
    def schedule(self, steps: int, name: str = "") -> Schedule:
        """The model's own scheduler, or another of diffusers' by name, as `steps` noise levels."""

    @torch.no_grad()
    def encode(self, prompts: Sequence[str], negatives: Sequence[str]) -> Conditioning:
        """Two rows a prompt: all negatives first, then all prompts; stream i is prompt i."""
        rows = [Branch(negative, i) for negative in (True, False) for i in range(len(prompts))]
        return Conditioning(self.text.in_chunks([*negatives, *prompts]), tuple(rows))

    def noise(self, seeds: Sequence[int], frames: int, height: int, width: int, windowed: bool = False) -> Tensor:
        """Unit noise, one row a seed, the same for every device: made on the CPU.

        Raises `AnimaticError` where a seed is not 0..2**63 - 1.
        """
        draws = [torch.Generator().manual_seed(check_seed(seed)) for seed in seeds]
        shape = self.geometry.latent(frames, height, width, windowed)
        rows = [torch.randn(shape, generator=draw) for draw in draws]
        return torch.stack(rows)

    def chain(self, step: Step) -> Mapping[str, nn.Module]:
        """Layers by name, in order, of a network in which each is fed by the one before alone; none of a UNet."""
        return {}

    def check_scene(self, scene: Scene) -> None:
        """Raise where the scene asks for a thing the model has never seen, or the model makes no videos of noise."""
        if self.concat_conditioning is not None:
            hint = "want animatic finish or --then for it, and another model to make the video"
            raise AnimaticError(f"{self.name} finishes videos and makes none from noise; {hint}")
        for track in scene.tracks:
            if self.words and not any(find(track.phrase, word) for word in self.words):
                raise AnimaticError(f"{self.name} cannot show {track.phrase!r}; it knows {', '.join(self.words)}")
