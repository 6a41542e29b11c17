"""Layout attention: a bias on the text attention leads cells to the words of the boxes they are in; no gradient.

After DenseDiffusion (Kim et al. 2023, arXiv 2308.12964, https://github.com/naver-ai/DenseDiffusion): logits are raised
inside a box and lowered outside, in proportion to the noise level. Unlike there the bias does not depend on the logits,
so that attention stays fused, and it can be stronger at the first levels, where the places of objects are decided.

In transformers, a bias matrix of tokens x tokens would take gigabytes. The bias of cell i and word j is a product, push
of i times "key j is the word", so it is added as one channel a word in queries and keys: exact, and still fused.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.attention import TEXT_KINDS, matches_any
from ..core.control import Control, Run, bound
from ..core.types import Attend, AttentionCall, Branch, Conditioning, Fraction, Step
from .targets import Targets

VIDEO_KINDS = ("self", "joint")  # the kinds of layers in which the cells of a frame attend to one another


@dataclass
class LayoutAttention(Control):
    """Adds `inside` x noise level to the logits of an object's words in its box, subtracts `outside` x noise elsewhere.

    Branches of negative prompts are unchanged. `inside`: added to the logits of an object's words for cells in its box,
    times the noise level; `outside`: subtracted for other cells, times the noise level. `until`: the first fraction of
    the noise levels, in which it is active. `layers`: the attention layers (globs). `first`: what all of these are
    multiplied by at the first noise level; the factor falls linearly to 1 at `until`. `self_bias`: added, times the
    noise level, to the logits with which cells outside all boxes attend to cells inside one: they learn that the object
    is there, and show none themselves. 0 for `inside`, `outside` and `self_bias` changes nothing. `joint`: multiplies
    all three in joint layers, where the words and the other cells share a cell's attention: what suits layers of text
    alone would leave nothing to the cells there.
    """

    inside: float = 4.0
    outside: float = 8.0
    until: Fraction = 0.6
    layers: tuple[str, ...] = ("*",)
    first: float = 1.0
    self_bias: float = 0.0
    joint: float = 1.0
    needs = frozenset({"text maps"})
    _frames_per_token: int = bound()  # latent frames
    _targets: Targets = bound()
    _biases: dict[tuple, tuple[Tensor, Tensor]] = bound()
    _box_biases: dict[tuple, tuple[Tensor, Tensor]] = bound()

    def begin(self, run: Run) -> LayoutAttention:
        run.scenes_for(self)
        own = copy(self)
        own._frames_per_token = run.backbone.geometry.patch[0]
        own._targets = Targets.in_run(run, added=True)
        own._biases = {}
        own._box_biases = {}
        return own

    def attend(
        self, inner: Attend, call: AttentionCall, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
    ) -> Tensor:
        if call.step.fraction >= self.until or not matches_any(call.layer, self.layers):
            return inner(call, q, k, v, mask)

        strength = self._strength(call.step) * (self.joint if call.kind == "joint" else 1.0)
        if self.self_bias and call.kind in VIDEO_KINDS:
            push, in_box = self._box_bias(call)
            q, k = _with_bias_channels(strength, q, k, push, in_box)
        if not (self.inside or self.outside) or call.kind not in TEXT_KINDS:
            return inner(call, q, k, v, mask)

        tokens_per_prompt = call.text_keys.stop
        keys = k.shape[2]
        push, words = self._bias(call.grid, of_scenes(call.cond), tokens_per_prompt, keys)
        frames = call.grid[0]
        if call.kind == "joint" or call.entries_per_branch < frames:
            q, k = _with_bias_channels(strength, q, k, push, words)
            return inner(call, q, k, v, mask)

        # in space layers, whose batch holds the frames, the bias is small enough to be a mask
        scaled = (push * strength).to(q)
        by_key = words.to(q).transpose(-1, -2)
        bias = scaled @ by_key  # [branch, 1, frame * cell, key]
        bias = bias.unflatten(2, (call.entries_per_branch, -1)).transpose(1, 2)
        bias = bias.flatten(0, 1)  # [branch * frame, 1, cell, key]
        return inner(call, q, k, v, bias if mask is None else mask + bias)

    def _box_bias(self, call: AttentionCall) -> tuple[Tensor, Tensor]:
        """Push `[entry, 1, cell, 1]` of the cells outside the boxes, and `[entry, 1, key, 1]` which keys are inside."""
        branches = of_scenes(call.cond)
        key = (call.grid, call.kind, branches)
        if key not in self._box_biases:
            frames, height, width = call.grid
            masks = self._targets.masks(height, width).flatten(-2)  # [pair, frame, cell]
            parts = []
            for branch in branches:
                own = masks[self._targets.samples == branch.sample]
                in_any = own.any(0).float() if len(own) else masks.new_zeros(masks.shape[1:])
                window = slice(branch.first_frame, branch.first_frame + frames * self._frames_per_token)
                parts.append(in_any[window] * (not branch.negative))

            # a token that spans several latent frames has their mean; frames are batch entries in space layers
            in_box = torch.stack(parts).unflatten(1, (frames, self._frames_per_token)).mean(2)
            by_entry = in_box.flatten().view(len(branches) * call.entries_per_branch, 1, -1, 1)

            # one channel for all boxes: queries in none of them, keys in one (in a negative branch no key is);
            # in a joint layer text comes first
            text_keys = call.text_keys.stop if call.kind == "joint" else 0
            self._box_biases[key] = self.self_bias * (1 - by_entry), F.pad(by_entry, (0, 0, text_keys, 0))
        return self._box_biases[key]

    def _strength(self, step: Step) -> float:
        """What the push at unit noise is multiplied by at a level before `until`."""
        remaining = 1 - step.fraction / self.until
        return step.noise * (1 + (self.first - 1) * remaining)

    def _bias(
        self, grid: tuple[int, int, int], branches: tuple[Branch, ...], tokens_per_prompt: int, keys: int
    ) -> tuple[Tensor, Tensor]:
        """Push `[branch, 1, cell, word]` of the cells of all frames, and one-hot words `[branch, 1, key, word]`.

        The first `tokens_per_prompt` of the keys are the tokens of one prompt.
        """
        # the same in every evaluation at this size: it is made once
        key = (grid, branches, keys)
        if key not in self._biases:
            push = self._push(grid, branches, tokens_per_prompt)
            samples = [branch.sample for branch in branches]
            tokens = self._targets.tokens[samples] % tokens_per_prompt  # [branch, word]
            words = F.one_hot(tokens, keys).float()

            # words are the channels of a matrix product; one bias serves all heads
            push = push.movedim(1, -1)[:, None]
            words = words.movedim(1, -1)[:, None]
            self._biases[key] = push, words
        return self._biases[key]

    def _push(self, grid: tuple[int, int, int], branches: Sequence[Branch], tokens_per_prompt: int) -> Tensor:
        """What is added to the logit of each cell and word at unit noise: `[branch, word, cell]`."""
        targets = self._targets
        frames, height, width = grid
        masks = targets.masks(height, width).flatten(-2)  # [pair, frame, cell]
        push = masks * (self.inside + self.outside) - self.outside

        # a word that names several objects has the sum of their pushes
        by_word = push.new_zeros(*targets.tokens.shape, *push.shape[1:])  # [sample, word, frame, cell]
        places = (targets.samples, targets.columns)
        by_word.index_put_(places, push, accumulate=True)

        # of each branch its window of latent frames, and the words of its prompts
        latent_frames = frames * self._frames_per_token
        parts = []
        for branch in branches:
            window = slice(branch.first_frame, branch.first_frame + latent_frames)
            tokens = targets.tokens[branch.sample]
            present = conditioned_on(tokens, branch, tokens_per_prompt)
            in_window = by_word[branch.sample, :, window]
            parts.append(in_window * present[:, None, None])
        by_branch = torch.stack(parts)  # [branch, word, latent frame, cell]

        # a token that spans several latent frames has their mean
        by_token = by_branch.unflatten(2, (frames, self._frames_per_token))
        return by_token.mean(3).flatten(2)


def _with_bias_channels(strength: float, q: Tensor, k: Tensor, push: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
    """Queries and keys with one channel more for every word, whose product is the bias: `strength` x push.

    Attention scales logits by 1 / sqrt(width of q), which is larger now: queries and push make up for it.
    """
    width = q.shape[-1]
    widened = width + push.shape[-1]
    heads = q.shape[1]

    # text tokens, which come before the cells, are not pushed
    text_queries = q.shape[2] - push.shape[2]
    scaled = push * (strength * widened**0.5)
    scaled = F.pad(scaled, (0, 0, text_queries, 0)).to(q)
    by_head = scaled.expand(-1, heads, -1, -1)
    rescaled = q * (widened / width) ** 0.5
    queries = torch.cat([rescaled, by_head], -1)

    words_by_head = words.to(k).expand(-1, k.shape[1], -1, -1)
    keys = torch.cat([k, words_by_head], -1)
    return queries, keys


def of_scenes(cond: Conditioning) -> tuple[Branch, ...]:
    """The branches, as samples those whose scenes are `Run.evaluated`."""
    if not cond.first_scene:
        return cond.branches
    pairs = zip(cond.branches, cond.scenes, strict=True)
    return tuple(replace(branch, sample=scene) for branch, scene in pairs)


def conditioned_on(tokens: Tensor, branch: Branch, tokens_per_prompt: int) -> Tensor:
    """Which of a story's tokens belong to the prompts of a branch: bool, like `tokens`; none for a negative branch."""
    prompts = []
    if not branch.negative:
        prompts = [prompt for prompt, _ in branch.prompt_weights]
    of_branch = torch.tensor(prompts, device=tokens.device)
    return torch.isin(tokens // tokens_per_prompt, of_branch)
