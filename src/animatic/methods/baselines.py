"""Methods of one control each, with which LMD and LVD are compared, and layout attention.

BoxDiff, backward guidance, GLIGEN and MultiDiffusion have the numbers with which LMD's repository runs them on Stable
Diffusion (https://github.com/TonyLianLong/LLM-groundedDiffusion).
"""

from __future__ import annotations

from dataclasses import replace

from ..controls.boxdiff import BoxDiff
from ..controls.energy import Energy, LinearDecay
from ..controls.guidance import Guidance
from ..controls.layout_attention import LayoutAttention
from ..controls.regions import Regions
from ..controls.terms import Ratio
from ..prompting.negatives import MULTIDIFFUSION_BACKGROUND, MULTIDIFFUSION_OBJECT
from ..prompting.styles import as_typed, keeping_prompt, listing_objects
from .lmd import LAYERS, XL_LAYERS
from .lvd import GROUNDING
from .method import ANY, TRANSFORMER, Method, combined

# 5 gradient steps in each of the first 10 of 50 noise levels
PUBLISHED_BACKWARD = Energy(Ratio(least=0.0), LAYERS, scale=30, until=0.2, iterations=5, threshold=0.2)
BACKWARD_ENERGY = {
    "mini": Energy(Ratio(least=0.0), ("*",), scale=200, until=0.4, iterations=3),  # tuned on 16 scenes, docs/LOG.md
    TRANSFORMER: replace(PUBLISHED_BACKWARD, layers=("*",)),  # all of its blocks have one size
    ANY: PUBLISHED_BACKWARD,
}
BACKWARD_ENERGY["sdxl"] = replace(BACKWARD_ENERGY[ANY], layers=XL_LAYERS)

# one gradient step in each of the first 25 of 50 levels, on the layers of 16 x 16, with a sum over tokens
XL_THIRTY_TWO = ("down_blocks.2.attentions.*.attn2", "up_blocks.0.attentions.*.attn2")  # ours: see `lmd.XL_LAYERS`
SIXTEEN = ("down_blocks.2.attentions.*.attn2", "up_blocks.1.attentions.*.attn2")
PUBLISHED_BOXDIFF = Energy(BoxDiff(summed=True), SIXTEEN, scale=20, until=0.5, iterations=1, step_size=LinearDecay())
BOXDIFF_ENERGY = {
    "mini": Energy(
        BoxDiff(), ("*",), scale=10, until=0.5, iterations=3, step_size=LinearDecay()
    ),  # tuned on 24 stills, docs/LOG.md
    TRANSFORMER: replace(PUBLISHED_BOXDIFF, layers=("*",)),
    ANY: PUBLISHED_BOXDIFF,
}
BOXDIFF_ENERGY["sdxl"] = replace(BOXDIFF_ENERGY[ANY], layers=XL_THIRTY_TWO)

# LMD's generation/multidiffusion.py, and the README's 10 of 50 steps
MULTIDIFFUSION_GUIDANCE = 10.0
README_BOOTSTRAP = 0.2
REGIONS = {
    "mini": Regions(bootstrap=0.4, negative=MULTIDIFFUSION_OBJECT, around=MULTIDIFFUSION_BACKGROUND),
    ANY: Regions(bootstrap=README_BOOTSTRAP, negative=MULTIDIFFUSION_OBJECT, around=MULTIDIFFUSION_BACKGROUND),
}

LAYOUT_BIAS = {
    # tuned on 80 stills, and for the joint layers of `mini-dit` on 8 clips, docs/LOG.md
    "mini": LayoutAttention(until=0.4, first=12.0, self_bias=2.0, joint=0.25),
    ANY: LayoutAttention(),
}

NONE = Method(
    "none",
    "The model alone, with classifier-free guidance.",
    combined(Guidance()),
    paper="Classifier-Free Diffusion Guidance (Ho & Salimans 2022)",
    arxiv="2207.12598",
    prompt_style=as_typed,
)
GLIGEN = Method(
    "gligen",
    "Conditioning on boxes, for models that were trained with them (images).",
    combined(Guidance(), GROUNDING),
    paper="GLIGEN (Li et al. 2023)",
    arxiv="2301.07093",
    repository="https://github.com/gligen/GLIGEN",
    prompt_style=listing_objects,
)
BACKWARD_GUIDANCE = Method(
    "backward-guidance",
    "Boxes by the gradient of the fraction of attention outside them.",
    combined(Guidance(), BACKWARD_ENERGY),
    paper="Training-Free Layout Control with Cross-Attention Guidance (Chen et al. 2023)",
    arxiv="2304.03373",
    repository="https://github.com/silent-chen/layout-guidance",
    prompt_style=listing_objects,
)
BOXDIFF = Method(
    "boxdiff",
    "Boxes by the gradient of attention inside, outside and at the corners.",
    combined(Guidance(), BOXDIFF_ENERGY),
    paper="BoxDiff (Xie et al. 2023)",
    arxiv="2307.10816",
    repository="https://github.com/showlab/BoxDiff",
    prompt_style=listing_objects,
)
MULTIDIFFUSION = Method(
    "multidiffusion",
    "A prompt for every box and one for the background, predictions combined by the boxes.",
    combined(REGIONS, Guidance()),
    paper="MultiDiffusion (Bar-Tal et al. 2023)",
    arxiv="2302.08113",
    repository="https://github.com/omerbt/MultiDiffusion",
    prompt_style=keeping_prompt,
    guidance={"mini": None, ANY: MULTIDIFFUSION_GUIDANCE},  # the scale of `mini` was tuned
)
LAYOUT_ATTENTION = Method(
    "layout-attention",
    "Boxes over time by a bias on the text attention; no gradient.",
    combined(Guidance(), LAYOUT_BIAS),
    paper="After Dense Text-to-Image Generation with Attention Modulation, DenseDiffusion (Kim et al. 2023)",
    arxiv="2308.12964",
    repository="https://github.com/naver-ai/DenseDiffusion",
)
