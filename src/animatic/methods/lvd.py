"""LVD: LLM-grounded Video Diffusion (Lian et al. 2024). Boxes steer text attention through an energy, or are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..controls.energy import Energy
from ..controls.grounding import Gligen
from ..controls.guidance import Guidance
from ..controls.terms import BoxEnergy
from ..core.backbone import Backbone
from ..core.control import Control
from ..scene import Scene

# LVD's six layers; its sums over 16.7 heads (mean of the six) and 16 or 24 frames are means here, so its scale 5 and
# thresholds 200, 250 and 350 become 5 * 267, 200 / 267 ... and 5 * 400, 350 / 400 (LVD README, generation/lvd.py)
LAYERS = tuple(f"{b}.transformer_blocks.0.attn2" for b in (
    "down_blocks.1.attentions.0", "down_blocks.2.attentions.0", "down_blocks.2.attentions.1",
    "up_blocks.1.attentions.0", "up_blocks.1.attentions.1", "up_blocks.2.attentions.2",
))  # fmt: skip
WEAK = BoxEnergy(0.25, 0.25, background=2)
WEAK_THRESHOLD = {"zeroscope": 350 / 400}  # by family; elsewhere
ANY_WEAK_THRESHOLD = 250 / 267
CENTRED = BoxEnergy(centre=0.23)  # its 0.03 in cells of 8 x 8 and 16 x 16, over 16.7 heads
DEFAULT = {
    "modelscope": Energy((), BoxEnergy(), LAYERS, 5 * 267, 0.25, 5, 0.75),
    "zeroscope": Energy((), BoxEnergy(), LAYERS, 5 * 400, 0.25, 5, 0.5),
    "mini": Energy((), BoxEnergy(), ("*",), 100, 0.4, 3),  # tuned on 16 scenes, docs/LOG.md
}
ANY = Energy((), BoxEnergy(), ("*",), 5 * 267, 0.25, 5, 0.75)
BETA = {"mini": 0.5}  # share of the noise levels at which boxes are told; tuned on 16 scenes, docs/LOG.md
README_BETA = 0.4


def settings(backbone: Backbone, scenes: Sequence[Scene]) -> Energy:
    """The energy as it is used on a model, for these scenes."""
    return replace(DEFAULT.get(backbone.family, ANY), scenes=scenes)


def beta(backbone: Backbone) -> float:
    """The fraction of the noise levels at which boxes are part of the conditioning (GLIGEN's scheduled sampling)."""
    return BETA.get(backbone.family, README_BETA)


def lvd(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """Boxes over time, through an energy of the text attention."""
    return [Guidance(guidance), settings(backbone, scenes)]


def weak(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """LVD with half the push, once a step: its README's setting for looks."""
    base = settings(backbone, scenes)
    threshold = WEAK_THRESHOLD.get(backbone.family, ANY_WEAK_THRESHOLD) if base.threshold else 0.0
    return [Guidance(guidance), replace(base, terms=WEAK, scale=base.scale / 2, iterations=1, threshold=threshold)]


def benchmark(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """LVD with the centres of mass held too: its paper's setting for the benchmark."""
    return [Guidance(guidance), replace(settings(backbone, scenes), terms=CENTRED)]


def lvd_gligen(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """Boxes over time, told to a model that was trained to read them."""
    return [Guidance(guidance), Gligen(scenes, beta(backbone))]


def lvd_plus(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """LVD on a model that is told the boxes, in its guided passes too."""
    return [*lvd(scenes, backbone, guidance), Gligen(scenes, beta(backbone))]
