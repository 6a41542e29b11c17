"""Grounding: a model with GLIGEN's layers is told the boxes and names of things, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from ..core.control import Control, Run, one_each
from ..core.text import ClipText
from ..core.types import Conditioning, Fraction, Step
from ..errors import AnimaticError
from ..prompting.styles import object_scene, own_name
from ..scene import Scene, Track

MOST = 30  # objects that GLIGEN was trained with
Naming = Literal["name", "phrase", "prompt"]


@dataclass
class Gligen(Control):
    """Tell the boxes in the first `until` (share) of the noise levels: GLIGEN's scheduled sampling, its beta.

    Negative rows, absent things and unused places are told as GLIGEN's learned "nothing". `until` 0 changes nothing.
    `guided` is what an energy's passes are told: the boxes; GLIGEN's "nothing" (LMD+ as published); or not a word, so
    that its layers rest (LVD+ as published). `naming` is what stands for an object beside its box, see `named_boxes`.
    `legacy`: boxes between key frames by LVD's rule, and int(until * steps) levels, as GLIGEN's pipelines count them.
    """

    scenes: Sequence[Scene] = field(repr=False)
    until: Fraction = 0.4  # LMD+, LVD-GLIGEN README
    guided: Literal["boxes", "nothing", "no word"] = "boxes"
    legacy: bool = False
    naming: Naming = "name"
    needs = frozenset({"grounding"})
    _conditioning: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def begin(self, run: Run) -> Gligen:
        one_each(self, self.scenes, run.x)
        told = named_boxes(self.scenes, run.backbone.text, run.x.shape[2], self.legacy, self.naming)
        return replace(self, _conditioning={name: value.to(run.x.device) for name, value in told.items()})

    def condition(self, cond: Conditioning, step: Step) -> Conditioning:
        guided = cond.map_request is not None and cond.map_request.maps_only
        if not self._tells(step) or (guided and self.guided == "no word"):
            return cond
        told = {name: value[cond.samples] for name, value in self._conditioning.items()}
        positive = torch.tensor([not row.negative for row in cond.branches], device=cond.text.device)
        if guided and self.guided == "nothing":
            positive = torch.zeros_like(positive)
        told["present"] = told["present"] * positive[:, None, None]
        return replace(cond, extra={**cond.extra, **told})

    def _tells(self, step: Step) -> bool:
        if self.legacy:
            return step.index < int(self.until * step.count)
        return step.fraction < self.until


@torch.no_grad()
def named_boxes(
    scenes: Sequence[Scene], text: ClipText, frames: int, legacy: bool = False, naming: Naming = "name"
) -> dict[str, Tensor]:
    """ "boxes" `[scene, frame, 30, 4]`, "present" `[scene, frame, 30]`, "phrases" `[scene, 30, channel]`.

    `naming` of an object: its own "name" ("a cat"); the "phrase" that names it in the text, perhaps with others ("two
    cats"); or the "prompt" of a picture of it alone ("a lawn with a cat").
    """
    boxes = torch.zeros(len(scenes), frames, MOST, 4)
    present = torch.zeros(len(scenes), frames, MOST)
    names: list[tuple[int, int, str]] = []
    for s, scene in enumerate(scenes):
        if len(scene.tracks) > MOST:
            raise AnimaticError(f"a scene has {len(scene.tracks)} tracks; GLIGEN takes at most {MOST}")
        for i, track in enumerate(scene.at(frames, legacy).tracks):
            names.append((s, i, _named(scene, track, i, naming)))
            for f, box in enumerate(track.boxes):
                if box is not None:
                    boxes[s, f, i], present[s, f, i] = torch.tensor(box).clamp(0, 1), 1.0
    pooled = text.pooled([name for _, _, name in names])
    phrases = pooled.new_zeros(len(scenes), MOST, pooled.shape[-1])
    for (s, i, _), state in zip(names, pooled, strict=True):
        phrases[s, i] = state
    return {"boxes": boxes, "present": present, "phrases": phrases}


def _named(scene: Scene, track: Track, i: int, naming: Naming) -> str:
    if naming == "prompt":
        return object_scene(scene, i).prompt
    return track.phrase if naming == "phrase" else own_name(track)
