"""Attention to some words is multiplied by a factor.

Reweighting of prompt-to-prompt (Hertz et al. 2022, arXiv 2208.01626, https://github.com/google/prompt-to-prompt) in
cross-attention, and of DiTCtrl (Cai et al. 2025, arXiv 2412.18597, https://github.com/TencentARC/DiTCtrl) in layers
that attend to text and video in one sequence. No map of tokens x tokens is stored: the contribution of a few columns is
added to the output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from ..core.attention import (
    ALL,
    TEXT_KINDS,
    attention_with_columns,
    branch_by_branch,
    matches_any,
    one_hot,
    part_of_mask,
)
from ..core.control import Control
from ..core.types import Attend, AttentionCall, Branch, Span
from ..errors import AnimaticError

Factors = Mapping[int, float]  # by token


@dataclass
class Reweight(Control):
    """Multiplies the attention to some words by a factor, without renormalising: `factors` by sample, {token: factor}.

    For stories they are by (sample, prompt); where a branch has a mean of prompts, each counts by its weight. In layers
    where text and video are one sequence, the words' own attention to the video is multiplied too (DiTCtrl). `layers`:
    globs. `during`: the span of the run. Branches of negative prompts, whose words are others, are unchanged unless
    `negative`.
    """

    factors: Mapping[int, Factors] | Mapping[tuple[int, int], Factors]
    layers: tuple[str, ...] = ("*",)
    during: Span = (0.0, 1.0)
    negative: bool = False
    needs = frozenset({"text maps"})

    def __post_init__(self) -> None:
        # before any run, so that a bad factor is named where it was given
        for factors in self.factors.values():
            for factor in factors.values():
                if not isfinite(factor):
                    raise AnimaticError(f"factor is {factor}; want a finite number, such as 2 or 0.5")

    def attend(
        self, inner: Attend, call: AttentionCall, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
    ) -> Tensor:
        if call.kind not in TEXT_KINDS or not call.step.within(self.during):
            return inner(call, q, k, v, mask)
        if not matches_any(call.layer, self.layers):
            return inner(call, q, k, v, mask)

        branches = call.cond.branches
        if call.kind == "joint" and len(branches) > 1:
            one_by_one = partial(self.attend, inner)
            return branch_by_branch(one_by_one, call, q, k, v, mask)
        factors = [self._of(branch) for branch in branches]
        if not any(factors):
            return inner(call, q, k, v, mask)

        # words and (factor - 1) of each batch entry: [batch, 1, word, 1] and [batch, 1, word]
        tokens, change = _padded(factors, q.device)
        entries = len(q) // len(branches)
        change = change.repeat_interleave(entries, 0).to(q.dtype)
        change = change[:, None]
        index = tokens.repeat_interleave(entries, 0)
        index = index[:, None, :, None]

        def at_words(x: Tensor) -> Tensor:
            """`x` `[batch, head, token, channel]` at the weighted words."""
            heads = x.shape[1]
            channels = x.shape[-1]
            return x.gather(2, index.expand(-1, heads, -1, channels))

        # output += sum over words of (factor - 1) * probability * value
        columns = one_hot(tokens, k.shape[2])
        out, probabilities = attention_with_columns(inner, call, q, k, v, mask, columns)
        changed = probabilities * change[..., None, :]
        added = changed @ at_words(v)
        if call.kind == "cross":
            return out + added

        # joint layers: only cells attend to the words with a factor
        text = call.text_keys.stop
        added[:, :, :text] = 0

        # the words' own attention to the video: all of their output times the factor, less the part that is text
        no_video = torch.zeros_like(v[:, :, text:])
        only_text = torch.cat([v[:, :, :text], no_video], 2)
        text_mask = part_of_mask(mask, ALL, slice(text))
        from_text = inner(call, at_words(q), k, only_text, text_mask)
        from_video = at_words(out) - from_text
        words_added = change[..., None] * from_video
        places = index.expand_as(from_text)
        return (out + added).scatter_add(2, places, words_added)

    def _of(self, branch: Branch) -> dict[int, float]:
        """The factors of a branch, by token."""
        if branch.negative and not self.negative:
            return {}

        # by sample, or by sample and prompt
        by: Mapping[Any, Factors] = self.factors
        of_sample = by.get(branch.sample, {})
        mixed = dict(of_sample)
        for prompt, weight in branch.prompt_weights:
            # a prompt that counts by half moves the factor half as far from 1
            of_prompt = by.get((branch.sample, prompt), {})
            for token, factor in of_prompt.items():
                before = mixed.get(token, 1.0)
                mixed[token] = before + weight * (factor - 1)
        return mixed


def _padded(factors: Sequence[Factors], device: torch.device) -> tuple[Tensor, Tensor]:
    """Tokens and (factor - 1), `[branch, token]` each; branches of fewer words are padded by token 0 with factor 1."""
    # all branches are one batch, and need as many words
    most = max(map(len, factors))
    tokens = []
    values = []
    for by_token in factors:
        missing = most - len(by_token)
        tokens.append([*by_token, *[0] * missing])
        values.append([*by_token.values(), *[1.0] * missing])
    change = torch.tensor(values, device=device) - 1
    return torch.tensor(tokens, device=device), change
