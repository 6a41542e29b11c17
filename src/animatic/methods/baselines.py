"""Methods of a line each: no layout, and the layout that costs no gradient."""

from collections.abc import Sequence

from ..backbones.base import Backbone
from ..controls.guidance import Guidance
from ..controls.layout_attention import LayoutAttention
from ..sampling import Control
from ..scene import Scene


def none(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """The model alone, with classifier-free guidance."""
    return [Guidance(guidance)]


def layout_attention(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """Boxes over time, through a bias on the text attention: no gradient."""
    return [Guidance(guidance), LayoutAttention(scenes)]
