"""Backbones of diffusers components: a network with hooked attention, a VAE, a text encoder, a scheduler."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from ..core.attention import matches_any
from ..core.backbone import Backbone, Geometry, ModelDefaults
from ..core.feature_reuse import FeatureCache
from ..core.schedule import Schedule
from ..core.schedulers import scheduler_named
from ..core.text import ClipText
from ..core.types import Attend, Conditioning, Step
from ..errors import AnimaticError, warn
from .attention_hooks import AttentionHooks, NetworkCall, unet_kind
from .attention_processors import UNetProcessor
from .checkpointing import add_checkpointing
from .codec import PatchCodec, latents_of
from .constant_dtype import constant_dtype
from .feature_caches import DeepFeatures, is_nested
from .folder import read_network
from .gradients import without_gradients
from .grounding import fusers_on, has_grounding


@dataclass(eq=False, repr=False)
class Components(Backbone):
    """A backbone of diffusers components: a hooked network (`unet`, also if a transformer), VAE, text, scheduler.

    diffusers decorates its classes beyond what type checkers understand, so they are typed Any. With `coordinates` the
    network reads three further channels (see `unet3d`). `words` are all that the model can show; (): anything.
    `compute_device` is where it computes while its weights are offloaded.
    """

    network: ClassVar[Any]  # the class of the network
    network_folder: ClassVar[str] = "unet"  # the folder of the network within a model folder
    text_flags: ClassVar[int] = 0  # last channels of text states that say which tokens are present
    full_precision_vae: ClassVar[bool] = False  # the VAE computes in float32, whatever the network
    by_shape: ClassVar[bool] = True  # what the network computes follows from shapes, so that it can be rehearsed

    usual_defaults: ClassVar[ModelDefaults] = ModelDefaults()  # of a model that is like none known

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
        if has_grounding(self.unet):
            self.provides = self.provides | {"grounding"}
        self.hooks = self.hook_attention(self.unet)

    @classmethod
    def read(cls, folder: Path, dtype: torch.dtype) -> Any:
        """The network, from the part of a model folder that holds it."""
        return read_network(cls.network, folder, dtype)

    @classmethod
    def native_defaults(cls, folder: Path, known: ModelDefaults | None) -> ModelDefaults:
        """How a model folder is used that nobody names: as the model `known` that it is like, None where like none.

        Raises `AnimaticError` where the folder has a configuration of it that is damaged.
        """
        return known or cls.usual_defaults

    @classmethod
    def native_geometry(cls, network: Any, vae: Any) -> Geometry:
        """The geometry by the configurations of network and VAE. Raises `AnimaticError` where they have no size."""
        size = network.sample_size
        if not size:
            raise AnimaticError(
                f"{network._name_or_path}: sample_size is not given; want it, or geometry in animatic.json"
            )
        height, width = (size, size) if isinstance(size, int) else size

        # Each level of the VAE but the first halves both sides.
        ratio = 2 ** (len(vae.block_out_channels) - 1)
        frames, max_frames = (16, 1024) if "video" in cls.provides else (1, 1)
        return Geometry(frames, height * ratio, width * ratio, network.out_channels, ratio, max_frames=max_frames)

    def read_extras(self, folder: Path, index: Mapping[str, Any], dtype: torch.dtype) -> None:
        """Read further parts that `model_index.json` names; most models have none."""

    def borrow_extras(self, pipe: Any) -> None:
        """Take further parts from a loaded pipeline of diffusers; most models have none."""

    def hook_attention(self, network: Any) -> AttentionHooks:
        """Install hooks in the attention layers of a network of this class."""
        return AttentionHooks(network, unet_kind, UNetProcessor)

    @abstractmethod
    def predict(self, x: Tensor, t: Tensor, cond: Conditioning) -> Tensor:
        """The network's prediction for `x` `[branch, channel, frame, height, width]` at timesteps `t` `[branch]`.

        The attention hooks serve the call meanwhile (`self.hooks.call`).
        """

    def __call__(self, x: Tensor, step: Step, cond: Conditioning, attend: Attend) -> Tensor:
        if len(x) != len(cond.branches):
            hint = "put Guidance into the controls, or pass cond.positive"
            raise AnimaticError(f"{len(x)} latents but {len(cond.branches)} branches of text; {hint}")

        # What the attention layers need to know of this call.
        t = torch.as_tensor(step.t, device=x.device).expand(len(x))
        _, _, frames, height, width = x.shape
        call = NetworkCall(step, cond, attend, (frames, height, width), self.geometry.patch)
        cast = replace(cond, text=cond.text.to(x.dtype))

        # Where only maps were requested the hooks leave the network early: there is no prediction.
        with self.hooks_at(step).serving(call):
            return self.predict(x, t, cast)
        return x.new_full((), torch.nan).expand_as(x)

    def hooks_at(self, step: Step) -> AttentionHooks:
        """The hooks of the network that is called at `step`, for models of several networks."""
        return self.hooks

    def feature_cache(self) -> FeatureCache | None:
        return DeepFeatures(self.unet) if is_nested(self.unet) else None

    @property
    def attention_layers(self) -> tuple[str, ...]:
        return tuple(self.hooks.layers)

    def text_layer_heads(self, layers: Sequence[str]) -> dict[str, int]:
        modules = dict(self.unet.named_modules())
        names = [name for name in self.hooks.text_layers if matches_any(name, layers)]
        return {name: getattr(modules.get(name), "heads", 0) for name in names}

    @property
    def all_hooks(self) -> list[AttentionHooks]:
        """The hooks of all denoising networks."""
        return [self.hooks]

    @contextmanager
    def running(self) -> Iterator[None]:
        """What holds for one run.

        A borrowed network has hooks in its layers and weights without gradients; one of our own a type of weights that
        is looked up once.
        """
        with ExitStack() as stack:
            for hooks in self.all_hooks:
                if hooks.borrowed:
                    stack.enter_context(hooks.installed())
                    stack.enter_context(without_gradients(hooks.network))
                    stack.enter_context(fusers_on(hooks.network))
                else:
                    stack.enter_context(constant_dtype(hooks.network))
            yield

    @property
    def networks(self) -> list[Any]:
        """All denoising networks; most models have one."""
        return [self.unet]

    @property
    def size_multiple(self) -> int:
        """Height and width of a video must be multiples of this many pixels."""
        return self.geometry.vae_spatial_ratio * max(self.geometry.patch[1:])

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.compute_device or self.unet.device

    @property
    def latent_shift(self) -> float:
        """What the VAE's own latents have more than scaled ones; Stable Diffusion 3's has a shift, most have none."""
        return self.vae.config.get("shift_factor") or 0.0

    def freeze(self) -> Components:
        """Put all parts into evaluation mode, without gradients of weights."""
        for part in (*self.networks, self.vae, self.text):
            part.eval().requires_grad_(False)
        return self

    def to(self, device: torch.device) -> Components:
        """Move all parts, in place."""
        for part in (*self.networks, self.vae, self.text):
            part.to(device)
        return self

    def save_memory(self) -> Components:
        """Use gradient checkpointing: guided passes need about a fifteenth of the memory, and 1.5 times as long.

        Warns where a network has no layers that can be checkpointed.
        """
        if not sum(map(add_checkpointing, self.networks)):
            warn(f"saving memory changes nothing in {self.name}: its layers cannot be computed twice")
        return self

    def tile_codec(self) -> None:
        """Let the VAE encode and decode in overlapping tiles; warns where it cannot. `PatchCodec` needs none."""
        if isinstance(self.vae, AutoencoderKL):
            self.vae.enable_tiling()
        elif not isinstance(self.vae, PatchCodec):
            warn(f"{self.name}: its {type(self.vae).__name__} encodes and decodes whole frames, not in tiles")

    def noise(self, seeds: Sequence[int], frames: int, height: int, width: int, windowed: bool = False) -> Tensor:
        drawn = super().noise(seeds, frames, height, width, windowed)
        return drawn.to(self.device, self.unet.dtype)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        # Eight frames at a time, which bounds the memory of the VAE.
        images = latents.movedim(2, 1).flatten(0, 1)
        batches = [self._pixels(batch) for batch in images.split(8)]
        pixels = torch.cat(batches)

        # [sample, frame, 3, height, width] to channels last.
        by_sample = pixels.unflatten(0, (len(latents), -1))
        return by_sample.movedim(2, -1)

    def _pixels(self, images: Tensor) -> Tensor:
        """Latents `[image, channel, height, width]` as uint8 pixels `[image, 3, height, width]`."""
        unscaled = images / self.vae.config.scaling_factor + self.latent_shift
        output = self.vae.decode(unscaled.to(self.vae.dtype))
        decoded = output.sample.float()  # in -1..1
        levels = (decoded + 1) * 127.5
        rounded = (levels + 0.5).floor()  # half a level rounds up
        return rounded.clamp(0, 255).to(torch.uint8)

    @torch.no_grad()
    def to_latents(self, pixels: Tensor, draw: torch.Generator | None = None) -> Tensor:
        # Eight frames at a time, each an image for the VAE.
        encodings = []
        device = self.device  # looked up once: diffusers walks all modules for it
        channels_first = pixels.flatten(0, 1).movedim(-1, 1)
        for batch in channels_first.split(8):
            images = batch.to(device)
            scaled = images.to(self.vae.dtype) / 127.5 - 1
            encodings.append(latents_of(self.vae.encode(scaled), draw))

        unscaled = torch.cat(encodings).to(self.unet.dtype)
        latents = (unscaled - self.latent_shift) * self.vae.config.scaling_factor
        by_sample = latents.unflatten(0, (len(pixels), -1))  # [sample, frame, channel, height, width]
        return by_sample.movedim(1, 2)

    def schedule(self, steps: int, name: str = "") -> Schedule:
        return Schedule(scheduler_named(name, self.scheduler) if name else self.scheduler, steps)
