"""Attention written to files: the mean of a run, and layer by layer, step by step, laid over the frames."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from .controls.heat import Heat
from .errors import AnimaticError
from .methods import Recipe
from .prompt_styles import style_of, told
from .video import Video, heat_map, side_by_side

LEAST = 192  # pixels of height to which small videos are enlarged


@dataclass
class Album:
    """What a run's attention looked like. `whole`: its mean; `of`: LAYERS[@STEPS], globs and numbers with commas.

    With `back`, what words look at. `controls` take part in the run, `write` comes after it; `means` are by phrase.
    """

    whole: bool = False
    of: str = ""
    back: bool = False
    means: dict[str, np.ndarray] = field(default_factory=dict)
    _each: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)

    def controls(self, scene: Any, recipe: Recipe) -> list[Heat]:
        """Of a scene, or of a story's reel, as a method words it."""
        if not (self.whole or self.of):
            return []
        layers, _, numbers = self.of.partition("@")
        if any(not n.strip().isdigit() for n in numbers.split(",") if numbers):
            raise AnimaticError(f"attention steps are {numbers!r}; want numbers with commas, such as 10,25")
        steps = tuple(int(n) for n in numbers.split(",") if n)
        sites = tuple(glob.strip() for glob in layers.split(",") if glob.strip()) or ("*",)
        return [
            Heat(told([scene], style_of(recipe)), self._mean, sites, steps, self.back, self._one if self.of else None)
        ]

    def _mean(self, row: int, phrase: str, heat: Tensor) -> None:
        self.means[phrase] = heat.cpu().numpy()

    def _one(self, row: int, phrase: str, layer: str, step: int, heat: Tensor) -> None:
        self._each.setdefault(f"{step:03}-{layer}", {})[phrase] = (heat / heat.amax().clamp(min=1e-12)).cpu().numpy()

    def write(self, video: Video, target: Path, formats: Sequence[str]) -> list[Path]:
        """`TARGET.attention.gif` of the mean, `TARGET.attention/STEP-LAYER.*` of each; one panel a phrase."""
        files = []
        if self.means:
            files.append(panels(video, self.means).save(target.with_name(f"{target.name}.attention.gif")))
        folder = target.with_name(f"{target.name}.attention")
        for name, heats in self._each.items():
            page, stem = panels(video, heats), re.sub(r"[^\w.-]", "-", name)
            files += [page.save(folder / f"{stem}.{suffix}") for suffix in formats]
        return files


def panels(video: Video, heats: dict[str, np.ndarray]) -> Video:
    """Maps by phrase over the frames, side by side."""
    scale = max(1, LEAST // video.frames.shape[1])
    return side_by_side([heat_map(video, heat, phrase, scale) for phrase, heat in heats.items()])
