"""The losses of the toy curriculum: a velocity error weighted towards objects, and a supervision of cross-attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..core.text import ClipText
from ..scene import Scene

MOSTLY_OBJECT = 0.25  # a cell of an attention map is inside an object from this cover on


def sample_timesteps(count: int, levels: int, exponent: float = 0.7) -> Tensor:
    """Stratified random timesteps `[count]` in 0..levels - 1.

    They are `u ** exponent * levels` for stratified uniform `u`: an exponent below 1 prefers noisy levels, where the
    layout of a scene is decided.
    """
    # One timestep from each of `count` equal parts, which lowers the variance of the loss.
    strata = torch.randperm(count) + torch.rand(count)
    u = strata / count
    t = (u**exponent * levels).long()
    return t.clamp(max=levels - 1)


def weighted_mse(
    prediction: Tensor, target: Tensor, cover: Tensor, alpha_bar: Tensor, object_weight: float = 5.0
) -> Tensor:
    """Mean squared velocity error, with a weight of 1 + object_weight x (object fraction) on each cell.

    Where the signal dominates (SNR > 49), the error is mostly unpredictable detail; it is weighted by 50 / (SNR + 1)
    there, after min-SNR (Hang et al. 2023, arXiv 2303.09556).

    Args:
        prediction, target: `[sample, channel, frame, height, width]`.
        cover: Coverage by objects in pixels, `[sample, frame, height, width]`, 0..1.
        alpha_bar: `[sample]`, 0..1.
        object_weight: Additional weight of a cell that is all object.
    """
    height, width = target.shape[-2:]

    # Of each cell the fraction of its pixels that an object covers.
    object_fraction = F.adaptive_avg_pool2d(cover, (height, width))[:, None]
    cell_weight = 1 + object_weight * object_fraction
    squared_error = (prediction - target).square()
    error = (cell_weight * squared_error).flatten(1).mean(1)

    level_weight = (50 * (1 - alpha_bar)).clamp(max=1)  # 1 / (SNR + 1) = 1 - alpha_bar
    return (error * level_weight).mean()


def phrase_tokens(text: ClipText, scenes: Sequence[Scene]) -> tuple[Tensor, Tensor]:
    """The tokens of the phrases in each prompt, for an `AttentionMapRequest`, and which tracks they name.

    Returns positions `[sample, token]`, padded with 0, and bool `[sample, token, track]`, padded with False.
    """
    most_tracks = max(len(scene.tracks) for scene in scenes)
    positions, names_track = [], []
    for scene in scenes:
        named = torch.zeros(text.limit, most_tracks, dtype=torch.bool)
        for i, track in enumerate(scene.tracks):
            named[list(text.positions(scene.prompt, track.phrase)), i] = True
        tokens = named.any(1).nonzero()[:, 0]
        positions.append(tokens)
        names_track.append(named[tokens])
    return pad_sequence(positions, batch_first=True), pad_sequence(names_track, batch_first=True)


def attention_loss(maps: Mapping[str, Tensor], covers: Tensor, names_track: Tensor) -> Tensor:
    """Mean over layers, tokens and frames of (1 - fraction of the attention mass inside the object)^2.

    A token's object is all tracks that it names. One that names none, such as padding, does not count.

    Args:
        maps: Attention probabilities by layer, `[sample, frame, head, height, width, token]`.
        covers: Coverage by each track in pixels, `[sample, track, frame, height, width]`, 0..1.
        names_track: Which tracks each token names, bool `[sample, token, track]`.
    """
    is_named = names_track.any(-1)
    on_grid: dict[tuple[int, int], Tensor] = {}  # layers of one size share the cells of the objects
    total = covers.new_zeros(())
    for probabilities in maps.values():
        mass = probabilities.float().mean(2).movedim(-1, 1)  # [sample, token, frame, height, width]

        # Absent objects do not count.
        height, width = mass.shape[-2:]
        if (height, width) not in on_grid:
            on_grid[height, width] = _cells_of_tokens(covers, names_track, height, width)
        inside = on_grid[height, width]
        is_present = inside.any(-1).any(-1)
        counted = is_named[..., None] * is_present

        # 1 where all attention of the token is inside the object.
        mass_inside = (mass * inside).sum((-2, -1))
        fraction_inside = mass_inside / (mass.sum((-2, -1)) + 1e-6)
        squared = (counted * (1 - fraction_inside).square()).sum()
        total = total + squared / counted.sum().clamp(min=1)
    return total / max(1, len(maps))


def _cells_of_tokens(covers: Tensor, names_track: Tensor, height: int, width: int) -> Tensor:
    """Which cells of a grid belong to the tracks that each token names, bool `[sample, token, frame, height, width]`.

    A cell is a track's where any of its pixels is mostly covered by it.
    """
    # first to cells, then from tracks to tokens: there are few cells and many pixels
    largest = F.adaptive_max_pool2d(covers.flatten(0, 1), (height, width))
    is_tracks = (largest > MOSTLY_OBJECT).unflatten(0, covers.shape[:2])
    by_cell = names_track[..., None, None, None]
    return (by_cell & is_tracks[:, None]).any(2)
