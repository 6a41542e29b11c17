"""LMD's composition (Lian et al. 2023): every thing is made alone first, then they are put where the scene says.

Things of all rows run as one batch. What is kept of them: their latents at the first noise levels, their attention,
and a mask. Then the scene starts from the composed noise, is held to the composed latents inside the masks for a
while, and its energy asks for attention like that of the things alone.
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
from .collage import Placement, centred, composed, masks_of, offsets, offsets_published, one, shifted
from .energy import Energy
from .masks import AttentionMask, Masking
from .terms import Sum
from .transfer import Transfer


@dataclass
class Composition(Control):
    """Make each thing alone, under the controls `parts`, which are told scenes of one thing each; then compose.

    `energy` guides the whole. `transfer`: weight of the attention of the things alone, added to it. `mask`: how things
    are cut out. `looks`: the layers whose attention makes the masks, if not those of the energy (LMD's for Segment
    Anything: one of its own). `centre`: a thing is made in the middle and shifted to its place, else in its place.
    `placement`: a centred box stands `floor` above the bottom, in the middle, or is kept at its height. `floor`: share
    of the canvas below a centred box. `sideways`: things are shifted to their places from side to side only.
    `blend` r: noise inside a thing's box is sqrt(1-r) background + sqrt(r) own. `frozen`: share of the noise levels up
    to which latents inside the masks are those of the things. `negative` is put after the model's own unwanted words in
    the runs of things. `seed` of the things' own noise: it is added to that of the whole, and one for each track.
    `legacy`: LMD's rounding of boxes and its middles of masks. Where `frozen` and `transfer` are 0, or nothing is
    tracked, this is `energy` alone.
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
    _laid: ComposedLatents | None = field(default=None, repr=False)

    def begin(self, run: Run) -> Composition:
        one_each(self, self.scenes, run.x)
        things = [(row, i) for row, scene in enumerate(self.scenes) for i in range(len(scene.tracks))]
        if not things or not (self.frozen or self.transfer):
            return replace(self, energy=self.energy.begin(run))
        frames, height, width = run.x.shape[2:]
        alone = [self._alone(object_scene(self.scenes[row].at(frames), i)) for row, i in things]
        boxes = masks_of(alone, frames, height, width, self.legacy).to(run.x.device)
        seen = self._make(run, alone, boxes, things)
        masks = self.mask(seen.heat(), lambda: run.backbone.decode(seen.levels[-1]), boxes)
        by = torch.zeros(*masks.shape[:2], 2, dtype=torch.long)
        if self.centre:
            goals = [one(self.scenes[row].at(frames), i) for row, i in things]
            by = (
                offsets_published(masks, goals)
                if self.legacy
                else offsets(masks, masks_of(goals, frames, height, width))
            )
        if self.sideways:
            by[..., 1] = 0
        levels = [shifted(x.movedim(1, 2), by).movedim(1, 2) for x in seen.levels[: self._held(run) + 1]]
        laid = ComposedLatents(*composed(run.x, levels, shifted(masks, by), [row for row, _ in things]))
        maps = {at: shifted(p, by) for at, p in seen.maps.items()}
        terms = self.energy.terms
        if self.transfer:
            terms = Sum(((1.0, terms), (1.0, Transfer(self.transfer, self.scenes, things, run.backbone.text, maps))))
        return replace(self, energy=replace(self.energy, terms=terms).begin(run), _laid=laid)

    def steer(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        if self._laid is not None and self.frozen:
            x = self._laid.hold(x, step.index)
        return self.energy.steer(inner, x, step, cond)

    def _held(self, run: Run) -> int:
        """Index of the last level at which the whole is held to its things."""
        return int(len(run.schedule) * self.frozen)

    def _alone(self, scene: Scene) -> Scene:
        """The scene of one thing, its box in the middle where wanted."""
        if not self.centre:
            return scene
        (track,) = scene.tracks
        boxes = tuple(box and centred(box, self.floor, self.placement) for box in track.boxes)
        return replace(scene, tracks=(replace(track, boxes=boxes),))

    def _make(
        self, run: Run, alone: Sequence[Scene], boxes: Tensor, things: Sequence[tuple[int, int]]
    ) -> ObjectRecorder:
        """Run all things, (row, track) each, on their own as one batch.

        Their noise hangs on their track and on the seed of the whole (LMD's generate.py), not on the batch.
        """
        shared = run.schedule.unit(run.x[[row for row, _ in things]])
        seeds = (torch.Generator().manual_seed(self.seed + run.seed(row) + track) for row, track in things)
        own = torch.stack([torch.randn(run.x.shape[1:], generator=seed) for seed in seeds]).to(run.x)
        noise = torch.where(boxes[:, None], (1 - self.blend) ** 0.5 * shared + self.blend**0.5 * own, shared)
        keep = self.energy.until if self.transfer else 0.0
        recorder = ObjectRecorder(alone, run.backbone, self.energy.layers, keep, self.mask_layers)
        stop = None if self.mask.needs_pixels else max(self._held(run), int(len(run.schedule) * keep), 1)
        negatives = [run.backbone.defaults.negative_text(scene.negative, self.negative) for scene in alone]
        cond = run.backbone.encode([scene.prompt for scene in alone], negatives)
        sample(
            run.backbone,
            run.schedule.again(stop),
            noise,
            cond,
            [recorder, *(of_scenes(part, alone) for part in self.object_controls)],
        )
        return recorder


def of_scenes(control: Any, scenes: Sequence[Scene]) -> Any:
    """A control told other scenes; one that asks for none is the same."""
    return replace(control, scenes=scenes) if "scenes" in {f.name for f in fields(control)} else control


@dataclass(frozen=True)
class ComposedLatents:
    """Things laid out: the first sample, the latents of the levels that are held, and where in them things are."""

    start: Tensor
    levels: Sequence[Tensor]
    cover: Tensor

    def hold(self, x: Tensor, index: int) -> Tensor:
        if index == 0:
            return self.start
        return torch.where(self.cover[:, None], self.levels[index], x) if index < len(self.levels) else x


class ObjectRecorder(Control):
    """Remembers, of scenes with one thing each, the latents of every level and the attention of the thing's word."""

    needs = frozenset({"text maps"})

    def __init__(
        self, scenes: Sequence[Scene], backbone: Backbone, sites: tuple[str, ...], until: float,
        looks: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        """`sites` are the layers whose maps are kept, `looks` those whose mean is `heat` (none: the same)."""
        text = backbone.text
        self.words = [text.positions(scene.prompt, scene.tracks[0].phrase)[-1] for scene in scenes]
        self.sites, self.until, self.looks = sites, until, looks or sites
        self.levels: list[Tensor] = []
        self.maps: dict[tuple[str, int], Tensor] = {}  # by layer and level, where level < until
        self._heat: list[Tensor] = []

    @property
    def _wanted(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.sites, *self.looks)))

    def heat(self) -> Tensor:
        """Mean attention over layers, heads and levels, the first fifth left out: `[thing, frame, height, width]`."""
        return torch.stack(self._heat[len(self._heat) // 5 :]).mean(0)

    def denoise(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        prediction, found = predict_with_maps(
            inner, x, step, cond, torch.tensor(self.words, device=x.device)[:, None], self._wanted
        )
        self._heat.append(mean_map({name: p for name, p in found.items() if matches_any(name, self.looks)})[:, :, 0])
        if step.fraction < self.until:
            kept = {(name, step.index): p[..., 0] for name, p in found.items() if matches_any(name, self.sites)}
            self.maps.update(kept)
        return prediction

    def steer(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        self.levels.append(x)
        return x
