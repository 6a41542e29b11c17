"""The data types of the loop: noise levels, conditioning, and attention layers as controls see them.

Samples are latents `[sample, channel, frame, height, width]` everywhere; an image is a one-frame video. The network
evaluates a batch of branches (see `Branch`), one or more for each sample.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated

from pydantic import Field
from torch import Tensor

Fraction = Annotated[float, Field(ge=0, le=1)]  # of the noise levels, or of the cells in a box
Span = tuple[Fraction, Fraction]  # of the noise levels: [from, to)


@dataclass(frozen=True)
class Step:
    """One noise level: step `index` of `count`; the level after the last is the clean one (`index == count`).

    `t` is the timestep given to the network (a number, or one per branch), `noise` is sqrt(1 - alpha_bar), `gain` is
    the scale of the scheduler's samples relative to variance-preserving ones.
    """

    index: int
    count: int
    t: float | Tensor
    noise: float = 0.0
    gain: float = 1.0

    @property
    def fraction(self) -> float:
        """Position in the run: 0 at the first level, 1 at the clean one."""
        return self.index / self.count

    @property
    def clean(self) -> bool:
        """Whether this is the level after the last, at which samples hold no noise."""
        return self.index == self.count

    def within(self, span: Span) -> bool:
        """Whether the level lies in `span`, its end excluded."""
        return span[0] <= self.fraction < span[1]


@dataclass(frozen=True)
class Branch:
    """What one entry of the network's batch evaluates: the unconditional or the conditional branch of a sample.

    `negative`: conditioned on the negative prompt (the unconditional branch of classifier-free guidance). `sample`:
    index of the sample. `first_frame`: first latent frame, where the branch covers a window of the sample.
    `prompt_weights`: (index, weight) of each of the sample's prompts (a story has several) that it is conditioned on.
    `kv_source`: the branch whose keys and values it attends to in place of its own (see `controls.sharing`), of the
    same call of the network or of an earlier one at this noise level. `story`: index of the run's scene or story that
    it shows a region of, where `sample` is not that index.
    """

    negative: bool = False
    sample: int = 0
    first_frame: int = 0
    prompt_weights: tuple[tuple[int, float], ...] = ((0, 1.0),)
    kv_source: Branch | None = None
    story: int | None = None

    @property
    def shown(self) -> int:
        """Index of the run's scene or story that it shows."""
        return self.sample if self.story is None else self.story


@dataclass(frozen=True)
class AttentionMapRequest:
    """A request for the attention probabilities of chosen text tokens.

    `tokens` `[branch, token]` are key positions, as many for each branch. Each layer whose name matches one of the
    globs `layers` stores `[branch, frame, head, height, width, token]` in `found` under its name; with
    `mean_over_heads` the head axis has length 1. With `maps_only` the prediction is not needed: the network stops after
    the last of these layers and returns NaN.
    """

    tokens: Tensor
    layers: tuple[str, ...] = ("*",)
    maps_only: bool = False
    mean_over_heads: bool = False
    found: dict[str, Tensor] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Conditioning:
    """What the network is conditioned on: `text` `[branch, token, channel]`, and a description of each branch.

    `extra` holds further tensors by name, `[branch, ...]` each. `reused` are branches, of this call or of earlier ones
    at this noise level, whose keys and values or activations later calls will read. `first_scene`: index in
    `Run.evaluated` of the scene of sample 0; those of the other samples follow.
    """

    text: Tensor
    branches: tuple[Branch, ...]
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    map_request: AttentionMapRequest | None = None
    reused: frozenset[Branch] = frozenset()
    first_scene: int = 0

    @property
    def samples(self) -> list[int]:
        """The sample index of each branch."""
        return [branch.sample for branch in self.branches]

    @property
    def scenes(self) -> list[int]:
        """The index in `Run.evaluated` of each branch's scene."""
        return [self.first_scene + branch.sample for branch in self.branches]

    @property
    def positive(self) -> Conditioning:
        """The conditional branches alone."""
        kept = [i for i, branch in enumerate(self.branches) if not branch.negative]

        # `found` stays the same dictionary, so that maps come to whoever asked
        request = self.map_request
        if request is not None:
            request = replace(request, tokens=request.tokens[kept])

        branches = tuple(self.branches[i] for i in kept)
        extra = {name: value[kept] for name, value in self.extra.items()}
        return replace(self, text=self.text[kept], branches=branches, extra=extra, map_request=request)


@dataclass(frozen=True)
class AttentionCall:
    """One attention layer in one evaluation of the network.

    `layer`: the module's path. `kind`: "self", "cross", "time" (over frames) or "joint" (text and video in one
    sequence, text first). `entries_per_branch`: batch entries that belong to one branch (frames in space layers, height
    * width in time layers, 1 in transformers, which attend to all frames at once). `text_keys`: the key positions of
    the text, in joint layers the query positions too. `grid`: (frames, height, width) at this layer. `head_width`:
    channels of a head, before controls append any.
    """

    layer: str
    kind: str
    entries_per_branch: int
    text_keys: slice
    grid: tuple[int, int, int]
    step: Step = field(compare=False)
    cond: Conditioning = field(compare=False)
    head_width: int = 0

    def of_branch(self, i: int) -> AttentionCall:
        """The same layer for branch `i` alone."""
        one = slice(i, i + 1)
        own = replace(self.cond, branches=self.cond.branches[one], text=self.cond.text[one])
        return replace(self, cond=own)


Attend = Callable[[AttentionCall, Tensor, Tensor, Tensor, "Tensor | None"], Tensor]
Denoise = Callable[[Tensor, Step, Conditioning], Tensor]
