"""MultiDiffusion (Bar-Tal et al. 2023): every box has a prompt of its own, and the answers are laid side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..errors import warn
from ..prompt_styles import object_name
from ..sampling import Cond, Control, Denoise, Run, Share, Step, one_each
from ..scene import Scene


@dataclass
class Regions(Control):
    """Predictions of a background and of each thing, each under its own words, blended by the boxes per frame.

    Put it before `Guidance`. Later tracks stand in front. In the first `bootstrap` (share) of the noise levels a
    thing's prediction is asked of a sample that shows a plain colour, at the level's noise, outside its box, so that
    it fills the box (the paper's bootstrapping). `negative` is put after the model's own unwanted words for
    things, `around` for the background.
    """

    scenes: Sequence[Scene] = field(repr=False)
    bootstrap: Share = 0.4  # 20 of 50 steps
    negative: str = ""
    around: str = ""
    seed: int = 0  # of the plain colours
    _run: Run = field(init=False, repr=False)
    _cond: Cond = field(init=False, repr=False)
    _masks: Tensor = field(init=False, repr=False)
    _colours: Tensor = field(init=False, repr=False)
    _rows: list[int] = field(init=False, repr=False)

    def begin(self, run: Run) -> Regions:
        one_each(self, self.scenes, run.x)
        prompts, negatives, masks, rows = [], [], [], []
        frames, height, width = run.x.shape[2:]
        for row, scene in enumerate(self.scenes):
            boxes = torch.from_numpy(scene.masks(frames, height, width))
            over = boxes.flip(0).cumsum(0).flip(0) - boxes.int()  # how many things stand in front
            seen = boxes & (over == 0)
            background = scene.background or ("a background" if scene.tracks else scene.prompt)
            if scene.tracks and not scene.background:
                warn("multidiffusion tells no prompt, but its boxes' phrases; around them 'a background' is told")
            for words, mask, more in [
                (background, ~boxes.any(0), self.around),
                *((object_name(t), m, self.negative) for t, m in zip(scene.tracks, seen, strict=True)),
            ]:
                prompts.append(words)
                negatives.append(run.backbone.habits.unwanted(scene.negative, more))
                masks.append(mask)
                rows.append(row)
        own = copy(self)
        own._run, own._rows, own._cond = run, rows, run.backbone.encode(prompts, negatives)
        own._masks = torch.stack(masks)[:, None].to(run.x)
        if self.bootstrap:
            own._colours = own._paint(run)
        return own

    def denoise(self, inner: Denoise, x: Tensor, step: Step, cond: Cond) -> Tensor:
        masks, apart = self._masks, x[self._rows]
        if step.fraction < self.bootstrap:
            apart = masks * apart + (1 - masks) * self._plain(apart, step)
        told = self._cond if any(row.negative for row in cond.rows) else self._cond.positive
        answers = inner(apart, step, told) * masks
        return torch.zeros_like(x).index_add(0, torch.tensor(self._rows, device=x.device), answers)

    def _each_row(self, draw: Callable[[int, torch.Generator], Tensor], seed: int) -> Tensor:
        """Draws for each row's regions, from the same seed for every row: a row is the same in any batch."""
        counts = [self._rows.count(row) for row in range(len(self.scenes))]
        return torch.cat([draw(count, torch.Generator().manual_seed(seed)) for count in counts])

    def _paint(self, run: Run) -> Tensor:
        """Latents of plain colours, one a region."""
        height, width = (n * run.backbone.geometry.stride for n in run.x.shape[3:])
        colours = self._each_row(lambda count, draw: torch.rand(count, 1, 1, 1, 3, generator=draw), self.seed) * 255
        pixels = colours.round().to(torch.uint8).expand(-1, 1, height, width, 3)
        return run.backbone.to_latents(pixels).expand(-1, -1, run.x.shape[2], -1, -1)

    def _plain(self, x: Tensor, step: Step) -> Tensor:
        """The plain colours at the noise level of `step`."""
        shape, seed = x.shape[1:], self.seed + step.index + 1
        noise = self._each_row(lambda count, draw: torch.randn(count, *shape, generator=draw), seed)
        return self._run.schedule.noised(self._colours, noise.to(x), step)
