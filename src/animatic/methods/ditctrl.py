"""DiTCtrl: several prompts, one video, in windows over time that share keys and values.

Cai et al. 2025, arXiv 2412.18597, https://github.com/TencentARC/DiTCtrl. Published for CogVideoX-2B: keys and values
are shared in the last five of 30 layers, in steps 2 to 24 of 50. Other transformers share in the last sixth of their
layers, UNets in the self-attention of their up blocks (`controls.sharing.sharing_layers`). Single scenes fit in one
window, and are as without it.
"""

from __future__ import annotations

from dataclasses import replace

from ..controls.guidance import Guidance
from ..controls.sharing import ShareKV
from ..controls.windows import Windows
from .lvd import ENERGY, GROUNDING
from .method import Method, combined

WINDOWS = Windows(source="previous", during=(2 / 50, 25 / 50))

DITCTRL = Method(
    "ditctrl",
    "Consecutive scenes in windows over time, each attending to the keys and values of the one before.",
    combined(Guidance(), WINDOWS, ShareKV()),
    paper="DiTCtrl (Cai et al. 2025)",
    arxiv="2412.18597",
    repository="https://github.com/TencentARC/DiTCtrl",
)
MASKED = replace(
    DITCTRL,
    name="ditctrl:masked",
    summary="The same by masks: objects attend to the objects of the window before, the background to its background.",
    controls=combined(Guidance(), WINDOWS, ShareKV(masked=True)),
)
CHAINED = replace(
    DITCTRL,
    name="ditctrl:chained",
    summary="Consecutive scenes, each window attending to the one before as that was with shared keys and values.",
    controls=combined(Guidance(), replace(WINDOWS, source="chained"), ShareKV()),
)
WITH_LVD = replace(
    DITCTRL,
    name="ditctrl+lvd",
    summary="DiTCtrl's windows, and boxes over time by LVD's energy of the text attention.",
    controls=combined(Guidance(), ENERGY, WINDOWS, ShareKV()),
)
WITH_GLIGEN = replace(
    DITCTRL,
    name="ditctrl+gligen",
    summary="DiTCtrl's windows, and conditioning on boxes, for models that were trained with them (GLIGEN).",
    controls=combined(Guidance(), WINDOWS, ShareKV(), GROUNDING),
)
