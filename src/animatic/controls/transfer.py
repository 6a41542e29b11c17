"""Attention transfer: in its box an object keeps the attention that it had when it was generated on its own.

LMD (Lian et al. 2023, arXiv 2305.13655, https://github.com/TonyLianLong/LLM-groundedDiffusion).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..core.types import Step
from .targets import Targets


@dataclass(frozen=True)
class Transfer:
    """Mean over layers and heads of sum over cells |A M / sum A M - A' M / sum A' M|, times `weight`.

    A is the attention of the last word of an object's phrase, A' that of the object generated on its own, M its box
    (LMD). Objects of the same phrase divide its weight evenly, phrases that of the scene. `objects`: sample and track
    of each object in the scenes of the targets. `reference`: A' by layer and noise level,
    `[object, frame, head, height, width]`.
    """

    weight: float
    objects: Sequence[tuple[int, int]] = field(repr=False)
    reference: Mapping[tuple[str, int], Tensor] = field(repr=False)
    every_word = False

    def __call__(self, found: Mapping[str, Tensor], targets: Targets, step: Step) -> Tensor:
        """Energy `[sample]`; 0 at noise levels of which no attention is stored."""
        energies = []
        for name, maps in found.items():
            reference = self.reference.get((name, step.index))
            if reference is not None:
                energies.append(self.layer(maps, reference, targets))
        none = targets.weights.new_zeros(len(targets.tokens))
        total = sum(energies, none)
        return total * (self.weight / max(1, len(energies)))

    def layer(self, maps: Tensor, reference: Tensor, targets: Targets) -> Tensor:
        """Energy `[sample]` of one layer's maps `[sample, frame, head, height, width, token]`."""
        samples, columns, weights = self._words(targets)

        # the box of each object, which is 1 for every head: [object, frame, 1, cell]
        height, width = maps.shape[3:5]
        masks = [scene.masks(targets.frames, height, width, targets.legacy) for scene in targets.scenes]
        of_objects = [torch.from_numpy(masks[sample][track]) for sample, track in self.objects]
        boxes = torch.stack(of_objects).flatten(-2)[:, :, None]
        boxes = boxes.to(maps.device)

        # attention in the box, now and when the object was generated on its own
        by_word = maps.float().movedim(-1, 1)
        attention = by_word[samples, columns].flatten(-2)  # [object, frame, head, cell]
        current = _distribution(attention * boxes)
        single_object = _distribution(reference.flatten(-2) * boxes)

        # distance of the two distributions, averaged over frames and heads
        distance = (current - single_object).abs().sum(-1)
        energy = distance.mean((1, 2)) * weights
        by_sample = energy.new_zeros(len(targets.tokens))
        of_sample = targets.tokens.new_tensor(samples)
        return by_sample.index_add(0, of_sample, energy)

    def _words(self, targets: Targets) -> tuple[list[int], list[int], Tensor]:
        """Of each object: its sample, the column of its word in the maps, its weight."""
        requests = targets.tokens.tolist()
        samples = [sample for sample, _ in self.objects]

        # phrases of two scenes of a story are two, even if they are the same words
        phrases = []
        for sample, track in self.objects:
            scene = targets.scenes[sample]
            segment, _ = scene.part(track)
            phrases.append((sample, segment, scene.tracks[track].phrase))

        columns = []
        weights = []
        for sample, segment, phrase in phrases:
            # the last word of a phrase is its noun
            last_word = targets.prompts[sample].positions(phrase, segment)[-1]
            columns.append(requests[sample].index(last_word))
            distinct = len({other for other in phrases if other[0] == sample})
            weights.append(1 / (phrases.count((sample, segment, phrase)) * distinct))
        return samples, columns, targets.weights.new_tensor(weights)


def _distribution(attention: Tensor) -> Tensor:
    """Attention `[..., cell]` divided by its sum."""
    # where an object has no box all of it is 0, and stays so
    total = attention.sum(-1, keepdim=True) + 1e-5
    return attention / total
