"""Shared keys and values: a branch attends to those of another, so that both show the same objects.

KV sharing and mask-guided KV sharing of DiTCtrl (Cai et al. 2025, arXiv 2412.18597,
https://github.com/TencentARC/DiTCtrl). Which branch reads from which is stored in the branches (`Branch.kv_source`), by
`Windows` or by an edit; here keys and values are exchanged. They are read as the source's layer computed them, after
projection, norm and rotary embedding, so that models with rotary positions share correctly too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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

MaskKey = tuple[int, int, bool]
"""(sample, first frame, whether it reads): a mask's key, the same for a branch of either sign."""

ShowMasks = Callable[[str, int, Branch, Tensor, Tensor], None]
"""(layer, step, branch that reads, the source's mask, its own), masks `[frame, height, width]` in 0..1."""


@dataclass(frozen=True)
class ObjectAttention:
    """Attention to the words of the objects, summed over `count` layers: `[frame, height, width]`."""

    total: Tensor
    count: int

    def mask(self, grid: tuple[int, int, int]) -> Tensor:
        """The mean on a layer's grid, scaled to 0..1 in each frame."""
        mean = _on(grid, self.total / self.count)
        low = mean.amin((1, 2), keepdim=True)
        high = mean.amax((1, 2), keepdim=True)
        return (mean - low) / (high - low + 1e-6)


@dataclass
class ShareKV(Control):
    """In the layers `layers` (globs), branches with a source attend to its keys and values. Put it last in the list.

    With `object_scenes` (one scene or story a sample) sharing is guided by masks: cells that show the objects attend
    only to cells of the source that show them, the other cells to the others. The mask of a branch is the attention of
    its cells to the words of all tracks, averaged over the layers so far. `threshold`: the value of the mask, scaled to
    0..1, from which a cell shows an object; None leaves the mask soft. Before the first layer that attends to text
    there is no mask, and all cells are read. `own_text`: a branch keeps its own text keys, in layers where text and
    video are one sequence. `show` is called in each layer that shares by masks.
    """

    layers: tuple[str, ...] = ("*",)
    object_scenes: Sequence[Scene | Timeline] | None = field(default=None, repr=False)
    threshold: float | None = 0.3
    own_text: bool = False
    show: ShowMasks | None = field(default=None, repr=False)
    _words: Mapping[tuple[int, int], Sequence[int]] = field(default_factory=dict, repr=False)  # by sample and prompt
    _bank: dict[tuple[str, Branch], tuple[Tensor, Tensor, Tensor | None]] = field(default_factory=dict, repr=False)
    _seen: dict[MaskKey, ObjectAttention] = field(default_factory=dict, repr=False)
    _states: dict[Branch, tuple[State, ObjectAttention | None]] = field(default_factory=dict, repr=False)
    _run: Run = field(init=False, repr=False)

    def begin(self, run: Run) -> ShareKV:
        words: dict[tuple[int, int], tuple[int, ...]] = {}
        for sample, scene in enumerate(self.object_scenes or ()):
            for i, track in enumerate(scene.tracks):
                prompt, part = scene.part(i)
                tokens = run.backbone.text.positions(part.prompt, track.phrase)
                words[sample, prompt] = (*words.get((sample, prompt), ()), *tokens)

        if self.object_scenes is not None and not any(words.values()):
            raise AnimaticError("masked sharing needs objects; no scene has a track whose phrase is in its prompt")
        own = replace(self, _words=words, _bank={}, _seen={}, _states={})
        own._run = run
        return own

    def denoise(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        """The prediction; blocks before the first that shares are replayed where an earlier call evaluated them."""
        self._seen.clear()
        with self._prefix_cache(step, cond):
            prediction = inner(x, step, cond)

        # keep what later calls at this noise level read
        self._bank = {key: value for key, value in self._bank.items() if key[1] in cond.reused}
        self._states = {branch: state for branch, state in self._states.items() if branch in cond.reused}
        return prediction

    def _prefix_cache(self, step: Step, cond: Conditioning) -> AbstractContextManager[None]:
        """Records or replays the activations before the first block that shares, where these can be reused.

        They are those of the same branches without a source, for up to there nothing is read.
        """
        prefix = self._prefix(step)
        if not prefix or torch.is_grad_enabled() or cond.map_request is not None:
            return nullcontext()

        unshared = [replace(branch, kv_source=None) for branch in cond.branches]
        pairs = list(zip(cond.branches, unshared, strict=True))
        if all(branch.kv_source is not None and twin in self._states for branch, twin in pairs):
            states = []
            for branch, twin in pairs:
                state, attention = self._states[twin]
                states.append(state)
                if attention is not None:
                    self._seen[_mask_key(branch)] = attention
            return replay(prefix, states)

        if cond.reused:
            return record(prefix[-1], partial(self._keep, cond), len(cond.branches))
        return nullcontext()

    def _prefix(self, step: Step) -> list[nn.Module]:
        """The blocks of a transformer before the first whose self-attention shares; none of other networks."""
        chain = self._run.backbone.chain(step)
        sharing = [i for i, name in enumerate(chain) if matches_any(f"{name}.attn1", self.layers)]
        return list(chain.values())[: sharing[0] if sharing else 0]

    def _keep(self, cond: Conditioning, i: int, state: State) -> None:
        """Keep the activations of branch `i`, and its attention to objects so far, if later calls reuse it."""
        branch = cond.branches[i]
        if branch in cond.reused:
            attention = None if branch.negative else self._seen.get(_mask_key(branch))
            self._states[branch] = state, attention

    def attend(
        self, inner: Attend, call: AttentionCall, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
    ) -> Tensor:
        branches = call.cond.branches
        width = call.head_width or q.shape[-1]

        # in layers that attend to text, add up the attention to the words of objects
        out = None
        if self._words and call.kind in TEXT_KINDS:
            out = self._measure(inner, call, q, k, v, mask)

        read = {branch.kv_source for branch in branches} | call.cond.reused
        if call.kind not in ("self", "joint") or read <= {None} or not matches_any(call.layer, self.layers):
            return inner(call, q, k, v, mask) if out is None else out

        # store the keys and values that are read, here or in later calls
        entries = len(q) // len(branches)
        keys, values = list(k.split(entries)), list(v.split(entries))
        for branch, own_k, own_v in zip(branches, keys, values, strict=True):
            if branch in read:
                self._bank[call.layer, branch] = own_k, own_v[..., :width], self._mask(call, branch)

        # replace those of the branches that have a source
        masks: dict[int, tuple[Tensor | None, Tensor | None]] = {}
        for i, branch in enumerate(branches):
            if branch.kv_source is None:
                continue
            keys[i], values[i], source_mask = self._read(call, branch, branch.kv_source, keys[i], values[i], width)
            own_mask = self._mask(call, branch)
            masks[i] = own_mask, source_mask
            if self.show and own_mask is not None and source_mask is not None and not branch.negative:
                self.show(call.layer, call.step.index, branch, source_mask, own_mask)
        if all(own_mask is None or source_mask is None for own_mask, source_mask in masks.values()):
            return inner(call, q, torch.cat(keys), torch.cat(values), mask)

        # with masks, the branches that read are computed one by one
        unshared = inner(call, q, k, v, mask) if out is None else out
        outputs = list(unshared.split(entries))
        for i, (own_mask, source_mask) in masks.items():
            batch = slice(i * entries, (i + 1) * entries)
            part = part_of_mask(mask, batch)
            shared = SharedAttention(inner, call.of_branch(i), q[batch], keys[i], values[i], part)
            if own_mask is None or source_mask is None:
                outputs[i] = shared.unmasked()
            else:
                outputs[i] = shared.masked(own_mask, source_mask, self.threshold)
        return torch.cat(outputs)

    def _measure(
        self, inner: Attend, call: AttentionCall, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
    ) -> Tensor:
        """Unchanged attention; that of conditional branches to the words of their objects is added to `_seen`."""
        branches = call.cond.branches
        if call.kind == "joint" and len(branches) > 1:
            return branch_by_branch(partial(self._measure, inner), call, q, k, v, mask)
        if not any(self._tokens(branch) for branch in branches):
            return inner(call, q, k, v, mask)

        column = torch.zeros(len(branches), k.shape[2], 1, device=k.device, dtype=v.dtype)
        for i, branch in enumerate(branches):
            column[i, list(self._tokens(branch))] = 1
        out, attention = attention_with_columns(inner, call, q, k, v, mask, column)

        # mean over heads, at the cells
        first_cell = call.text_keys.stop if call.kind == "joint" else 0
        attention = attention[..., 0].float().mean(1)[:, first_cell:]
        for branch, cells in zip(branches, attention.reshape(len(branches), *call.grid), strict=True):
            if branch.negative:
                continue
            known = self._seen.get(_mask_key(branch), ObjectAttention(torch.zeros_like(cells), 0))
            total = known.total + _on(known.total.shape, cells)
            self._seen[_mask_key(branch)] = ObjectAttention(total, known.count + 1)
        return out

    def _tokens(self, branch: Branch) -> Sequence[int]:
        """Positions of the words of objects in the prompt that weighs most in a branch."""
        if branch.negative:
            return ()
        prompt, _ = max(branch.prompt_weights, key=lambda pair: (pair[1], pair[0]))
        return self._words.get((branch.sample, prompt), ())

    def _mask(self, call: AttentionCall, branch: Branch) -> Tensor | None:
        """Where a branch shows the objects, `[frame, height, width]` in 0..1; None while that is not known."""
        attention = self._seen.get(_mask_key(branch))
        return None if attention is None else attention.mask(call.grid)

    def _read(
        self, call: AttentionCall, branch: Branch, source: Branch, k: Tensor, v: Tensor, width: int
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """The source's keys, values and mask. Channels of `v` beyond `width` are map requests: the branch's own."""
        source_k, source_v, source_mask = self._bank[call.layer, source]

        # the gradient of an energy of this sample must not reach another
        if source.sample != branch.sample:
            source_k, source_v = source_k.detach(), source_v.detach()

        words = call.text_keys.stop if self.own_text else 0
        if words:
            source_k = torch.cat([k[:, :, :words], source_k[:, :, words:]], 2)
            source_v = torch.cat([v[:, :, :words, :width], source_v[:, :, words:]], 2)
        return source_k, torch.cat([source_v, v[..., width:]], -1), source_mask


@dataclass(frozen=True)
class SharedAttention:
    """Attention of one branch to another's keys: `[entry, head, token, channel]`, text first where there is any."""

    inner: Attend
    call: AttentionCall
    q: Tensor
    k: Tensor
    v: Tensor
    mask: Tensor | None

    def unmasked(self) -> Tensor:
        """Attention to all keys."""
        return self.inner(self.call, self.q, self.k, self.v, self.mask)

    def masked(self, own_mask: Tensor, source_mask: Tensor, threshold: float | None) -> Tensor:
        """Object cells attend to object cells, the others to the others, by masks `[frame, height, width]` in 0..1.

        Text attends to everything, and every cell attends to the text. Only the keys of each group are gathered, so
        that attention stays fused and no mask of tokens x tokens is stored. A group without keys attends to all.
        """
        words = self.call.text_keys.stop
        entries = len(self.q)
        own_mask, source_mask = own_mask.reshape(entries, -1), source_mask.reshape(entries, -1)
        if threshold is None:
            return self._soft(own_mask.to(self.q), source_mask.to(self.q), words)

        text = torch.arange(words, device=self.q.device)
        out = self.q.new_empty(*self.q.shape[:3], self.v.shape[-1])
        for entry in range(entries):
            out[entry, :, :words] = self._some(entry, text)
            for shown in (True, False):
                queries = words + _cells(own_mask[entry] >= threshold, shown)
                keys = torch.cat([text, words + _cells(source_mask[entry] >= threshold, shown)])
                if len(queries):
                    out[entry, :, queries] = self._some(entry, queries, keys if len(keys) else ALL)
        return out

    def _some(self, entry: int, queries: Tensor, keys: Tensor | slice = ALL) -> Tensor:
        """Attention of some queries of one entry to some keys: `[head, query, channel]`."""
        one = slice(entry, entry + 1)
        mask = part_of_mask(self.mask, one, queries, keys)
        return self.inner(self.call, self.q[one, :, queries], self.k[one, :, keys], self.v[one, :, keys], mask)[0]

    def _soft(self, own_mask: Tensor, source_mask: Tensor, words: int) -> Tensor:
        """Attention to object cells and to the others, mixed by the mask of the query `[entry, cell]`.

        Keys are weighted by their mask, through its logarithm in the logits.
        """
        least = torch.finfo(source_mask.dtype).tiny
        outputs = []
        for weight in (source_mask, 1 - source_mask):
            bias = F.pad(weight.clamp(min=least).log(), (words, 0))[:, None, None]
            if self.mask is not None:
                bias = self.mask + bias
            outputs.append(self.inner(self.call, self.q, self.k, self.v, bias))

        fraction = F.pad(own_mask, (words, 0))[:, None, :, None]
        out = fraction * outputs[0] + (1 - fraction) * outputs[1]
        if words:
            mask = part_of_mask(self.mask, ALL, slice(words))
            out[:, :, :words] = self.inner(self.call, self.q[:, :, :words], self.k, self.v, mask)
        return out


def _cells(mask: Tensor, shown: bool) -> Tensor:
    """Indices of the cells `[cell]` whose mask is `shown`."""
    return (mask == shown).nonzero()[:, 0]


def _mask_key(branch: Branch) -> MaskKey:
    return branch.sample, branch.first_frame, branch.kv_source is not None


def _on(grid: Sequence[int], x: Tensor) -> Tensor:
    """`[frame, height, width]` on another grid."""
    return resized_in_time(x[None], grid)[0]
