"""Whether a method, or a setting of it, has any effect on a scene: controls need boxes, or several windows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..controls.composition import Composition
from ..controls.energy import Energy
from ..controls.grounding import Gligen
from ..controls.guidance import Guidance
from ..controls.layout_attention import LayoutAttention
from ..controls.regions import Regions
from ..controls.sharing import ShareKV
from ..controls.windows import Windows
from ..core.control import Control
from ..core.setting_values import Value
from ..errors import AnimaticError
from ..scene import Scene
from ..timeline import Timeline

OF_BOXES = {Composition, Energy, Gligen, LayoutAttention, Regions}
OF_WINDOWS = ("windows", "sharekv")  # names of the controls that have a part in stories alone


def without_effect(method: str, controls: Sequence[Control], shown: Scene | Timeline) -> str:
    """Why a method does not differ from another on a scene or story, as a message; "" where it does."""
    kinds = {type(control) for control in controls} - {Guidance, Windows}
    if isinstance(shown, Scene):
        kinds -= {ShareKV}  # it shares between windows
    if method == "none" or kinds - OF_BOXES:
        return ""
    shares = any(isinstance(control, (ShareKV, Windows)) for control in controls)
    if not kinds and shares and isinstance(shown, Scene):
        return f"{method} shares between windows, and the scene fits in one: the video is that of 'none'"
    if not kinds or shown.tracks:
        return ""

    # GLIGEN was trained with scenes without boxes, and differs from the model without its layers
    if Gligen in kinds:
        return f"{method} needs boxes, and there are none: the model is conditioned on an empty layout"
    return f"{method} needs boxes, and there are none: the video is that of 'none'"


def check_settings(method: str, settings: Mapping[str, Value], scenes: Iterable[Scene | Timeline]) -> None:
    """Raise where a setting of windows was changed, and what is rendered is a single scene."""
    if not any(isinstance(scene, Scene) for scene in scenes):
        return
    for path in settings:
        control, *_ = path.split(".")
        if control in OF_WINDOWS:
            raise AnimaticError(f"{path} is set, but {method} has no windows for this scene")
