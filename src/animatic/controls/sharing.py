"""Shared keys and values: a branch attends to those of another, so that both show the same objects.

KV sharing and mask-guided KV sharing of DiTCtrl (Cai et al. 2025, arXiv 2412.18597,
https://github.com/TencentARC/DiTCtrl). Which branch reads from which is stored in the branches (`Branch.kv_source`), by
`Windows` or by an edit; here keys and values are exchanged. They are read as the source's layer computed them, after
projection, norm and rotary embedding, so that models with rotary positions share correctly too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor, nn

from ..backbones.prefix_cache import State, record, replay
from ..core.attention import (
    TEXT_KINDS,
    attention_with_columns,
    branch_by_branch,
    matches_any,
    part_of_mask,
)
from ..core.backbone import Backbone
from ..core.control import Control, Run, bound
from ..core.types import Attend, AttentionCall, Branch, Conditioning, Denoise, Step
from ..errors import AnimaticError
from .shared_attention import KeysAndValues, MaskPair, ObjectAttention, SharedAttention

ONE_IN = 6  # one in so many layers of a transformer shares: CogVideoX-2B's last 5 of 30, in DiTCtrl's released script

MaskKey = tuple[int, int, bool]
"""(sample, first frame, whether it reads): a mask's key, the same for a branch of either sign."""

ShowMasks = Callable[[str, int, Branch, Tensor, Tensor], None]
"""(layer, step, branch that reads, the source's mask, its own), masks `[frame, height, width]` in 0..1."""


def sharing_layers(backbone: Backbone) -> tuple[str, ...]:
    """Globs of the layers that share: a transformer's last blocks, the self-attention of a UNet's up blocks.

    DiTCtrl shares in the last five of CogVideoX-2B's 30 blocks; other transformers share in the last sixth of theirs.
    """
    blocks = list(backbone.chain(Step(0, 1, 0.0)))
    if not blocks:
        return ("up_blocks.*.attn1",)
    count = max(1, len(blocks) // ONE_IN)
    return tuple(f"{block}.attn1" for block in blocks[-count:])


@dataclass
class ShareKV(Control):
    """In the layers `layers` (globs), branches with a source attend to its keys and values. Put it last in the list.

    `layers` None are those of `sharing_layers`. Without branches that have a source it is the identity. With `masked`
    sharing between the windows of stories is guided by masks: cells that show the objects attend only to cells of the
    source that show them, the other cells to the others. The mask of a branch is the attention of its cells to the
    words of all tracks, averaged over the layers so far. `threshold`: the value of the mask, scaled to 0..1, from which
    a cell shows an object; None leaves the mask soft. Before the first layer that attends to text there is no mask, and
    all cells are read. `own_text`: a branch keeps its own text keys, in layers where text and video are one sequence.
    `show` is called in each layer that shares by masks.
    """

    layers: tuple[str, ...] | None = None
    masked: bool = False
    threshold: float | None = 0.3
    own_text: bool = False
    show: ShowMasks | None = field(default=None, repr=False)
    only_one = True
    _layers: tuple[str, ...] = bound(default=())  # `layers`, or those of the model
    _words: Mapping[tuple[int, int], Sequence[int]] = field(default_factory=dict, repr=False)  # by sample and prompt
    _bank: dict[tuple[str, Branch], KeysAndValues] = field(default_factory=dict, repr=False)
    _seen: dict[MaskKey, ObjectAttention] = field(default_factory=dict, repr=False)
    _states: dict[Branch, tuple[State, ObjectAttention | None]] = field(default_factory=dict, repr=False)
    _run: Run = bound()

    def begin(self, run: Run) -> ShareKV:
        """Raises `AnimaticError` where sharing between windows is masked, and no story has an object."""
        masked = self.masked and bool(run.timelines)
        words = words_of_objects(run) if masked else {}
        if masked and not any(words.values()):
            raise AnimaticError("masked sharing needs objects; no scene has a track whose phrase is in its prompt")

        own = replace(self, _words=words, _bank={}, _seen={}, _states={})
        own._layers = sharing_layers(run.backbone) if self.layers is None else self.layers
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

        # where an earlier call evaluated all of these branches without a source: replay
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

        # where later calls will: record
        if cond.reused:
            return record(prefix[-1], partial(self._keep, cond), len(cond.branches))
        return nullcontext()

    def _prefix(self, step: Step) -> list[nn.Module]:
        """The blocks of a transformer before the first whose self-attention shares; none of other networks."""
        chain = self._run.backbone.chain(step)
        blocks = list(chain.values())
        for i, name in enumerate(chain):
            if matches_any(f"{name}.attn1", self._layers):
                return blocks[:i]
        return []

    def _keep(self, cond: Conditioning, i: int, state: State) -> None:
        """Keep the activations of branch `i`, and its attention to objects so far, if later calls reuse it."""
        branch = cond.branches[i]
        if branch in cond.reused:
            attention = None if branch.negative else self._seen.get(_mask_key(branch))
            self._states[branch] = state, attention

    def attend(
        self, inner: Attend, call: AttentionCall, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
    ) -> Tensor:
        # in layers that attend to text, add up the attention to the words of objects
        out = None
        if self._words and call.kind in TEXT_KINDS:
            out = self._measure(inner, call, q, k, v, mask)

        # nothing to share: another layer, or one whose keys no branch reads, now or later
        sources = {branch.kv_source for branch in call.cond.branches}
        read = sources | call.cond.reused
        shares = call.kind in ("self", "joint") and matches_any(call.layer, self._layers)
        if not shares or read <= {None}:
            return inner(call, q, k, v, mask) if out is None else out

        # exchange the keys and values of the branches that have a source
        self._store(call, k, v, read)
        keys, values, masks = self._exchanged(call, k, v)
        if not any(pair.known for pair in masks.values()):
            return inner(call, q, torch.cat(keys), torch.cat(values), mask)

        # with masks, the branches that read are computed one by one
        unshared = inner(call, q, k, v, mask) if out is None else out
        entries = len(q) // len(call.cond.branches)
        outputs = list(unshared.split(entries))
        for i, pair in masks.items():
            batch = slice(i * entries, (i + 1) * entries)
            part = part_of_mask(mask, batch)
            own_call = call.of_branch(i)
            shared = SharedAttention(inner, own_call, q[batch], keys[i], values[i], part)
            if pair.own is None or pair.source is None:
                outputs[i] = shared.unmasked()
            else:
                outputs[i] = shared.masked(pair.own, pair.source, self.threshold)
        return torch.cat(outputs)

    def _store(self, call: AttentionCall, k: Tensor, v: Tensor, read: Set[Branch | None]) -> None:
        """Store the keys and values of the branches that are read, in this call of the network or in later ones."""
        entries = len(k) // len(call.cond.branches)
        width = call.head_width or k.shape[-1]
        for branch, own_k, own_v in zip(call.cond.branches, k.split(entries), v.split(entries), strict=True):
            # an edit lets branches read from another sample (`FollowSource`), of which windows do not know
            known_as = branch
            if branch.kv_source is not None and branch.kv_source.sample != branch.sample:
                known_as = replace(branch, kv_source=None)
            if known_as in read:
                stored = KeysAndValues(own_k, own_v[..., :width], self._mask(call, branch))
                self._bank[call.layer, known_as] = stored

    def _exchanged(
        self, call: AttentionCall, k: Tensor, v: Tensor
    ) -> tuple[list[Tensor], list[Tensor], dict[int, MaskPair]]:
        """Keys and values of every branch, its source's where it has one, and the masks of those that do, by index."""
        branches = call.cond.branches
        entries = len(k) // len(branches)
        keys = list(k.split(entries))
        values = list(v.split(entries))
        masks: dict[int, MaskPair] = {}
        for i, branch in enumerate(branches):
            if branch.kv_source is None:
                continue
            source = self._bank[call.layer, branch.kv_source]

            # the gradient of an energy of this sample must not reach another
            if branch.kv_source.sample != branch.sample:
                source = source.detached()

            # exchange, and note where source and reader show the objects
            words = call.text_keys.stop if self.own_text else 0
            keys[i], values[i] = source.for_reader(keys[i], values[i], words)
            own_mask = self._mask(call, branch)
            pair = MaskPair(own_mask, source.mask)
            masks[i] = pair
            if self.show is None or branch.negative:
                continue
            if pair.own is not None and pair.source is not None:
                self.show(call.layer, call.step.index, branch, pair.source, pair.own)
        return keys, values, masks

    def _measure(
        self, inner: Attend, call: AttentionCall, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
    ) -> Tensor:
        """Unchanged attention; that of conditional branches to the words of their objects is added to `_seen`."""
        branches = call.cond.branches
        if call.kind == "joint" and len(branches) > 1:
            one_by_one = partial(self._measure, inner)
            return branch_by_branch(one_by_one, call, q, k, v, mask)
        if not any(self._tokens(branch) for branch in branches):
            return inner(call, q, k, v, mask)

        # one column of keys: the words of the objects of each branch
        keys = k.shape[2]
        column = torch.zeros(len(branches), keys, 1, device=k.device, dtype=v.dtype)
        for i, branch in enumerate(branches):
            words = list(self._tokens(branch))
            column[i, words] = 1
        out, attention = attention_with_columns(inner, call, q, k, v, mask, column)

        # mean over heads, at the cells: [entry, cell]
        first_cell = call.text_keys.stop if call.kind == "joint" else 0
        by_query = attention[..., 0].float().mean(1)
        cells = by_query[:, first_cell:]
        on_grid = cells.reshape(len(branches), *call.grid)
        for branch, own in zip(branches, on_grid, strict=True):
            # negative prompts name no objects
            if branch.negative:
                continue
            key = _mask_key(branch)
            known = self._seen.get(key)
            if known is None:
                known = ObjectAttention(torch.zeros_like(own), 0)
            self._seen[key] = known.plus(own)
        return out

    def _tokens(self, branch: Branch) -> Sequence[int]:
        """Positions of the words of objects in the prompt that weighs most in a branch."""
        if branch.negative:
            return ()
        # of two that weigh the same, the later
        prompt, _ = max(branch.prompt_weights, key=lambda pair: (pair[1], pair[0]))
        return self._words.get((branch.sample, prompt), ())

    def _mask(self, call: AttentionCall, branch: Branch) -> Tensor | None:
        """Where a branch shows the objects, `[frame, height, width]` in 0..1; None while that is not known."""
        attention = self._seen.get(_mask_key(branch))
        if attention is None:
            return None
        return attention.mask(call.grid)


def words_of_objects(run: Run) -> dict[tuple[int, int], tuple[int, ...]]:
    """Token positions of all objects' phrases, within their prompt, by sample and prompt of its story."""
    words: dict[tuple[int, int], tuple[int, ...]] = {}
    for sample, (scene, prompt) in enumerate(zip(run.scenes, run.prompts, strict=True)):
        for i, track in enumerate(scene.tracks):
            segment, _ = scene.part(i)
            key = (sample, segment)
            known = words.get(key, ())
            positions = prompt.positions_within(track.phrase, segment)
            words[key] = (*known, *positions)
    return words


def _mask_key(branch: Branch) -> MaskKey:
    reads = branch.kv_source is not None
    return branch.sample, branch.first_frame, reads
