"""What every generator looks like from outside: a frozen denoiser with its own text, latents and pixels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from ..errors import AnimaticError, warn
from ..sampling import Attend, Cond, Row, Step
from ..scene import Scene
from ..schedule import Schedule, scheduler_named
from ..seeds import check_seed
from ..text import ClipText, find
from .beside import Beside
from .checkpointing import add_checkpointing
from .codec import PatchCodec, encoded
from .folder import read_network
from .grounding import grounded
from .taps import Call, Tap, Taps, unet_kind

if TYPE_CHECKING:
    from .economy import Economy


@dataclass(frozen=True)
class Geometry:
    """Native size of a model in pixels and frames, and how its latents relate to them."""

    frames: int
    height: int
    width: int
    channels: int = 4
    stride: int = 8  # pixels per latent cell
    fps: float = 8.0
    max_frames: int = 1024
    pace: int = 1  # frames per latent frame; the first latent frame is one frame alone
    patch: tuple[int, int, int] = (1, 1, 1)  # latent frames, rows and columns of cells per token

    def latent(self, frames: int, height: int, width: int, windowed: bool = False) -> tuple[int, int, int, int]:
        """(channel, frame, height, width) of the latents of a video of this size. Raises where it cannot be made.

        `windowed`: the model will see it in windows, so that it may be of any length.
        """
        if frames < 1 or (frames > self.max_frames and not windowed):
            raise AnimaticError(f"frames is {frames}; this model takes 1 to {self.max_frames}")
        for name, value, cells in (("height", height, self.patch[1]), ("width", width, self.patch[2])):
            if value < self.stride * cells or value % (self.stride * cells):
                raise AnimaticError(f"{name} is {value}; this model takes multiples of {self.stride * cells} pixels")
        times = -(-(frames - 1) // self.pace) + self.patch[0]  # with one to spare where tokens hold two
        return self.channels, times + -times % self.patch[0], height // self.stride, width // self.stride

    def pixel_frames(self, latent_frames: int) -> int:
        """Frames of a video with so many latent frames: the first is one frame, one is spare where tokens hold two."""
        return (latent_frames - self.patch[0]) * self.pace + 1


@dataclass(frozen=True)
class Habits:
    """How a model is used unless the user says otherwise."""

    steps: int = 25
    guidance: float = 7.5
    negative: str = ""
    scheduler: str = ""  # "": the one it comes with
    ending: str = ""  # put after every prompt of a finisher

    def unwanted(self, scene: str, run: str = "") -> str:
        """What a model is told not to show: a scene's words, its own, and those of a kind of run.

        The last go with the model's own: where it has none, or they were emptied, none are told.
        """
        return ", ".join(words for words in (scene, self.negative, run if self.negative else "") if words)


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
    habits: Habits
    text: ClipText
    words: tuple[str, ...] = ()
    beside: Beside | None = None  # what it sees beside the noise, if it finishes videos
    reference: str = ""
    loras: tuple[tuple[str, float, str], ...] = ()
    economy: Economy | None = None

    @abstractmethod
    def __call__(self, x: Tensor, step: Step, cond: Cond, attend: Attend) -> Tensor:
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
    def encode(self, prompts: Sequence[str], negatives: Sequence[str]) -> Cond:
        """Two rows a prompt: all negatives first, then all prompts; stream i is prompt i."""
        rows = [Row(negative, i) for negative in (True, False) for i in range(len(prompts))]
        return Cond(self.text.in_chunks([*negatives, *prompts]), tuple(rows))

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
        if self.beside is not None:
            hint = "want animatic finish or --then for it, and another model to make the video"
            raise AnimaticError(f"{self.name} finishes videos and makes none from noise; {hint}")
        for track in scene.tracks:
            if self.words and not any(find(track.phrase, word) for word in self.words):
                raise AnimaticError(f"{self.name} cannot show {track.phrase!r}; it knows {', '.join(self.words)}")


@dataclass(eq=False, repr=False)
class Components(Backbone):
    """A backbone of diffusers components: a tapped network (`unet`, transformer or not), a VAE, text, a scheduler.

    diffusers decorates its classes beyond what types can say, so they stand as Any. `place` is where it computes while
    its weights are elsewhere.
    """

    network: ClassVar[Any]  # the class of its network
    part: ClassVar[str] = "unet"  # the network's name in a model folder
    full_codec: ClassVar[bool] = False  # whether its autoencoder computes in float32, whatever the network

    name: str
    unet: Any
    vae: Any
    text: ClipText
    scheduler: Any
    geometry: Geometry
    habits: Habits
    coordinates: bool = False
    words: tuple[str, ...] = ()
    place: torch.device | None = None

    def __post_init__(self) -> None:
        if grounded(self.unet):
            self.provides = self.provides | {"grounding"}
        self.taps = self.tapped(self.unet)

    @classmethod
    def read(cls, folder: Path, dtype: torch.dtype) -> Any:
        """The network, from the part of a model folder that holds it."""
        return read_network(cls.network, folder, dtype)

    @classmethod
    def native(cls, network: Any, vae: Any) -> Geometry:
        """The geometry that the configs of network and autoencoder tell of. Raises where they tell no size."""
        if not network.sample_size:
            raise AnimaticError(
                f"{network._name_or_path}: sample_size is not given; want it, or geometry in animatic.json"
            )
        stride, size = 2 ** (len(vae.block_out_channels) - 1), network.sample_size
        height, width = (size, size) if isinstance(size, int) else size
        frames, most = (16, 1024) if "video" in cls.provides else (1, 1)
        return Geometry(frames, height * stride, width * stride, network.out_channels, stride, max_frames=most)

    def complete(self, folder: Path, index: Mapping[str, Any], dtype: torch.dtype) -> None:
        """Read what else `model_index.json` tells of; most models have nothing else."""

    def tapped(self, network: Any) -> Taps:
        """The network's attention layers routed through taps."""
        return Taps(network, unet_kind, Tap)

    @abstractmethod
    def predict(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """The network's answer to `x`, its taps being served (`self.taps.call`); `t` `[row]`."""

    def __call__(self, x: Tensor, step: Step, cond: Cond, attend: Attend) -> Tensor:
        if len(x) != len(cond.rows):
            hint = "put Guidance into the controls, or tell cond.positive"
            raise AnimaticError(f"{len(x)} latent rows but {len(cond.rows)} rows of text; {hint}")
        t = torch.as_tensor(step.t, device=x.device).expand(len(x))
        call = Call(step, cond, attend, (x.shape[2], x.shape[3], x.shape[4]), self.geometry.patch)
        with self.expert(step).serving(call):
            return self.predict(x, t, replace(cond, text=cond.text.to(x.dtype)))
        return x.new_full((), torch.nan).expand_as(x)  # maps alone were wanted: there is no prediction

    def expert(self, step: Step) -> Taps:
        """The taps of the network that answers at `step`, for models of several networks."""
        return self.taps

    @property
    def networks(self) -> list[Any]:
        """All that predict; most models have one."""
        return [self.unet]

    @property
    def multiple(self) -> int:
        """Height and width of a video must be multiples of this many pixels."""
        return self.geometry.stride

    @property
    def device(self) -> torch.device:
        return self.place or self.unet.device

    def freeze(self) -> Components:
        for part in (*self.networks, self.vae, self.text):
            part.eval().requires_grad_(False)
        return self

    def to(self, device: torch.device) -> Components:
        for part in (*self.networks, self.vae, self.text):
            part.to(device)
        return self

    def save_memory(self) -> Components:
        """Checkpoint the network's layers: guided passes store some 15 times less, and take half as long again.

        Warns where a network has no layers for it.
        """
        if not sum(map(add_checkpointing, self.networks)):
            warn(f"saving memory changes nothing in {self.name}: its layers cannot be computed twice")
        return self

    def tile_codec(self) -> None:
        """Encode and decode in tiles that overlap; warns of codecs that cannot. `PatchCodec` is small without."""
        if isinstance(self.vae, AutoencoderKL):
            self.vae.enable_tiling()
        elif not isinstance(self.vae, PatchCodec):
            warn(f"{self.name}: its {type(self.vae).__name__} encodes and decodes whole frames, not in tiles")

    def noise(self, seeds: Sequence[int], frames: int, height: int, width: int, windowed: bool = False) -> Tensor:
        return super().noise(seeds, frames, height, width, windowed).to(self.device, self.unet.dtype)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        images = latents.movedim(2, 1).flatten(0, 1)
        parts = [self._pixels(part) for part in images.split(8)]
        return torch.cat(parts).unflatten(0, (len(latents), -1)).movedim(2, -1)

    def _pixels(self, images: Tensor) -> Tensor:
        shown = self.vae.decode((images / self.vae.config.scaling_factor).to(self.vae.dtype)).sample.float()
        return ((shown + 1) * 127.5 + 0.5).floor().clamp(0, 255).to(torch.uint8)  # half a level rounds up

    @torch.no_grad()
    def to_latents(self, pixels: Tensor, draw: torch.Generator | None = None) -> Tensor:
        images = pixels.flatten(0, 1).movedim(-1, 1).split(8)
        parts = [self.vae.encode(part.to(self.device).to(self.vae.dtype) / 127.5 - 1) for part in images]
        latents = torch.cat([encoded(part, draw) for part in parts]).to(self.unet.dtype)
        latents = latents * self.vae.config.scaling_factor
        return latents.unflatten(0, (len(pixels), -1)).movedim(1, 2)

    def schedule(self, steps: int, name: str = "") -> Schedule:
        return Schedule(scheduler_named(name, self.scheduler) if name else self.scheduler, steps)
