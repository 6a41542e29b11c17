"""LMD, LLM-grounded Diffusion: objects are generated one by one, then composited under an energy.

Lian et al. 2023, arXiv 2305.13655, https://github.com/TonyLianLong/LLM-groundedDiffusion. Numbers are those of its
generation/lmd.py and lmd_plus.py.
"""

from __future__ import annotations

from dataclasses import replace

from ..controls.composition import Composition
from ..controls.energy import Energy
from ..controls.guidance import Guidance
from ..controls.masks import Masking, SamMask
from ..controls.terms import BoxEnergy
from ..prompting.negatives import LMD_OBJECT
from ..prompting.styles import listing_objects
from .lvd import GROUNDING
from .method import ANY, TRANSFORMER, Method, combined

# 8 x 8 and 16 x 16 in Stable Diffusion at 512. All blocks of a transformer have one size: all are read, as LVD's are
LAYERS = ("mid_block.attentions.0.transformer_blocks.0.attn2", "up_blocks.1.attentions.*.transformer_blocks.0.attn2")
ITERATIONS = (4,) * 5 + (3,) * 5 + (2,) * 10 + (1,)
SAM_LAYERS = ("down_blocks.2.attentions.1.transformer_blocks.0.attn2",)  # whose attention prompts SAM in LMD
TRANSFER = 2.0  # weight of attention transfer

# of each object on its own: 30 of 50 steps, scale 5 and threshold 5 of a sum over heads
PUBLISHED_ENERGY = Energy(
    BoxEnergy(inside=0.2, outside=0.2), LAYERS, scale=5, until=0.6, iterations=ITERATIONS, threshold=5, per_head=True
)
ENERGY = {
    "mini": Energy(BoxEnergy(), ("*",), scale=30, until=0.4, iterations=3),  # tuned on 24 stills, docs/LOG.md
    TRANSFORMER: replace(PUBLISHED_ENERGY, layers=("*",)),
    ANY: PUBLISHED_ENERGY,
}

# of the composited scene: on `mini` one iteration at each level is enough, as the objects are in their places
SCENE_ENERGY = {**ENERGY, "mini": replace(ENERGY["mini"], iterations=1)}
COMPOSITION = {
    family: Composition(SCENE_ENERGY[family], (Guidance(), energy), transfer=TRANSFER, negative=LMD_OBJECT)
    for family, energy in ENERGY.items()
}
GROUNDED_COMPOSITION = {
    family: replace(
        composition, object_controls=(Guidance(), GROUNDING.get(family, GROUNDING[ANY])), centre=False, blend=0.1
    )
    for family, composition in COMPOSITION.items()
}
MASK_LAYERS = {"mini": (), TRANSFORMER: (), ANY: SAM_LAYERS}  # with Segment Anything; () are those of the energy


def cut_out(compositions: dict[str, Composition], mask: Masking) -> dict[str, Composition]:
    """The compositions with objects cut out by Segment Anything."""
    return {
        family: replace(composition, mask=mask, mask_layers=MASK_LAYERS[family])
        for family, composition in compositions.items()
    }


LMD = Method(
    "lmd",
    "Objects generated one by one under an energy, composited into their boxes and held there; no training.",
    combined(Guidance(), COMPOSITION),
    paper="LLM-grounded Diffusion (Lian et al. 2023)",
    arxiv="2305.13655",
    repository="https://github.com/TonyLianLong/LLM-groundedDiffusion",
    prompt_style=listing_objects,
)
LMD_PLUS = replace(
    LMD,
    name="lmd+",
    summary="LMD on a model that is conditioned on boxes (GLIGEN): objects are generated in their places.",
    controls=combined(Guidance(), GROUNDED_COMPOSITION, GROUNDING),
)

# Segment Anything: Kirillov et al. 2023, arXiv 2304.02643, https://github.com/facebookresearch/segment-anything
LMD_SAM = replace(
    LMD,
    name="lmd:sam",
    summary="LMD with objects cut out by Segment Anything, as published (Kirillov et al. 2023, arXiv 2304.02643).",
    controls=combined(Guidance(), cut_out(COMPOSITION, SamMask(point=True))),
)
LMD_PLUS_SAM = replace(
    LMD_PLUS,
    name="lmd+:sam",
    summary="LMD+ with objects cut out by Segment Anything, as published (Kirillov et al. 2023, arXiv 2304.02643).",
    controls=combined(Guidance(), cut_out(GROUNDED_COMPOSITION, SamMask()), GROUNDING),
)
