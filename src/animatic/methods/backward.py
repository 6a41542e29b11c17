"""Backward guidance (Chen et al. 2023): the share of a word's attention that falls outside its box is made small."""

from __future__ import annotations

from collections.abc import Sequence

from ..backbones.base import Backbone
from ..controls.terms import Ratio
from ..sampling import Control
from ..scene import Scene
from .settings import Settings

# LMD's setting of it: the layers of 8 x 8 and 16 x 16 in Stable Diffusion, 5 iterations in the first 10 of 50 steps
LAYERS = ("mid_block.attentions.0.transformer_blocks.0.attn2", "up_blocks.1.attentions.*.transformer_blocks.0.attn2")
SETTINGS = {"mini": Settings(("*",), Ratio(least=0.0), 200, 0.4, 3, 0.0)}  # tuned on 16 scenes, docs/LOG.md
ANY = Settings(LAYERS, Ratio(least=0.0), 30, 0.2, 5, 0.2)


def backward_guidance(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """Boxes through the share of attention outside them, by gradient."""
    return SETTINGS.get(backbone.name, ANY).controls(scenes, guidance)
