"""Keys and values shared: a row looks at what another shows, and so shows the same things (DiTCtrl, Cai et al. 2025).

Who reads from whom is told in the rows (`Row.source`), by windows or by an edit; here it is done. What is read was
projected, normed and rotated in the row it comes from, so that models with rotary positions share rightly too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

import torch
import torch.nn.functional as F
from torch import Tensor

from ..backbones.forking import State, kept, resumed
from ..errors import AnimaticError
from ..sampling import Attend, Cond, Control, Denoise, Row, Run, Site, Step
from ..scene import Scene
from ..stories import Reel
from ..text import told

Place = tuple[int, int, bool]  # stream, first frame, whether it reads: what a negative row shares with its positive one


@dataclass(frozen=True)
class Seen:
    """Attention to the things' words, summed over `count` layers: `[frame, height, width]`."""

    total: Tensor
    count: int

    def mask(self, grid: tuple[int, int, int]) -> Tensor:
        """The mean, per frame stretched to 0..1, on a layer's grid."""
        mean = _resized(self.total / self.count, grid)
        low, high = mean.amin((1, 2), keepdim=True), mean.amax((1, 2), keepdim=True)
        return (mean - low) / (high - low + 1e-6)


@dataclass
class ShareKV(Control):
    """In layers that match `sites` (globs), rows with a source read its keys and values. Put it last.

    With `things` (the scenes or stories), by a mask: cells that show the things look only at those that show them in
    the source, and the rest at the rest. The mask is the mean attention, over the layers so far, that cells pay to the
    words of all tracks; cut at `threshold`, or soft where that is None. Before the first layer that looks at words
    there is no mask, and all is read. `own_text` leaves a row its own text keys, where text and video are one sequence.
    """

    sites: tuple[str, ...] = ("*",)
    things: Sequence[Scene | Reel] | None = field(default=None, repr=False)
    threshold: float | None = 0.3
    own_text: bool = False
    _words: Mapping[tuple[int, int], Sequence[int]] = field(default_factory=dict, repr=False)  # by stream and part
    _bank: dict[tuple[str, Row], tuple[Tensor, Tensor, Tensor | None]] = field(default_factory=dict, repr=False)
    _seen: dict[Place, Seen] = field(default_factory=dict, repr=False)
    _states: dict[Row, tuple[State, Seen | None]] = field(default_factory=dict, repr=False)
    _run: Run | None = field(default=None, repr=False)

    def begin(self, run: Run) -> ShareKV:
        words: dict[tuple[int, int], tuple[int, ...]] = {}
        for stream, scene in enumerate(self.things or ()):
            for i, track in enumerate(scene.tracks):
                part, said = scene.part(i)
                found = run.backbone.text.positions(told(said), track.phrase)
                words[stream, part] = (*words.get((stream, part), ()), *found)
        if self.things is not None and not any(words.values()):
            raise AnimaticError("masked sharing needs things; no scene has a track whose phrase is in its prompt")
        return replace(self, _words=words, _bank={}, _seen={}, _states={}, _run=run)

    def denoise(self, inner: Denoise, x: Tensor, step: Step, cond: Cond) -> Tensor:
        """Ask, beginning where an earlier call has left the same rows before they read, if there was one."""
        assert self._run is not None  # begin has been called
        chain = self._run.backbone.chain(step)
        first = next((i for i, name in enumerate(chain) if self._listens(f"{name}.attn1")), 0)
        before = list(chain.values())[:first]
        twins = [replace(row, source=None) for row in cond.rows]
        self._seen.clear()
        known = before and not torch.is_grad_enabled() and cond.maps is None
        if known and all(row.source for row in cond.rows) and all(twin in self._states for twin in twins):
            for row, twin in zip(cond.rows, twins, strict=True):
                seen = self._states[twin][1]
                if seen is not None:
                    self._seen[_place(row)] = seen
            with resumed(before, [self._states[twin][0] for twin in twins]):
                answer = inner(x, step, cond)
        elif known and cond.kept:
            with kept(before[-1], lambda i, state: self._keep(cond, i, state), len(cond.rows)):
                answer = inner(x, step, cond)
        else:
            answer = inner(x, step, cond)
        self._bank = {key: value for key, value in self._bank.items() if key[1] in cond.kept}
        self._states = {row: state for row, state in self._states.items() if row in cond.kept}
        return answer

    def _keep(self, cond: Cond, i: int, state: State) -> None:
        row = cond.rows[i]
        if row in cond.kept:
            self._states[row] = state, None if row.negative else self._seen.get(_place(row))

    def _listens(self, name: str) -> bool:
        return any(fnmatchcase(name, glob) for glob in self.sites)

    def attend(self, inner: Attend, site: Site, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        rows, width = site.cond.rows, site.width or q.shape[-1]
        listens = bool(self._words) and site.kind in ("cross", "joint")
        out = self._note(inner, site, q, k, v, mask) if listens else None
        wanted = {row.source for row in rows} | site.cond.kept
        if site.kind not in ("self", "joint") or wanted <= {None} or not self._listens(site.name):
            return inner(site, q, k, v, mask) if out is None else out
        fold = len(q) // len(rows)
        keys, values = list(k.split(fold)), list(v.split(fold))
        for row, own_k, own_v in zip(rows, keys, values, strict=True):
            if row in wanted:
                self._bank[site.name, row] = own_k, own_v[..., :width], self._mask(site, row)
        readers = {i: self._read(site, row, keys[i], values[i], width) for i, row in enumerate(rows) if row.source}
        for i, (their_k, their_v, _) in readers.items():
            keys[i], values[i] = their_k, their_v
        masks = {i: (self._mask(site, rows[i]), theirs) for i, (_, _, theirs) in readers.items()}
        if not any(mine is not None and theirs is not None for mine, theirs in masks.values()):
            return inner(site, q, torch.cat(keys), torch.cat(values), mask)
        assert out is not None  # there is a mask, so words were looked at
        answers = list(inner(site, q, k, v, mask).split(fold)) if site.kind == "self" else list(out.split(fold))
        for i, (mine, theirs) in masks.items():
            at = slice(i * fold, (i + 1) * fold)
            look = Look(
                inner, site.row(i), q[at], keys[i], values[i], mask if mask is None or len(mask) == 1 else mask[at]
            )
            answers[i] = look.all() if mine is None or theirs is None else look.apart(mine, theirs, self.threshold)
        return torch.cat(answers)

    def _note(self, inner: Attend, site: Site, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Attention as it is; what positive rows look at of their things' words is added to what was seen."""
        rows, (frames, height, width) = site.cond.rows, site.grid
        if site.kind == "joint" and len(rows) > 1:  # one by one: columns on long sequences are copies of them
            return torch.cat([
                self._note(inner, site.row(i), q[i:][:1], k[i:][:1], v[i:][:1], mask_of(mask, i))
                for i in range(len(rows))
            ])  # fmt: skip
        if not any(self._tokens(row) for row in rows):
            return inner(site, q, k, v, mask)
        column = torch.zeros(len(rows), k.shape[2], device=k.device, dtype=v.dtype)
        for i, row in enumerate(rows):
            column[i, list(self._tokens(row))] = 1
        column = column.repeat_interleave(len(q) // len(rows), 0)[:, None, :, None].expand(-1, v.shape[1], -1, -1)
        out = inner(site, q, k, torch.cat([v, column], -1), mask)
        looks = out[..., -1].float().mean(1)[:, site.text.stop if site.kind == "joint" else 0 :]
        looks = looks.reshape(len(rows), frames, height, width)
        for row, look in zip(rows, looks, strict=True):
            if not row.negative:
                seen = self._seen.get(_place(row), Seen(torch.zeros_like(look), 0))
                size = (seen.total.shape[0], seen.total.shape[1], seen.total.shape[2])
                self._seen[_place(row)] = Seen(seen.total + _resized(look, size), seen.count + 1)
        return out[..., :-1]

    def _tokens(self, row: Row) -> Sequence[int]:
        """Where the things of the prompt that a row is mostly told are named."""
        part = max(row.parts, key=lambda p: (p[1], p[0]))[0]
        return () if row.negative else self._words.get((row.stream, part), ())

    def _mask(self, site: Site, row: Row) -> Tensor | None:
        """Where a row shows the things, `[frame, height, width]` in 0..1; None while that is not known."""
        seen = self._seen.get(_place(row))
        return None if seen is None else seen.mask(site.grid)

    def _read(self, site: Site, row: Row, k: Tensor, v: Tensor, width: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """The source's keys and values with its mask; further columns of `v` are requests, and stay the row's own."""
        assert row.source is not None
        their_k, their_v, theirs = self._bank[site.name, row.source]
        words = site.text.stop if self.own_text else 0
        if words:
            their_k = torch.cat([k[:, :, :words], their_k[:, :, words:]], 2)
            their_v = torch.cat([v[:, :, :words, :width], their_v[:, :, words:]], 2)
        return their_k, torch.cat([their_v, v[..., width:]], -1), theirs


@dataclass(frozen=True)
class Look:
    """One row's queries before another's keys: `[fold, head, token, width]`, text first where there is any."""

    inner: Attend
    site: Site
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
        words, fold = self.site.text.stop, len(self.q)
        mine, theirs = mine.reshape(fold, -1), theirs.reshape(fold, -1)
        if threshold is None:
            return self._soft(mine.to(self.q), theirs.to(self.q), words)
        text = torch.arange(words, device=self.q.device)
        out = self.q.new_empty(*self.q.shape[:3], self.v.shape[-1])
        for e in range(fold):
            out[e, :, :words] = self._some(e, text, None)
            for shown in (True, False):
                queries, keys = (words + ((m[e] >= threshold) == shown).nonzero()[:, 0] for m in (mine, theirs))
                keys = torch.cat([text, keys])
                if len(queries):
                    out[e, :, queries] = self._some(e, queries, keys if len(keys) else None)
        return out

    def _some(self, e: int, queries: Tensor, keys: Tensor | None) -> Tensor:
        k, v, mask = self.k[e : e + 1], self.v[e : e + 1], self.mask
        if mask is not None:
            mask = mask[e : e + 1] if len(mask) > 1 else mask
            mask = mask[:, :, queries] if mask.shape[2] > 1 else mask
        if keys is not None:
            k, v = k[:, :, keys], v[:, :, keys]
            mask = mask if mask is None else mask[..., keys]
        return self.inner(self.site, self.q[e : e + 1, :, queries], k, v, mask)[0]

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
            mask = self.mask if self.mask is None or self.mask.shape[2] == 1 else self.mask[:, :, :words]
            out[:, :, :words] = self.inner(self.site, self.q[:, :, :words], self.k, self.v, mask)
        return out


def _place(row: Row) -> Place:
    return row.stream, row.first, row.source is not None


def _resized(x: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """`[frame, height, width]` on another grid."""
    if tuple(x.shape) == tuple(grid):
        return x
    return F.interpolate(x[None, None], grid, mode="trilinear", align_corners=False)[0, 0]


def mask_of(mask: Tensor | None, i: int) -> Tensor | None:
    """The mask of batch entry `i`."""
    return mask if mask is None or len(mask) == 1 else mask[i : i + 1]
