"""The small types of the loop: noise levels, conditioning, and attention layers as controls see them.

Latents are `[row, channel, frame, height, width]` everywhere; an image is a one-frame video.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated

from pydantic import Field
from torch import Tensor

Fraction = Annotated[float, Field(ge=0, le=1)]  # of the noise levels, or of the cells in a box
Span = tuple[Fraction, Fraction]  # of the run: from, and up to


@dataclass(frozen=True)
class Step:
    """One noise level: step `index` of `count`; the level after the last is the clean one (`index == count`).

    `t` is what the network is told (a number, or one per row), `noise` is sqrt(1 - alpha_bar), `gain` is how much
    larger the scheduler's samples are than variance-preserving ones.
    """

    index: int
    count: int
    t: float | Tensor
    noise: float = 0.0
    gain: float = 1.0

    @property
    def fraction(self) -> float:
        return self.index / self.count

    @property
    def clean(self) -> bool:
        return self.index == self.count

    def within(self, span: Span) -> bool:
        return span[0] <= self.fraction < span[1]


@dataclass(frozen=True)
class Branch:
    """What one row of a batch is: the negative or positive pass of sample `stream`, its frames from `first` on.

    `parts` says which of the stream's prompts (of a story) it is told, with what weights. `source` is the row whose
    keys and values it is to read instead of its own (see `controls.sharing`): of this call, or an earlier one.
    """

    negative: bool = False
    sample: int = 0
    first_frame: int = 0
    prompt_weights: tuple[tuple[int, float], ...] = ((0, 1.0),)
    kv_source: Branch | None = None


@dataclass(frozen=True)
class AttentionMapRequest:
    """A request: the attention probabilities of chosen text tokens, from the layers that match `sites` (globs).

    `tokens` is `[row, wanted]`. Each matching layer puts
    `[row, frame, head, height, width, wanted]` into `found` under its name; with `mean`, its mean over heads as one.
    With `only`, nobody needs the prediction: the network stops after the last of these layers and answers NaN.
    """

    tokens: Tensor
    layers: tuple[str, ...] = ("*",)
    maps_only: bool = False
    mean_over_heads: bool = False
    found: dict[str, Tensor] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Conditioning:
    """What the model is told: `text` is `[row, token, channel]`, `rows` says what each row is.

    `kept` are rows, of this call or earlier ones at this noise level, that later calls will go back to.
    """

    text: Tensor
    branches: tuple[Branch, ...]
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    map_request: AttentionMapRequest | None = None
    reused: frozenset[Branch] = frozenset()

    @property
    def samples(self) -> list[int]:
        return [row.sample for row in self.branches]

    @property
    def positive(self) -> Conditioning:
        """The same without its negative rows."""
        keep = [i for i, row in enumerate(self.branches) if not row.negative]
        extra = {name: value[keep] for name, value in self.extra.items()}
        maps = self.map_request and replace(self.map_request, tokens=self.map_request.tokens[keep])
        return replace(
            self, text=self.text[keep], branches=tuple(self.branches[i] for i in keep), extra=extra, map_request=maps
        )


@dataclass(frozen=True)
class AttentionCall:
    """One attention layer in one call.

    `name` is its module path; `kind` is "self", "cross", "time" or "joint" (text and video in one sequence, text
    first); `fold` is how many batch entries belong to one row (frames in space layers, height * width in time layers, 1
    in transformers, which see all frames at once); `text` are the key positions that are text, in joint layers the
    query positions too; `grid` is (frames, height, width) at this layer; `width` are the channels of a head, before
    anybody adds to them.
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
        """The same layer for row `i` alone."""
        return replace(
            self, cond=replace(self.cond, branches=self.cond.branches[i : i + 1], text=self.cond.text[i : i + 1])
        )


Attend = Callable[[AttentionCall, Tensor, Tensor, Tensor, "Tensor | None"], Tensor]
Denoise = Callable[[Tensor, Step, Conditioning], Tensor]
