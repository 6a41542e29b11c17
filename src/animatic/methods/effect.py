"""Whether a method, or a setting of it, has any effect on a scene: controls need boxes, or several windows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from ..controls.composition import Composition
from ..controls.energy import Energy
from ..controls.grounding import Gligen
from ..controls.guidance import Guidance
from ..controls.layout_attention import LayoutAttention
from ..controls.regions import Regions
from ..controls.sharing import ShareKV, sharing_layers
from ..controls.windows import Windows
from ..core.attention import matches_any
from ..core.backbone import Backbone
from ..core.control import Control
from ..core.schedule import Schedule
from ..core.setting_values import Value
from ..errors import AnimaticError
from ..scene import Scene
from ..timeline import Timeline

OF_BOXES = {Composition, Energy, Gligen, LayoutAttention, Regions}
NOT_SHARED = "windows are averaged as by 'none'"
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


def unkept_absence(method: str, controls: Sequence[Control], shown: Scene | Timeline) -> str:
    """What a method shows in frames for which an object of a scene has no box, as a message; "" where it is kept out.

    GLIGEN's layers say what is in a box; the words of the prompt are heard in all frames.
    """
    kinds = {type(control) for control in controls}
    if not isinstance(shown, Scene) or Gligen not in kinds or kinds & {Composition, Energy, LayoutAttention}:
        return ""
    absent = [track.phrase for track in shown.tracks if None in track.boxes]
    if not absent:
        return ""
    hint = f"want lvd+, or {method}+layout-attention"
    return f"{method} keeps nothing out of frames without its box: {absent[0]!r} may be seen in all of them; {hint}"


def unused_controls(
    method: str, controls: Sequence[Control], shown: Scene | Timeline, schedule: Schedule, backbone: Backbone
) -> list[str]:
    """One line for each control without a part in a run: too few steps for it, or a model without its layers."""
    steps = [step for step in schedule if not step.clean]
    notes = []
    for control in controls:
        # as published, a fraction of the steps is rounded down
        if isinstance(control, Gligen) and control.until and not any(map(control.active, steps)):
            reason = f"in the first {control.until:g} of the steps, which is none of {len(steps)}"
            least = math.ceil(1 / control.until)
            notes.append(f"{method} is conditioned on boxes {reason}; want at least {least} steps")

        # what follows has a part in windows alone
        if isinstance(shown, Scene):
            continue
        if isinstance(control, Windows) and control.source and not any(step.within(control.during) for step in steps):
            begin, end = control.during
            reason = f"from {begin:g} to {end:g} of the steps, where none of {len(steps)} is"
            notes.append(f"{method} shares keys and values {reason}: {NOT_SHARED}; want more steps")
        if isinstance(control, ShareKV) and not _has_layers(backbone, control):
            notes.append(f"{method} shares keys and values in layers that {backbone.name} does not have: {NOT_SHARED}")
    return notes


def _has_layers(backbone: Backbone, control: ShareKV) -> bool:
    """Whether the model has layers in which the control shares; so it has where its layers are not known."""
    layers = backbone.attention_layers
    globs = sharing_layers(backbone) if control.layers is None else control.layers
    return not layers or any(matches_any(name, globs) for name in layers)


def check_settings(method: str, settings: Mapping[str, Value], scenes: Iterable[Scene | Timeline]) -> None:
    """Raise where a setting of windows was changed, and what is rendered is a single scene."""
    if not any(isinstance(scene, Scene) for scene in scenes):
        return
    for path in settings:
        control, *_ = path.split(".")
        if control in OF_WINDOWS:
            raise AnimaticError(f"{path} is set, but {method} has no windows for this scene")
