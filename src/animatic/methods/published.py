"""The methods as published: the arithmetic and the numbers of the originals' own code, to compare with their tables.

Energies are sums over heads and frames, whatever a network has of both, and a row that once fell under its threshold
is never judged again. Boxes are rounded, and moved between key frames, by the originals' rules. docs/published.md says
number by number what the plain names do instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..backbones.base import Backbone
from ..controls.energy import Energy
from ..controls.grounding import Gligen
from ..controls.guidance import Guidance
from ..controls.terms import BoxEnergy
from ..sampling import Control
from ..scene import Scene
from . import lvd as plain_lvd

# LVD generation/lvd.py, `run`: 10 of 40 steps; README: the weak setting of each model, and the benchmark's 0.03
LVD = Energy((), BoxEnergy(legacy=True), scale=5.0, until=0.25, iters=5, threshold=200.0, legacy=True, apart=True)
LVD_WEAK = replace(LVD, terms=BoxEnergy(0.25, 0.25, background=2, legacy=True), scale=2.5, iters=1, threshold=250.0)
LVD_WEAK_ZEROSCOPE = replace(LVD_WEAK, threshold=350.0)
LVD_BENCHMARK = replace(LVD, terms=BoxEnergy(centre=0.03, legacy=True))


def lvd(
    scenes: Sequence[Scene], backbone: Backbone, guidance: float, energy: Energy = LVD
) -> list[Control]:  # fmt: skip
    """LVD as published."""
    return [Guidance(guidance), replace(energy, scenes=scenes, sites=plain_lvd.settings(backbone, scenes).sites)]


def lvd_weak(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """LVD's README's setting for looks as published: the threshold is 350 on Zeroscope, 250 elsewhere."""
    return lvd(scenes, backbone, guidance, LVD_WEAK_ZEROSCOPE if backbone.family == "zeroscope" else LVD_WEAK)


def lvd_benchmark(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """LVD's setting for its benchmark as published: centres of mass in cells, weighted 0.03."""
    return lvd(scenes, backbone, guidance, LVD_BENCHMARK)


def lvd_gligen(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """LVD-GLIGEN as published: boxes between key frames by LVD's rule."""
    return [Guidance(guidance), Gligen(scenes, plain_lvd.README_BETA, legacy=True)]


def lvd_plus(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """LVD+ as published: boxes are told at every noise level, but not in the guided passes."""
    return [*lvd(scenes, backbone, guidance), Gligen(scenes, 1.0, guided="no word", legacy=True)]
