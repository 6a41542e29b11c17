"""The interface of every generator: a frozen denoiser with its own text encoder, latent space and noise schedule."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor, nn

from ..errors import AnimaticError
from ..scene import Scene
from .arithmetic import ceil_div
from .schedule import Schedule
from .seeds import check_seed
from .text import ClipText, find
from .types import Attend, Branch, Conditioning, Step

if TYPE_CHECKING:
    from .feature_reuse import FeatureCache

DTYPES = ("float32", "bfloat16", "float16")
QUANTIZED = ("int8", "fp8")


@dataclass(frozen=True)
class Geometry:
    """Native size of a model's videos in pixels and frames, and the size of their latents."""

    frames: int
    height: int
    width: int
    channels: int = 4
    vae_spatial_ratio: int = 8  # pixels per latent cell
    fps: float = 8.0
    max_frames: int = 1024
    vae_temporal_ratio: int = 1  # frames per latent frame; the first latent frame holds one frame
    patch: tuple[int, int, int] = (1, 1, 1)  # latent frames, rows and columns of cells per token

    def latent(self, frames: int, height: int, width: int, windowed: bool = False) -> tuple[int, int, int, int]:
        """(channel, frame, height, width) of the latents of a video of this size in frames and pixels.

        `windowed`: the model evaluates it in windows, so that it may be longer than `max_frames`. Raises
        `AnimaticError` where the model does not take this size.
        """
        if frames < 1 or (frames > self.max_frames and not windowed):
            raise AnimaticError(f"frames is {frames}; this model takes 1 to {self.max_frames}")

        ratio = self.vae_spatial_ratio
        frames_per_token, rows, columns = self.patch
        for name, value, cells in (("height", height, rows), ("width", width, columns)):
            # whole tokens, of whole cells
            multiple = ratio * cells
            if value < multiple or value % multiple:
                raise AnimaticError(f"{name} is {value}; this model takes multiples of {multiple} pixels")

        # the first latent frame holds one frame; where tokens hold two latent frames there is a spare one before it
        after_first = ceil_div(frames - 1, self.vae_temporal_ratio)
        tokens = ceil_div(after_first + frames_per_token, frames_per_token)
        latent_frames = tokens * frames_per_token
        return self.channels, latent_frames, height // ratio, width // ratio

    def pixel_frames(self, latent_frames: int) -> int:
        """Frames of a video with so many latent frames: the first is one frame, one is spare where tokens hold two."""
        after_first = latent_frames - self.patch[0]
        return after_first * self.vae_temporal_ratio + 1

    def middle_frames(self, latent_frames: int) -> list[int]:
        """Of each latent frame of a video, the frame in the middle of those that it holds."""
        spare = self.patch[0] - 1
        ratio = self.vae_temporal_ratio
        return [max(0, (i - spare) * ratio - ratio // 2) for i in range(latent_frames)]


@dataclass(frozen=True)
class ModelDefaults:
    """Sampling options of a model where the user sets none."""

    steps: int = 25
    guidance: float = 7.5
    negative: str = ""
    scheduler: str = ""  # "": the one that the model comes with
    prompt_suffix: str = ""  # appended to every prompt of a finisher
    low_noise_guidance: float | None = None  # of a second network for low noise; None: the same

    def negative_text(self, scene: str, run: str = "") -> str:
        """The negative prompt: the scene's, the model's own, and `run`, that of a kind of run, joined by commas.

        `run` belongs to the model's own: where the model has none, or it was set to "", `run` is left out too.
        """
        parts = [scene, self.negative]

        # a user who wants no negative prompt gets none at all
        if self.negative:
            parts.append(run)
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True)
class MemoryOptions:
    """How to save memory; the default saves none.

    `dtype`: of the weights, one of DTYPES; "" is float32 on a CPU and the model's own on a GPU. `quantize`: one of
    QUANTIZED, the weights of the linear layers of networks and text encoder; activations keep `dtype` (torchao).
    `offload`: weights are kept in main memory and moved to the device block by block. `save_memory`: passes with
    gradients recompute activations (gradient checkpointing), and video autoencoders decode tile by tile, which changes
    pixels slightly at the seams. Raises `AnimaticError` where an option is unknown or excludes another.
    """

    dtype: str = ""
    quantize: str = ""
    offload: bool = False
    save_memory: bool = False

    def __post_init__(self) -> None:
        for name, known in (("dtype", DTYPES), ("quantize", QUANTIZED)):
            value = getattr(self, name)
            if value and value not in known:
                raise AnimaticError(f"{name} is {value!r}; want one of {', '.join(known)}")
        if self.quantize and self.offload:
            raise AnimaticError("quantize and offload are both set; quantised weights cannot be moved: want one")
        if self.quantize and not find_spec("torchao"):
            raise AnimaticError(f"quantize is {self.quantize!r}, which needs torchao; pip install 'animatic[quantize]'")


def no_image(name: str) -> AnimaticError:
    """The refusal of an image by the model called `name`."""
    return AnimaticError(f"{name} reads no image; want a model that animates one, such as wan2.2-5b")


class ConcatConditioning(ABC):
    """The conditioning of a finishing model: channels that are concatenated to the noise.

    A finisher makes `factor` times as many frames, or `factor` times as many pixels a side. Clips are latents
    `[sample, channel, frame, height, width]`. The source is latents of key frames, or, where `pixels` is true, a small
    clip `[sample, 3, frame, height, width]` in -1..1.
    """

    factor: int
    pixels: ClassVar[bool] = False
    level: int | None = None  # noise level of the noise added to the source
    side: ClassVar[int] = 0  # latent cells a side per tile, as the cost of attention grows with their square; 0: all
    residual_std: float = 1.0  # root mean square of clip - prior: the unit of the network's output

    @abstractmethod
    def condition(
        self, given: Tensor, source: torch.Generator | None = None, still: bool = True
    ) -> tuple[Tensor, Tensor]:
        """(prior, channels): a first estimate of the clip, and what is concatenated to the noise, both of its size.

        `given` is the source, `source` the generator of the noise added to it; `still`: the same noise in every frame.
        """


class Backbone(ABC):
    """A frozen image or video model.

    `name`: for messages. `family`: whose settings the methods use, "modelscope", "zeroscope", "mini", ..., or "" for
    those of any model. `architecture`: whose settings they use where the family has none of its own, "transformer" or
    "". `provides`: the capabilities that controls may need. `words`: the only objects it can show;
    empty where there is no such limit. `concat_conditioning`: set for models that finish videos. `reference`: the name
    or folder from which `load` loads it again ("" where it was assembled by hand). `loras`: (file, scale, network) of
    each adapter added to it, network "" for all. `embeddings`: (file, word) of each word added to its text encoder.
    `memory`: the memory options it was loaded with. `image_input`: whether its clips can begin with an image
    ("optional"), must ("required") or cannot (""). `first_frame`: clean latents `[1, channel, 1, height, width]` in
    place of a sample's first latent frame, set by `with_image` alone.
    """

    name: str
    family: str = ""
    architecture: ClassVar[str] = ""
    provides: frozenset[str]
    geometry: Geometry
    defaults: ModelDefaults
    text: ClipText
    words: tuple[str, ...] = ()
    concat_conditioning: ConcatConditioning | None = None
    reference: str = ""
    loras: tuple[tuple[str, float, str], ...] = ()
    embeddings: tuple[tuple[str, str], ...] = ()
    memory: MemoryOptions | None = None
    image_input: Literal["", "optional", "required"] = ""
    first_frame: Tensor | None = None

    @abstractmethod
    def __call__(self, x: Tensor, step: Step, cond: Conditioning, attend: Attend) -> Tensor:
        """The network's prediction for `x` `[branch, channel, frame, height, width]`, as its scheduler defines it.

        `x` holds one entry for each of `cond.branches`, or one for all. Every attention layer is computed by `attend`.
        The prediction has the shape of `x`, one entry a branch.
        """

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Clean latents to pixels: uint8 `[sample, frame, height, width, 3]`."""

    @abstractmethod
    def to_latents(self, pixels: Tensor, draw: torch.Generator | None = None) -> Tensor:
        """Pixels in 0..255 `[sample, frame, height, width, 3]` to clean latents, the mean of the encoder's posterior.

        With `draw`, a sample of the posterior drawn from that generator.
        """

    def has_low_noise(self, step: Step) -> bool:
        """Whether `step` is one of a second network for low noise, which most models do not have."""
        return False

    @abstractmethod
    def schedule(self, steps: int, name: str = "") -> Schedule:
        """The model's own scheduler, or another of diffusers' by name, as `steps` noise levels."""

    @torch.no_grad()
    def encode(self, prompts: Sequence[str], negatives: Sequence[str]) -> Conditioning:
        """Two branches a prompt: all negative prompts first, then all prompts; sample i has prompt i."""
        branches = []
        for negative in (True, False):
            branches += [Branch(negative, i) for i in range(len(prompts))]

        # in one pass, so that all have as many chunks
        states = self.text.in_chunks([*negatives, *prompts])
        return Conditioning(states, tuple(branches))

    @torch.no_grad()
    def encode_stories(self, prompts: Sequence[Sequence[str]], negatives: Sequence[Sequence[str]]) -> Conditioning:
        """Two branches a story: the prompts of its scenes, as many for each story, are one sequence of tokens.

        `[branch, scene * token, channel]`, all negative prompts first; sample i has the prompts i. Raises
        `AnimaticError` where there are several and the model takes one prompt a video.
        """
        count = len(prompts)
        scenes = len(prompts[0])
        every_prompt = [prompt for story in prompts for prompt in story]
        every_negative = [negative for story in negatives for negative in story]
        cond = self.encode(every_prompt, every_negative)
        if cond.extra and scenes > 1:
            raise AnimaticError(f"{self.name} takes one prompt a video; want a single scene, or a model for stories")

        # [sign * story * scene, token, channel]: the scenes of a story become one sequence
        by_scene = cond.text.unflatten(0, (2, count, scenes))
        in_a_row = by_scene.flatten(2, 3)
        branches = [Branch(negative, i) for negative in (True, False) for i in range(count)]
        return Conditioning(in_a_row.flatten(0, 1), tuple(branches), cond.extra)

    def with_image(self, pixels: Tensor, frames: int) -> Backbone:
        """The model whose clips begin with an image: a copy that shares its weights.

        `pixels`: 0..255 `[1, 1, height, width, 3]` in the size of the clips; `frames`: of each clip. Raises
        `AnimaticError` where the model reads no image.
        """
        raise no_image(self.name)

    def noise(self, seeds: Sequence[int], frames: int, height: int, width: int, windowed: bool = False) -> Tensor:
        """Unit noise `[sample, channel, frame, height, width]`, one sample a seed, for a video of this size.

        It is drawn on the CPU, so that it is the same for every device. Raises `AnimaticError` where a seed is not
        0..2**63 - 1, or the model does not take this size.
        """
        # one generator a seed: a sample must not depend on the batch that it is in
        generators = [torch.Generator().manual_seed(check_seed(seed)) for seed in seeds]
        shape = self.geometry.latent(frames, height, width, windowed)
        samples = [torch.randn(shape, generator=generator) for generator in generators]
        return torch.stack(samples)

    def chain(self, step: Step) -> Mapping[str, nn.Module]:
        """The blocks by name, in order, of a network in which each block reads the one before alone; {} for a UNet."""
        return {}

    def feature_cache(self) -> FeatureCache | None:
        """What reuses features of its network between noise levels (see `feature_reuse`); None where nothing can.

        Raises `AnimaticError` where the network has such a cache already.
        """
        return None

    @property
    def attention_layers(self) -> tuple[str, ...]:
        """The names of the attention layers that controls reach; () where they are not known."""
        return ()

    def text_layer_heads(self, layers: Sequence[str]) -> dict[str, int]:
        """The text attention layers whose name matches `layers` (globs), and how many heads each has; 0: not known."""
        return {}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Whatever the model needs around one run; most need nothing."""
        yield

    def check_size(self, frames: int, height: int, width: int) -> None:
        """Raise `AnimaticError` where the model does not take videos of so many frames and pixels."""
        self.geometry.latent(frames, height, width)

    def check_scene(self, scene: Scene) -> None:
        """Raise `AnimaticError` where the model cannot show an object of the scene, or is one that finishes videos."""
        if self.concat_conditioning is not None:
            hint = "want animatic finish or --then for it, and another model to make the video"
            raise AnimaticError(f"{self.name} finishes videos and makes none from noise; {hint}")

        # a model of a small world has seen these words alone
        for track in scene.tracks:
            if self.words and not any(find(track.phrase, word) for word in self.words):
                raise AnimaticError(f"{self.name} cannot show {track.phrase!r}; it knows {', '.join(self.words)}")
