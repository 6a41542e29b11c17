"""Windows in time: a model sees a long video in overlapping pieces, and its answers are blended.

MultiDiffusion in time (Bar-Tal et al. 2023; Gen-L-Video, Wang et al. 2023), with the prompts and the schedule of
DiTCtrl (Cai et al. 2025). Predictions are blended, not steps, so that one solver of any kind serves the whole video.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from ..core.control import Control, Run, one_each
from ..core.types import AttentionMapRequest, Branch, Conditioning, Denoise, Span, Step
from ..errors import AnimaticError
from ..timeline import Timeline, Window

Source = Literal["", "previous", "chained", "first"]


@dataclass
class Windows(Control):
    """Every window is asked on its own, told its own words; answers are averaged, weighted by `profile`.

    Put it after guidance and energies, before sharing. The text it is told is that of all parts in a row
    (`[row, part * token, channel]`), and so are the tokens of `Maps`.

    `profile`: a window's frames weigh more towards its middle, or all the same. `source`: whose keys and values a
    window reads, nobody's, the previous window's as it was without reading (DiTCtrl: what was read and what was not are
    averaged), "chained" as it was with reading, or the first one's. `during`: the part of the run in which they are
    read, from and up to. `pairs` asks each window beside the next, DiTCtrl's own order; without it the answers are the
    same and each is asked for once. `batch`: windows that are asked together.
    """

    timelines: Sequence[Timeline] = field(repr=False)
    profile: Literal["triangle", "flat"] = "triangle"
    source: Source = ""
    during: Span = (2 / 50, 25 / 50)  # DiTCtrl
    pairs: bool = False
    batch: Annotated[int, Field(ge=1)] = 4

    def begin(self, run: Run) -> Windows:
        one_each(self, self.timelines, run.x)
        plans = {reel.plan for reel in self.timelines}
        grid = {(plan.frames, plan.size, tuple(w.first for w in plan.windows)) for plan in plans}
        if len(grid) != 1:
            raise AnimaticError("stories of one batch must have windows at the same frames")
        if next(iter(plans)).frames != run.x.shape[2]:
            raise AnimaticError(f"the windows cover {next(iter(plans)).frames} frames; the sample has {run.x.shape[2]}")
        return self

    def denoise(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        size, parts = self.timelines[0].plan.size, max(len(reel.scenes) for reel in self.timelines)
        text = cond.text.unflatten(1, (parts, -1))
        profile = self._profile(size).to(x)
        total, weight = torch.zeros_like(x), x.new_zeros(x.shape[2])
        looks = cond.map_request and WindowedMaps(cond.map_request, text.shape[2], x.shape[2])
        calls = self._calls(step, cond.branches)
        for i, call in enumerate(calls):
            outer, rows = [cond.branches.index(_whole(row)) for row, _ in call], tuple(row for row, _ in call)
            told = Conditioning(
                torch.stack([_mixed(text[o], row) for o, row in zip(outer, rows, strict=True)]),
                rows,
                {name: value[outer] for name, value in cond.extra.items()},
                looks and looks.wanted(outer),
                frozenset().union(*(_goes_back_to(row) for later in calls[i + 1 :] for row, _ in later)),
            )
            seen = torch.stack(
                [x[o, :, r.first_frame : r.first_frame + size] for o, r in zip(outer, rows, strict=True)]
            )
            answer = inner(seen, step, told)
            for a, o, (row, times) in zip(answer, outer, call, strict=True):
                frames = slice(row.first_frame, row.first_frame + size)
                total[o, :, frames] += times * profile[:, None, None] * a
                if o == 0:
                    weight[frames] += times * profile
            if looks and told.map_request:
                looks.add(told.map_request, outer, rows, profile)
        if looks:
            looks.finish()
        return total / weight[:, None, None]

    def _profile(self, size: int) -> Tensor:
        """Weight of each frame of a window: min(u, 2 - u), u = 2 (j + 1/2) / size, or 1 (DiTCtrl)."""
        u = 2 * (torch.arange(size) + 0.5) / size
        return torch.minimum(u, 2 - u) if self.profile == "triangle" else torch.ones(size)

    def _calls(self, step: Step, outer: Sequence[Branch]) -> list[list[tuple[Branch, int]]]:
        """Rows of each call, and how often their answer counts."""
        return [
            [(self._row(row, k, reads), times) for k, reads, times in call for row in outer]
            for call in self._passes(step.within(self.during))
        ]

    def _passes(self, reading: bool) -> Iterator[list[tuple[int, bool, int]]]:
        """Window, whether it reads, how often it counts: call by call."""
        count = len(self.timelines[0].plan.windows)
        if self.pairs and count > 1:
            yield from ([(k, False, 1), (k + 1, reading, 1)] for k in range(count - 1))
            return
        average = self.source == "previous"  # windows between others are asked with reading and without
        for first in range(0, count, self.batch):
            chunk = range(first, min(first + self.batch, count))
            if not (average and reading):
                yield [(k, reading and bool(self.source) and k > 0, 1 + (average and 0 < k < count - 1)) for k in chunk]
                continue
            yield [(k, 0 < k == count - 1, 1) for k in chunk]
            again = [(k, True, 1) for k in chunk if 0 < k < count - 1]
            if again:
                yield again

    def _row(self, row: Branch, k: int, reads: bool) -> Branch:
        """The row of window `k` of a stream."""

        def plain(k: int) -> Branch:
            window = self._window(row, k)
            return replace(row, first_frame=window.first, prompt_weights=window.prompt_weights)

        if not reads or not self.source:
            return plain(k)
        source = plain(0)
        if self.source == "previous":
            source = plain(k - 1)
        elif self.source == "chained":
            for i in range(1, k):
                source = replace(plain(i), kv_source=source)
        return replace(plain(k), kv_source=source)

    def _window(self, row: Branch, k: int) -> Window:
        """A negative row is told the one negative prompt that weighs more, as DiTCtrl does."""
        window = self.timelines[row.sample].plan.windows[k]
        if not row.negative:
            return window
        return replace(window, prompt_weights=((max(window.prompt_weights, key=lambda p: (p[1], p[0]))[0], 1.0),))


def _whole(row: Branch) -> Branch:
    """The row of the whole video that a window's row is a part of."""
    return Branch(row.negative, row.sample)


def _goes_back_to(row: Branch) -> set[Branch]:
    """Rows whose keys, or whose beginnings, a row makes use of."""
    return set() if row.kv_source is None else {row.kv_source, replace(row, kv_source=None)}


def _mixed(text: Tensor, row: Branch) -> Tensor:
    """Words `[part, token, channel]` mixed by the row's weights."""
    if len(row.prompt_weights) == 1:
        return text[row.prompt_weights[0][0]]
    return sum((weight * text[part] for part, weight in row.prompt_weights), torch.zeros_like(text[0]))


@dataclass
class WindowedMaps:
    """A request for maps, passed on to windows and put together again: a mean over the windows that were told the word.

    Nothing is seen of a word in frames where no window was told it. `tokens` are in a part, `frames` in all.
    """

    maps: AttentionMapRequest
    tokens: int
    frames: int
    total: dict[str, Tensor] = field(default_factory=dict)
    weight: dict[str, Tensor] = field(default_factory=dict)

    def wanted(self, outer: Sequence[int]) -> AttentionMapRequest:
        return replace(self.maps, tokens=self.maps.tokens[outer] % self.tokens, found={})

    def add(self, seen: AttentionMapRequest, outer: Sequence[int], rows: Sequence[Branch], profile: Tensor) -> None:
        for name, p in seen.found.items():
            shape = (len(self.maps.tokens), self.frames, *p.shape[2:])
            total = self.total.setdefault(name, p.new_zeros(shape))
            weight = self.weight.setdefault(name, p.new_zeros(*shape[:2], shape[-1]))
            for i, (o, row) in enumerate(zip(outer, rows, strict=True)):
                told = torch.tensor([part for part, _ in row.prompt_weights], device=p.device)
                scale = profile[:, None].to(p) * torch.isin(self.maps.tokens[o] // self.tokens, told)
                frames = slice(row.first_frame, row.first_frame + p.shape[1])
                total[o, frames] += p[i] * scale[:, None, None, None]
                weight[o, frames] += scale

    def finish(self) -> None:
        for name, total in self.total.items():
            self.maps.found.setdefault(name, total / self.weight[name].clamp(min=1e-6)[:, :, None, None, None])
