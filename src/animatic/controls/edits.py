"""Edits: the same video with other words. One sample is the source, others follow it and differ where the words do.

Prompt-to-prompt (Hertz et al. 2023) on attention to text, DiTCtrl's word swap and reweighting (Cai et al. 2025) on
layers that see text and video at once. No map of tokens x tokens is made: looking where the source looks is attention
with the source's queries and keys, and reweighting adds what a few columns say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from functools import partial
from math import isfinite
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.attention import (
    ALL,
    TEXT_KINDS,
    attention_with_columns,
    branch_by_branch,
    matches_any,
    one_hot,
    part_of_mask,
    predict_with_maps,
    resized_in_time,
)
from ..core.control import Control, Run
from ..core.types import Attend, AttentionCall, Branch, Conditioning, Denoise, Span, Step
from ..errors import AnimaticError


@dataclass
class FollowSource(Control):
    """Every stream but the first reads the first one's keys and values (see `sharing`), in the share `during`.

    DiTCtrl's word swap, with `ShareKV`. With `streams` only these read.
    """

    during: Span = (2 / 50, 25 / 50)
    samples: tuple[int, ...] = ()

    def condition(self, cond: Conditioning, step: Step) -> Conditioning:
        if not step.within(self.during):
            return cond
        reading = [row.sample in self.samples if self.samples else row.sample > 0 for row in cond.branches]
        sources = (replace(row, sample=0) if reads else None for row, reads in zip(cond.branches, reading, strict=True))
        told = (
            replace(row, kv_source=row.kv_source or source) for row, source in zip(cond.branches, sources, strict=True)
        )
        return replace(cond, branches=tuple(told))


@dataclass
class Reweight(Control):
    """Attention to some words times a factor: `factors` by stream, {token: factor}. Not renormalised.

    Of stories they are by (stream, part); where a row is told a mix of parts, each counts by its weight.
    Where text and video are one sequence, what the words look at of the video is multiplied too (DiTCtrl). Rows of
    negative prompts, whose words are others, are left alone unless `negative`.
    """

    factors: Mapping[int, Mapping[int, float]] | Mapping[tuple[int, int], Mapping[int, float]]
    layers: tuple[str, ...] = ("*",)
    during: Span = (0.0, 1.0)
    negative: bool = False
    needs = frozenset({"text maps"})

    def __post_init__(self) -> None:
        for factors in self.factors.values():
            for factor in factors.values():
                if not isfinite(factor):
                    raise AnimaticError(f"factor is {factor}; want a finite number, such as 2 or 0.5")

    def attend(
        self, inner: Attend, site: AttentionCall, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
    ) -> Tensor:
        if site.kind not in TEXT_KINDS or not site.step.within(self.during) or not matches_any(site.layer, self.layers):
            return inner(site, q, k, v, mask)
        rows = site.cond.branches
        if site.kind == "joint" and len(rows) > 1:
            return branch_by_branch(partial(self.attend, inner), site, q, k, v, mask)
        told = [{} if r.negative and not self.negative else self._of(r) for r in rows]
        most = max(map(len, told))
        if not most:
            return inner(site, q, k, v, mask)
        fold, words = len(q) // len(rows), site.text_keys.stop
        at = torch.tensor([[*f, *[0] * (most - len(f))] for f in told], device=q.device)
        more = torch.tensor([[*f.values(), *[1.0] * (most - len(f))] for f in told], device=q.device) - 1
        more = more.repeat_interleave(fold, 0).to(q.dtype)[:, None]
        index = at.repeat_interleave(fold, 0)[:, None, :, None]

        def of_words(x: Tensor) -> Tensor:
            return x.gather(2, index.expand(-1, x.shape[1], -1, x.shape[-1]))

        out, share = attention_with_columns(inner, site, q, k, v, mask, one_hot(at, k.shape[2]))
        change = (share * more[..., None, :]) @ of_words(v)
        if site.kind == "cross":
            return out + change
        change[:, :, :words] = 0
        # what the words themselves look at: all of it times the factor, less what of that is words
        only_text = torch.cat([v[:, :, :words], torch.zeros_like(v[:, :, words:])], 2)
        text = inner(site, of_words(q), k, only_text, part_of_mask(mask, ALL, slice(words)))
        return (out + change).scatter_add(2, index.expand_as(text), more[..., None] * (of_words(out) - text))

    def _of(self, row: Branch) -> dict[int, float]:
        """The factors of a row, by token."""
        by: Mapping[Any, Mapping[int, float]] = self.factors
        mixed = dict(by.get(row.sample, {}))
        for part, weight in row.prompt_weights:
            for token, factor in by.get((row.sample, part), {}).items():
                mixed[token] = mixed.get(token, 1.0) + weight * (factor - 1)
        return mixed


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

    `prompts` by stream, the source first; of a story a list of its parts' prompts. Where words correspond (see
    `aligned`) the source's attention stands, up to the share `cross` of the run; added words keep their own. Up to
    `self_until`, attention to cells is the source's.
    """

    prompts: Sequence[str | Sequence[str]]
    cross: float = 0.8
    self_until: float = 0.4
    layers: tuple[str, ...] = ("*",)
    needs = frozenset({"text maps"})
    _matrices: list[list[tuple[Tensor, Tensor]]] = field(init=False, repr=False)  # by stream, by part

    def begin(self, run: Run) -> PromptToPrompt:
        text, device = run.backbone.text, run.x.device
        parts = [[prompt] if isinstance(prompt, str) else prompt for prompt in self.prompts]
        size = text.limit if run.cond is None else run.cond.text.shape[1] // len(parts[0])
        pieces = [[[str(t) for t in text.token_ids(p)] for p in prompts] for prompts in parts]
        made = [[aligned(*pair, size) for pair in zip(pieces[0], target, strict=True)] for target in pieces]
        bound = copy(self)
        bound._matrices = [[(matrix.to(device), own.to(device)) for matrix, own in each] for each in made]
        return bound

    def attend(
        self, inner: Attend, site: AttentionCall, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
    ) -> Tensor:
        until = {"cross": self.cross, "self": self.self_until}.get(site.kind, 0.0)
        if site.step.fraction >= until or not matches_any(site.layer, self.layers):
            return inner(site, q, k, v, mask)
        rows = site.cond.branches
        fold = len(q) // len(rows)
        which = [_source_of(rows, i) for i in range(len(rows))]
        if which == list(range(len(rows))):
            return inner(site, q, k, v, mask)
        index = torch.tensor([[s * fold + f for f in range(fold)] for s in which], device=q.device).flatten()
        unled = (index == torch.arange(len(index), device=q.device)).view(-1, 1, 1, 1)

        def followed(x: Tensor) -> Tensor:
            """Of the rows that are followed; an energy of a sample that follows must not move the one it follows."""
            return torch.where(unled, x, x.detach()[index])

        if site.kind == "self":
            return inner(site, followed(q), followed(k), v, mask)
        matrix, own = (torch.stack(m).to(v) for m in zip(*(self._of(row) for row in rows), strict=True))
        spread = matrix.repeat_interleave(fold, 0)[:, None] @ v
        alone = own.repeat_interleave(fold, 0)[:, None, :, None] * v
        return inner(site, followed(q), followed(k), spread, mask) + inner(site, q, k, alone, mask)

    def _of(self, row: Branch) -> tuple[Tensor, Tensor]:
        if row.negative:
            own = self._matrices[0][0][1]
            return torch.eye(len(own), device=own.device), torch.zeros_like(own)
        mine = self._matrices[row.sample]
        if len(row.prompt_weights) == 1:
            return mine[row.prompt_weights[0][0]]
        matrix = sum((weight * mine[part][0] for part, weight in row.prompt_weights), torch.zeros_like(mine[0][0]))
        return matrix, sum(
            (weight * mine[part][1] for part, weight in row.prompt_weights), torch.zeros_like(mine[0][1])
        )


def _source_of(rows: Sequence[Branch], i: int) -> int:
    """The row of the first stream that row `i` follows: of the same window, read alike. Negative rows follow none."""
    if rows[i].negative:
        return i
    same = replace(rows[i], sample=0, kv_source=None)
    reads = rows[i].kv_source is not None
    alike = [j for j, row in enumerate(rows) if replace(row, kv_source=None) == same]
    return next((j for j in alike if (rows[j].kv_source is not None) == reads), alike[0])


@dataclass
class LocalBlend(Control):
    """Only where the words are looked at may a stream differ from the `source` stream (Hertz et al., local blend).

    `words` are the tokens by stream, of stories of `parts` scenes (part, token); `targets` are the streams that are
    blended, all but the source if none is given. Attention is a mean over heads, layers that match `sites` and levels
    so far; a cell is where it, or a neighbour, has `threshold` of the frame's most. From the share `since` of the run
    on.
    """

    words: Sequence[Sequence[int]] | Sequence[Sequence[tuple[int, int]]]
    threshold: float = 0.3
    begins: float = 0.2
    layers: tuple[str, ...] = ("*",)
    source: int = 0
    targets: tuple[int, ...] = ()
    parts: int = 1
    needs = frozenset({"text maps"})
    _seen: list[Tensor] = field(init=False, repr=False)

    def begin(self, run: Run) -> LocalBlend:
        own = copy(self)
        own._seen = []
        return own

    def denoise(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        size, most = cond.text.shape[1] // self.parts, max(map(len, self.words))
        words = [[w if isinstance(w, int) else w[0] * size + w[1] for w in each] for each in self.words]
        tokens = torch.tensor([[*w, *[w[-1] if w else 0] * (most - len(w))] for w in words], device=x.device)
        answer, found = predict_with_maps(inner, x, step, cond, tokens, self.layers)
        self._seen.append(torch.stack([resized_in_time(p.mean((2, 5)), x.shape[2:]) for p in found.values()]).mean(0))
        return answer

    def steer(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        if step.fraction < self.begins or not self._seen:
            return x
        seen = F.max_pool3d(torch.stack(self._seen).mean(0), (1, 3, 3), 1, (0, 1, 1))
        where = seen / seen.amax((2, 3), keepdim=True).clamp(min=1e-12) > self.threshold
        source, blended = self.source, x.clone()
        for i in self.targets or [i for i in range(len(x)) if i != source]:
            blended[i] = torch.where(where[i] | where[source], x[i], x[source])
        return blended
