"""LMD's composition: every object is generated on its own first, then the objects are composited into the scene.

Lian et al. 2023, arXiv 2305.13655, https://github.com/TonyLianLong/LLM-groundedDiffusion. The objects of all samples
are generated as one batch. Kept are their latents at the first noise levels, their attention, and a mask. The scene
then starts from the composited noise, its latents inside the masks are set to the objects' for some steps, and its
energy compares its attention with that of the objects (attention transfer).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from ..core.attention import matches_any, mean_map, predict_with_maps
from ..core.backbone import Backbone
from ..core.control import Control, Run, one_each
from ..core.loop import sample
from ..core.types import Conditioning, Denoise, Fraction, Step
from ..prompting.styles import object_scene
from ..scene import Scene
from .compositing import Placement, centred, composed, masks_of, offsets, offsets_published, one, shifted
from .energy import Energy
from .masks import AttentionMask, Masking
from .terms import Sum
from .transfer import Transfer

ObjectIndex = tuple[int, int]  # sample and track of an object
WARM_UP = 5  # the first 1 / WARM_UP of the noise levels is left out of an object's mean attention


@dataclass
class Composition(Control):
    """Generates each object on its own under `object_controls`, then the scene from the composited latents.

    `object_controls`: the controls of the objects' run, which are given scenes of one object each. `energy`: guides the
    scene. `transfer`: weight of attention transfer, added to it. `mask`: how objects are cut out. `mask_layers`: the
    layers whose attention makes the masks, if not those of the energy (LMD's for Segment Anything: one of its own).
    `centre`: an object is generated in the middle and shifted to its box, else it is generated in its box. `placement`:
    a centred box is `floor` above the bottom, in the middle, or kept at its height. `floor`: fraction of the canvas
    below a centred box. `sideways`: objects are shifted to their boxes horizontally only. `blend` r: noise inside an
    object's box is sqrt(1-r) background + sqrt(r) own. `frozen`: fraction of the noise levels up to which latents
    inside the masks are those of the objects. `negative` is appended to the model's own negative prompt in the objects'
    run. `seed` of the objects' own noise: it is added to that of the sample, and one for each track. `legacy`: LMD's
    rounding of boxes and its centres of masks. Where `frozen` and `transfer` are 0, or the scenes have no tracks, this
    is `energy` alone.
    """

    scenes: Sequence[Scene] = field(repr=False)
    energy: Energy
    object_controls: tuple[Control, ...]
    mask: Masking = field(default_factory=AttentionMask)
    mask_layers: tuple[str, ...] = ()
    centre: bool = True
    placement: Placement = "floor"
    floor: Fraction = 0.2
    sideways: bool = False
    blend: Fraction = 0.01
    frozen: Fraction = 0.5
    transfer: float = 2.0
    negative: str = ""
    seed: int = 123456789
    legacy: bool = False
    needs = frozenset({"text maps"})
    _latents: ComposedLatents | None = field(default=None, repr=False)

    def begin(self, run: Run) -> Composition:
        one_each(self, self.scenes, run.x)
        objects = [(sample, i) for sample, scene in enumerate(self.scenes) for i in range(len(scene.tracks))]
        if not objects or not (self.frozen or self.transfer):
            return replace(self, energy=self.energy.begin(run))

        # generate every object on its own
        frames, height, width = run.x.shape[2:]
        single = [self._single(object_scene(self.scenes[sample].at(frames), i)) for sample, i in objects]
        boxes = masks_of(single, frames, height, width, self.legacy).to(run.x.device)
        recorder = self._generate(run, single, boxes, objects)

        # cut the objects out, and shift them to their boxes
        masks = self.mask(recorder.mean_attention(), lambda: run.backbone.decode(recorder.levels[-1]), boxes)
        offset = self._offsets(masks, objects, frames, height, width)
        held = recorder.levels[: self._last_held(run) + 1]
        levels = [shifted(x.movedim(1, 2), offset).movedim(1, 2) for x in held]
        samples = [sample for sample, _ in objects]
        latents = ComposedLatents(*composed(run.x, levels, shifted(masks, offset), samples))

        # the energy of the scene, with attention transfer
        reference = {key: shifted(maps, offset) for key, maps in recorder.maps.items()}
        terms = self.energy.terms
        if self.transfer:
            transfer = Transfer(self.transfer, self.scenes, objects, run.backbone.text, reference)
            terms = Sum(((1.0, terms), (1.0, transfer)))
        return replace(self, energy=replace(self.energy, terms=terms).begin(run), _latents=latents)

    def steer(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        if self._latents is not None and self.frozen:
            x = self._latents.hold(x, step.index)
        return self.energy.steer(inner, x, step, cond)

    def _last_held(self, run: Run) -> int:
        """Index of the last noise level at which latents inside the masks are those of the objects."""
        return int(len(run.schedule) * self.frozen)

    def _single(self, scene: Scene) -> Scene:
        """The scene in which an object is generated: its box is centred if `centre` is set."""
        if not self.centre:
            return scene
        (track,) = scene.tracks
        boxes = tuple(box and centred(box, self.floor, self.placement) for box in track.boxes)
        return replace(scene, tracks=(replace(track, boxes=boxes),))

    def _offsets(self, masks: Tensor, objects: Sequence[ObjectIndex], frames: int, height: int, width: int) -> Tensor:
        """From where each object was generated to its box, in eighths: int `[object, frame, (x, y)]`."""
        offset = torch.zeros(*masks.shape[:2], 2, dtype=torch.long)
        if self.centre:
            goals = [one(self.scenes[sample].at(frames), i) for sample, i in objects]
            if self.legacy:
                offset = offsets_published(masks, goals)
            else:
                offset = offsets(masks, masks_of(goals, frames, height, width))
        if self.sideways:
            offset[..., 1] = 0
        return offset

    def _generate(
        self, run: Run, single: Sequence[Scene], boxes: Tensor, objects: Sequence[ObjectIndex]
    ) -> ObjectRecorder:
        """Run all objects on their own as one batch, and record them.

        Their noise depends on their track and on the seed of the sample (LMD's generate.py), not on the batch.
        """
        # noise: the sample's outside the box, a blend of it and of noise of the object's own inside
        shared = run.schedule.unit(run.x[[sample for sample, _ in objects]])
        generators = (torch.Generator().manual_seed(self.seed + run.seed(s) + track) for s, track in objects)
        own = torch.stack([torch.randn(run.x.shape[1:], generator=g) for g in generators]).to(run.x)
        blended = (1 - self.blend) ** 0.5 * shared + self.blend**0.5 * own
        noise = torch.where(boxes[:, None], blended, shared)

        # the run ends at the last noise level that is used
        recorded = self.energy.until if self.transfer else 0.0
        recorder = ObjectRecorder(single, run.backbone, self.energy.layers, recorded, self.mask_layers)
        stop = None
        if not self.mask.needs_pixels:
            stop = max(self._last_held(run), int(len(run.schedule) * recorded), 1)

        negatives = [run.backbone.defaults.negative_text(scene.negative, self.negative) for scene in single]
        cond = run.backbone.encode([scene.prompt for scene in single], negatives)
        controls = [recorder, *(of_scenes(control, single) for control in self.object_controls)]
        sample(run.backbone, run.schedule.again(stop), noise, cond, controls)
        return recorder


def of_scenes(control: Any, scenes: Sequence[Scene]) -> Any:
    """A control with other scenes; one that has none is the same."""
    return replace(control, scenes=scenes) if "scenes" in {f.name for f in fields(control)} else control


@dataclass(frozen=True)
class ComposedLatents:
    """Composited objects: the first sample, the latents of the levels that are held, and where in them objects are."""

    start: Tensor
    levels: Sequence[Tensor]
    cover: Tensor

    def hold(self, x: Tensor, index: int) -> Tensor:
        """The sample at level `index` with the objects' latents where they are known."""
        if index == 0:
            return self.start
        if index >= len(self.levels):
            return x
        return torch.where(self.cover[:, None], self.levels[index], x)


class ObjectRecorder(Control):
    """Records, of scenes with one object each, the latents of every level and the attention of the object's word."""

    needs = frozenset({"text maps"})

    def __init__(
        self, scenes: Sequence[Scene], backbone: Backbone, layers: tuple[str, ...], until: float,
        mask_layers: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        """`layers`: those whose maps are kept, at levels before the fraction `until`.

        `mask_layers`: those of `mean_attention`, the same if none is given.
        """
        text = backbone.text
        words = [text.positions(scene.prompt, scene.tracks[0].phrase)[-1] for scene in scenes]
        self.words = torch.tensor(words)[:, None]
        self.layers = layers
        self.until = until
        self.mask_layers = mask_layers or layers
        self.levels: list[Tensor] = []
        self.maps: dict[tuple[str, int], Tensor] = {}  # by layer and level: `[object, frame, head, height, width]`
        self._means: list[Tensor] = []

    def mean_attention(self) -> Tensor:
        """Mean attention over layers, heads and levels, the first fifth left out: `[object, frame, height, width]`."""
        return torch.stack(self._means[len(self._means) // WARM_UP :]).mean(0)

    def denoise(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        requested = tuple(dict.fromkeys((*self.layers, *self.mask_layers)))
        prediction, found = predict_with_maps(inner, x, step, cond, self.words.to(x.device), requested)

        for_masks = {name: maps for name, maps in found.items() if matches_any(name, self.mask_layers)}
        self._means.append(mean_map(for_masks)[:, :, 0])
        if step.fraction < self.until:
            for name, maps in found.items():
                if matches_any(name, self.layers):
                    self.maps[name, step.index] = maps[..., 0]
        return prediction

    def steer(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        self.levels.append(x)
        return x
