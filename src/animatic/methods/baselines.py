"""Methods of a few lines each, with which LMD and LVD are compared, and layout attention.

BoxDiff, backward guidance, GLIGEN and MultiDiffusion have the numbers with which LMD's repository runs them on Stable
Diffusion (https://github.com/TonyLianLong/LLM-groundedDiffusion).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..controls.boxdiff import BoxDiff
from ..controls.energy import Energy, LinearDecay
from ..controls.grounding import Gligen
from ..controls.guidance import Guidance
from ..controls.layout_attention import LayoutAttention
from ..controls.regions import Regions
from ..controls.terms import Ratio
from ..core.backbone import Backbone
from ..core.control import Control
from ..prompting.negatives import MULTIDIFFUSION_BACKGROUND, MULTIDIFFUSION_OBJECT
from ..prompting.styles import as_typed, listing_objects, worded
from ..scene import Scene
from .lmd import LAYERS
from .lvd import beta

# backward guidance: 5 gradient steps in each of the first 10 of 50 noise levels
BACKWARD = {
    "mini": Energy((), Ratio(least=0.0), layers=("*",), scale=200, until=0.4, iterations=3),
}  # tuned on 16 scenes, docs/LOG.md
ANY_BACKWARD = Energy((), Ratio(least=0.0), layers=LAYERS, scale=30, until=0.2, iterations=5, threshold=0.2)

# BoxDiff: one gradient step in each of the first 25 of 50 levels, on the layers of 16 x 16, with a sum over tokens
SIXTEEN = ("down_blocks.2.attentions.*.attn2", "up_blocks.1.attentions.*.attn2")
BOXDIFF = {
    "mini": Energy((), BoxDiff(), layers=("*",), scale=10, until=0.5, iterations=3, step_size=LinearDecay()),
}  # tuned on 24 stills, docs/LOG.md
ANY_BOXDIFF = Energy(
    (), BoxDiff(summed=True), layers=SIXTEEN, scale=20, until=0.5, iterations=1, step_size=LinearDecay()
)

# MultiDiffusion: generation/multidiffusion.py, and the README's 10 of 50 steps
MULTIDIFFUSION_GUIDANCE = 10.0
BOOTSTRAP = {"mini": 0.4}
README_BOOTSTRAP = 0.2


@worded(as_typed)
def none(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """The model alone, with classifier-free guidance.

    Ho & Salimans 2022, arXiv 2207.12598.
    """
    return [Guidance(guidance)]


@worded(listing_objects)
def gligen(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """Conditioning on boxes, for models that were trained with them (images).

    GLIGEN (Li et al. 2023, arXiv 2301.07093, https://github.com/gligen/GLIGEN).
    """
    return [Guidance(guidance), Gligen(scenes, beta(backbone))]


@worded(listing_objects)
def backward_guidance(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """Boxes by the gradient of the fraction of attention outside them.

    Backward guidance (Chen et al. 2023, arXiv 2304.03373, https://github.com/silent-chen/layout-guidance).
    """
    return [Guidance(guidance), replace(BACKWARD.get(backbone.family, ANY_BACKWARD), scenes=scenes)]


@worded(listing_objects)
def boxdiff(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """Boxes by the gradient of attention inside, outside and at the corners.

    BoxDiff (Xie et al. 2023, arXiv 2307.10816, https://github.com/showlab/BoxDiff).
    """
    return [Guidance(guidance), replace(BOXDIFF.get(backbone.family, ANY_BOXDIFF), scenes=scenes)]


@worded(listing_objects)
def multidiffusion(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """A prompt for every box and one for the background, predictions combined by the boxes.

    MultiDiffusion (Bar-Tal et al. 2023, arXiv 2302.08113, https://github.com/omerbt/MultiDiffusion).
    """
    bootstrap = BOOTSTRAP.get(backbone.family, README_BOOTSTRAP)
    regions = Regions(scenes, bootstrap, negative=MULTIDIFFUSION_OBJECT, around=MULTIDIFFUSION_BACKGROUND)
    return [regions, Guidance(guidance)]


def _multidiffusion_guidance(backbone: Backbone) -> float | None:
    """MultiDiffusion's own guidance scale; None for models whose scale was tuned."""
    return None if backbone.family in BOOTSTRAP else MULTIDIFFUSION_GUIDANCE


multidiffusion.guidance = _multidiffusion_guidance  # pyright: ignore[reportFunctionMemberAccess]


def layout_attention(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """Boxes over time by a bias on the text attention; no gradient.

    After DenseDiffusion (Kim et al. 2023, arXiv 2308.12964, https://github.com/naver-ai/DenseDiffusion).
    """
    return [Guidance(guidance), LayoutAttention(scenes)]
