"""How an energy method is used on a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..controls.energy import Energy, Terms
from ..controls.guidance import Guidance
from ..sampling import Control
from ..scene import Scene


@dataclass(frozen=True)
class Settings:
    """Where to listen and how hard to push. `scale` is for the energy as a mean over heads and frames."""

    sites: tuple[str, ...]
    terms: Terms
    scale: float
    until: float
    iters: int
    threshold: float

    def controls(self, scenes: Sequence[Scene], guidance: float) -> list[Control]:
        steered = Energy(scenes, self.terms, self.sites, self.scale, self.until, self.iters, self.threshold)
        return [Guidance(guidance), steered]
