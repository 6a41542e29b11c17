"""Whether a method has any effect on what is shown: its controls obey boxes, or share between windows."""

from __future__ import annotations

from collections.abc import Sequence

from ..controls.composition import Composition
from ..controls.energy import Energy
from ..controls.grounding import Gligen
from ..controls.guidance import Guidance
from ..controls.layout_attention import LayoutAttention
from ..controls.regions import Regions
from ..controls.windows import Windows
from ..core.control import Control
from ..scene import Scene
from ..timeline import Timeline

OF_BOXES = {Composition, Energy, Gligen, LayoutAttention, Regions}


def without_effect(method: str, controls: Sequence[Control], shown: Scene | Timeline) -> str:
    """Why a method has nothing to do, and what it makes then, in words; "" where it has."""
    kinds = {type(control) for control in controls} - {Guidance, Windows}
    if method == "none" or kinds - OF_BOXES:
        return ""
    if not kinds and isinstance(shown, Scene):
        return f"{method} shares between windows, and the scene is seen at once: it is the video of 'none'"
    if not kinds or shown.tracks:
        return ""
    if Gligen in kinds:  # which has learnt what no box looks like
        return f"{method} has no box to obey: the model is told that there is nothing to place"
    return f"{method} has no box to obey: it is the video of 'none'"
