"""Methods of a few lines each: those that LMD and LVD are compared with."""

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

# as LMD runs them on Stable Diffusion: backward guidance 5 times in the first 10 of 50 steps; BoxDiff once in the
# first 25, on the layers of 16 x 16, with a sum over tokens
BACKWARD = {"mini": Energy((), Ratio(least=0.0), ("*",), 200, 0.4, 3)}  # tuned on 16 scenes, docs/LOG.md
ANY_BACKWARD = Energy((), Ratio(least=0.0), LAYERS, 30, 0.2, 5, 0.2)
SIXTEEN = ("down_blocks.2.attentions.*.attn2", "up_blocks.1.attentions.*.attn2")
BOXDIFF = {
    "mini": Energy((), BoxDiff(), ("*",), 10, 0.5, 3, step_size=LinearDecay())
}  # tuned on 24 stills, docs/LOG.md
ANY_BOXDIFF = Energy((), BoxDiff(summed=True), SIXTEEN, 20, 0.5, 1, step_size=LinearDecay())

MULTIDIFFUSION_GUIDANCE = 10.0  # LMD, generation/multidiffusion.py
BOOTSTRAP = {"mini": 0.4}
README_BOOTSTRAP = 0.2  # LMD README: 10 of 50 steps


@worded(as_typed)
def none(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """The model alone, with classifier-free guidance."""
    return [Guidance(guidance)]


@worded(listing_objects)
def gligen(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """Boxes told to a model that was trained to read them (images)."""
    return [Guidance(guidance), Gligen(scenes, beta(backbone))]


@worded(listing_objects)
def backward_guidance(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """Boxes through the share of attention outside them, by gradient."""
    return [Guidance(guidance), replace(BACKWARD.get(backbone.family, ANY_BACKWARD), scenes=scenes)]


@worded(listing_objects)
def boxdiff(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """Boxes through attention inside, outside and at the corners, by gradient."""
    return [Guidance(guidance), replace(BOXDIFF.get(backbone.family, ANY_BOXDIFF), scenes=scenes)]


@worded(listing_objects)
def multidiffusion(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """A prompt for every box and one for the rest, answers laid side by side."""
    bootstrap = BOOTSTRAP.get(backbone.family, README_BOOTSTRAP)
    regions = Regions(scenes, bootstrap, negative=MULTIDIFFUSION_OBJECT, around=MULTIDIFFUSION_BACKGROUND)
    return [regions, Guidance(guidance)]


def _stronger(backbone: Backbone) -> float | None:
    """MultiDiffusion's own guidance scale, but for models whose scale was tuned."""
    return None if backbone.family in BOOTSTRAP else MULTIDIFFUSION_GUIDANCE


multidiffusion.guidance = _stronger  # pyright: ignore[reportFunctionMemberAccess]


def layout_attention(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """Boxes over time, through a bias on the text attention: no gradient."""
    return [Guidance(guidance), LayoutAttention(scenes)]
