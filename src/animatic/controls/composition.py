"""LMD's composition: every object is generated on its own first, then the objects are composited into the scene.

Lian et al. 2023, arXiv 2305.13655, https://github.com/TonyLianLong/LLM-groundedDiffusion. The objects of all samples
are generated as one batch. Kept are their latents at the first noise levels, their attention, and a mask. The scene
then starts from the composited noise, its latents inside the masks are set to the objects' for some steps, and its
energy compares its attention with that of the objects (attention transfer).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..core.attention import matches_any, mean_map, predict_with_maps
from ..core.control import Control, Run
from ..core.encoded_prompt import EncodedPrompt
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
    stands_around = frozenset({"Windows", "ShareKV"})
    only_one = True
    _latents: ComposedLatents | None = field(default=None, repr=False)

    def begin(self, run: Run) -> Composition:
        scenes = run.single_scenes_for(self)
        objects: list[ObjectIndex] = []
        for of_sample, scene in enumerate(scenes):
            objects += [(of_sample, track) for track in range(len(scene.tracks))]

        # nothing to composite, or nothing that composited objects would change
        if not objects or not (self.frozen or self.transfer):
            return replace(self, energy=self.energy.begin(run))

        # generate every object on its own
        frames, height, width = run.x.shape[2:]
        single = []
        for of_sample, track in objects:
            own_scene = object_scene(scenes[of_sample].at(frames), track)
            single.append(self._single(own_scene))
        boxes = masks_of(single, frames, height, width, self.legacy)
        boxes = boxes.to(run.x.device)
        recorder = self._generate(run, single, boxes, objects)

        # cut the objects out; pixels are decoded only for a mask that looks at them
        def pixels() -> Tensor:
            return run.backbone.decode(recorder.levels[-1])

        masks = self.mask(recorder.mean_attention(), pixels, boxes)

        # shift them to their boxes
        offset = torch.zeros(*masks.shape[:2], 2, dtype=torch.long)
        if self.centre:
            goals = [one(scenes[sample].at(frames), track) for sample, track in objects]
            offset = self._offsets(masks, goals)

        # and composite their latents; `shifted` wants frames before channels
        held = recorder.levels[: self._last_held(run) + 1]
        levels = []
        for latents in held:
            by_frame = shifted(latents.movedim(1, 2), offset)
            levels.append(by_frame.movedim(1, 2))
        samples = [sample for sample, _ in objects]
        shifted_masks = shifted(masks, offset)
        start, composited, cover = composed(run.x, levels, shifted_masks, samples)

        # the energy of the scene, with attention transfer
        terms = self.energy.terms
        if self.transfer:
            reference = {key: shifted(maps, offset) for key, maps in recorder.maps.items()}
            weight = self.transfer / self.energy.heads(run)
            transfer = Transfer(weight, objects, reference)
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

    def _generate(
        self, run: Run, single: Sequence[Scene], boxes: Tensor, objects: Sequence[ObjectIndex]
    ) -> ObjectRecorder:
        """Run all objects on their own as one batch, and record them.

        Their noise depends on their track and on the seed of the sample (LMD's generate.py), not on the batch.
        """
        noise = self._noise(run, boxes, objects)

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
        controls = [recorder, *self.object_controls]
        sample(run.backbone, schedule, noise, cond, controls, scenes=single, guidance=run.guidance)
        return recorder

    def _noise(self, run: Run, boxes: Tensor, objects: Sequence[ObjectIndex]) -> Tensor:
        """Noise of the objects: the sample's outside the box, a blend of it and of the object's own inside."""
        samples = [sample for sample, _ in objects]
        shared = run.schedule.unit(run.x[samples])

        # drawn one by one on the CPU: the same whatever the batch and the device
        drawn = []
        for of_sample, track in objects:
            seed = self.seed + run.seed(of_sample) + track
            generator = torch.Generator().manual_seed(seed)
            drawn.append(torch.randn(run.x.shape[1:], generator=generator))
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
