"""Edits: the same video with other words. One sample is the source, others follow it and differ where the words do.

Prompt-to-prompt (Hertz et al. 2023) on attention to text, DiTCtrl's word swap and reweighting (Cai et al. 2025) on
layers that see text and video at once. No map of tokens x tokens is made: looking where the source looks is attention
with the source's queries and keys, and reweighting adds what a few columns say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from fnmatch import fnmatchcase
from math import isfinite

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import AnimaticError
from ..sampling import Attend, Cond, Control, Denoise, Maps, Row, Run, Site, Step
from .sharing import mask_of

Span = tuple[float, float]  # shares of the run: from, and up to


def within(step: Step, span: Span) -> bool:
    return span[0] <= step.fraction < span[1]


@dataclass
class Follow(Control):
    """Every stream but the first reads the first one's keys and values (see `sharing`), in the share `during`.

    DiTCtrl's word swap, with `ShareKV`.
    """

    during: Span = (2 / 50, 25 / 50)

    def tell(self, cond: Cond, step: Step) -> Cond:
        if not within(step, self.during):
            return cond
        rows = tuple(
            row if row.stream == 0 or row.source else replace(row, source=replace(row, stream=0)) for row in cond.rows
        )
        return replace(cond, rows=rows)


@dataclass
class Reweight(Control):
    """Attention to some words times a factor: `factors` by stream, {token: factor}. Not renormalised.

    Where text and video are one sequence, what the words look at of the video is multiplied too (DiTCtrl). Rows of
    negative prompts, whose words are others, are left alone unless `negative`.
    """

    factors: Mapping[int, Mapping[int, float]]
    sites: tuple[str, ...] = ("*",)
    during: Span = (0.0, 1.0)
    negative: bool = False
    needs = frozenset({"text maps"})

    def __post_init__(self) -> None:
        for factors in self.factors.values():
            for factor in factors.values():
                if not isfinite(factor):
                    raise AnimaticError(f"factor is {factor}; want a finite number, such as 2 or 0.5")

    def attend(self, inner: Attend, site: Site, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        if site.kind not in ("cross", "joint") or not within(site.step, self.during) or not _named(site, self.sites):
            return inner(site, q, k, v, mask)
        rows = site.cond.rows
        if site.kind == "joint" and len(rows) > 1:  # one by one: columns on long sequences are copies of them
            return torch.cat([
                self.attend(inner, site.row(i), q[i:][:1], k[i:][:1], v[i:][:1], mask_of(mask, i))
                for i in range(len(rows))
            ])  # fmt: skip
        told = [{} if r.negative and not self.negative else self.factors.get(r.stream, {}) for r in rows]
        most = max(map(len, told))
        if not most:
            return inner(site, q, k, v, mask)
        fold, words = len(q) // len(rows), site.text.stop
        at = torch.tensor([[*f, *[0] * (most - len(f))] for f in told], device=q.device)
        more = torch.tensor([[*f.values(), *[1.0] * (most - len(f))] for f in told], device=q.device) - 1
        at, more = at.repeat_interleave(fold, 0), more.repeat_interleave(fold, 0).to(q.dtype)
        columns = q.new_zeros(len(q), k.shape[2], most).scatter_(1, at[:, None], 1.0)
        columns = columns[:, None].expand(-1, q.shape[1], -1, -1)
        out = inner(site, q, k, torch.cat([v, columns.to(v.dtype)], -1), mask)
        out, share = out[..., :-most], out[..., -most:]
        told_v = v.gather(2, at[:, None, :, None].expand(-1, v.shape[1], -1, v.shape[-1]))
        change = (share * more[:, None, None]) @ told_v
        if site.kind == "cross":
            return out + change
        change[:, :, :words] = 0
        # what the words themselves look at: all of it times the factor, less what of that is words
        own_q = q.gather(2, at[:, None, :, None].expand(-1, q.shape[1], -1, q.shape[-1]))
        only_text = torch.cat([v[:, :, :words], torch.zeros_like(v[:, :, words:])], 2)
        text = inner(site, own_q, k, only_text, mask if mask is None or mask.shape[2] == 1 else mask[:, :, :words])
        all_of_it = out.gather(2, at[:, None, :, None].expand(-1, out.shape[1], -1, out.shape[-1]))
        index = at[:, None, :, None].expand_as(text)
        return (out + change).scatter_add(2, index, more[:, None, :, None] * (all_of_it - text))


def aligned(source: Sequence[str], target: Sequence[str], size: int) -> tuple[Tensor, Tensor]:
    """How the tokens of two prompts correspond: `[source token, target token]`, and 1 for tokens of no counterpart.

    Equal tokens are each other's; of what was exchanged, each new token shares the old ones evenly (Hertz et al.'s
    replacement, where they are not the same number); what was added is on its own (their refinement).
    """
    matrix, own = torch.zeros(size, size), torch.zeros(size)
    for kind, a, b, c, d in SequenceMatcher(None, list(source), list(target), autojunk=False).get_opcodes():
        if kind == "equal":
            matrix[range(a, b), range(c, d)] = 1
        elif kind == "replace":
            matrix[a:b, c:d] = 1 / (d - c)
        elif kind == "insert":
            own[c:d] = 1
    last = min(size, len(source)), min(size, len(target))
    padding = min(size - last[0], size - last[1])
    matrix[range(last[0], last[0] + padding), range(last[1], last[1] + padding)] = 1
    own[last[1] + padding :] = 1
    return matrix, own


@dataclass
class PromptToPrompt(Control):
    """Streams look at their words where the first stream looks at its own, in layers of attention to text.

    `prompts` by stream, the source first. Where words correspond (see `aligned`) the source's attention stands, up to
    the share `cross` of the run; added words keep their own. Up to `self_until`, attention to cells is the source's.
    """

    prompts: Sequence[str]
    cross: float = 0.8
    self_until: float = 0.4
    sites: tuple[str, ...] = ("*",)
    needs = frozenset({"text maps"})
    _matrices: tuple[tuple[Tensor, Tensor], ...] = field(default=(), repr=False)

    def begin(self, run: Run) -> PromptToPrompt:
        text = run.backbone.text
        pieces = [[str(t) for t in text.tokenizer(prompt)["input_ids"]] for prompt in self.prompts]
        device = run.x.device
        matrices = (aligned(pieces[0], target, text.limit) for target in pieces)
        return replace(self, _matrices=tuple((m.to(device), own.to(device)) for m, own in matrices))

    def attend(self, inner: Attend, site: Site, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        until = {"cross": self.cross, "self": self.self_until}.get(site.kind, 0.0)
        if site.step.fraction >= until or not _named(site, self.sites):
            return inner(site, q, k, v, mask)
        rows = site.cond.rows
        fold = len(q) // len(rows)
        which = [_source_of(rows, i) for i in range(len(rows))]
        if which == list(range(len(rows))):
            return inner(site, q, k, v, mask)
        index = torch.tensor([[s * fold + f for f in range(fold)] for s in which], device=q.device).flatten()
        if site.kind == "self":
            return inner(site, q[index], k[index], v, mask)
        matrix, own = (torch.stack(m).to(v) for m in zip(*(self._of(row) for row in rows), strict=True))
        spread = matrix.repeat_interleave(fold, 0)[:, None] @ v
        alone = own.repeat_interleave(fold, 0)[:, None, :, None] * v
        return inner(site, q[index], k[index], spread, mask) + inner(site, q, k, alone, mask)

    def _of(self, row: Row) -> tuple[Tensor, Tensor]:
        if row.negative:
            own = self._matrices[0][1]
            return torch.eye(len(own), device=own.device), torch.zeros_like(own)
        return self._matrices[row.stream]


def _source_of(rows: Sequence[Row], i: int) -> int:
    """The row of the first stream that row `i` follows; negative rows follow none."""
    return i if rows[i].negative else rows.index(replace(rows[i], stream=0, source=None))


@dataclass
class LocalBlend(Control):
    """Only where the words are looked at may a stream differ from the first one (Hertz et al., local blend).

    `words` are the tokens by stream. Attention is a mean over heads, layers that match `sites` and levels so far; a
    cell is where it, or a neighbour, has `threshold` of the frame's most. From the share `since` of the run on.
    """

    words: Sequence[Sequence[int]]
    threshold: float = 0.3
    since: float = 0.2
    sites: tuple[str, ...] = ("*",)
    needs = frozenset({"text maps"})
    _seen: list[Tensor] = field(default_factory=list, repr=False)

    def begin(self, run: Run) -> LocalBlend:
        return replace(self, _seen=[])

    def denoise(self, inner: Denoise, x: Tensor, step: Step, cond: Cond) -> Tensor:
        most = max(map(len, self.words))
        tokens = torch.tensor([[*w, *[w[-1]] * (most - len(w))] for w in self.words], device=x.device)
        maps = Maps(tokens[cond.streams], self.sites)
        answer = inner(x, step, replace(cond, maps=maps))
        found = [p[-len(x) :].float().mean((2, 5)) for p in maps.found.values()]
        self._seen.append(torch.stack([_to(f, x.shape[2:]) for f in found]).mean(0))
        return answer

    def steer(self, inner: Denoise, x: Tensor, step: Step, cond: Cond) -> Tensor:
        if step.fraction < self.since or not self._seen:
            return x
        seen = F.max_pool3d(torch.stack(self._seen).mean(0), (1, 3, 3), 1, (0, 1, 1))
        where = seen / seen.amax((2, 3), keepdim=True).clamp(min=1e-12) > self.threshold
        where = (where | where[:1])[:, None]
        return torch.where(where, x, x[:1])


def _to(x: Tensor, size: Sequence[int]) -> Tensor:
    """`[row, frame, height, width]` on another grid."""
    return F.interpolate(x[:, None], tuple(size), mode="trilinear", align_corners=False)[:, 0]


def _named(site: Site, globs: Sequence[str]) -> bool:
    return any(fnmatchcase(site.name, glob) for glob in globs)
