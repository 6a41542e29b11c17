"""Backbones of diffusers components: a network with hooked attention, a VAE, a text encoder, a scheduler."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from ..core.backbone import Backbone, Geometry, ModelDefaults
from ..core.schedule import Schedule, scheduler_named
from ..core.text import ClipText
from ..core.types import Attend, Conditioning, Step
from ..errors import AnimaticError, warn
from .attention_hooks import AttentionHooks, NetworkCall, UNetProcessor, unet_kind
from .checkpointing import add_checkpointing
from .codec import PatchCodec, encoded
from .folder import read_network
from .grounding import grounded

if TYPE_CHECKING:
    pass


@dataclass(eq=False, repr=False)
class Components(Backbone):
    """A backbone of diffusers components: a tapped network (`unet`, transformer or not), a VAE, text, a scheduler.

    diffusers decorates its classes beyond what types can say, so they stand as Any. `place` is where it computes while
    its weights are elsewhere.
    """

    network: ClassVar[Any]  # the class of its network
    network_folder: ClassVar[str] = "unet"  # the network's name in a model folder
    full_codec: ClassVar[bool] = False  # whether its autoencoder computes in float32, whatever the network

    name: str
    unet: Any
    vae: Any
    text: ClipText
    scheduler: Any
    geometry: Geometry
    defaults: ModelDefaults
    coordinates: bool = False
    words: tuple[str, ...] = ()
    compute_device: torch.device | None = None

    def __post_init__(self) -> None:
        if grounded(self.unet):
            self.provides = self.provides | {"grounding"}
        self.hooks = self.hook_attention(self.unet)

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

    def hook_attention(self, network: Any) -> AttentionHooks:
        """The network's attention layers routed through taps."""
        return AttentionHooks(network, unet_kind, UNetProcessor)

    @abstractmethod
    def predict(self, x: Tensor, t: Tensor, cond: Conditioning) -> Tensor:
        """The network's answer to `x`, its taps being served (`self.taps.call`); `t` `[row]`."""

    def __call__(self, x: Tensor, step: Step, cond: Conditioning, attend: Attend) -> Tensor:
        if len(x) != len(cond.branches):
            hint = "put Guidance into the controls, or tell cond.positive"
            raise AnimaticError(f"{len(x)} latent rows but {len(cond.branches)} rows of text; {hint}")
        t = torch.as_tensor(step.t, device=x.device).expand(len(x))
        call = NetworkCall(step, cond, attend, (x.shape[2], x.shape[3], x.shape[4]), self.geometry.patch)
        with self.expert(step).serving(call):
            return self.predict(x, t, replace(cond, text=cond.text.to(x.dtype)))
        return x.new_full((), torch.nan).expand_as(x)  # maps alone were wanted: there is no prediction

    def expert(self, step: Step) -> AttentionHooks:
        """The taps of the network that answers at `step`, for models of several networks."""
        return self.hooks

    @property
    def networks(self) -> list[Any]:
        """All that predict; most models have one."""
        return [self.unet]

    @property
    def multiple(self) -> int:
        """Height and width of a video must be multiples of this many pixels."""
        return self.geometry.vae_spatial_ratio

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return self.compute_device or self.unet.device

    def freeze(self) -> Components:
        """Switch all parts to inference, without gradients of weights."""
        for part in (*self.networks, self.vae, self.text):
            part.eval().requires_grad_(False)
        return self

    def to(self, device: torch.device) -> Components:
        """Move all parts to a device."""
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
