"""MultiDiffusion (Bar-Tal et al. 2023): every box has a prompt of its own, and the answers are laid side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..core.control import Control, Run, one_each
from ..core.types import Conditioning, Denoise, Fraction, Step
from ..errors import warn
from ..prompting.styles import object_name
from ..scene import Scene


@dataclass
class Regions(Control):
    """Predictions of a background and of each thing, each under its own words, blended by the boxes per frame.

    Put it before `Guidance`. Later tracks stand in front. `bootstrap`: the first share of the noise levels, at which a
    thing's prediction is asked of a sample that shows a plain colour, at the level's noise, outside its box, so that
    it fills the box (the paper's bootstrapping). `negative` is put after the model's own unwanted words for things.
    `around`: the same for the background. `seed`: of the plain colours; where `legacy` that of the run.

    `legacy`: as in LMD's MultiDiffusion, boxes are cut out of pixels; the background is asked of the sample as it is,
    a thing of one of as many colours as there are such levels, another at each, under the run's first noise.
    """

    scenes: Sequence[Scene] = field(repr=False)
    bootstrap: Fraction = 0.4  # 20 of 50 steps
    negative: str = ""
    around: str = ""
    seed: int = 0
    legacy: bool = False
    _run: Run = field(init=False, repr=False)
    _cond: Conditioning = field(init=False, repr=False)
    _masks: Tensor = field(init=False, repr=False)
    _colours: Tensor = field(init=False, repr=False)
    _rows: list[int] = field(init=False, repr=False)
    _picks: Tensor = field(init=False, repr=False)  # the colour of each region at each level, where `legacy`

    def begin(self, run: Run) -> Regions:
        one_each(self, self.scenes, run.x)
        prompts, negatives, masks, rows = [], [], [], []
        frames, height, width = run.x.shape[2:]
        for row, scene in enumerate(self.scenes):
            finer = run.backbone.geometry.vae_spatial_ratio if self.legacy else 1
            boxes = torch.from_numpy(scene.masks(frames, height * finer, width * finer, self.legacy))
            boxes = boxes[..., ::finer, ::finer]  # as published, the first pixel of each cell decides
            over = boxes.flip(0).cumsum(0).flip(0) - boxes.int()  # how many things stand in front
            seen = boxes & (over == 0)
            for words, mask, more in [
                (self._background(scene), ~boxes.any(0), self.around),
                *((object_name(t), m, self.negative) for t, m in zip(scene.tracks, seen, strict=True)),
            ]:
                prompts.append(words)
                negatives.append(run.backbone.defaults.negative_text(scene.negative, more))
                masks.append(mask)
                rows.append(row)
        own = copy(self)
        own._run, own._rows, own._cond = run, rows, run.backbone.encode(prompts, negatives)
        own._masks = torch.stack(masks)[:, None].to(run.x)
        if self.bootstrap:
            own._colours, own._picks = own._paint_published(run) if self.legacy else (own._paint(run), torch.empty(0))
        return own

    def denoise(self, inner: Denoise, x: Tensor, step: Step, cond: Conditioning) -> Tensor:
        masks, apart = self._masks, x[self._rows]
        if step.fraction < self.bootstrap:
            plain = self._plain_published(apart, step) if self.legacy else self._plain(apart, step)
            apart = masks * apart + (1 - masks) * plain
        told = self._cond if any(row.negative for row in cond.branches) else self._cond.positive
        answers = inner(apart, step, told) * masks
        return torch.zeros_like(x).index_add(0, torch.tensor(self._rows, device=x.device), answers)

    def _background(self, scene: Scene) -> str:
        """What is told around the boxes; where `legacy` the background itself, even if it is empty."""
        if scene.background or (self.legacy and scene.tracks):
            return scene.background
        if not scene.tracks:
            return scene.prompt
        warn("multidiffusion tells no prompt, but its boxes' phrases; around them 'a background' is told")
        return "a background"

    def _each_row(self, draw: Callable[[int, torch.Generator], Tensor], seed: int) -> Tensor:
        """Draws for each row's regions, from the same seed for every row: a row is the same in any batch."""
        counts = [self._rows.count(row) for row in range(len(self.scenes))]
        return torch.cat([draw(count, torch.Generator().manual_seed(seed)) for count in counts])

    def _paint(self, run: Run) -> Tensor:
        """Latents of plain colours, one a region."""
        colours = self._each_row(lambda count, draw: torch.rand(count, 1, 1, 1, 3, generator=draw), self.seed) * 255
        return self._shown(colours.round(), run)

    def _paint_published(self, run: Run) -> tuple[Tensor, Tensor]:
        """Latents of each row's colours in a row, and which of them each region is shown at each level, -1: none."""
        levels = len(run.schedule)
        count = max(1, sum(i / levels < self.bootstrap for i in range(levels)))
        latents, picks = [], []
        for row in range(len(self.scenes)):
            # colours first, then one after the other the samples that the VAE's posterior gives of them
            draw = torch.Generator().manual_seed(run.seed(row))
            colours = torch.rand(count, 1, 1, 1, 1, 3, generator=draw) * 255
            latents += [self._shown(colour, run, draw) for colour in colours]

            # the picks are drawn on from where the first noise was drawn
            draw = torch.Generator().manual_seed(run.seed(row))
            torch.randn(run.x.shape[1:], generator=draw)
            things = self._rows.count(row) - 1
            levels = [torch.randint(0, count, (things,), generator=draw) + row * count for _ in range(count)]
            picks.append(torch.cat([torch.full((count, 1), -1), torch.stack(levels)], 1))
        return torch.cat(latents), torch.cat(picks, 1)

    def _shown(self, colours: Tensor, run: Run, draw: torch.Generator | None = None) -> Tensor:
        """Latents of frames in one colour each, `colours` `[n, 1, 1, 1, 3]` in 0..255."""
        height, width = (n * run.backbone.geometry.vae_spatial_ratio for n in run.x.shape[3:])
        latents = run.backbone.to_latents(colours.expand(-1, 1, height, width, 3), draw)
        return latents.expand(-1, -1, run.x.shape[2], -1, -1)

    def _plain(self, x: Tensor, step: Step) -> Tensor:
        """The plain colours at the noise level of `step`."""
        shape, seed = x.shape[1:], self.seed + step.index + 1
        noise = self._each_row(lambda count, draw: torch.randn(count, *shape, generator=draw), seed)
        return self._run.schedule.noised(self._colours, noise.to(x), step)

    def _plain_published(self, x: Tensor, step: Step) -> Tensor:
        """The colours picked for `step` under the run's first noise; the background's region is `x` itself."""
        picks = self._picks[step.index].to(x.device)
        first = self._run.schedule.unit(self._run.x)[self._rows]
        shown = self._run.schedule.noised(self._colours[picks], first, step)
        return torch.where((picks < 0).view(-1, 1, 1, 1, 1), x, shown)
