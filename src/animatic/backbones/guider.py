"""The guidance scale that a pipeline's folder was published with: diffusers keeps it as a part, `guider/`."""

from __future__ import annotations

import math
from pathlib import Path

from ..errors import AnimaticError, warn
from .folder import read_json

CONFIG = "guider/guider_config.json"
PLAIN = "ClassifierFreeGuidance"
# of `diffusers.guiders`, with the values that plain classifier-free guidance has
NO_EFFECT = {"guidance_rescale": 0.0, "start": 0.0, "stop": 1.0}
DEFAULT_SCALE = 7.5  # of diffusers' class


def guidance_of(folder: Path) -> float | None:
    """The guidance scale of a folder's guider; None where it has no guider.

    1 where the guider is switched off. What else a guider does is left out, with a warning. Raises `AnimaticError`
    where its scale is no number.
    """
    file = folder / CONFIG
    if not file.is_file():
        return None
    config = read_json(file)
    if config.get("enabled", True) is False:
        return 1.0
    scale = config.get("guidance_scale", DEFAULT_SCALE)
    if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not math.isfinite(scale):
        raise AnimaticError(f"{file}: guidance_scale is {scale!r}; want a number, such as 6.0")

    # The first formulation of the paper adds its scale to the conditional prediction, whose own weight is 1.
    if config.get("use_original_formulation", False):
        scale += 1

    kind = config.get("_class_name", PLAIN)
    left_out = sorted(name for name, value in NO_EFFECT.items() if config.get(name, value) != value)
    if kind != PLAIN or left_out:
        what = ", ".join(left_out) or "its rule"
        warn(f"{file}: of this {kind} the scale {scale:g} is used, not {what}; --set sets rules of guidance")
    return float(scale)
