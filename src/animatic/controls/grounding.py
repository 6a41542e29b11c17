"""Grounding: a model with GLIGEN's layers is conditioned on the boxes and names of objects, frame by frame.

Li et al. 2023, arXiv 2301.07093, https://github.com/gligen/GLIGEN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from ..core.control import Control, Run
from ..core.encoded_prompt import segments
from ..core.text import ClipText
from ..core.types import Conditioning, Fraction, Step
from ..errors import AnimaticError
from ..prompting.styles import object_scene, own_name
from ..scene import Scene, Track
from ..timeline import Timeline

MOST = 30  # objects that GLIGEN was trained with
Naming = Literal["name", "phrase", "prompt"]


@dataclass
class Gligen(Control):
    """Conditions on boxes in the first fraction `until` of the noise levels: GLIGEN's scheduled sampling, its beta.

    Negative branches, objects without a box and unused slots have GLIGEN's learned null embedding. `until` 0 changes
    nothing. `guided`: the conditioning of an energy's passes: the boxes; GLIGEN's null embedding, "nothing" (LMD+ as
    published); or "no word", so that its layers are inactive (LVD+ as published). `naming`: the text that is encoded
    for an object, see `named_boxes`. `legacy`: boxes between key frames by LVD's rule, and int(until * steps) levels,
    as GLIGEN's pipelines count them.
    """

    until: Fraction = 0.4  # LMD+, LVD-GLIGEN README
    guided: Literal["boxes", "nothing", "no word"] = "boxes"
    legacy: bool = False
    naming: Naming = "name"
    needs = frozenset({"grounding"})
    only_one = True
    _conditioning: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def begin(self, run: Run) -> Gligen:
        # boxes and encoded names of all samples: they are the same at every level
        run.scenes_for(self)
        fields = named_boxes(run.evaluated, run.backbone.text, run.x.shape[2], self.legacy, self.naming)
        return replace(self, _conditioning={name: value.to(run.x.device) for name, value in fields.items()})

    def condition(self, cond: Conditioning, step: Step) -> Conditioning:
        guided = cond.map_request is not None and cond.map_request.maps_only
        if not self.active(step) or (guided and self.guided == "no word"):
            return cond

        # which branches are conditioned on boxes; the others have the null embedding
        positive = [not branch.negative for branch in cond.branches]
        grounded = torch.tensor(positive, device=cond.text.device)
        if guided and self.guided == "nothing":
            grounded = torch.zeros_like(grounded)

        # of each branch the boxes of its scene
        fields = {name: value[cond.scenes] for name, value in self._conditioning.items()}
        fields["present"] = fields["present"] * grounded[:, None, None]
        return replace(cond, extra={**cond.extra, **fields})

    def active(self, step: Step) -> bool:
        """Whether the model is conditioned on boxes at this noise level."""
        if self.legacy:
            return step.index < int(self.until * step.count)
        return step.fraction < self.until


@torch.no_grad()
def named_boxes(
    scenes: Sequence[Scene | Timeline], text: ClipText, frames: int, legacy: bool = False, naming: Naming = "name"
) -> dict[str, Tensor]:
    """GLIGEN's inputs of a batch of scenes.

    "boxes" `[scene, frame, 30, 4]`, xyxy in 0..1; "present" `[scene, frame, 30]`, 0 or 1; "phrases"
    `[scene, 30, channel]`. `naming` of an object: its own "name" ("a cat"); the "phrase" that names it in the text,
    perhaps with others ("two cats"); or the "prompt" of an image of it alone ("a lawn with a cat"). Raises
    `AnimaticError` where a scene has more than 30 tracks.
    """
    # slots for 30 objects in every frame; unused ones stay empty
    boxes = torch.zeros(len(scenes), frames, MOST, 4)
    present = torch.zeros(len(scenes), frames, MOST)
    names: list[tuple[int, int, str]] = []
    for s, scene in enumerate(scenes):
        if len(scene.tracks) > MOST:
            raise AnimaticError(f"a scene has {len(scene.tracks)} tracks; GLIGEN takes at most {MOST}")

        # boxes are cut to the frame; where one is absent its slot stays empty
        resampled = scene.at(frames, legacy)
        for i, track in enumerate(resampled.tracks):
            name = _named(scene, track, i, naming)
            names.append((s, i, name))
            for f, box in enumerate(track.boxes):
                if box is not None:
                    corners = torch.tensor(box)
                    boxes[s, f, i] = corners.clamp(0, 1)
                    present[s, f, i] = 1.0

    # names are encoded together, and laid into the slots of their objects
    texts = [name for _, _, name in names]
    pooled = text.phrase_embeddings(texts)  # [name, channel]
    channels = pooled.shape[-1]
    phrases = pooled.new_zeros(len(scenes), MOST, channels)
    for (s, i, _), state in zip(names, pooled, strict=True):
        phrases[s, i] = state
    return {"boxes": boxes, "present": present, "phrases": phrases}


def _named(scene: Scene | Timeline, track: Track, i: int, naming: Naming) -> str:
    """The text that is encoded for track `i`."""
    if naming == "prompt":
        segment, own_scene = scene.part(i)

        # tracks of a story count through its scenes, those of `own_scene` from 0
        earlier = segments(scene)[:segment]
        before = sum(len(each.tracks) for each in earlier)
        return object_scene(own_scene, i - before).prompt
    if naming == "phrase":
        return track.phrase
    return own_name(track)
