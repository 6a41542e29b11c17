"""What is learnt in the toy world: velocity, weighted towards the objects, and attention told where its words are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..core.text import ClipText
from ..scene import Scene


def sample_timesteps(count: int, levels: int, exponent: float = 0.7) -> Tensor:
    """Stratified random timesteps `[count]` in 0..levels, leaning to the noisy ones, where things get their shape."""
    u = (torch.randperm(count) + torch.rand(count)) / count
    return (u**exponent * levels).long().clamp(max=levels - 1)


def weighted_mse(
    prediction: Tensor, target: Tensor, cover: Tensor, alpha_bar: Tensor, object_weight: float = 5.0
) -> Tensor:
    """Mean squared velocity error in which a cell counts 1 + object_weight x (share of it that is object).

    `cover` `[row, frame, height, width]` in pixels, 0..1; `alpha_bar` `[row]`. Where signal drowns noise (SNR > 11) the
    error is mostly of detail that cannot be known; there it counts 12 / (SNR + 1), as min-SNR does (Hang et al. 2023).
    """
    height, width = target.shape[-2:]
    share = F.adaptive_avg_pool2d(cover, (height, width))[:, None]
    error = ((1 + object_weight * share) * (prediction - target).square()).flatten(1).mean(1)
    return (error * (12 * (1 - alpha_bar)).clamp(max=1)).mean()  # 1 / (SNR + 1) = 1 - alpha_bar


def phrase_tokens(text: ClipText, scenes: Sequence[Scene]) -> tuple[Tensor, Tensor]:
    """For `Maps`: positions `[row, wanted]` of phrases; the tracks each names, bool `[row, wanted, track]`."""
    tokens, names = [], []
    for scene in scenes:
        named = torch.zeros(text.limit, max(len(scene.tracks) for scene in scenes), dtype=torch.bool)
        for i, track in enumerate(scene.tracks):
            named[list(text.positions(scene.prompt, track.phrase)), i] = True
        tokens.append(named.any(1).nonzero()[:, 0])
        names.append(named[tokens[-1]])
    return pad_sequence(tokens, batch_first=True), pad_sequence(names, batch_first=True)


def attention_loss(found: Mapping[str, Tensor], covers: Tensor, valid: Tensor) -> Tensor:
    """Mean over layers, phrases and frames of (1 - share of a token's attention inside its object)^2.

    `found` are maps `[row, frame, head, height, width, wanted]` by layer; `covers` `[row, wanted, frame, height,
    width]` in pixels: what each token names; `valid` `[row, wanted]`.
    """
    total = covers.new_zeros(())
    for p in found.values():
        mass = p.mean(2).movedim(-1, 1)  # [row, wanted, frame, height, width]
        inside = F.adaptive_max_pool2d(covers.flatten(0, 1), mass.shape[-2:]).view_as(mass) > 0.25
        seen = valid[..., None] * inside.any(-1).any(-1)
        share = (mass * inside).sum((-2, -1)) / (mass.sum((-2, -1)) + 1e-6)
        total = total + (seen * (1 - share).square()).sum() / seen.sum().clamp(min=1)
    return total / max(1, len(found))
