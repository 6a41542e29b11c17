"""THE LOOP, and the four verbs by which a control can interfere with it.

| verb      | question               | type                                   |
|-----------|------------------------|----------------------------------------|
| `tell`    | what is the model told | Cond -> Cond                           |
| `attend`  | how does it look       | (site, q, k, v, mask) -> out           |
| `denoise` | what does it answer    | (x, step, cond) -> prediction          |
| `steer`   | where is the sample    | x -> x, at every noise level and clean |

A method is a list of controls. They nest in list order: the first is outermost, and each sees as `inner` only what
is inside it. Latents are `[row, channel, frame, height, width]` everywhere; an image is a one-frame video.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from .errors import AnimaticError

if TYPE_CHECKING:
    from .backbones.base import Backbone
    from .schedule import Schedule


Share = Annotated[float, Field(ge=0, le=1)]  # of the noise levels, or of the cells in a box
Span = tuple[Share, Share]  # of the run: from, and up to


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
class Row:
    """What one row of a batch is: the negative or positive pass of sample `stream`, its frames from `first` on.

    `parts` says which of the stream's prompts (of a story) it is told, with what weights. `source` is the row whose
    keys and values it is to read instead of its own (see `controls.sharing`): of this call, or an earlier one.
    """

    negative: bool = False
    stream: int = 0
    first: int = 0
    parts: tuple[tuple[int, float], ...] = ((0, 1.0),)
    source: Row | None = None


@dataclass(frozen=True)
class Maps:
    """A request: the attention probabilities of chosen text tokens, from the layers that match `sites` (globs).

    `tokens` is `[row, wanted]`. Each matching layer puts
    `[row, frame, head, height, width, wanted]` into `found` under its name; with `mean`, its mean over heads as one.
    With `only`, nobody needs the prediction: the network stops after the last of these layers and answers NaN.
    """

    tokens: Tensor
    sites: tuple[str, ...] = ("*",)
    only: bool = False
    mean: bool = False
    found: dict[str, Tensor] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Cond:
    """What the model is told: `text` is `[row, token, channel]`, `rows` says what each row is.

    `kept` are rows, of this call or earlier ones at this noise level, that later calls will go back to.
    """

    text: Tensor
    rows: tuple[Row, ...]
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    maps: Maps | None = None
    kept: frozenset[Row] = frozenset()

    @property
    def streams(self) -> list[int]:
        return [row.stream for row in self.rows]

    @property
    def positive(self) -> Cond:
        """The same without its negative rows."""
        keep = [i for i, row in enumerate(self.rows) if not row.negative]
        extra = {name: value[keep] for name, value in self.extra.items()}
        maps = self.maps and replace(self.maps, tokens=self.maps.tokens[keep])
        return replace(self, text=self.text[keep], rows=tuple(self.rows[i] for i in keep), extra=extra, maps=maps)


@dataclass(frozen=True)
class Site:
    """One attention layer in one call.

    `name` is its module path; `kind` is "self", "cross", "time" or "joint" (text and video in one sequence, text
    first); `fold` is how many batch entries belong to one row (frames in space layers, height * width in time layers, 1
    in transformers, which see all frames at once); `text` are the key positions that are text, in joint layers the
    query positions too; `grid` is (frames, height, width) at this layer; `width` are the channels of a head, before
    anybody adds to them.
    """

    name: str
    kind: str
    fold: int
    text: slice
    grid: tuple[int, int, int]
    step: Step = field(compare=False)
    cond: Cond = field(compare=False)
    width: int = 0

    def row(self, i: int) -> Site:
        """The same layer for row `i` alone."""
        return replace(self, cond=replace(self.cond, rows=self.cond.rows[i : i + 1], text=self.cond.text[i : i + 1]))


Attend = Callable[[Site, Tensor, Tensor, Tensor, "Tensor | None"], Tensor]
Denoise = Callable[[Tensor, Step, Cond], Tensor]


@dataclass(frozen=True)
class Run:
    """What a control may know of the run it takes part in; `x` is the first sample, pure noise.

    `cond` is what the model is told before any control's `tell`; None where a control is used outside the loop.
    `seeds` are those of the rows' noise, for controls that draw noise of their own.
    """

    backbone: Backbone
    schedule: Schedule
    x: Tensor
    cond: Cond | None = None
    seeds: Sequence[int] = ()

    def seed(self, row: int) -> int:
        """The seed of a row's noise; 0 where it is not known."""
        return self.seeds[row] if self.seeds else 0


class Control:
    """One idea from one paper. Override one or two verbs; every default is the identity.

    `needs` are words that the backbone must list in `provides`. `begin` returns the control that takes part in one
    run: a control that keeps memory returns a fresh copy of itself there, never writes to itself.
    """

    needs: frozenset[str] = frozenset()

    def begin(self, run: Run) -> Control:
        return self

    def tell(self, cond: Cond, step: Step) -> Cond:
        return cond

    def attend(self, inner: Attend, site: Site, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        return inner(site, q, k, v, mask)

    def denoise(self, inner: Denoise, x: Tensor, step: Step, cond: Cond) -> Tensor:
        return inner(x, step, cond)

    def steer(self, inner: Denoise, x: Tensor, step: Step, cond: Cond) -> Tensor:
        return x


def plain(site: Site, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Fused attention over `[batch, head, token, width]`; extra columns of `v` ride along at no other cost."""
    width, wanted = q.shape[-1], v.shape[-1]
    if width != wanted:  # fused kernels want one width and are quickest in eights; zeros change no product
        widest = -(-max(width, wanted) // 8) * 8
        q, k, v = (F.pad(part, (0, widest - part.shape[-1])) for part in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=width**-0.5)[..., :wanted]


def check(backbone: Backbone, controls: Sequence[Control]) -> None:
    """Refuse controls whose needs the backbone does not meet, before anything runs."""
    for control in controls:
        missing = sorted(control.needs - backbone.provides)
        if missing:
            has = ", ".join(sorted(backbone.provides))
            raise AnimaticError(f"{type(control).__name__} needs {', '.join(missing)}; {backbone.name} provides {has}")


def one_each(control: Control, scenes: Sequence[Any], x: Tensor) -> None:
    """Refuse a control that has not one scene for each sample of `x`."""
    if len(scenes) != len(x):
        name = type(control).__name__
        raise AnimaticError(f"{name} has {len(scenes)} scenes for {len(x)} samples; want one each")


@torch.no_grad()
def sample(
    backbone: Backbone, schedule: Schedule, x: Tensor, cond: Cond, controls: Sequence[Control] = (),
    seeds: Sequence[int] = (),
) -> Tensor:  # fmt: skip
    """Denoise `x` (unit noise, `[row, channel, frame, height, width]`) into clean latents under `controls`.

    `seeds` are those that made `x`, one a row, where that is known.
    """
    check(backbone, controls)
    x = schedule.start(x)
    controls = [c.begin(Run(backbone, schedule, x, cond, seeds)) for c in controls]
    attend: Attend = plain
    for c in reversed(controls):
        attend = partial(c.attend, attend)

    def model(x: Tensor, step: Step, cond: Cond) -> Tensor:
        for c in controls:
            cond = c.tell(cond, step)
        return backbone(schedule.scale(x, step), step, cond, attend)

    denoise, inners = model, []
    for c in reversed(controls):
        inners.insert(0, denoise)
        denoise = partial(c.denoise, denoise)
    for step in schedule:  # the noisy levels, then the clean one
        for c, inner in zip(controls, inners, strict=True):
            x = c.steer(inner, x, step, cond)
        if not step.clean:
            x = schedule.advance(x, denoise(x, step, cond), step)
    return x
