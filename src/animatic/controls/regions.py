"""MultiDiffusion (Bar-Tal et al. 2023): every box has a prompt of its own, and the answers are laid side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..errors import AnimaticError
from ..sampling import Cond, Control, Denoise, Run, Share, Step
from ..scene import Scene
from ..schedule import Schedule


@dataclass
class Regions(Control):
    """Predictions of a background and of each thing, each under its own words, blended by the boxes per frame.

    Put it before `Guidance`. Later tracks stand in front. In the first `bootstrap` (share) of the noise levels a
    thing's prediction is asked of a sample that shows a plain colour, at the level's noise, outside its box, so that
    it fills the box (the paper's bootstrapping). `negative` is added to the things' negative prompts.
    """

    scenes: Sequence[Scene] = field(repr=False)
    bootstrap: Share = 0.4  # 20 of 50 steps
    negative: str = ""
    seed: int = 0  # of the plain colours
    _cond: Cond | None = field(default=None, repr=False)
    _masks: Tensor | None = field(default=None, repr=False)
    _colours: Tensor | None = field(default=None, repr=False)
    _schedule: Schedule | None = field(default=None, repr=False)
    _rows: tuple[int, ...] = field(default=(), repr=False)

    def begin(self, run: Run) -> Regions:
        if len(self.scenes) != len(run.x):
            raise AnimaticError(f"Regions has {len(self.scenes)} scenes for {len(run.x)} samples; want one each")
        prompts, negatives, masks, rows = [], [], [], []
        frames, height, width = run.x.shape[2:]
        habit = run.backbone.habits.negative
        for row, scene in enumerate(self.scenes):
            boxes = torch.from_numpy(scene.masks(frames, height, width))
            over = boxes.flip(0).cumsum(0).flip(0) - boxes.int()  # how many things stand in front
            seen = boxes & (over == 0)
            for words, mask, more in [
                (scene.background or "a background", ~boxes.any(0), ""),
                *((t.prompt or t.phrase, m, self.negative) for t, m in zip(scene.tracks, seen, strict=True)),
            ]:
                prompts.append(words)
                negatives.append(", ".join(n for n in (scene.negative, more, habit) if n))
                masks.append(mask)
                rows.append(row)
        cond = run.backbone.encode(prompts, negatives)
        masks = torch.stack(masks)[:, None].to(run.x)
        colours = self._paint(run, len(prompts)) if self.bootstrap else None
        return replace(self, _cond=cond, _masks=masks, _colours=colours, _schedule=run.schedule, _rows=tuple(rows))

    def denoise(self, inner: Denoise, x: Tensor, step: Step, cond: Cond) -> Tensor:
        told, masks = self._cond, self._masks
        assert told is not None and masks is not None  # begin has been called
        if any(row.negative for row in cond.rows) is False:
            told = told.positive
        apart = x[list(self._rows)]
        if self._colours is not None and step.fraction < self.bootstrap:
            apart = masks * apart + (1 - masks) * self._plain(apart, step)
        answers = inner(apart, step, told) * masks
        return torch.zeros_like(x).index_add(0, torch.tensor(self._rows, device=x.device), answers)

    def _paint(self, run: Run, count: int) -> Tensor:
        """Latents of plain colours, one a region."""
        height, width = (n * run.backbone.geometry.stride for n in run.x.shape[3:])
        colours = torch.rand(count, 1, 1, 1, 3, generator=torch.Generator().manual_seed(self.seed)) * 255
        pixels = colours.round().to(torch.uint8).expand(count, 1, height, width, 3)
        return run.backbone.to_latents(pixels).expand(-1, -1, run.x.shape[2], -1, -1)

    def _plain(self, x: Tensor, step: Step) -> Tensor:
        """The plain colours at the noise level of `step`."""
        assert self._colours is not None and self._schedule is not None
        seed = torch.Generator().manual_seed(self.seed + step.index + 1)
        return self._schedule.noised(self._colours, torch.randn(x.shape, generator=seed).to(x), step)
