"""LMD's composition: every object is generated on its own first, then the objects are composited into the scene.

Lian et al. 2023, arXiv 2305.13655, https://github.com/TonyLianLong/LLM-groundedDiffusion. The objects of all samples
are generated as one batch, those of a story in windows (see `object_runs`). Kept are their latents at the first noise
levels, their attention, and a mask. The scene then starts from the composited noise, its latents inside the masks are
set to the objects' for some steps, and its energy compares its attention with that of the objects (attention transfer).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..core.control import Control, Run
from ..core.encoded_prompt import EncodedPrompt
from ..core.loop import sample
from ..core.types import Conditioning, Denoise, Fraction, Step
from ..prompting.styles import object_scene
from ..scene import Scene
from .compositing import Placement, centred, composed, masks_of, offsets, offsets_published, shifted
from .energy import Energy
from .masks import AttentionMask, Masking
from .object_runs import Cutouts, ObjectGroup, ObjectRecorder, joined, object_groups
from .terms import Sum
from .transfer import Transfer
from .windows import Windows


@dataclass
class Composition(Control):
    """Generates each object on its own under `object_controls`, then the scene from the composited latents.

    `object_controls`: the controls of the objects' run, whose scenes have one object each. `energy`: guides the scene.
    `transfer`: weight of attention transfer, added to it; where the energy is `per_head`, so is this weight. `mask`:
    how objects are cut out. `mask_layers`: the layers whose attention makes the masks (LMD's for Segment Anything: one
    of its own); where there are none, or the model has none of them, those of the energy.
    `centre`: an object is generated in the middle and shifted to its box, else it is generated in its box. `placement`:
    a centred box is `floor` above the bottom, in the middle, or kept at its height. `floor`: fraction of the canvas
    below a centred box. `sideways`: objects are shifted to their boxes horizontally only. `blend` r: noise inside an
    object's box is sqrt(1-r) background + sqrt(r) own. `frozen`: fraction of the noise levels up to which latents
    inside the masks are those of the objects. `negative` is appended to the model's own negative prompt in the objects'
    run. `seed` of the objects' own noise: it is added to that of the sample, and one for each track. `legacy`: LMD's
    rounding of boxes and its centres of masks. Where `frozen` and `transfer` are 0, or the scenes have no tracks, this
    is `energy` alone.
    """

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
    stands_around = frozenset({"Energy", "Windows", "ShareKV"})  # it sets the sample that an energy then steers
    only_one = True
    _latents: ComposedLatents | None = field(default=None, repr=False)

    def begin(self, run: Run) -> Composition:
        frames = run.x.shape[2]
        groups = object_groups(run.scenes_for(self), frames)

        # nothing to composite, or nothing that composited objects would change
        if not groups or not (self.frozen or self.transfer):
            return replace(self, energy=self.energy.begin(run))

        # generate every object on its own, cut it out and shift it to its box; then composite the latents of all
        cutouts = [self._cut_out(run, group) for group in groups]
        laid = joined(groups, cutouts, frames)
        objects = [index for group in groups for index in group.objects]
        samples = [sample for sample, _ in objects]
        start, composited, cover = composed(run.x, laid.levels, laid.masks, samples)

        # the energy of the scene, with attention transfer
        terms = self.energy.terms
        if self.transfer:
            weight = self.transfer / self.energy.heads(run)
            transfer = Transfer(weight, objects, laid.reference)
            terms = Sum(((1.0, terms), (1.0, transfer)))
        energy = replace(self.energy, terms=terms)
        own_latents = ComposedLatents(start, composited, cover)
        return replace(self, energy=energy.begin(run), _latents=own_latents)

    def steer(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        if self._latents is not None and self.frozen:
            x = self._latents.hold(x, step.index)
        return self.energy.steer(inner, x, step, cond)

    def _last_held(self, run: Run) -> int:
        """Index of the last noise level at which latents inside the masks are those of the objects."""
        return int(len(run.schedule) * self.frozen)

    def _cut_out(self, run: Run, group: ObjectGroup) -> Cutouts:
        """The objects of a group, each generated on its own, cut out and shifted to its box."""
        height, width = run.x.shape[3:]
        single = [self._single(object_scene(scene, 0)) for scene in group.placed]
        boxes = masks_of(single, group.count, height, width, self.legacy)
        boxes = boxes.to(run.x.device)
        recorder = self._generate(run, group, single, boxes)

        # cut the objects out; pixels are decoded only for a mask that looks at them
        def pixels() -> Tensor:
            decoded = run.backbone.decode(recorder.levels[-1])
            return decoded[:, run.backbone.geometry.middle_frames(group.count)]

        masks = self.mask(recorder.mean_attention(), pixels, boxes)

        # where they go
        offset = torch.zeros(*masks.shape[:2], 2, dtype=torch.long)
        if self.centre:
            offset = self._offsets(masks, group.placed)

        # latents, masks and attention are shifted alike; `shifted` wants frames before channels
        held = recorder.levels[: self._last_held(run) + 1]
        levels = []
        for latents in held:
            by_frame = shifted(latents.movedim(1, 2), offset)
            levels.append(by_frame.movedim(1, 2))
        reference: dict[tuple[str, int], Tensor] = {}
        if self.transfer:
            reference = {key: shifted(maps, offset) for key, maps in recorder.maps.items()}
        return Cutouts(levels, shifted(masks, offset), reference)

    def _single(self, scene: Scene) -> Scene:
        """The scene in which an object is generated: its box is centred if `centre` is set."""
        if not self.centre:
            return scene

        # its size stays, in every frame that it is in
        (track,) = scene.tracks
        boxes = tuple(box and centred(box, self.floor, self.placement) for box in track.boxes)
        in_the_middle = replace(track, boxes=boxes)
        return replace(scene, tracks=(in_the_middle,))

    def _offsets(self, masks: Tensor, goals: Sequence[Scene]) -> Tensor:
        """From where each object was generated to its box, in eighths: int `[object, frame, (x, y)]`.

        `masks` `[object, frame, height, width]`: where the objects are; `goals`: scenes of the box of each.
        """
        if self.legacy:
            offset = offsets_published(masks, goals)
        else:
            frames, height, width = masks.shape[1:]
            goal_masks = masks_of(goals, frames, height, width)
            offset = offsets(masks, goal_masks)

        # axis 1 is vertical
        if self.sideways:
            offset[..., 1] = 0
        return offset

    def _generate(self, run: Run, group: ObjectGroup, single: Sequence[Scene], boxes: Tensor) -> ObjectRecorder:
        """Run the objects of a group on their own as one batch, in its windows if it has any, and record them.

        Their noise depends on their track and on the seed of the sample (LMD's generate.py), not on the batch.
        """
        noise = self._noise(run, group, boxes)

        # the run ends at the last noise level that is used
        recorded = self.energy.until if self.transfer else 0.0
        stop = None  # the clean one
        if not self.mask.needs_pixels:
            last_recorded = int(len(run.schedule) * recorded)
            stop = max(self._last_held(run), last_recorded, 1)

        # attention is recorded of the layers of the energy, and of those that make the masks
        has_own_layers = bool(run.backbone.text_layer_heads(self.mask_layers))
        mask_layers = self.mask_layers if has_own_layers else self.energy.layers
        encoded = [EncodedPrompt.of(scene, run.backbone.text) for scene in single]
        recorder = ObjectRecorder(single, encoded, self.energy.layers, mask_layers, recorded)

        # the objects' run: their own scenes, the guidance of this one
        defaults = run.backbone.defaults
        prompts = [scene.prompt for scene in single]
        negatives = [defaults.negative_text(scene.negative, self.negative) for scene in single]
        cond = run.backbone.encode(prompts, negatives)
        schedule = run.schedule.again(stop)
        windows = [Windows()] if group.plan else []
        controls = [recorder, *self.object_controls, *windows]
        shown = group.shown(single)
        sample(run.backbone, schedule, noise, cond, controls, scenes=shown, guidance=run.guidance)
        return recorder

    def _noise(self, run: Run, group: ObjectGroup, boxes: Tensor) -> Tensor:
        """Noise of the objects: the sample's outside the box, a blend of it and of the object's own inside."""
        unit = run.schedule.unit(run.x[group.samples])
        shared = unit[:, :, group.frames]

        # drawn one by one on the CPU: the same whatever the batch and the device
        drawn = []
        for of_sample, track in group.objects:
            seed = self.seed + run.seed(of_sample) + track
            generator = torch.Generator().manual_seed(seed)
            whole = torch.randn(run.x.shape[1:], generator=generator)
            drawn.append(whole[:, group.frames])
        own = torch.stack(drawn).to(run.x)

        # square roots keep the variance of the blend at 1
        background = (1 - self.blend) ** 0.5 * shared
        blended = background + self.blend**0.5 * own
        return torch.where(boxes[:, None], blended, shared)


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
