"""LVD, LLM-grounded Video Diffusion: boxes over time by an energy of the text attention, or as conditioning (GLIGEN).

Lian et al. 2024, arXiv 2309.17444, https://github.com/TonyLianLong/LLM-groundedVideoDiffusion; GLIGEN: Li et al. 2023,
arXiv 2301.07093.
"""

from __future__ import annotations

from dataclasses import replace

from ..controls.energy import Energy
from ..controls.grounding import Gligen
from ..controls.guidance import Guidance
from ..controls.terms import BoxEnergy
from .method import ANY, Method, combined

# LVD's six layers. Its sums over 16.7 heads (mean of the six) and 16 or 24 frames are means here, so that its scale 5
# and its thresholds 200, 250 and 350 become 5 * 267, 200 / 267 ... and 5 * 400, 350 / 400 (README, generation/lvd.py)
LAYERS = tuple(f"{b}.transformer_blocks.0.attn2" for b in (
    "down_blocks.1.attentions.0", "down_blocks.2.attentions.0", "down_blocks.2.attentions.1",
    "up_blocks.1.attentions.0", "up_blocks.1.attentions.1", "up_blocks.2.attentions.2",
))  # fmt: skip
ENERGY = {
    "modelscope": Energy(BoxEnergy(), LAYERS, scale=5 * 267, until=0.25, iterations=5, threshold=0.75),
    "zeroscope": Energy(BoxEnergy(), LAYERS, scale=5 * 400, until=0.25, iterations=5, threshold=0.5),
    "mini": Energy(BoxEnergy(), ("*",), scale=100, until=0.4, iterations=3),  # tuned on 16 scenes, docs/LOG.md
    ANY: Energy(BoxEnergy(), ("*",), scale=5 * 267, until=0.25, iterations=5, threshold=0.75),
}

# the README's setting for visual quality: half the step size, one iteration a level, thresholds 250 and 350
WEAK_TERMS = BoxEnergy(inside=0.25, outside=0.25, background=2)
WEAK_ENERGY = {
    "modelscope": replace(ENERGY["modelscope"], terms=WEAK_TERMS, scale=2.5 * 267, iterations=1, threshold=250 / 267),
    "zeroscope": replace(ENERGY["zeroscope"], terms=WEAK_TERMS, scale=2.5 * 400, iterations=1, threshold=350 / 400),
    "mini": replace(ENERGY["mini"], terms=WEAK_TERMS, scale=50, iterations=1),
    ANY: replace(ENERGY[ANY], terms=WEAK_TERMS, scale=2.5 * 267, iterations=1, threshold=250 / 267),
}

# the benchmark's: centres of mass (equation 5), its 0.03 in cells of 8 x 8 and 16 x 16, over 16.7 heads
CENTRED_TERMS = BoxEnergy(centre=0.23)
BENCHMARK_ENERGY = {family: replace(energy, terms=CENTRED_TERMS) for family, energy in ENERGY.items()}

# fewer gradient steps a level: on `mini` one as long as three; elsewhere, not measured, two of the same length
FAST_ENERGY = {
    "modelscope": replace(ENERGY["modelscope"], iterations=2),
    "zeroscope": replace(ENERGY["zeroscope"], iterations=2),
    "mini": replace(ENERGY["mini"], scale=300, iterations=1),
    ANY: replace(ENERGY[ANY], iterations=2),
}

# GLIGEN's scheduled sampling: the first fraction of the noise levels that is conditioned on boxes
GROUNDING = {
    "mini": Gligen(until=1.0),  # on 16 scenes as good as 0.5 or better, docs/LOG.md
    ANY: Gligen(until=0.4),  # LVD-GLIGEN's README
}

LVD = Method(
    "lvd",
    "Boxes over time by an energy of the text attention.",
    combined(Guidance(), ENERGY),
    paper="LLM-grounded Video Diffusion Models (Lian et al. 2024)",
    arxiv="2309.17444",
    repository="https://github.com/TonyLianLong/LLM-groundedVideoDiffusion",
)
WEAK = replace(
    LVD,
    name="lvd:weak",
    summary="LVD with half the step size and one iteration a level: its README's setting for visual quality.",
    controls=combined(Guidance(), WEAK_ENERGY),
)
BENCHMARK = replace(
    LVD,
    name="lvd:benchmark",
    summary="LVD with the centres of mass in the energy (equation 5): its paper's setting for the benchmark.",
    controls=combined(Guidance(), BENCHMARK_ENERGY),
)
FAST = replace(
    LVD,
    name="lvd:fast",
    summary="LVD with fewer gradient steps a level: on mini one, as long as three; two, not five, on other models.",
    controls=combined(Guidance(), FAST_ENERGY),
)
LVD_GLIGEN = replace(
    LVD,
    name="lvd-gligen",
    summary="Conditioning on boxes over time, for models that were trained with them (GLIGEN).",
    controls=combined(Guidance(), GROUNDING),
)
LVD_PLUS = replace(
    LVD,
    name="lvd+",
    summary="LVD on a model that is conditioned on boxes (GLIGEN), in the passes of the energy too.",
    controls=combined(Guidance(), ENERGY, GROUNDING),
)
