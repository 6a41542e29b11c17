"""The interface of every generator: a frozen denoiser with its own text encoder, latent space and noise schedule."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor, nn

from ..errors import AnimaticError
from ..scene import Scene
from .geometry import Geometry as Geometry
from .model_options import DTYPES as DTYPES
from .model_options import QUANTIZED as QUANTIZED
from .model_options import MemoryOptions as MemoryOptions
from .model_options import ModelDefaults as ModelDefaults
from .schedule import Schedule
from .seeds import check_seed
from .text import ClipText, find
from .types import Attend, Branch, Conditioning, Step

if TYPE_CHECKING:
    from .feature_reuse import FeatureCache


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
    "". `rate_matters`: whether predictions depend on the geometry's frame rate. `provides`: the capabilities that
    controls may need. `words`: the only objects it can show, `backgrounds`: the only backgrounds; empty where there is
    no such limit. `concat_conditioning`: set for models that finish videos. `reference`: the name or folder from which
    `load` loads it again ("" where it was assembled by hand). `loras`: (file, scale, network) of each adapter added to
    it, network "" for all. `embeddings`: (file, word) of each word added to its text encoder. `memory`: the memory
    options it was loaded with. `image_input`: whether its clips can begin with an image ("optional"), must ("required")
    or cannot (""). `first_frame`: clean latents `[1, channel, 1, height, width]` in place of a sample's first latent
    frame, set by `with_image` alone.
    """

    name: str
    family: str = ""
    architecture: ClassVar[str] = ""
    rate_matters: ClassVar[bool] = False
    provides: frozenset[str]
    geometry: Geometry
    defaults: ModelDefaults
    text: ClipText
    words: tuple[str, ...] = ()
    backgrounds: tuple[str, ...] = ()
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

    def background_note(self, scene: Scene) -> str:
        """What the model shows where it has not learnt the background of a scene, as a message; "" where it has."""
        if not self.backgrounds or scene.background in self.backgrounds:
            return ""
        if any(find(scene.prompt, background) for background in self.backgrounds):
            return ""
        known = f"want one of {', '.join(self.backgrounds)}"
        if not scene.background:
            return f"the scene names no background: that of {self.name} may change from frame to frame; {known}"
        return f"{self.name} does not know the background {scene.background!r}, and may show others; {known}"

    def word_note(self, scene: Scene) -> str:
        """The words of phrases that a model of a small world has never read, as a message; "" where there are none."""
        if not self.words:
            return ""
        words = dict.fromkeys(word for track in scene.tracks for word in self.text.split_words(track.phrase))
        named = ", ".join(map(repr, words))
        return f"{self.name} has never read {named}: such words may change nothing, or anything" if words else ""
