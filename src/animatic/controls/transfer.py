"""Attention transfer (LMD): inside its box a thing is looked at as it was when it was made alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from ..core.text import ClipText
from ..core.types import Step
from ..scene import Scene
from .collage import masks_of, one
from .targets import Targets


@dataclass(frozen=True)
class Transfer:
    """Mean over layers and heads of sum over cells |A M / sum A M - A' M / sum A' M|, times `weight`.

    A is the attention of the last word of a thing's phrase, A' that of the thing alone, M its box (LMD). Things of
    the same phrase share its weight, phrases that of the scene.
    """

    weight: float
    scenes: Sequence[Scene] = field(repr=False)
    objects: Sequence[tuple[int, int]] = field(repr=False)  # row and track of each
    text: ClipText = field(repr=False)
    reference: Mapping[tuple[str, int], Tensor] = field(repr=False)  # layer, level: `[thing, frame, head, h, w]`
    every_word = False

    def __call__(self, found: Mapping[str, Tensor], targets: Targets, step: Step) -> Tensor:
        known = [name for name in found if (name, step.index) in self.reference]
        layers = (self.layer(found[name], self.reference[name, step.index], targets) for name in known)
        return sum(layers, targets.weights.new_zeros(len(targets.tokens))) * (self.weight / max(1, len(known)))

    def layer(self, p: Tensor, alone: Tensor, targets: Targets) -> Tensor:
        """Energy `[row]` of one layer's maps `[row, frame, head, height, width, wanted]`."""
        rows, columns, share = self._where(targets)
        inside = [one(self.scenes[row], track) for row, track in self.objects]
        height, width = p.shape[3:5]
        m = masks_of(inside, targets.frames, height, width, targets.legacy).flatten(-2)[:, :, None].to(p.device)
        have, want = (
            v / (v.sum(-1, keepdim=True) + 1e-5)
            for v in (p.float().movedim(-1, 1)[rows, columns].flatten(-2) * m, alone.flatten(-2) * m)
        )
        energy = (have - want).abs().sum(-1).mean((1, 2)) * share
        return energy.new_zeros(len(targets.tokens)).index_add(0, targets.tokens.new_tensor(rows), energy)

    def _where(self, targets: Targets) -> tuple[list[int], list[int], Tensor]:
        """Of each thing: its row, the column of its word in the maps, its weight."""
        requests = targets.tokens.tolist()
        phrases = [(row, self.scenes[row].tracks[track].phrase) for row, track in self.objects]
        columns = [requests[r].index(self.text.positions(self.scenes[r].prompt, phrase)[-1]) for r, phrase in phrases]
        kinds = {row: len({phrase for r, phrase in phrases if r == row}) for row, _ in phrases}
        share = [1 / (phrases.count(thing) * kinds[thing[0]]) for thing in phrases]
        return [row for row, _ in phrases], columns, targets.weights.new_tensor(share)
