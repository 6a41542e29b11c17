"""LVD: LLM-grounded Video Diffusion (Lian et al. 2024). Boxes steer text attention through an energy."""

from __future__ import annotations

from collections.abc import Sequence

from ..backbones.base import Backbone
from ..controls.terms import BoxEnergy
from ..sampling import Control
from ..scene import Scene
from .settings import Settings

# LVD's six layers; its sums over 16.7 heads (mean of the six) and 16 or 24 frames are means here, so its scale 5 and
# thresholds 200 and 350 become 5 * 267, 200 / 267 and 5 * 400, 350 / 400 (LVD README, generation/lvd.py)
LAYERS = tuple(f"{b}.transformer_blocks.0.attn2" for b in (
    "down_blocks.1.attentions.0", "down_blocks.2.attentions.0", "down_blocks.2.attentions.1",
    "up_blocks.1.attentions.0", "up_blocks.1.attentions.1", "up_blocks.2.attentions.2",
))  # fmt: skip
SETTINGS = {
    "modelscope": Settings(LAYERS, BoxEnergy(), 5 * 267, 0.25, 5, 0.75),
    "zeroscope": Settings(LAYERS, BoxEnergy(), 5 * 400, 0.25, 5, 0.875),
    "mini": Settings(("*",), BoxEnergy(), 100, 0.4, 3, 0.0),  # tuned on 16 scenes, docs/LOG.md
}
ANY = Settings(("*",), BoxEnergy(), 5 * 267, 0.25, 5, 0.75)


def lvd(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """Boxes over time, through an energy of the text attention."""
    return SETTINGS.get(backbone.name, ANY).controls(scenes, guidance)
