"""Methods without layout."""

from collections.abc import Sequence

from ..backbones.base import Backbone
from ..controls.guidance import Guidance
from ..sampling import Control
from ..scene import Scene


def none(scenes: Sequence[Scene], backbone: Backbone, guidance: float) -> list[Control]:
    """The model alone, with classifier-free guidance."""
    return [Guidance(guidance)]
