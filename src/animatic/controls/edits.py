"""Edits: a video generated again with other words. One sample is the source, others follow it where words agree.

Prompt-to-prompt (Hertz et al. 2022, arXiv 2208.01626, https://github.com/google/prompt-to-prompt) in cross-attention;
word swap of DiTCtrl (Cai et al. 2025, arXiv 2412.18597, https://github.com/TencentARC/DiTCtrl) in layers that attend to
text and video in one sequence. No map of tokens x tokens is stored: attention by the source's maps is attention with
the source's queries and keys. Reweighting is in `reweight.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.attention import matches_any, predict_with_maps, resized_in_time
from ..core.control import Control, Run, bound
from ..core.types import Attend, AttentionCall, Branch, Conditioning, Denoise, Span, Step


@dataclass
class FollowSource(Control):
    """Every sample but the first reads the keys and values of the first, in the span `during` of the run.

    DiTCtrl's word swap, together with `ShareKV`. `samples`: those that read, all but the first if none is given.
    """

    during: Span = (2 / 50, 25 / 50)
    samples: tuple[int, ...] = ()

    def condition(self, cond: Conditioning, step: Step) -> Conditioning:
        if not step.within(self.during):
            return cond
        return replace(cond, branches=tuple(self._following(branch) for branch in cond.branches))

    def _following(self, branch: Branch) -> Branch:
        """The branch with the source's as its `kv_source`, unless it has one or belongs to a sample that reads none."""
        # a window's own source goes first
        reads = branch.sample in self.samples if self.samples else branch.sample > 0
        if not reads or branch.kv_source is not None:
            return branch
        return replace(branch, kv_source=replace(branch, sample=0))


def aligned(source: Sequence[str], target: Sequence[str], size: int) -> tuple[Tensor, Tensor]:
    """How the tokens of two prompts correspond: (matrix `[source token, target token]`, own `[target token]`).

    Equal tokens correspond to each other. Of an exchanged span, each new token has equal parts of all old ones (Hertz
    et al.'s replacement, which is for spans of one length). Added tokens have no counterpart, and 1 in `own` (their
    refinement). Both prompts are padded to `size` tokens.
    """
    matrix = torch.zeros(size, size)
    own = torch.zeros(size)

    # "autojunk" would not match tokens that are frequent in long prompts, such as padding
    matcher = SequenceMatcher(None, list(source), list(target), autojunk=False)

    # deleted tokens have no counterpart: the attention to them is dropped
    for kind, first, stop, target_first, target_stop in matcher.get_opcodes():
        if kind == "equal":
            rows = range(first, stop)
            columns = range(target_first, target_stop)
            matrix[rows, columns] = 1
        elif kind == "replace":
            new = target_stop - target_first
            matrix[first:stop, target_first:target_stop] = 1 / new
        elif kind == "insert":
            own[target_first:target_stop] = 1

    # padding corresponds to padding, as far as both have it
    source_end = min(size, len(source))
    target_end = min(size, len(target))
    padding = min(size - source_end, size - target_end)
    rows = range(source_end, source_end + padding)
    columns = range(target_end, target_end + padding)
    matrix[rows, columns] = 1
    own[target_end + padding :] = 1
    return matrix, own


@dataclass
class PromptToPrompt(Control):
    """Samples attend to their words as the first sample does to its own.

    The prompts are those of the run's scenes or stories. Where words correspond (see `aligned`) the source's attention
    is used in cross-attention, up to the fraction `cross` of the run; added words keep their own. Up to the fraction
    `self_until`, self-attention is the source's. `layers`: globs.

    Joint layers, of text and video in one sequence, are both at once (ours): up to the fraction `joint` their attention
    is the source's; up to the fraction `begins` the words that are read are the source's, too. Where things are is
    decided there by what the words say from the first noise levels on.
    """

    cross: float = 0.8
    self_until: float = 0.4
    joint: float = 0.4
    begins: float = 0.2
    layers: tuple[str, ...] = ("*",)
    needs = frozenset({"text maps"})
    _matrices: list[list[tuple[Tensor, Tensor]]] = bound()  # by sample, by prompt

    def begin(self, run: Run) -> PromptToPrompt:
        run.scenes_for(self)
        own = copy(self)
        own._matrices = []

        # token ids as words, by sample and by prompt of its story; the source is sample 0
        size = run.tokens_per_prompt
        stories = []
        for prompt in run.prompts:
            segments = range(len(prompt.texts))
            stories.append([list(map(str, prompt.token_ids(segment))) for segment in segments])
        source_story = stories[0]

        # prompt by prompt: stories of one batch have as many scenes
        device = run.x.device
        for story in stories:
            by_prompt = []
            for source, target in zip(source_story, story, strict=True):
                matrix, added = aligned(source, target, size)
                by_prompt.append((matrix.to(device), added.to(device)))
            own._matrices.append(by_prompt)
        return own

    def attend(
        self, inner: Attend, call: AttentionCall, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
    ) -> Tensor:
        until_of = {"cross": self.cross, "self": self.self_until, "joint": self.joint}
        until = until_of.get(call.kind, 0.0)
        if call.step.fraction >= until or not matches_any(call.layer, self.layers):
            return inner(call, q, k, v, mask)

        # the branch that each branch follows; itself for the source's own
        branches = call.cond.branches
        every = range(len(branches))
        sources = [_source_of(branches, i) for i in every]
        if sources == list(every):
            return inner(call, q, k, v, mask)

        # the batch entry that each entry follows
        entries = len(q) // len(branches)
        rows = []
        for source in sources:
            first = source * entries
            rows += range(first, first + entries)
        index = torch.tensor(rows).to(q.device)
        unchanged = index == torch.arange(len(index), device=q.device)
        unchanged = unchanged.view(-1, 1, 1, 1)

        def followed(x: Tensor) -> Tensor:
            """`x` of the entries that are followed, detached: an energy of a sample must not move its source."""
            source = x.detach()[index]
            return torch.where(unchanged, x, source)

        if call.kind == "self":
            return inner(call, followed(q), followed(k), v, mask)
        is_joint = call.kind == "joint"
        if is_joint and call.step.fraction < self.begins:
            return inner(call, followed(q), followed(k), followed(v), mask)

        # how the words of each batch entry correspond
        alignments = [self._alignment(branch) for branch in branches]
        matrices, own_words = zip(*alignments, strict=True)
        matrix = torch.stack(matrices).to(v)
        matrix = matrix.repeat_interleave(entries, 0)[:, None]  # [batch, 1, source token, token]
        own = torch.stack(own_words).to(v)
        own = own.repeat_interleave(entries, 0)[:, None, :, None]  # [batch, 1, token, 1]

        # in joint layers the video's tokens come after the text, and correspond to themselves
        if is_joint:
            text, video = v[:, :, call.text_keys], v[:, :, call.text_keys.stop :]
            by_words = torch.cat([matrix @ text, video], 2)
            added = torch.cat([own * text, torch.zeros_like(video)], 2)
        else:
            by_words = matrix @ v
            added = own * v

        # (the source's probabilities x matrix) v, and own probabilities for words that were added
        by_source = inner(call, followed(q), followed(k), by_words, mask)
        by_itself = inner(call, q, k, added, mask)
        return by_source + by_itself

    def _alignment(self, branch: Branch) -> tuple[Tensor, Tensor]:
        """How the tokens of a branch correspond to the source's (see `aligned`); negative prompts to themselves."""
        # negative prompts are not edited
        if branch.negative:
            own = self._matrices[0][0][1]
            return torch.eye(len(own), device=own.device), torch.zeros_like(own)

        by_prompt = self._matrices[branch.sample]
        weights = branch.prompt_weights
        if len(weights) == 1:
            return by_prompt[weights[0][0]]

        # a mean of prompts: the mean of their matrices, by weight
        matrix, own = (torch.zeros_like(part) for part in by_prompt[0])
        for prompt, weight in weights:
            prompt_matrix, prompt_own = by_prompt[prompt]
            matrix = matrix + weight * prompt_matrix
            own = own + weight * prompt_own
        return matrix, own


def _source_of(branches: Sequence[Branch], i: int) -> int:
    """Index of the first sample's branch that branch `i` follows: of the same window, and alike in reading a source.

    Branches of negative prompts follow none, nor do those that are evaluated without the source (sharing by masks
    computes the branches that read one by one).
    """
    branch = branches[i]
    if branch.negative:
        return i
    source = replace(branch, sample=0, kv_source=None)
    candidates = [j for j, other in enumerate(branches) if replace(other, kv_source=None) == source]
    if not candidates:
        return i

    # of those the one that reads, or does not read, as this one
    reads = branch.kv_source is not None
    for j in candidates:
        candidate_reads = branches[j].kv_source is not None
        if candidate_reads == reads:
            return j
    return candidates[0]


@dataclass
class LocalBlend(Control):
    """Local blend: a sample differs from the `source` sample only where the words are attended to (Hertz et al.).

    `words` are token positions by sample, in stories (segment, token); `targets` are the samples that are blended, all
    but the source if none is given. Attention is a mean over heads, `layers` (globs) and noise levels so far; a cell
    may differ where it, or a neighbour, has `threshold` of the frame's maximum. `begins`: the fraction of the run from
    which samples are blended.
    """

    words: Sequence[Sequence[int]] | Sequence[Sequence[tuple[int, int]]]
    threshold: float = 0.3
    begins: float = 0.2
    layers: tuple[str, ...] = ("*",)
    source: int = 0
    targets: tuple[int, ...] = ()
    needs = frozenset({"text maps"})
    _tokens: Tensor = bound()  # positions in the sequence of all segments `[sample, word]`
    _seen: list[Tensor] = bound()  # mean attention at each level `[sample, frame, height, width]`

    def begin(self, run: Run) -> LocalBlend:
        size = run.tokens_per_prompt
        most = max(map(len, self.words))
        rows: list[list[int]] = []
        for words in self.words:
            row = []
            for word in words:
                if isinstance(word, int):
                    row.append(word)
                else:
                    segment, token = word
                    row.append(segment * size + token)

            # samples of fewer words repeat their last
            last = row[-1] if row else 0
            missing = most - len(row)
            rows.append(row + [last] * missing)

        own = copy(self)
        own._tokens = torch.tensor(rows, device=run.x.device)
        own._seen = []
        return own

    def denoise(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        prediction, found = predict_with_maps(inner, x, step, cond, self._tokens, self.layers)

        # mean over heads and words, on the grid of the latents
        layers = []
        for maps in found.values():
            mean = maps.mean((2, 5))  # [sample, frame, height, width]
            layers.append(resized_in_time(mean, x.shape[2:]))
        self._seen.append(torch.stack(layers).mean(0))
        return prediction

    def steer(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        if step.fraction < self.begins or not self._seen:
            return x

        # the mean over the levels so far, with a neighbourhood of 3 x 3 cells
        seen = torch.stack(self._seen).mean(0)
        attention = F.max_pool3d(seen, (1, 3, 3), 1, (0, 1, 1))
        strongest = attention.amax((2, 3), keepdim=True)
        relative = attention / strongest.clamp(min=1e-12)
        differs = relative > self.threshold

        # elsewhere the sample is the source's
        blended = x.clone()
        others = [i for i in range(len(x)) if i != self.source]
        for i in self.targets or others:
            either = differs[i] | differs[self.source]
            blended[i] = torch.where(either, x[i], x[self.source])
        return blended
