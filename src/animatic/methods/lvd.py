"""LVD, LLM-grounded Video Diffusion: boxes over time by an energy of the text attention, or as conditioning (GLIGEN).

Lian et al. 2024, arXiv 2309.17444, https://github.com/TonyLianLong/LLM-groundedVideoDiffusion; GLIGEN: Li et al. 2023,
arXiv 2301.07093.
"""

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

# LVD's six layers. Its sums over 16.7 heads (mean of the six) and 16 or 24 frames are means here, so that its scale 5
# and its thresholds 200, 250 and 350 become 5 * 267, 200 / 267 ... and 5 * 400, 350 / 400 (README, generation/lvd.py)
LAYERS = tuple(f"{b}.transformer_blocks.0.attn2" for b in (
    "down_blocks.1.attentions.0", "down_blocks.2.attentions.0", "down_blocks.2.attentions.1",
    "up_blocks.1.attentions.0", "up_blocks.1.attentions.1", "up_blocks.2.attentions.2",
))  # fmt: skip
WEAK = BoxEnergy(inside=0.25, outside=0.25, background=2)
WEAK_THRESHOLD = {"zeroscope": 350 / 400}  # by family; elsewhere
ANY_WEAK_THRESHOLD = 250 / 267
CENTRED = BoxEnergy(centre=0.23)  # its 0.03 in cells of 8 x 8 and 16 x 16, over 16.7 heads
DEFAULT = {
    "modelscope": Energy((), BoxEnergy(), LAYERS, scale=5 * 267, until=0.25, iterations=5, threshold=0.75),
    "zeroscope": Energy((), BoxEnergy(), LAYERS, scale=5 * 400, until=0.25, iterations=5, threshold=0.5),
    "mini": Energy((), BoxEnergy(), ("*",), scale=100, until=0.4, iterations=3),  # tuned on 16 scenes, docs/LOG.md
}
ANY = Energy((), BoxEnergy(), ("*",), scale=5 * 267, until=0.25, iterations=5, threshold=0.75)
BETA = {"mini": 0.5}  # fraction of the noise levels with boxes as conditioning; tuned on 16 scenes, docs/LOG.md
README_BETA = 0.4


def settings(backbone: Backbone, scenes: Sequence[Scene]) -> Energy:
    """The energy as it is used on a model, for these scenes."""
    return replace(DEFAULT.get(backbone.family, ANY), scenes=scenes)


def beta(backbone: Backbone) -> float:
    """The first fraction of the noise levels at which a model is conditioned on boxes: GLIGEN's scheduled sampling."""
    return BETA.get(backbone.family, README_BETA)


def lvd(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """Boxes over time by an energy of the text attention."""
    return [Guidance(guidance), settings(backbone, scenes)]


def weak(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """LVD with half the step size and one iteration a level: its README's setting for visual quality."""
    base = settings(backbone, scenes)
    threshold = WEAK_THRESHOLD.get(backbone.family, ANY_WEAK_THRESHOLD) if base.threshold else 0.0
    return [Guidance(guidance), replace(base, terms=WEAK, scale=base.scale / 2, iterations=1, threshold=threshold)]


def benchmark(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """LVD with the centres of mass in the energy (equation 5): its paper's setting for the benchmark."""
    return [Guidance(guidance), replace(settings(backbone, scenes), terms=CENTRED)]


def lvd_gligen(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """Conditioning on boxes over time, for models that were trained with them (GLIGEN)."""
    return [Guidance(guidance), Gligen(scenes, beta(backbone))]


def lvd_plus(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """LVD on a model that is conditioned on boxes (GLIGEN), in the passes of the energy too."""
    return [*lvd(scenes, backbone, guidance), Gligen(scenes, beta(backbone))]
