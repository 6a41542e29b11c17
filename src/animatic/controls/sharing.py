"""Keys and values shared: a row looks at what another shows, and so shows the same things (DiTCtrl, Cai et al. 2025).

Who reads from whom is told in the rows (`Row.source`), by windows or by an edit; here it is done. What is read was
projected, normed and rotated in the row it comes from, so that models with rotary positions share rightly too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ..backbones.prefix_cache import State, record, replay
from ..core.attention import (
    ALL,
    TEXT_KINDS,
    attention_with_columns,
    branch_by_branch,
    matches_any,
    part_of_mask,
    resized_in_time,
)
from ..core.control import Control, Run
from ..core.types import Attend, AttentionCall, Branch, Conditioning, Denoise, Step
from ..errors import AnimaticError
from ..scene import Scene
from ..timeline import Timeline

Place = tuple[int, int, bool]  # stream, first frame, whether it reads: what a negative row shares with its positive one


ShowMasks = Callable[[str, int, Branch, Tensor, Tensor], None]
"""(layer, step, row that reads, the source's mask, its own), both `[frame, height, width]` in 0..1."""


@dataclass(frozen=True)
class ObjectAttention:
    """Attention to the things' words, summed over `count` layers: `[frame, height, width]`."""

    total: Tensor
    count: int

    def mask(self, grid: tuple[int, int, int]) -> Tensor:
        """The mean, per frame stretched to 0..1, on a layer's grid."""
        mean = _on(grid, self.total / self.count)
        low, high = mean.amin((1, 2), keepdim=True), mean.amax((1, 2), keepdim=True)
        return (mean - low) / (high - low + 1e-6)


@dataclass
class ShareKV(Control):
    """In some layers rows with a source read its keys and values. Put it last. `sites`: those layers (globs).

    With `things` (the scenes or stories), by a mask: cells that show the things look only at those that show them in
    the source, and the rest at the rest. The mask is the mean attention, over the layers so far, that cells pay to the
    words of all tracks. `threshold`: what of it, stretched to 0..1, shows things; None leaves it soft. Before the first
    layer that looks at words there is no mask, and all is read. `own_text` leaves a row its own text keys, where text
    and video are one sequence.
    """

    layers: tuple[str, ...] = ("*",)
    object_scenes: Sequence[Scene | Timeline] | None = field(default=None, repr=False)
    threshold: float | None = 0.3
    own_text: bool = False
    show: ShowMasks | None = field(default=None, repr=False)  # called in each layer that shares by masks
    _words: Mapping[tuple[int, int], Sequence[int]] = field(default_factory=dict, repr=False)  # by stream and part
    _bank: dict[tuple[str, Branch], tuple[Tensor, Tensor, Tensor | None]] = field(default_factory=dict, repr=False)
    _seen: dict[Place, ObjectAttention] = field(default_factory=dict, repr=False)
    _states: dict[Branch, tuple[State, ObjectAttention | None]] = field(default_factory=dict, repr=False)
    _run: Run = field(init=False, repr=False)

    def begin(self, run: Run) -> ShareKV:
        words: dict[tuple[int, int], tuple[int, ...]] = {}
        for stream, scene in enumerate(self.object_scenes or ()):
            for i, track in enumerate(scene.tracks):
                part, said = scene.part(i)
                found = run.backbone.text.positions(said.prompt, track.phrase)
                words[stream, part] = (*words.get((stream, part), ()), *found)
        if self.object_scenes is not None and not any(words.values()):
            raise AnimaticError("masked sharing needs things; no scene has a track whose phrase is in its prompt")
        own = replace(self, _words=words, _bank={}, _seen={}, _states={})
        own._run = run
        return own

    def denoise(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        """Ask, beginning where an earlier call has left the same rows before they read, if there was one."""
        chain = self._run.backbone.chain(step)
        first = next((i for i, name in enumerate(chain) if matches_any(f"{name}.attn1", self.layers)), 0)
        before = list(chain.values())[:first]
        twins = [replace(row, kv_source=None) for row in cond.branches]
        self._seen.clear()
        forking: AbstractContextManager[None] = nullcontext()
        if before and not torch.is_grad_enabled() and cond.map_request is None:
            if all(row.kv_source and twin in self._states for row, twin in zip(cond.branches, twins, strict=True)):
                states, seen = zip(*(self._states[twin] for twin in twins), strict=True)
                self._seen |= {_place(row): s for row, s in zip(cond.branches, seen, strict=True) if s}
                forking = replay(before, states)
            elif cond.reused:
                forking = record(before[-1], lambda i, state: self._keep(cond, i, state), len(cond.branches))
        with forking:
            answer = inner(x, step, cond)
        self._bank = {key: value for key, value in self._bank.items() if key[1] in cond.reused}
        self._states = {row: state for row, state in self._states.items() if row in cond.reused}
        return answer

    def _keep(self, cond: Conditioning, i: int, state: State) -> None:
        row = cond.branches[i]
        if row in cond.reused:
            self._states[row] = state, None if row.negative else self._seen.get(_place(row))

    def attend(
        self, inner: Attend, site: AttentionCall, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
    ) -> Tensor:
        rows, width = site.cond.branches, site.head_width or q.shape[-1]
        out = self._note(inner, site, q, k, v, mask) if self._words and site.kind in TEXT_KINDS else None
        wanted = {row.kv_source for row in rows} | site.cond.reused
        if site.kind not in ("self", "joint") or wanted <= {None} or not matches_any(site.layer, self.layers):
            return inner(site, q, k, v, mask) if out is None else out
        fold = len(q) // len(rows)
        keys, values = list(k.split(fold)), list(v.split(fold))
        for row, own_k, own_v in zip(rows, keys, values, strict=True):
            if row in wanted:
                self._bank[site.layer, row] = own_k, own_v[..., :width], self._mask(site, row)
        masks: dict[int, tuple[Tensor | None, Tensor | None]] = {}
        for i, row in enumerate(rows):
            if row.kv_source:
                keys[i], values[i], theirs = self._read(site, row, row.kv_source, keys[i], values[i], width)
                mine = self._mask(site, row)
                masks[i] = mine, theirs
                if self.show and mine is not None and theirs is not None and not row.negative:
                    self.show(site.layer, site.step.index, row, theirs, mine)
        if all(mine is None or theirs is None for mine, theirs in masks.values()):
            return inner(site, q, torch.cat(keys), torch.cat(values), mask)
        answers = list((inner(site, q, k, v, mask) if out is None else out).split(fold))
        for i, (mine, theirs) in masks.items():
            at = slice(i * fold, (i + 1) * fold)
            look = SharedAttention(inner, site.of_branch(i), q[at], keys[i], values[i], part_of_mask(mask, at))
            answers[i] = look.all() if mine is None or theirs is None else look.apart(mine, theirs, self.threshold)
        return torch.cat(answers)

    def _note(self, inner: Attend, site: AttentionCall, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Attention as it is; what positive rows look at of their things' words is added to what was seen."""
        rows = site.cond.branches
        if site.kind == "joint" and len(rows) > 1:
            return branch_by_branch(partial(self._note, inner), site, q, k, v, mask)
        if not any(self._tokens(row) for row in rows):
            return inner(site, q, k, v, mask)
        column = torch.zeros(len(rows), k.shape[2], 1, device=k.device, dtype=v.dtype)
        for i, row in enumerate(rows):
            column[i, list(self._tokens(row))] = 1
        out, seen = attention_with_columns(inner, site, q, k, v, mask, column)
        seen = seen[..., 0].float().mean(1)[:, site.text_keys.stop if site.kind == "joint" else 0 :]
        for row, look in zip(rows, seen.reshape(len(rows), *site.grid), strict=True):
            if not row.negative:
                known = self._seen.get(_place(row), ObjectAttention(torch.zeros_like(look), 0))
                self._seen[_place(row)] = ObjectAttention(known.total + _on(known.total.shape, look), known.count + 1)
        return out

    def _tokens(self, row: Branch) -> Sequence[int]:
        """Where the things of the prompt that a row is mostly told are named."""
        part = max(row.prompt_weights, key=lambda p: (p[1], p[0]))[0]
        return () if row.negative else self._words.get((row.sample, part), ())

    def _mask(self, site: AttentionCall, row: Branch) -> Tensor | None:
        """Where a row shows the things, `[frame, height, width]` in 0..1; None while that is not known."""
        seen = self._seen.get(_place(row))
        return None if seen is None else seen.mask(site.grid)

    def _read(
        self, site: AttentionCall, row: Branch, source: Branch, k: Tensor, v: Tensor, width: int
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """The source's keys and values with its mask; further columns of `v` are requests, and stay the row's own."""
        their_k, their_v, theirs = self._bank[site.layer, source]
        if source.sample != row.sample:  # an energy of this sample must not move the other one
            their_k, their_v = their_k.detach(), their_v.detach()
        words = site.text_keys.stop if self.own_text else 0
        if words:
            their_k = torch.cat([k[:, :, :words], their_k[:, :, words:]], 2)
            their_v = torch.cat([v[:, :, :words, :width], their_v[:, :, words:]], 2)
        return their_k, torch.cat([their_v, v[..., width:]], -1), theirs


@dataclass(frozen=True)
class SharedAttention:
    """One row's queries before another's keys: `[fold, head, token, width]`, text first where there is any."""

    inner: Attend
    site: AttentionCall
    q: Tensor
    k: Tensor
    v: Tensor
    mask: Tensor | None

    def all(self) -> Tensor:
        return self.inner(self.site, self.q, self.k, self.v, self.mask)

    def apart(self, mine: Tensor, theirs: Tensor, threshold: float | None) -> Tensor:
        """Things look at things, the rest at the rest, by masks `[frame, height, width]`; text looks at, and is, both.

        Only the keys that may be seen are gathered, so that attention stays fused and nothing of tokens x tokens is
        made. Where there is nothing to see, all is.
        """
        words, fold = self.site.text_keys.stop, len(self.q)
        mine, theirs = mine.reshape(fold, -1), theirs.reshape(fold, -1)
        if threshold is None:
            return self._soft(mine.to(self.q), theirs.to(self.q), words)
        text = torch.arange(words, device=self.q.device)
        out = self.q.new_empty(*self.q.shape[:3], self.v.shape[-1])
        for e in range(fold):
            out[e, :, :words] = self._some(e, text)
            for shown in (True, False):
                queries, keys = (words + ((m[e] >= threshold) == shown).nonzero()[:, 0] for m in (mine, theirs))
                keys = torch.cat([text, keys])
                if len(queries):
                    out[e, :, queries] = self._some(e, queries, keys if len(keys) else ALL)
        return out

    def _some(self, e: int, queries: Tensor, keys: Tensor | slice = ALL) -> Tensor:
        at = slice(e, e + 1)
        mask = part_of_mask(self.mask, at, queries, keys)
        return self.inner(self.site, self.q[at, :, queries], self.k[at, :, keys], self.v[at, :, keys], mask)[0]

    def _soft(self, mine: Tensor, theirs: Tensor, words: int) -> Tensor:
        """Both looks, keys weighted by how much they are of either, mixed by how much the query is."""
        least = torch.finfo(theirs.dtype).tiny
        looks = []
        for weight in (theirs, 1 - theirs):
            bias = F.pad(weight.clamp(min=least).log(), (words, 0))[:, None, None]
            looks.append(self.inner(self.site, self.q, self.k, self.v, bias if self.mask is None else self.mask + bias))
        share = F.pad(mine, (words, 0))[:, None, :, None]
        out = share * looks[0] + (1 - share) * looks[1]
        if words:
            mask = part_of_mask(self.mask, ALL, slice(words))
            out[:, :, :words] = self.inner(self.site, self.q[:, :, :words], self.k, self.v, mask)
        return out


def _place(row: Branch) -> Place:
    return row.sample, row.first_frame, row.kv_source is not None


def _on(grid: Sequence[int], x: Tensor) -> Tensor:
    """`[frame, height, width]` on another grid."""
    return resized_in_time(x[None], grid)[0]
