"""How an energy is used on a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..controls.energy import Energy, Terms, by_noise
from ..sampling import Step
from ..scene import Scene


@dataclass(frozen=True)
class Settings:
    """Where to listen and how hard to push. `scale` is for energies that are means over heads and frames."""

    sites: tuple[str, ...]
    terms: Terms
    scale: float
    until: float
    iters: int | tuple[int, ...]
    threshold: float = 0.0
    shape: Callable[[Step], float] = by_noise

    def energy(self, scenes: Sequence[Scene]) -> Energy:
        return Energy(
            scenes, self.terms, self.sites, self.scale, self.until, self.iters, self.threshold, shape=self.shape
        )
