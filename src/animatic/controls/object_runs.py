"""Objects generated on their own: which of them are one batch, in which frames and windows, and what is recorded.

Lian et al. 2023, arXiv 2305.13655, https://github.com/TonyLianLong/LLM-groundedDiffusion, there of single images. The
objects of a story are generated scene by scene, in those windows of the story that show their scene.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from ..core.attention import matches_any, mean_map, predict_with_maps
from ..core.control import Control
from ..core.encoded_prompt import EncodedPrompt
from ..core.types import Conditioning, Denoise, Step
from ..scene import Scene
from ..timeline import Timeline
from ..window_plan import Window, WindowPlan

ObjectIndex = tuple[int, int]  # sample and track of an object
WARM_UP = 5  # the first 1 / WARM_UP of the noise levels is left out of an object's mean attention


@dataclass(frozen=True)
class ObjectGroup:
    """Objects that are generated as one batch, in the latent frames `frames` of the run.

    `placed`: of each object its own scene with this track alone and a box for each of the frames. `plan`: the windows,
    counted from the first of the frames; None: all frames at once.
    """

    objects: tuple[ObjectIndex, ...]
    placed: tuple[Scene, ...]
    frames: slice
    plan: WindowPlan | None = None

    @property
    def samples(self) -> list[int]:
        """The sample of each object."""
        return [sample for sample, _ in self.objects]

    @property
    def count(self) -> int:
        """The number of frames."""
        return self.frames.stop - self.frames.start

    def shown(self, scenes: Sequence[Scene]) -> list[Scene | Timeline]:
        """Scenes of the objects as their run shows them: in the windows of the group, if it has any."""
        if self.plan is None:
            return list(scenes)
        return [Timeline((scene,), self.plan) for scene in scenes]


@dataclass(frozen=True)
class Cutouts:
    """Objects cut out of their own videos and shifted to their boxes, in the frames of a group or in all frames.

    `levels`: latents `[object, channel, frame, height, width]` of each noise level; `masks`
    `[object, frame, height, width]`; `reference`: attention by layer and level `[object, frame, head, height, width]`.
    """

    levels: Sequence[Tensor]
    masks: Tensor
    reference: Mapping[tuple[str, int], Tensor]


def object_groups(scenes: Sequence[Scene | Timeline], frames: int) -> list[ObjectGroup]:
    """The objects of scenes as one group, those of stories as one for each scene, or windows, that show objects."""
    groups: dict[tuple[int, ...], ObjectGroup] = {}
    for sample, scene in enumerate(scenes):
        resampled = scene.at(frames)
        for i, track in enumerate(resampled.tracks):
            # objects in the same frames and windows are one batch
            part, own_scene = scene.part(i)
            span, plan = _extent(scene, part, frames)
            firsts = [window.first for window in plan.windows] if plan else []
            key = (span.start, span.stop, *firsts)

            boxes = track.boxes[span]
            placed = replace(own_scene, tracks=(replace(track, boxes=boxes),))
            group = groups.setdefault(key, ObjectGroup((), (), span, plan))
            groups[key] = replace(group, objects=(*group.objects, (sample, i)), placed=(*group.placed, placed))
    return list(groups.values())


def _extent(scene: Scene | Timeline, part: int, frames: int) -> tuple[slice, WindowPlan | None]:
    """The latent frames in which objects of a story's scene `part` are generated, and the windows over these frames."""
    if isinstance(scene, Scene):
        return slice(0, frames), None

    # every window that shows a frame of the scene, under the words of the object alone
    plan = scene.plan
    borders = [round(edge * frames) for edge in plan.edges]
    first, stop = list(pairwise(borders))[part]
    shows = [window for window in plan.windows if window.first < stop and window.first + plan.size > first]
    start = shows[0].first
    end = shows[-1].first + plan.size
    windows = tuple(Window(window.first - start, ((0, 1.0),)) for window in shows)
    return slice(start, end), WindowPlan(windows, plan.size, end - start, (0.0, 1.0))


def joined(groups: Sequence[ObjectGroup], cutouts: Sequence[Cutouts], frames: int) -> Cutouts:
    """The objects of all groups in all frames of the run, empty outside those of their group."""
    if len(groups) == 1 and groups[0].count == frames:
        return cutouts[0]

    def together(parts: Sequence[Tensor], axis: int) -> Tensor:
        """Tensors of each group as one, along the objects; `axis` is that of frames."""
        extended = []
        for group, part in zip(groups, parts, strict=True):
            shape = list(part.shape)
            shape[axis] = frames
            whole = part.new_zeros(shape)
            whole.narrow(axis, group.frames.start, group.count).copy_(part)
            extended.append(whole)
        return torch.cat(extended)

    by_level = zip(*(own.levels for own in cutouts), strict=True)
    levels = [together(parts, 2) for parts in by_level]
    masks = together([own.masks for own in cutouts], 1)
    keys = cutouts[0].reference
    reference = {key: together([own.reference[key] for own in cutouts], 1) for key in keys}
    return Cutouts(levels, masks, reference)


class ObjectRecorder(Control):
    """Records, of scenes with one object each, the latents of every level and the attention of the object's word."""

    needs = frozenset({"text maps"})

    def __init__(
        self,
        scenes: Sequence[Scene],
        prompts: Sequence[EncodedPrompt],
        layers: tuple[str, ...],
        mask_layers: tuple[str, ...],
        until: float,
    ) -> None:
        """`layers`: those whose maps are kept, at levels before the fraction `until`; `mask_layers`: of the masks.

        The word of an object is the last token of its phrase in its prompt.
        """
        words = []
        for scene, prompt in zip(scenes, prompts, strict=True):
            track = scene.tracks[0]
            positions = prompt.positions(track.phrase)
            words.append(positions[-1])
        self.words = torch.tensor(words)[:, None]
        self.layers = layers
        self.mask_layers = mask_layers
        self.until = until
        self.levels: list[Tensor] = []
        self.maps: dict[tuple[str, int], Tensor] = {}  # by layer and level: `[object, frame, head, height, width]`
        self._means: list[Tensor] = []

    def mean_attention(self) -> Tensor:
        """Mean attention over layers, heads and levels, the first fifth left out: `[object, frame, height, width]`."""
        # the noisiest levels do not show yet where an object is
        first = len(self._means) // WARM_UP
        warm = torch.stack(self._means[first:])
        return warm.mean(0)

    def denoise(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        # one evaluation answers for both kinds of layers, each requested once
        both = (*self.layers, *self.mask_layers)
        requested = tuple(dict.fromkeys(both))
        words = self.words.to(x.device)
        prediction, found = predict_with_maps(inner, x, step, cond, words, requested)

        for_masks = {name: maps for name, maps in found.items() if matches_any(name, self.mask_layers)}
        mean = mean_map(for_masks)  # [object, frame, word, height, width]
        self._means.append(mean[:, :, 0])

        # references of attention transfer
        if step.fraction < self.until:
            for name, maps in found.items():
                if matches_any(name, self.layers):
                    self.maps[name, step.index] = maps[..., 0]
        return prediction

    def steer(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        self.levels.append(x)
        return x
